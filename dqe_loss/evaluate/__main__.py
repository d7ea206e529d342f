"""``python -m dqe_loss.evaluate`` is ``dqe evaluate``."""

import sys

from dqe_loss.cli import run

sys.exit(run("evaluate"))

"""``python -m dqe_loss.collect`` is ``dqe collect``."""

import sys

from dqe_loss.cli import run

sys.exit(run("collect"))

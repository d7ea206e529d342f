"""``python -m dqe_loss.harden`` is ``dqe harden``."""

import sys

from dqe_loss.cli import run

sys.exit(run("harden"))

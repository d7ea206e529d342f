"""``python -m dqe_loss.audit`` is ``dqe audit``."""

import sys

from dqe_loss.cli import run

sys.exit(run("audit"))

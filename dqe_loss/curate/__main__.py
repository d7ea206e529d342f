"""``python -m dqe_loss.curate`` is ``dqe curate``."""

import sys

from dqe_loss.cli import run

sys.exit(run("curate"))

"""``python -m dqe_loss.train`` is ``dqe train``."""

import sys

from dqe_loss.cli import run

sys.exit(run("train"))

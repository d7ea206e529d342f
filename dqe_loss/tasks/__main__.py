"""``python -m dqe_loss.tasks`` is ``dqe task``."""

import sys

from dqe_loss.cli import run

sys.exit(run("task"))

"""``python -m dqe_loss.integrations.nnunet`` is ``dqe nnunet``."""

import sys

from dqe_loss.cli import run

sys.exit(run("nnunet"))

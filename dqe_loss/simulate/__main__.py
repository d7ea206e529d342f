"""``python -m dqe_loss.simulate`` is ``dqe simulate``."""

import sys

from dqe_loss.cli import run

sys.exit(run("simulate"))

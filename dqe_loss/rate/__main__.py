"""``python -m dqe_loss.rate`` is ``dqe rate``."""

import sys

from dqe_loss.cli import run

sys.exit(run("rate"))

"""``python -m dqe_loss`` is ``dqe``."""

import sys

from dqe_loss.cli import main

if __name__ == "__main__":
    sys.exit(main())

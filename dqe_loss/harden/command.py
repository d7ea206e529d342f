"""The command ``python -m dqe_loss.harden``: a checkpoint that can be optimized against, from references."""

from collections.abc import Sequence

from dqe_loss.command_line import run_command
from dqe_loss.extras import import_extra
from dqe_loss.harden.config import HardenConfig


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; exit code 128 + signal after SIGTERM or Ctrl-C, the state saved, else see `run_command`."""
    return run_command("dqe harden", HardenConfig, _run, argv)


def _run(config: HardenConfig) -> int:
    code: int = import_extra("dqe_loss.harden.hardening", "train").harden(config)
    return code

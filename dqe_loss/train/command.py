"""The command ``python -m dqe_loss.train``: a surrogate from star ratings."""

import sys
from collections.abc import Sequence
from pathlib import Path

import tyro

from dqe_loss.command_line import run_command
from dqe_loss.extras import import_extra
from dqe_loss.train.config import PRESETS, TrainConfig, from_yaml

_USAGE = """usage: dqe train PRESET|CONFIG.yaml --ratings TABLE [TABLE ...] --out FOLDER [OPTIONS]

{about} A preset or a YAML file says how; options change it.

{presets}

Options: dqe train {first} --help"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; exit code 128 + signal after SIGTERM or Ctrl-C, the state saved, else see `run_command`."""
    return run_command("dqe train", read_arguments, _run, argv)


def _run(config: TrainConfig) -> int:
    code: int = import_extra("dqe_loss.train.train_surrogate", "train").train_surrogate(config)
    return code


def read_arguments(arguments: Sequence[str]) -> TrainConfig:
    """The configuration of a command line.

    Raises:
        SystemExit: if it only asks for help.
        ValueError: if the first argument is no preset and no YAML file, or a value does not fit.
    """
    first, *options = arguments or ["--help"]
    if first in ("-h", "--help"):
        presets = "\n".join(f"  {name:12} {text}" for name, (text, _) in PRESETS.items())
        about = (TrainConfig.__doc__ or "").partition("\n")[0]
        print(_USAGE.format(about=about, presets=presets, first=next(iter(PRESETS))))
        sys.exit(0)
    if first in PRESETS:
        default = PRESETS[first][1]
    elif first.endswith((".yaml", ".yml")):
        default = from_yaml(Path(first))
    else:
        raise ValueError(f"expected a preset ({', '.join(PRESETS)}) or a .yaml file first, got {first!r}")
    return tyro.cli(TrainConfig, prog=f"dqe train {first}", default=default, args=options)

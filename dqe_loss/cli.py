"""The command ``dqe``: ``dqe COMMAND ...`` is ``python -m dqe_loss.COMMAND ...``.

Nothing heavy is imported before a command is chosen: ``dqe --help`` reads the commands' descriptions from their source.
"""

import ast
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from dqe_loss.extras import import_extra


class Command(NamedTuple):
    """What is known of a command without importing it."""

    extra: str
    """The extra of this package that brings the libraries of its command line."""
    source: str
    """File of the class that describes the command, in this package."""
    described_by: str
    """That class: the first line of its docstring is the command's line in ``dqe --help``."""

    @property
    def module(self) -> str:
        """Full name of the module that runs it, beside the source."""
        return ".".join(("dqe_loss", *Path(self.source).parent.parts, "command"))


COMMANDS = {
    "rate": Command("rate", "rate/arguments.py", "RateOptions"),
    "curate": Command("train", "curate/command.py", "CurateArguments"),
    "collect": Command("collect", "collect/arguments.py", "CollectArguments"),
    "simulate": Command("train", "simulate/command.py", "SimulateArguments"),
    "train": Command("train", "train/config.py", "TrainConfig"),
    "harden": Command("train", "harden/config.py", "HardenConfig"),
    "evaluate": Command("train", "evaluate/command.py", "EvaluateArguments"),
    "audit": Command("train", "audit/command.py", "AuditArguments"),
    "task": Command("rate", "tasks/command.py", "TaskArguments"),
    "nnunet": Command("nnunet", "integrations/nnunet/command.py", "NnunetArguments"),
}
"""All commands, in the order in which they are listed."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``dqe``.

    Args:
        argv: the arguments, without the program's name; those of the process if None.

    Returns:
        The command's own exit code; 0 after help; 2 for an unknown command, told in one line on standard error.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    name, *options = arguments or ["--help"]
    if name in ("-h", "--help"):
        try:
            print(usage(), flush=True)
        except BrokenPipeError:
            return reader_gone()
        return 0
    if name not in COMMANDS:
        print(f"dqe: error: unknown command {name!r}; expected one of {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    return run(name, options)


def reader_gone() -> int:
    """Write no more to a standard output that nobody reads (``dqe rate --help | head -1``).

    Returns:
        The exit code that a shell gives a process that a broken pipe ended.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter flushes once more, and fails
    return 128 + 13  # SIGPIPE, which Windows lacks


def run(name: str, argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        name: one of `COMMANDS`.
        argv: its arguments; those of the process if None.

    Returns:
        The command's exit code; 2 if a library of its command line is missing, told in one line on standard error.
    """
    try:
        command = import_extra(COMMANDS[name].module, COMMANDS[name].extra)
    except ImportError as error:
        print(f"dqe {name}: error: {error}", file=sys.stderr)
        return 2
    code: int = command.main(argv)
    return code


def usage() -> str:
    """What ``dqe --help`` prints: each command with the first line of its description."""
    lines = [f"  {name:{max(map(len, COMMANDS))}}  {first_line(command)}" for name, command in COMMANDS.items()]
    return "\n".join(["usage: dqe COMMAND [OPTIONS]", "", *lines, "", "Options: dqe COMMAND --help"])


def first_line(command: Command) -> str:
    """First line of a command's description, read without importing it."""
    tree = ast.parse((Path(__file__).parent / command.source).read_text(encoding="utf-8"))
    classes = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == command.described_by)
    return (ast.get_docstring(next(classes)) or "").partition("\n")[0]

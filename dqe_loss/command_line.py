"""What every command does alike: from arguments to an exit code, with errors and warnings of one line."""

import io
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import torch
import tyro

from dqe_loss.cli import reader_gone

Parsed = TypeVar("Parsed")


def available_cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_command(
    prog: str,
    parse: type[Parsed] | Callable[[Sequence[str]], Parsed],
    work: Callable[[Parsed], int | None],
    argv: Sequence[str] | None,
) -> int:
    """Parse a command's arguments, do its work, and turn what a user can mend into one line on standard error.

    An error with several problems, such as a table's, gets a line for each. What the terminal's encoding lacks is
    printed as an escape: no work is lost to a letter.

    Args:
        prog: name of the command, which begins every line.
        parse: the class of its options, or what makes one of the arguments.
        work: takes the options; returns an exit code of its own, if it has one. It raises ValueError, OSError or
            ImportError for what a user can mend; so may ``parse``.
        argv: the arguments, without the program's name; those of the process if None.

    Returns:
        Exit code: that of the work, or 0; 2 after such an error; 130 after an interrupt; 141 if
            nobody reads the output.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)

    def show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
        print(f"{prog}: warning:", " ".join(str(message).split()), file=sys.stderr)

    with _on_any_terminal():
        try:
            with warnings.catch_warnings():
                warnings.showwarning = show_warning
                options = tyro.cli(parse, prog=prog, args=arguments) if isinstance(parse, type) else parse(arguments)
                code = work(options) or 0
                if sys.stdout is not None:  # closed, as under some daemons
                    sys.stdout.flush()
                return code
        except KeyboardInterrupt:
            return 130
        except BrokenPipeError:
            return reader_gone()
        except (ValueError, OSError, ImportError) as error:
            # An error that holds a list of problems, such as those of a table's rows, gets a line for each.
            for problem in getattr(error, "problems", (error,)):
                print(f"{prog}: error:", " ".join(str(problem).split()), file=sys.stderr)
            return 2


@contextmanager
def _on_any_terminal() -> Iterator[None]:
    """Let the standard streams write escapes for what their encoding lacks: cp1252, ASCII, names that are not UTF-8."""
    streams = [stream for stream in (sys.stdout, sys.stderr) if isinstance(stream, io.TextIOWrapper)]
    before = [stream.errors for stream in streams]
    try:
        for stream in streams:
            stream.reconfigure(errors="backslashreplace")
        yield
    finally:
        for stream, errors in zip(streams, before, strict=True):
            with suppress(OSError):  # whoever read the output has gone
                stream.reconfigure(errors=errors)


def check_device(device: str) -> None:
    """Check that a device is there.

    Raises:
        ValueError: naming the device and the reason.
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"--device {device} cannot be used here, try cpu ({reason})") from error

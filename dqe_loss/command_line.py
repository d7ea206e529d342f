"""What the commands share: errors and warnings of one line, exit codes, a look at the device before any work."""

import io
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Annotated, Any

import torch
import tyro

from dqe_loss.core.label_schemes import SchemeName, describe_schemes

SchemeOption = Annotated[SchemeName, tyro.conf.arg(help=f"Which label is which tissue. {describe_schemes()}.")]
"""The option ``--label-scheme``, with all schemes that there are."""


def available_cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_command(prog: str, work: Callable[[], None]) -> int:
    """Do a command's work, and turn what a user can mend into one line on standard error (a line a problem).

    What the terminal's encoding lacks is printed as an escape: no work is lost to a letter.

    Args:
        prog: name of the command, which begins every line.
        work: the work; raises ValueError, OSError or ImportError for what a user can mend.

    Returns:
        Exit code: 0, or 2 after such an error; 130 after an interrupt.
    """

    def show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
        print(f"{prog}: warning:", " ".join(str(message).split()), file=sys.stderr)

    with _on_any_terminal():
        try:
            with warnings.catch_warnings():
                warnings.showwarning = show_warning
                work()
        except KeyboardInterrupt:
            return 130
        except (ValueError, OSError, ImportError) as error:
            # An error that holds a list of problems, such as those of a table's rows, gets a line for each.
            for problem in getattr(error, "problems", (error,)):
                print(f"{prog}: error:", " ".join(str(problem).split()), file=sys.stderr)
            return 2
    return 0


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

"""Parts of the package that need optional libraries: imported late, and what is missing is told in one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType


@contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    """Around imports that need optional libraries, so that a missing one is told in one line.

    Args:
        extra: the extra of this package that brings the libraries.

    Raises:
        ImportError: naming the library that is missing, and the extra.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing == "dqe_loss":
            raise
        raise ImportError(f'this needs {missing}, which is missing; run: pip install "dqe_loss[{extra}]"') from error


def import_extra(module: str, extra: str) -> ModuleType:
    """Import a module, given by its full name, late; see `needs_extra`."""
    with needs_extra(extra):
        return import_module(module)

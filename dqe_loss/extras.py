"""Parts of the package that need optional libraries: imported late, and what is missing is told in one line."""

from importlib import import_module
from types import ModuleType


def import_extra(module: str, extra: str) -> ModuleType:
    """Import a module that needs optional libraries, late, so that a missing one is told in one line.

    Args:
        module: its full name.
        extra: the extra of this package that brings the libraries.

    Raises:
        ImportError: naming the library that is missing, and the extra.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing == "dqe_loss":
            raise
        raise ImportError(f'this needs {missing}, which is missing; run: pip install "dqe_loss[{extra}]"') from error

r"""File names as text: the one rule by which names that are not UTF-8 are written, without loss.

Linux takes any bytes as a name. Python holds a byte that is not UTF-8 as a lone surrogate, which no table, page or
terminal takes. Such a byte is written ``\xe9``, in names of exams and segmentations and in paths of tables; a backslash
of the name itself that would read as such an escape is written ``\x5c``. Every other name is written as it is.
"""

import os
import re
from pathlib import Path

_ANY_BYTES = os.name == "posix"  # Windows' names are Unicode, and their backslashes part folders
_BYTE = re.compile("[\udc80-\udcff]")
_ESCAPE = re.compile(r"\\x(5c|[89a-f][0-9a-f])")


def printable(text: str) -> str:
    """Any text, such as an error that names a file, with escapes for bytes that are not UTF-8."""
    return text if text.isascii() else _BYTE.sub(lambda byte: f"\\x{ord(byte[0]) - 0xDC00:02x}", text)


def written(name: str) -> str:
    """A file's name or path as text; see `file_at`."""
    return printable(_ESCAPE.sub(r"\\x5cx\1", name) if _ANY_BYTES and "\\" in name else name)


def file_at(text: str) -> Path:
    """The file whose name or path was `written`."""
    return Path(_ESCAPE.sub(_character, text) if _ANY_BYTES and "\\" in text else text)


def _character(escape: re.Match[str]) -> str:
    code = int(escape[1], 16)
    return chr(code) if code < 0x80 else chr(0xDC00 + code)

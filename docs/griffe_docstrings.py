"""Docstrings as the site shows them: an extension of Griffe, which reads them for mkdocstrings."""

import re
from typing import Any

from griffe import Extension, Object

_CONTRACT = re.compile(r"\s+\(contracts? C\d+(?:, C\d+)*\)")
_EXAMPLE = re.compile(r"^Example:$", re.MULTILINE)


class Docstrings(Extension):
    """Drops the numbers of contracts, which mean nothing to a reader, and shows an ``Example:`` as code."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Change the docstring of a module, class, function or attribute when it is loaded."""
        if obj.docstring:
            obj.docstring.value = _EXAMPLE.sub("Examples:", _CONTRACT.sub("", obj.docstring.value))

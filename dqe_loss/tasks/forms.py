"""What form each field of a task has, by its declared type: a file may hold anything, and is told what was expected."""

from collections.abc import Mapping
from dataclasses import is_dataclass
from math import isfinite
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

_EXAMPLES = {
    "name": "hippocampus",
    "modalities": "[scan, adc]",
    "regions": "[whole, left]",
    "tissues": "[left, right]",
    "centers": "[whole]",
    "views": "[axial, coronal]",
    "contrast": "[late, early]",
    "field_of_view": "[64, 64]",
    "grid": "[240, 240, 155]",
    "spacing": "[1, 1, 3]",
    "window": "[-160, 240]",
    "stars": "[1, 6]",
    "error_size": "0.35",
    "parts": "{whole: [left, right]}",
    "schemes": "{mine: {left: 1, right: 2}}",
    "titles": "{scan: MR scan}",
    "colors": '{left: "#E69F00"}',
    "spurious": "{left: 0.5, right: 0.5}",
    "taken_for": "{left: right}",
    "unenhanced": "{left: right}",
    "files": '{images: {scan: "images/{exam}.nii.gz"}, reference: "labels/{exam}.nii.gz"}',
    "files.images": '{scan: "images/{exam}.nii.gz"}',
    "files.endings": "{scan: [scan, mr]}",
    "files.words": "{MR image: scan}",
}
"""How a file has a field, where its form does not tell."""


def form_problems(values: Mapping[str, Any], kind: type, prefix: str = "") -> list[str]:
    """Which values have another form than their field, each with what was expected, and what came.

    Args:
        values: fields and their values; fields that are left out are not looked at.
        kind: the dataclass whose fields they are.
        prefix: what stands before the fields' names, such as ``"files."``.
    """
    hints = get_type_hints(kind)
    found = []
    for name, value in values.items():
        if name in hints:
            found += _problems(f"{prefix}{name}", value, hints[name])
    return found


def got(value: Any) -> str:
    """What came, for a message: as it stands in a file."""
    if value is None:
        return "got nothing"
    if isinstance(value, bool):
        return f"got {str(value).lower()}"
    return f"got {list(value) if isinstance(value, tuple) else value!r}"


def _problems(name: str, value: Any, hint: Any) -> list[str]:
    """What is wrong with a value, or with what it holds."""
    if get_origin(hint) is UnionType:  # a field that may be nothing
        if value is None:
            return []
        (hint,) = (one for one in get_args(hint) if one is not NoneType)
    if is_dataclass(hint):
        kind: Any = hint
        if isinstance(value, kind):
            return form_problems(vars(value), kind, f"{name}.")
        return [_told(name, value, f"be {kind.__name__}")]
    if get_origin(hint) is Mapping:
        return _mapping_problems(name, value, get_args(hint)[1])
    if get_origin(hint) is tuple:
        return [] if _is_tuple(value, get_args(hint)) else [_told(name, value, _tuple_words(get_args(hint)))]
    if _is(value, hint):
        return []
    words = _ONE[hint]
    if hint is str and isinstance(value, Real):
        return [f'{name} must be {words}, {got(value)}; write it with quotes: "{str(value).lower()}"']
    return [_told(name, value, f"be {words}")]


def _mapping_problems(name: str, value: Any, item: Any) -> list[str]:
    if not isinstance(value, Mapping):
        return [_told(name, value, "map names to values")]
    found = []
    for key, one in value.items():
        if not isinstance(key, str):
            found.append(f'{name} must map names to values, {got(key)} as a name; write it with quotes: "{key}"')
        else:
            found += _problems(f"{name}: {key}", one, item)
    return found


def _told(name: str, value: Any, words: str) -> str:
    field = name.partition(": ")[0]
    example = f", as in {_EXAMPLES[name]}" if name in _EXAMPLES else ""
    cure = "; leave the line out for its default" if value is None and field == name else ""
    return f"{name} must {words}{example}, {got(value)}{cure}"


_ONE = {
    str: "text",
    bool: "true or false without quotes",
    int: "a whole number without quotes",
    float: "a number without quotes, and not infinite",
}


def _is(value: Any, kind: Any) -> bool:
    if kind is str:
        return isinstance(value, str)
    if kind is bool or isinstance(value, bool):
        return kind is bool and isinstance(value, bool)
    if kind is int:
        return isinstance(value, Integral)
    return isinstance(value, Real) and isfinite(value)


def _is_tuple(value: Any, items: tuple[Any, ...]) -> bool:
    if not isinstance(value, list | tuple):
        return False
    if items[-1] is Ellipsis:
        return all(_is(one, items[0]) for one in value)
    return len(value) == len(items) and all(_is(one, kind) for one, kind in zip(value, items, strict=True))


def _tuple_words(items: tuple[Any, ...]) -> str:
    if items[-1] is Ellipsis:
        return "be a list of names" if items[0] is str else "be a list of whole numbers"
    return f"be a list of {len(items)} {'whole' if items[0] is int else 'finite'} numbers"

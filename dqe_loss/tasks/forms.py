"""What form each field of a task has: names, numbers or a mapping. A file may hold anything."""

from collections.abc import Mapping
from numbers import Real
from typing import Any

_NAMES = ("modalities", "regions", "tissues", "centers", "views", "contrast", "shown")
_NUMBERS = {"field_of_view": 2, "spacing": 3, "grid": 3, "window": 2, "stars": 2}
_MAPPINGS = ("parts", "schemes", "titles", "colors", "spurious", "taken_for")


def form_problems(values: Mapping[str, Any]) -> list[str]:
    """Which values have another form than their field, each with what was expected.

    Args:
        values: fields and their values; what is None or left out is not looked at.
    """
    found = []
    for name in _NAMES:
        value = values.get(name)
        if isinstance(value, str | int | float):
            found.append(f"{name} must be a list of names, as in [{value}], got {value!r}")
    for name, count in _NUMBERS.items():
        value = values.get(name)
        listed = isinstance(value, list | tuple) and all(_is_number(one) for one in value)
        if value is not None and not listed:
            example = ", ".join([str(value) if _is_number(value) else str(1 + i) for i in range(count)])
            found.append(f"{name} must be a list of {count} numbers, as in [{example}], got {value!r}")
    for name in _MAPPINGS:
        value = values.get(name)
        if value is not None and not isinstance(value, Mapping):
            found.append(f"{name} must map names to values, as in {{name: value}}, got {value!r}")
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)

"""Writing and showing the results of `gpu.py`; light, so that a part's failing import does not take the rest along."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any


def write_whole(path: Path, payload: Any) -> None:
    """Writes JSON whole or not at all; NaN and infinities become null, odd types strings."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(_plain(payload), indent=2, allow_nan=False) + "\n")
    part.replace(path)


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Name and text of each figure, those of nested mappings behind their mapping's name."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}, ")
        else:
            yield f"{prefix}{name}", f"{value:.4g}" if isinstance(value, float) else str(value)


def table(rows: Sequence[tuple[str, str, str]]) -> str:
    """A Markdown table of part, figure and value."""
    lines = [("part", "figure", "value"), ("---", "---", "---"), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "/") for cell in line) + " |" for line in lines)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)

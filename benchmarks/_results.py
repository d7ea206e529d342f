"""A Markdown table and safe JSON: what needs neither torch nor MONAI, so that where those fail it can still be told."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from dqe_loss.outputs import encode, json_ready, write_together


def markdown_table(rows: list[dict[str, Any]]) -> str:
    """Renders rows as a Markdown table; columns in order of first appearance, floats to three digits."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    lines = [
        columns,
        ["---"] * len(columns),
        *([_cell(row.get(column)) for column in columns] for row in rows),
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def write_json(path: Path, payload: Any) -> None:
    """Writes `payload` whole or not at all; NaN and infinities become null, paths and odd types strings."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(json_ready(payload), indent=2, allow_nan=False, default=str) + "\n"
    write_together({path: encode(text)})


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.0f}" if 1000 <= abs(value) < math.inf else f"{value:.3g}"
    return str(value)

"""JSON files of a cross-validation, one an exam and a stage, each saying what it was measured with."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from _report import write_json

MASKS, READER, ATTACKS, COST = "masks", "reader", "attacks", "cost"
"""Stages that measure; see `hardening.py`."""


def measured(path: Path, key: Mapping[str, Any], measure: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """What a file holds if its key is this one; else what is measured now, written whole or not at all."""
    kept = read_measured(path, key)
    if kept is None:
        write_json(path, {"key": key, **measure()})
        kept = json.loads(path.read_text())
    return kept


def read_measured(path: Path, key: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a file holds; None if there is none, or it was measured with something else."""
    if not path.is_file():
        return None
    kept: dict[str, Any] = json.loads(path.read_text())
    return kept if kept["key"] == json.loads(json.dumps(key)) else None


def measured_path(out: Path, stage: str, exam: str, refiner: str = "published") -> Path:
    """Where a stage keeps an exam: ``OUT/measured/READER/STAGE/EXAM.json``."""
    return out / "measured" / refiner / stage / f"{exam}.json"

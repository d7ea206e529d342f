"""The rows of a rated table as its page holds them: what is sorted and filtered, and what an opened case shows."""

from typing import Any

import pandas as pd

from dqe_loss.task import Task
from dqe_loss.viz.cases.pictures import Pictures


def rows_data(table: pd.DataFrame, pictures: Pictures, unit: str, decided: bool, task: Task) -> dict[str, Any]:
    """What the script sorts and filters: a few short values a row."""
    columns: list[dict[str, Any]] = [{"key": "exam", "label": "exam"}, {"key": "segmentation", "label": "segmentation"}]
    columns += [{"key": "decision", "label": "decision"}] if decided else []
    numeric = {key: value for key, value in _numbers(task).items() if key in table}  # not every checkpoint tells Dice
    columns += [{"key": key, "label": label, "digits": digits} for key, (label, digits) in numeric.items()]
    columns.append({"key": "note", "label": "note"})
    rows = []
    for row in table.assign(note=_notes(table)).to_dict("records"):
        numbers = [None if pd.isna(row[key]) else round(float(row[key]), 3) for key in numeric]
        decision = [row["decision"]] if decided else []
        rows.append([row["exam"], row["segmentation"], *decision, *numbers, row["note"]])
    pictured = [int(key in pictures) for key in zip(table["exam"], table["segmentation"], strict=True)]
    return {
        "unit": unit,
        "columns": columns,
        "rows": rows,
        "pictured": pictured,
        "shown": [task.title(m) for m in task.pictured],
    }


def opened_cases(table: pd.DataFrame, pictures: Pictures, task: Task) -> list[tuple[int, dict[str, Any]]]:
    """Number of the row, and what is shown where it is opened."""
    cases = []
    for number, row in enumerate(table.to_dict("records")):
        found = pictures.get((row["exam"], row["segmentation"]))
        if found is None:
            continue
        files = {name: str(row[name]) for name in ("mask", *task.modalities) if row[name]}
        views = [] if isinstance(found, str) else [view.to_json() for view in found]
        cases.append((number, {"files": files, "views": views, "problem": found if isinstance(found, str) else ""}))
    return cases


def _numbers(task: Task) -> dict[str, tuple[str, int]]:
    """Columns of numbers: heading and digits."""
    stars = {name: (name, 2) for name in ("mean", *task.views, "spread", "dice", "dice_low")}
    return stars | {f"{region.lower()}_ml": (f"{region} ml", 1) for region in task.regions}


def _notes(table: pd.DataFrame) -> list[str]:
    """What there is to say of each row; a decision's reason tells an error or a warning already."""
    reasons = table["reason"] if "reason" in table else pd.Series("", index=table.index)
    notes = []
    for reason, error, warnings in zip(reasons, table["error"], table["warnings"], strict=True):
        parts = [reason, error and f"no stars: {error}", warnings and f"warning: {warnings}"]
        notes.append("; ".join(dict.fromkeys(part for part in parts if part)))
    return notes

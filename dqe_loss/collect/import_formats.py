"""What other programs write: Label Studio's JSON export, and ``annotations.csv`` of 3D Slicer's SegmentationReview."""

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path, PureWindowsPath
from typing import Any

import pandas as pd

from dqe_loss.data.file_names import written
from dqe_loss.data.tables.table import raise_problems

OURS = ("exam", "segmentation", "rater", "view", "stars", "repeat")
"""Columns that ``--columns`` may name."""

REVIEW_WORDS = {
    "acceptable with no changes": 1,
    "acceptable with minor changes": 2,
    "unacceptable with major changes": 3,
    "unacceptable and not visible": 4,
    "bad images": 5,
}
"""SegmentationReview's answers, and the numbers that its first versions wrote. The fifth is no judgment of the mask."""
_BAD_IMAGES = 5


def recognize(path: Path) -> str:
    """Which format a file has.

    Raises:
        ValueError: it is not there.
    """
    if not path.is_file():
        raise ValueError(f"{path}: expected ratings, found nothing there; check the path")
    if path.suffix.lower() == ".json":
        return "label-studio"
    if path.suffix.lower() == ".csv":
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            first = next(csv.reader(file), [])
        if len(first) >= 3 and first[0].endswith((".nii", ".nii.gz", ".nrrd")) and _review_value(first[1]) is not None:
            return "segmentation-review"
    return "table"


def read_segmentation_review(path: Path) -> pd.DataFrame:
    """``annotations.csv``: no header; image, answer, comment and, in later versions, mask and what became of it.

    Returns:
        ``exam`` (the image's name), ``segmentation`` (the mask's name; the image's with ``_mask`` in first versions,
        and where the mask that is named is the rater's own: what was judged is the one before it was edited),
        ``stars`` (1 is best there), ``comment``, ``mask_status``, ``row``. Rows that say "bad images" are left out.

    Raises:
        ValueError: listing every row that cannot be read, or names an image that another row has named: of files with
            one name in several folders some versions do not say which.
    """
    rows, problems = [], []
    row_of: dict[str, int] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = [row for row in csv.reader(file) if any(cell.strip() for cell in row)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: cannot be read as CSV in UTF-8 ({error}); save it again") from error
    for number, row in enumerate(lines, 1):
        where = f"{written(str(path))}, row {number}"
        value = _review_value(row[1]) if len(row) > 1 else None
        if value is None:
            problems.append(f"{where}: expected an answer of SegmentationReview, found {row[1:2]}")
            continue
        image, (comment, mask, status) = _review_name(row[0]), [*row[2:5], "", "", ""][:3]
        if row_of.setdefault(image, number) != number:
            problems.append(
                f"{where}: row {row_of[image]} is of an image {image}, too; write in the first column each exam's name"
            )
        if value != _BAD_IMAGES:
            own = not mask or "edited" in status.lower()
            rows.append({"exam": image, "segmentation": f"{image}_mask" if own else _review_name(mask)})
            rows[-1] |= {"stars": str(value), "comment": comment, "mask_status": status, "row": where}
    raise_problems(problems)
    if not rows:
        raise ValueError(f"{path}: expected ratings, found none")
    return pd.DataFrame(rows)


def read_label_studio(path: Path, columns: Mapping[str, str]) -> pd.DataFrame:
    """The JSON export of Label Studio: tasks with annotations, of which ratings, numbers and choices are read.

    Args:
        path: the export.
        columns: the fields of a task's ``data`` that hold exam and segmentation, if they are not called so, and rater,
            view and repeat, if they are there; and for ``stars`` the name of the control (``from_name``), where there
            are several.

    Returns:
        ``exam``, ``segmentation``, ``rater`` (who completed the annotation, if no field says it), ``stars`` (text),
        ``row``, and ``view`` and ``repeat`` where they were named; annotations that were skipped are left out.

    Raises:
        ValueError: it is no such export, or a field is missing, naming the task.
    """
    try:
        tasks = json.loads(path.read_bytes())
        if not isinstance(tasks, list) or not all(isinstance(task, dict) and "data" in task for task in tasks):
            raise ValueError("expected a list of tasks with data")
    except ValueError as error:
        raise ValueError(
            f"{path}: cannot be read as an export of Label Studio ({error}); export as JSON, not JSON-MIN"
        ) from error
    rows, problems = [], []
    for number, task in enumerate(tasks, 1):
        where = f"{written(str(path))}, task {task.get('id', number)}"
        wanted = ("exam", "segmentation", *(ours for ours in ("rater", "view", "repeat") if ours in columns))
        names = {ours: task["data"].get(columns.get(ours, ours)) for ours in wanted}
        if missing := [ours for ours, value in names.items() if value is None]:
            fields = ", ".join(task["data"])
            problems.append(f"{where}: no {missing[0]} in its data ({fields}); say --columns {missing[0]}=FIELD")
            continue
        # As they were given, for the second of one rater is a second look.
        for annotation in sorted(task.get("annotations") or [], key=lambda given: str(given.get("created_at", ""))):
            if annotation.get("was_cancelled"):
                continue
            values = list(_label_studio_values(annotation.get("result") or [], columns.get("stars")))
            if len(values) != 1:
                problems.append(
                    f"{where}: {len(values)} ratings in an annotation, expected one; say --columns stars=NAME"
                )
                continue
            rater = _label_studio_rater(annotation.get("completed_by"))
            rows.append({"rater": rater, **{k: str(v) for k, v in names.items()}, "stars": values[0], "row": where})
    raise_problems(problems)
    if not rows:
        raise ValueError(f"{path}: expected ratings, found none")
    return pd.DataFrame(rows)


def _label_studio_values(results: list[dict[str, Any]], control: str | None) -> Iterator[str]:
    for result in results:
        if control is not None and result.get("from_name") != control:
            continue
        value = result.get("value", {})
        for key in ("rating", "number"):
            if key in value:
                yield str(value[key])
        if len(value.get("choices", [])) == 1:
            yield str(value["choices"][0])


def _label_studio_rater(who: Any) -> str:
    if isinstance(who, dict):
        return str(who.get("email") or who.get("id", ""))
    return "" if who is None else str(who)


def _review_value(text: str) -> int | None:
    cleaned = text.strip().lower()
    if cleaned in ("1", "2", "3", "4", "5"):
        return int(cleaned)
    return REVIEW_WORDS.get(cleaned)


def _review_name(cell: str) -> str:
    """What a file is called: without its ending, and without its folders where those are of the rater's machine."""
    path = PureWindowsPath(cell)  # knows both kinds of slashes
    name = path.name if path.root else cell
    for ending in (".nii.gz", ".nii", ".nrrd"):
        name = name.removesuffix(ending)
    return name

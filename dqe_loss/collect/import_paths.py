"""Ratings made elsewhere get the paths of the files that were rated, and are checked as training checks them."""

from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from dqe_loss.data.discovery.data_set import find_data_set
from dqe_loss.data.exam_files import match_reference
from dqe_loss.data.file_names import written
from dqe_loss.data.tables.ratings import paths_of, read_ratings, write_ratings
from dqe_loss.data.tables.table import TableError, raise_problems
from dqe_loss.task import Task

_MASK = "\0mask"  # a column that no source has


def with_paths(table: pd.DataFrame, data: Path, label_scheme: str | None, task: Task) -> pd.DataFrame:
    """Fill in where exams and segmentations lie, and the label scheme if one was said.

    Raises:
        ValueError: listing exams and segmentations that the data set does not have.
    """
    exams = {exam.name: exam for exam in find_data_set(data, label_scheme, task=task)}
    by_end: dict[str, list[str]] = defaultdict(list)
    for name in exams:
        by_end[name.rpartition("/")[2]].append(name)
    problems, rows = [], []
    for name, segmentation in table[["exam", "segmentation"]].drop_duplicates().itertuples(index=False):
        fitting = [name] if name in exams else by_end[name]
        if len(fitting) > 1:
            problems.append(f"exam {name}: {data} has {' and '.join(fitting)}; say which in the column exam")
            continue
        exam = exams[fitting[0]] if fitting else None
        if exam is None or exam.error:
            problems.append(exam.error if exam else f"{data}: has no exam {name}")
            continue
        fits = match_reference(list(exam.masks), [Path(segmentation).name])
        if len(fits) != 1:
            found = ", ".join(exam.masks) or "none"
            problems.append(f"exam {name}: {len(fits)} segmentations fit {segmentation!r}, expected one of: {found}")
            continue
        paths = {modality: written(str(exam.images[modality].absolute())) for modality in task.modalities}
        mask = written(str(exam.masks[fits[0]].absolute()))
        rows.append({"exam": name, "segmentation": segmentation, _MASK: mask, **paths})
    raise_problems(problems)
    table = table.drop(columns=[c for c in task.modalities if c in table])
    merged = table.merge(pd.DataFrame(rows), how="left", on=["exam", "segmentation"])
    if "name" not in merged:
        merged["name"] = merged["segmentation"]
    merged = merged.assign(segmentation=merged[_MASK]).drop(columns=_MASK)
    if label_scheme is not None:
        merged = merged.assign(label_scheme=task.scheme(label_scheme).name)
    first = ["exam", *paths_of(task)]
    return merged[[*first, *(name for name in merged if name not in first)]]


def check_ratings(table: pd.DataFrame, out: Path, task: Task) -> None:
    """Ask what training would say of a table before anything that is there is replaced by it.

    Raises:
        TableError: listing every problem.
    """
    with TemporaryDirectory() as folder:
        trial = Path(folder) / out.name
        write_ratings(table, trial, task)
        try:
            read_ratings([trial], task)
        except TableError as error:
            raise TableError(*(problem.replace(str(trial), str(out)) for problem in error.problems)) from error

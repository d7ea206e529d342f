"""``dqe collect import``: ratings made elsewhere, as a table of ratings."""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from dqe_loss.collect.arguments import ImportArguments
from dqe_loss.collect.import_formats import OURS, read_label_studio, read_segmentation_review, recognize
from dqe_loss.collect.table import with_task
from dqe_loss.data.discovery.data_set import find_data_set
from dqe_loss.data.exam_files import match_reference
from dqe_loss.data.file_names import written
from dqe_loss.data.tables.ratings import paths_of, read_ratings, write_ratings
from dqe_loss.data.tables.table import raise_problems, read_table, write_table
from dqe_loss.outputs import check_outputs
from dqe_loss.task import Task, find_task

_MASK = "\0mask"  # a column that no source has
_FIRST = ("exam", "segmentation", "rater", "view", "stars", "kind", "repeat")


def import_table(arguments: ImportArguments) -> None:
    """Read a source, and write the table of a command line.

    Raises:
        ValueError: the source cannot be used, or an option does not fit.
        OSError: the table cannot be written.
    """
    check_outputs([arguments.out])
    if arguments.out.suffix not in (".csv", ".parquet"):
        raise ValueError(f"{arguments.out}: expected a table that ends in .csv or .parquet")
    task, columns = find_task(arguments.task), parse_columns(arguments.columns)
    kind = arguments.format if arguments.format != "auto" else recognize(arguments.source)
    if kind == "label-studio":
        table = read_label_studio(arguments.source, columns)
    elif kind == "segmentation-review":
        if columns:
            raise ValueError("--columns: annotations.csv of SegmentationReview has no column names; leave it out")
        table = read_segmentation_review(arguments.source)
    else:
        table = _read_any(arguments.source, columns, arguments.rater)
    scale = arguments.scale or ((4.0, 1.0) if kind == "segmentation-review" else None)
    table = with_task(finished(table, scale, arguments.rater, arguments.kind, task.stars), task)
    if arguments.data is None:
        write_table(table, arguments.out, ())
        use = "for dqe collect report; give --data to make it one that dqe train takes"
    else:
        write_ratings(with_paths(table, arguments.data, arguments.label_scheme, task), arguments.out, task)
        try:
            read_ratings([arguments.out], task)  # says what training would say
        except ValueError:
            arguments.out.unlink()
            raise
        use = "for dqe train and dqe collect report"
    raters = table["rater"].nunique()
    print(f"{arguments.out}: {len(table)} ratings by {raters} rater{'s' if raters > 1 else ''}, {use}")


def parse_columns(pairs: tuple[str, ...]) -> dict[str, str]:
    """Our columns and theirs.

    Raises:
        ValueError: one is not of the form OURS=THEIRS, or ours is unknown.
    """
    columns = {}
    for pair in pairs:
        ours, equals, theirs = pair.partition("=")
        if not equals or ours not in OURS or not theirs:
            raise ValueError(f"--columns takes OURS=THEIRS with {', '.join(OURS)}, got {pair!r}")
        columns[ours] = theirs
    return columns


def finished(
    table: pd.DataFrame, scale: tuple[float, float] | None, rater: str | None, kind: str, ours: tuple[float, float]
) -> pd.DataFrame:
    """Stars on the task's scale, repeats numbered, and all columns that a table has.

    Args:
        table: ``exam``, ``segmentation``, ``stars`` (text), ``row``, and perhaps ``rater``, ``view``, ``repeat``.
        scale: worst and best value of the source; values are stars if None.
        rater: who rated, where the table does not say.
        kind: of the ratings.
        ours: lowest and highest rating of the task.

    Raises:
        ValueError: listing every value that is off the scale.
    """
    low, high = scale or ours
    if low == high:
        raise ValueError(f"--scale takes the worst and the best value, got {low:g} twice")
    values = pd.to_numeric(table["stars"], errors="coerce")
    wrong = ~values.between(min(low, high), max(low, high))
    raise_problems(
        [
            f"{row}: {value!r}: expected a number from {min(low, high):g} to {max(low, high):g}; say --scale WORST BEST"
            for row, value in zip(table["row"][wrong], table["stars"][wrong], strict=True)
        ]
    )
    stars = values if scale is None else ours[0] + (values - low) / (high - low) * (ours[1] - ours[0])
    table = table.assign(stars=stars.round(6), kind=kind)
    if rater is not None:
        given = table["rater"] if "rater" in table else pd.Series("", table.index)
        table["rater"] = given.mask(given.str.strip() == "", rater)
    if "rater" not in table or (table["rater"].str.strip() == "").any():
        raise ValueError("the source does not say who rated; give --rater NAME, or --columns rater=THEIRS")
    for name, default in (("view", ""), ("repeat", None)):
        if name not in table:
            table[name] = default
    keys = ["exam", "segmentation", "view", "rater"]
    # A second row of one rater is a second look, if the source does not say otherwise.
    counted = table.groupby(keys).cumcount().astype(str)
    table["repeat"] = table["repeat"].where(table["repeat"].notna() & (table["repeat"] != ""), counted)
    others = [name for name in table if name not in (*_FIRST, "row")]
    return table[[*_FIRST, *others]]


def with_paths(table: pd.DataFrame, data: Path, label_scheme: str | None, task: Task) -> pd.DataFrame:
    """Fill in where exams and segmentations lie.

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
    first = ["exam", *paths_of(task)]
    return merged[[*first, *(name for name in merged if name not in first)]]


def _read_any(path: Path, columns: Mapping[str, str], rater: str | None) -> pd.DataFrame:
    """Any table with a row for each judgment; its other columns are kept."""
    needed = [name for name in ("exam", "segmentation", "stars") if name not in columns]
    needed += [] if rater is not None or "rater" in columns else ["rater"]
    theirs = [*columns.values(), *needed]
    if path.suffix.lower() == ".json":
        raise ValueError(f"{path}: is not an export of Label Studio with ratings; save the ratings as CSV")
    table = read_table(path, theirs, "table of ratings", [columns.get("stars", "stars")])
    clash = [ours for ours, name in columns.items() if ours in table and ours != name]
    table = table.drop(columns=clash).rename(columns={name: ours for ours, name in columns.items()})
    for name in table.columns.intersection(["exam", "segmentation", "rater", "view", "repeat"]):
        table[name] = table[name].replace({np.nan: ""}).astype(str)
    return table

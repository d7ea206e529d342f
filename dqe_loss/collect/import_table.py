"""``dqe collect import``: ratings made elsewhere, as a table of ratings."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from dqe_loss.collect.arguments import ImportArguments
from dqe_loss.collect.import_formats import OURS, read_label_studio, read_segmentation_review, recognize
from dqe_loss.collect.import_paths import check_ratings, with_paths
from dqe_loss.collect.judgments import look_numbers
from dqe_loss.collect.table import with_task
from dqe_loss.data.tables.ratings import KINDS, paths_of
from dqe_loss.data.tables.table import absolute_path, problems_of, raise_problems, read_table, write_table
from dqe_loss.outputs import check_outputs
from dqe_loss.task import find_task

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
    table, again = finished(table, scale, arguments.rater, arguments.kind, task.stars)
    table = with_task(table, task)
    paths = paths_of(task)
    if arguments.data is not None:
        table = with_paths(table, arguments.data, arguments.label_scheme, task)
        check_ratings(table, arguments.out, task)
        use = "for dqe train and dqe collect report"
    elif set(paths) <= set(table):
        given = table[list(paths)].fillna("").astype(str)
        table[list(paths)] = given.map(absolute_path, folder=arguments.source.parent)
        use = "for dqe collect report, and for dqe train if the files that it names are there"
    else:
        paths = ()
        use = "for dqe collect report; give --data to make it one that dqe train takes"
    write_table(table, arguments.out, paths)
    raters = table["rater"].nunique()
    print(f"{arguments.out}: {len(table)} ratings by {raters} rater{'s' if raters > 1 else ''}, {use}")
    if again:
        print(
            f"{again} of them repeat an earlier row (same rater, exam and segmentation): numbered in the column repeat"
        )


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
    table: pd.DataFrame,
    scale: tuple[float, float] | None,
    rater: str | None,
    kind: str | None,
    ours: tuple[float, float],
) -> tuple[pd.DataFrame, int]:
    """Stars on the task's scale, repeats numbered, and all columns that a table has.

    Args:
        table: ``exam``, ``segmentation``, ``stars`` (text), ``row``, and perhaps ``rater``, ``view``, ``repeat``,
            ``kind``.
        scale: worst and best value of the source; values are stars if None.
        rater: who rated, where the table does not say.
        kind: of the ratings; None for what the table says, or human where it says nothing.
        ours: lowest and highest rating of the task.

    Returns:
        The table, and of how many rows it was found here that they are second looks.

    Raises:
        ValueError: listing every value that is off the scale, or no kind, or not the kind of the ratings.
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
    table = table.assign(stars=stars.round(6), kind=_kinds(table, kind))
    if rater is not None:
        given = table["rater"] if "rater" in table else pd.Series("", table.index)
        table["rater"] = given.mask(given.str.strip() == "", rater)
    if "rater" not in table or (table["rater"].str.strip() == "").any():
        raise ValueError("the source does not say who rated; give --rater NAME, or --columns rater=THEIRS")
    for name in ("view", "repeat"):
        if name not in table:
            table[name] = ""
    looks, problems = look_numbers(table)
    raise_problems(problems)
    # A second row of one rater is a second look, if the source does not say otherwise.
    unsaid = table["repeat"].str.strip() == ""
    counted = table.groupby(["exam", "segmentation", "view", "rater"]).cumcount()
    table["repeat"] = looks.mask(unsaid, counted).astype(int)
    others = [name for name in table if name not in (*_FIRST, "row")]
    return table[[*_FIRST, *others]], int((unsaid & (counted > 0)).sum())


def _kinds(table: pd.DataFrame, kind: str | None) -> pd.Series:
    """The kind of each rating: what the source says may be kept, not changed."""
    given = table["kind"].fillna("").astype(str).str.strip() if "kind" in table else pd.Series("", table.index)
    kinds = given.replace("", kind or "human")
    expected = f"expected {kind}, as --kind says" if kind else f"expected one of {', '.join(KINDS)}"
    wrong = ~kinds.isin([kind] if kind else KINDS)
    raise_problems(problems_of(table.assign(kind=kinds), wrong, "kind", expected))
    return kinds


def _read_any(path: Path, columns: Mapping[str, str], rater: str | None) -> pd.DataFrame:
    """Any table with a row for each judgment; its other columns are kept."""
    needed = [name for name in ("exam", "segmentation", "stars") if name not in columns]
    needed += [] if rater is not None or "rater" in columns else ["rater"]
    if path.suffix.lower() == ".json":
        raise ValueError(f"{path}: is not an export of Label Studio with ratings; save the ratings as CSV")
    theirs = dict.fromkeys((*columns.values(), *needed))
    table = read_table(
        path, tuple(theirs), "table of ratings", [columns.get("stars", "stars")], [columns.get("repeat", "repeat")]
    )
    named = {ours: table[name] for ours, name in columns.items()}  # one of theirs may be several of ours
    table = table.drop(columns=[name for name in theirs if name not in needed]).assign(**named)
    for name in table.columns.intersection(["exam", "segmentation", "rater", "view", "repeat"]):
        table[name] = table[name].replace({np.nan: ""}).astype(str)
    return table

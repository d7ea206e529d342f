"""The ratings table: one row per judgment, checked as a whole before anything is loaded.

A lab's own ratings and simulated ones come as the same table (CSV or Parquet):

| column | holds |
|---|---|
| ``exam`` | name of the exam; splits are made by exam |
| ``segmentation`` | path of the rated label map |
| each of the task's modalities | path of the exam's image |
| ``rater`` | who judged |
| ``view`` | ``axial``, ``coronal``, ``sagittal``; empty where the judgment is of all |
| ``stars`` | on the task's scale, such as 1 (worst) to 6 (best) |
| ``kind`` | optional: ``human`` (default), ``simulated``, ``metric`` (contract C12) |
| ``repeat`` | optional: 0 (default), or 1, 2, ... where a rater judges the same once more; counts as one judgment |
| ``task`` | optional: name of the task |
| ``scale`` | optional: its lowest and highest stars, such as ``1 to 6`` |
| ``label_scheme`` | optional: of the rated label maps, one for all; ``train`` and ``evaluate`` read them by it |

Paths are relative to the table's folder. Further columns are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from dqe_loss.data.file_names import file_at, written
from dqe_loss.data.tables.table import TableError, check_table, other_images, raise_problems, read_table, write_table
from dqe_loss.task import GLIOMA, Task

if TYPE_CHECKING:
    import pandera.pandas as pa


def paths_of(task: Task) -> tuple[str, ...]:
    """Columns that hold paths."""
    return ("segmentation", *task.modalities)


def columns_of(task: Task) -> tuple[str, ...]:
    """Columns that every table has."""
    return ("exam", *paths_of(task), "rater", "view", "stars")


PATHS, COLUMNS = paths_of(GLIOMA), columns_of(GLIOMA)
"""Columns of the built-in task's tables."""

JUDGED = ("exam", "segmentation", "view")
"""Columns that say what was judged."""

SCHEME = "label_scheme"

KINDS = ("human", "simulated", "metric")


def _schema(task: Task) -> pa.DataFrameSchema:
    import pandera.pandas as pa  # late: it takes long, and what reads no table does without

    named = pa.Check(lambda s: s.str.strip() != "", error="expected a name, found nothing")
    views, (low, high), schemes = task.views, task.stars, list(task.schemes)
    within = f"expected a number from {low:g} to {high:g}"
    return pa.DataFrameSchema(
        {
            **{name: pa.Column(str, named) for name in ("exam", *paths_of(task), "rater")},
            "view": pa.Column(
                str, pa.Check.isin(("", *views), error=f"expected one of {', '.join(views)}, or nothing")
            ),
            "stars": pa.Column(
                float, pa.Check(lambda s: s.between(low, high), error=within, ignore_na=False), nullable=True
            ),
            "kind": pa.Column(str, pa.Check.isin(KINDS, error=f"expected one of {', '.join(KINDS)}")),
            "repeat": pa.Column(str, pa.Check.str_matches(r"^\d+$", error="expected 0, or 1, 2, ... for a repeat")),
            SCHEME: pa.Column(
                str, pa.Check.isin(("", *schemes), error=f"expected one of {', '.join(schemes)}"), required=False
            ),
        }
    )


RatingsError = TableError
"""A table of ratings cannot be used."""


def read_ratings(paths: Sequence[str | Path], task: Task = GLIOMA) -> pd.DataFrame:
    """Read and check tables of ratings.

    Args:
        paths: ``.csv`` or ``.parquet`` files; their rows are put together.
        task: what was rated.

    Returns:
        All rows, with the columns of `columns_of`, ``kind`` and ``repeat``: paths absolute, ``view`` ``""`` for all
        views, ``stars`` float, all else strings.

    Raises:
        RatingsError: listing every problem with its file and row (the header is row 1): columns that are missing,
            values that do not fit, files that are not there, judgments given twice, exams whose images differ from
            row to row, files that two exams share (they would leak across a split), kinds that are mixed,
            tables of another task.
    """
    if not paths:
        raise RatingsError("expected at least one table of ratings, got none")
    tables = [_read(Path(path), task) for path in paths]
    problems = [problem for table in tables for problem in _check_values(table, task)]
    raise_problems(problems)
    table = pd.concat([_resolve(table, task) for table in tables], ignore_index=True)
    raise_problems(_check_together(table, task))
    return table.drop(columns=["row", "given"])


def write_ratings(table: pd.DataFrame, path: str | Path, task: Task = GLIOMA) -> None:
    """Write a table of ratings atomically, with paths relative to its folder.

    Args:
        table: as `read_ratings` returns it; further columns are kept.
        path: a ``.csv`` or ``.parquet`` file.
        task: what was rated.

    Raises:
        ValueError: if the path ends otherwise.
    """
    write_table(table, path, paths_of(task))


def mean_ratings(table: pd.DataFrame, task: Task = GLIOMA) -> pd.DataFrame:
    """Mean over raters of each rated view, the paper's target; a rater who judged it twice counts once.

    Args:
        table: as `read_ratings` returns it; a judgment of all views counts in each of them.
        task: what was rated.

    Returns:
        A row for each exam, segmentation and view that was rated, in the table's order: ``exam, segmentation``, the
        modalities, ``view, stars`` (mean), ``lowest, highest, raters`` (how many).
    """
    keys = ["exam", *paths_of(task), "view"]
    by_rater = judgments_by_view(table, task).groupby([*keys, "rater"], sort=False)["stars"].mean().reset_index()
    named = {"stars": "mean", "lowest": "min", "highest": "max", "raters": "count"}
    return by_rater.groupby(keys, sort=False)["stars"].agg(**named).reset_index()


def judgments_by_view(table: pd.DataFrame, task: Task = GLIOMA) -> pd.DataFrame:
    """The table with a row for each judgment and view: one of all views becomes as many."""
    views = table["view"].map(lambda view: [view] if view else list(task.views))
    return table.assign(view=views).explode("view", ignore_index=True)


def _read(path: Path, task: Task) -> pd.DataFrame:
    """All values as they stand in the file, as strings, and where each row comes from."""
    optional = ["view", "kind", "repeat", SCHEME]
    table = read_table(path, columns_of(task), "table of ratings", ["stars"], optional, task)
    repeat = table.get("repeat", pd.Series("", table.index)).replace("", "0").str.removesuffix(".0")
    kind = table.get("kind", pd.Series("", table.index)).replace("", "human")
    return table.assign(
        kind=kind,
        repeat=repeat,
        given=table["stars"],
        stars=pd.to_numeric(table["stars"], errors="coerce").astype(float),
    )


def _check_values(table: pd.DataFrame, task: Task) -> list[str]:
    return check_table(_schema(task), table, table.assign(stars=table["given"]))


def _resolve(table: pd.DataFrame, task: Task) -> pd.DataFrame:
    folders = [file_at(row.rpartition(", row ")[0]).resolve().parent for row in table["row"]]
    paths = {
        name: [written(str((folder / file_at(cell)).resolve())) for folder, cell in zip(folders, cells, strict=True)]
        for name, cells in table[list(paths_of(task))].items()
    }
    return table.assign(**paths)


def _check_together(table: pd.DataFrame, task: Task) -> list[str]:
    """What only shows across rows and files."""
    problems = []
    for name in paths_of(task):
        for path, rows in table.groupby(name, sort=False)["row"]:
            if not file_at(str(path)).is_file():
                problems.append(f"{rows.iloc[0]}: {name} {path}: no such file")
    for exam, rows in table.groupby("exam", sort=False):
        problems += other_images(rows, str(exam), task)
    for name in paths_of(task):
        for path, rows in table.groupby(name, sort=False):
            if rows["exam"].nunique() > 1:
                names = ", ".join(rows["exam"].unique())
                problems.append(
                    f"{rows['row'].iloc[-1]}: {name} {path} is of the exams {names}; give one name to one exam, or its "
                    "planes would be trained and tested on"
                )
    twice = table[table.duplicated([*JUDGED, "rater", "repeat"])]
    problems += [
        f"{r.row}: {r.rater} has judged this segmentation and view before; number second looks in a column repeat"
        for r in twice.itertuples()
    ]
    if table["kind"].nunique() > 1:
        kinds = " and ".join(table["kind"].unique())
        problems.append(f"the tables hold {kinds} ratings, expected one kind: train and evaluate them apart")
    return problems

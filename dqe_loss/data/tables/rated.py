"""The table that ``python -m dqe_loss.rate`` writes: a row for each segmentation, with its stars or why there are none.

| column | holds |
|---|---|
| ``exam`` | name of the exam, unique in a data set |
| ``segmentation`` | name of the segmentation within its exam; empty where an exam has none |
| ``axial``, ``coronal``, ``sagittal``, ``mean`` | stars of each view of the task, and their mean; empty on error |
| ``spread`` | highest minus lowest view |
| ``dice``, ``dice_low`` | what the mean stars mean in Dice; only where the checkpoint says it |
| ``REGION_ml`` | volume of each of the task's regions in ml, named in small letters |
| ``warnings`` | joined by ``"; "``, each with its kind (`warning_kinds`); empty if there are none |
| ``error`` | why there are no stars, one line; empty if there are |
| each of the task's modalities, ``mask`` | paths, relative to the table's folder |
| ``label_scheme`` | of the mask |
| ``unit`` | what the stars are: ``stars``, or ``metric stars`` and the like (contract C12) |
| ``center`` | where the rated planes lie: ``mask``, or several of `dqe_loss.core.centers.CENTERS` with a blank between;
  ``survey`` at the end where the refiner has looked all over the head, too (`dqe_loss.surrogate.survey`);
  tables of former versions call it ``look``, and are read, too |
| ``checkpoint``, ``checkpoint_sha256`` | name of the surrogate, and its `dqe_loss.surrogate.checkpoint.fingerprint` |
| ``task``, ``scale`` | name of the task and its lowest and highest stars, such as ``1 to 6``; missing for the built-in
  task of the published surrogate |
| ``labels`` | that occur in the mask, such as ``1 2 4``; may be missing, as in tables of former versions |
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from dqe_loss.data.tables.table import absolute_path, check_table, problems_of, raise_problems, read_table, write_table
from dqe_loss.surrogate.dice_map import DICE_COLUMNS
from dqe_loss.task import GLIOMA, Task

if TYPE_CHECKING:
    import pandera.pandas as pa

ORIGIN = ("label_scheme", "unit", "center", "checkpoint", "checkpoint_sha256")
"""Columns that say what the stars are: the same in all rows."""

FORMER = {"look": "center"}
"""What columns, and settings of a rating, were called before, to what they are called now."""


def stars_of(task: Task) -> tuple[str, ...]:
    """Columns that an error leaves empty."""
    return (*task.views, "mean", "spread")


def volumes_of(task: Task) -> tuple[str, ...]:
    """Columns of the regions' volumes."""
    return tuple(f"{region.lower()}_ml" for region in task.regions)


def paths_of(task: Task) -> tuple[str, ...]:
    """Columns that hold paths."""
    return (*task.modalities, "mask")


def columns_of(task: Task) -> tuple[str, ...]:
    """All columns of a table, in their order."""
    return ("exam", "segmentation", *stars_of(task), *volumes_of(task), "warnings", "error", *paths_of(task), *ORIGIN)


STARS, VOLUMES, PATHS, COLUMNS = (made(GLIOMA) for made in (stars_of, volumes_of, paths_of, columns_of))
"""Columns of the built-in task's tables."""

_TOLERANCE = 0.0151  # stars are rounded to 5 digits by us, to 2 by hand: two views and their spread by 0.005 each


def _schema(task: Task) -> pa.DataFrameSchema:
    import pandera.pandas as pa  # late: it takes long, and what reads no table does without

    named = pa.Check(lambda s: s.str.strip() != "", error="expected a name, found nothing")
    volume = pa.Check(lambda s: ~(s < 0), error="expected a volume of 0 or more ml")
    share = pa.Check(lambda s: ~((s < 0) | (s > 1)), error="expected a Dice from 0 to 1")
    schemes = list(task.schemes)
    return pa.DataFrameSchema(
        {
            **{name: pa.Column(str, named) for name in ("exam", *ORIGIN) if name != "label_scheme"},
            **{name: pa.Column(float, nullable=True) for name in stars_of(task)},
            **{name: pa.Column(float, volume, nullable=True) for name in volumes_of(task)},
            **{name: pa.Column(float, share, nullable=True, required=False) for name in DICE_COLUMNS},
            "label_scheme": pa.Column(str, pa.Check.isin(schemes, error=f"expected one of {', '.join(schemes)}")),
        }
    )


def read_rated(path: str | Path, task: Task = GLIOMA) -> pd.DataFrame:
    """Read and check a table of rated segmentations.

    Args:
        path: a ``.csv`` or ``.parquet`` file.
        task: what was rated.

    Returns:
        The columns of `columns_of` and any others: stars, volumes and Dice float (NaN where there are none), paths
        absolute (``""`` where there is none; whether the files are there is not asked), all else text.

    Raises:
        TableError: listing every problem with its row (the header is row 1): values that do not fit, rows with neither
            stars nor an error or with both, means and spreads that are not those of the views, segmentations given
            twice, stars of several checkpoints or label schemes, a table of another task.
    """
    path = Path(path)
    numeric, paths = (*stars_of(task), *volumes_of(task), *DICE_COLUMNS), paths_of(task)
    optional = ("warnings", "error", *paths, *DICE_COLUMNS)
    given = read_table(path, columns_of(task), "table of rated segmentations", numeric, optional, task, FORMER)
    numbers = {n: pd.to_numeric(given[n], errors="coerce").astype(float) for n in numeric if n in given}
    table = given.assign(**numbers)
    raise_problems(_check_rows(table, given, task) + check_table(_schema(task), table, given))
    raise_problems(_check_together(table))
    resolved = {name: [absolute_path(value, path.parent) for value in table[name]] for name in paths}
    return table.assign(**resolved).drop(columns="row")


def write_rated(table: pd.DataFrame, path: str | Path, task: Task = GLIOMA) -> None:
    """Write a table of rated segmentations atomically, with paths relative to its folder.

    Args:
        table: as `read_rated` returns it; the columns of `columns_of` come first, Dice after stars, any others follow.
        path: a ``.csv`` or ``.parquet`` file.
        task: what was rated.

    Raises:
        ValueError: if the path ends otherwise.
    """
    columns = columns_of(task)
    after = columns.index(stars_of(task)[-1]) + 1
    first = [*columns[:after], *(name for name in DICE_COLUMNS if name in table), *columns[after:]]
    others = [name for name in table if name not in first]
    write_table(table[[*first, *others]], path, paths_of(task))


def _check_rows(table: pd.DataFrame, given: pd.DataFrame, task: Task) -> list[str]:
    """What only shows across the columns of a row."""
    views, columns = table[list(task.views)], stars_of(task)
    failed, there = table["error"].str.strip() != "", table[list(columns)].abs() < float("inf")
    problems = [
        f"{row}: has stars and an error; expected one of them" for row in table["row"][failed & there.any(axis=1)]
    ]
    for name in columns:
        lacking = ~failed & ~there[name]
        problems += problems_of(given, lacking, name, "expected a number, or a reason in the column error")
    for name, values in (("mean", views.mean(axis=1)), ("spread", views.max(axis=1) - views.min(axis=1))):
        other = ~failed & there.all(axis=1) & ((table[name] - values).abs() > _TOLERANCE)
        problems += [
            f"{row}: {name} {found:g}: that of the views is {expected:.5g}; leave it as rated, or round to no less "
            "than two digits"
            for row, found, expected in zip(table["row"][other], table[name][other], values[other], strict=True)
        ]
    for name in (*volumes_of(task), *(name for name in DICE_COLUMNS if name in table)):
        text = table[name].isna() & (given[name] != "")
        problems += problems_of(given, text, name, "expected a number, or nothing")
    return problems


def _check_together(table: pd.DataFrame) -> list[str]:
    """What only shows across rows."""
    twice = table[table.duplicated(["exam", "segmentation"])]
    problems = [
        f"{r.row}: exam {r.exam} has segmentation {r.segmentation!r} in a row before" for r in twice.itertuples()
    ]
    for name in ORIGIN:
        other = table[table[name] != table[name].iloc[0]]
        if len(other):
            first, second = table[name].iloc[0], other[name].iloc[0]
            problems.append(
                f"{other['row'].iloc[0]}: {name} is {second}, in the rows before {first}; keep tables of different "
                "stars apart"
            )
    return problems

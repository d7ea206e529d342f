"""The ratings that stars are compared with: those of one part of a split, and a row of them for each segmentation."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from dqe_loss.data.split import read_split
from dqe_loss.data.tables.ratings import judgments_by_view, mean_ratings, read_ratings
from dqe_loss.task import Task


@dataclass(frozen=True)
class RatedPart:
    """The ratings that are evaluated, and those that the baselines are fitted to.

    Attributes:
        table: rows of the ratings table that are evaluated.
        train: rows of the training exams; None to leave one exam out.
        split: file of the split, or None.
        part: its part.
        files: the tables.
    """

    table: pd.DataFrame
    train: pd.DataFrame | None
    split: Path | None
    part: str
    files: tuple[Path, ...]


def read_rated_part(files: Sequence[Path], split: Path | None, part: str, task: Task) -> RatedPart:
    """Read ratings tables, and choose the exams of one part of a split.

    Args:
        files: tables of one kind of rating.
        split: CSV with the columns ``exam`` and ``split``; without one all exams are evaluated.
        part: ``"train"``, ``"validation"`` or ``"test"``.
        task: what was rated.

    Returns:
        The part.

    Raises:
        ValueError: a file cannot be used, or no exam is in the part.
    """
    table = read_ratings(files, task)
    if not split:
        return RatedPart(table, None, None, part, tuple(files))
    parts = read_split(split, table["exam"].unique())
    where = table["exam"].map(parts)
    if not (where == part).any():
        counts = table.groupby(where)["exam"].nunique()
        found = ", ".join(f"{name} ({count} exams)" for name, count in counts.items())
        raise ValueError(f"{split}: no exam of the ratings is in the part {part!r}, found {found}; choose with --part")
    # Evaluated on the training part itself, the baselines are as blind to each exam as without a split.
    train = table[where == "train"] if part != "train" and (where == "train").any() else None
    return RatedPart(table[where == part], train, split, part, tuple(files))


def wide_ratings(table: pd.DataFrame, task: Task) -> pd.DataFrame:
    """Ratings with a row for each segmentation.

    Args:
        table: as `dqe_loss.data.tables.ratings.read_ratings` returns it.
        task: what was rated.

    Returns:
        Indexed by ``exam`` and ``segmentation``: ``rated_axial``, ``rated_coronal``, ``rated_sagittal`` (mean of the
        raters, NaN for a view that nobody rated), ``rated_mean`` (mean of the rated views), ``rated_lowest`` and
        ``rated_highest`` (of the single judgments), ``raters`` (how many).
    """
    keys = ["exam", "segmentation"]
    means = mean_ratings(table, task)
    wide = (
        means.pivot(index=keys, columns="view", values="stars").reindex(columns=list(task.views)).add_prefix("rated_")
    )
    groups = means.groupby(keys)
    wide["rated_mean"], wide["rated_lowest"] = groups["stars"].mean(), groups["lowest"].min()
    wide["rated_highest"] = groups["highest"].max()
    wide["raters"] = judgments_by_view(table, task).groupby(keys)["rater"].nunique()
    wide.columns.name = None
    return wide

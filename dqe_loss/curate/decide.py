"""Keep, review or drop: a decision and its reason for each row of a rated table."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from dqe_loss.core.slicing import VIEWS
from dqe_loss.data.tables.warning_kinds import to_review

KEEP, REVIEW, DROP = DECISIONS = ("keep", "review", "drop")

StarsColumn = Literal["mean", "lowest", "axial", "coronal", "sagittal"]

CENTER = r"^([^/]+)/"
"""Finds the center in an exam's name where nothing else is said: the first folder of ``site/case-7``."""


@dataclass(frozen=True)
class Rule:
    """What decides.

    Attributes:
        threshold: stars at or above which a mask is kept; -inf to keep every one that has stars.
        margin: how far below the threshold a mask counts as near it.
        drop_below: stars below which a mask is dropped without a review; -inf to drop none.
        per_exam: ``"all"`` judges every segmentation by itself, ``"best"`` keeps at most the best one of an exam.
        accept_warnings: kinds of warnings (`dqe_loss.data.tables.warning_kinds.KINDS`) with which a mask may be kept;
            those that are only told never stand in the way.
        budget: how many to keep at most of each center, the best ones; None for no limit.
    """

    threshold: float = -np.inf
    margin: float = 0.25
    drop_below: float = -np.inf
    per_exam: Literal["all", "best"] = "all"
    accept_warnings: tuple[str, ...] = ()
    budget: int | None = None


def deciding_stars(table: pd.DataFrame, column: StarsColumn = "mean") -> pd.Series:
    """The stars that decide, NaN where there are none.

    Args:
        table: rows as `dqe_loss.data.tables.rated.read_rated` returns them.
        column: ``"mean"`` of the views, their ``"lowest"``, or one view.

    Raises:
        ValueError: if the table has no such view.
    """
    views = [view for view in VIEWS if view in table]
    if column != "lowest" and column not in table:
        raise ValueError(f"--stars {column}: the table has the views {', '.join(views)}; choose one, mean or lowest")
    stars = table[views].min(axis=1) if column == "lowest" else table[column]
    return stars.where(table["error"] == "")


def find_candidates(
    table: pd.DataFrame, stars: pd.Series, per_exam: Literal["all", "best"], accept_warnings: Collection[str] = ()
) -> pd.Series:
    """Which masks a threshold may keep: those with stars and no warning to review; of each exam, the best if so asked.

    Args:
        table: rows as `dqe_loss.data.tables.rated.read_rated` returns them.
        stars: as `deciding_stars` gives them.
        per_exam: see `Rule`; of equals the first one counts as the best.
        accept_warnings: see `Rule`.

    Returns:
        Booleans, a row each.
    """
    eligible = stars.notna() & (to_review(table["warnings"], accept_warnings) == "")
    if per_exam == "all":
        return eligible
    order = stars.where(eligible).sort_values(ascending=False, kind="stable").index
    first = ~table.loc[order, "exam"].duplicated()
    return eligible & first.reindex(table.index)


def quantile_threshold(stars: pd.Series, share: float) -> float:
    """The lowest star that is kept where the given share of the candidates, the worst rated, is not.

    Args:
        stars: of the candidates.
        share: between 0 and 1.

    Raises:
        ValueError: if there is no candidate, or the share is not between 0 and 1.
    """
    if not 0 <= share < 1:
        raise ValueError(f"expected a quantile of 0 or above and below 1, such as 0.1, got {share:g}")
    if stars.empty:
        raise ValueError(
            "no segmentation has stars and no warning to review; look at the table, or give --accept-warnings"
        )
    return float(np.quantile(stars, share, method="higher"))


def find_centers(exams: pd.Series, pattern: str) -> pd.Series:
    """The center in each exam's name.

    Args:
        exams: names.
        pattern: regular expression whose first group is the center.

    Raises:
        ValueError: the pattern cannot be used, or a name does not match.
    """
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise ValueError(f"--center-pattern {pattern!r}: is no regular expression ({error})") from error
    if not groups:
        raise ValueError(
            f"--center-pattern {pattern!r}: expected a regular expression with a group that is the center, such as "
            f"{CENTER!r}"
        )
    centers = exams.str.extract(pattern, expand=True).iloc[:, 0]
    missing = exams[centers.isna()].unique()
    if len(missing):
        raise ValueError(
            f"{len(missing)} exams' names do not match the pattern {pattern!r} that finds the center, such as "
            f"{missing[0]!r}; give --center-pattern or --center-column"
        )
    return centers


def decide(
    table: pd.DataFrame,
    stars: pd.Series,
    rule: Rule,
    *,
    centers: pd.Series | None = None,
    unacceptable: Collection[tuple[str, str]] = (),
) -> pd.DataFrame:
    """Decide on each row.

    Args:
        table: rows as `dqe_loss.data.tables.rated.read_rated` returns them, with an index of its own for each.
        stars: as `deciding_stars` gives them.
        rule: what decides.
        centers: center of each row; needed for a budget.
        unacceptable: exam and segmentation of masks that a human found wanting: never kept, whatever their stars.

    Returns:
        ``decision``, one of `DECISIONS`, and ``reason`` (empty where there is nothing to say), in the table's order.

    Raises:
        ValueError: if the rule has a budget, and there are no centers.
    """
    candidate = find_candidates(table, stars, rule.per_exam, rule.accept_warnings)
    result = pd.DataFrame({"decision": KEEP, "reason": ""}, index=table.index)

    def set_rows(rows: pd.Series, decision: str, reason: str | pd.Series) -> None:
        """Decide on those of the rows on which nothing was decided before."""
        open_rows = rows & (result["reason"] == "")
        result.loc[open_rows, "decision"] = decision
        result.loc[open_rows, "reason"] = reason if isinstance(reason, str) else reason[open_rows]

    set_rows(table["error"] != "", REVIEW, "no stars: " + table["error"])
    pairs = pd.Series(list(zip(table["exam"], table["segmentation"], strict=True)), index=table.index, dtype=object)
    set_rows(pairs.isin(list(unacceptable)), REVIEW, "labeled as unacceptable")
    if rule.per_exam == "best":
        rivals = candidate.groupby(table["exam"]).transform("any") & ~candidate
        eligible = find_candidates(table, stars, "all", rule.accept_warnings)
        set_rows(rivals & eligible, DROP, "another segmentation of the exam is rated higher")
    set_rows(stars < rule.drop_below, DROP, "low")
    set_rows(stars < rule.threshold - rule.margin, REVIEW, "low")
    set_rows(stars < rule.threshold, REVIEW, "near the threshold")
    warned = to_review(table["warnings"], rule.accept_warnings)
    set_rows(warned != "", REVIEW, "warning: " + warned)
    if rule.budget is not None:
        if centers is None:
            raise ValueError("expected the center of each row for a budget, got none")
        kept = result["reason"] == ""
        rank = stars.where(kept).groupby(centers).rank(method="first", ascending=False)
        set_rows(kept & (rank > rule.budget), DROP, "beyond the budget of its center")
    return result

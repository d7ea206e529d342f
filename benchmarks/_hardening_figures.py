"""The figures of a cross-validation by source, each with its goal: pooled, by group, by exam."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from _hardening_masks import ABSURD, CORRUPTED, EXPERT, NATURAL, WHOLE_ONLY
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import roc_auc_score

from dqe_loss.audit.thresholds import Thresholds

JUDGED = (EXPERT, NATURAL, CORRUPTED)
"""Kinds of masks whose stars are to follow mean Dice."""
FAR = 0.5
"""Stars by which an expert's mask may differ from the published."""
FAILED = 0.7
"""Mean Dice below which a mask is to be found by its stars."""
LEAST = 3
"""Masks that a correlation needs."""


@dataclass(frozen=True)
class Goal:
    """What a figure is to be.

    Attributes:
        measure: the figure in words.
        limit: the goal; NaN without one.
        higher: whether more is better.
    """

    measure: str
    limit: float = math.nan
    higher: bool = True

    def __str__(self) -> str:
        """The goal, as in ``">= 0.9"``; nothing without one."""
        return "" if math.isnan(self.limit) else f"{'>=' if self.higher else '<='} {self.limit:g}"

    def short(self, value: float) -> float:
        """By how much a value misses the goal; 0 if it does not, or if there is none or no value."""
        missing = self.limit - value if self.higher else value - self.limit
        return max(missing, 0.0) if math.isfinite(missing) else 0.0


@dataclass(frozen=True)
class Figure:
    """A figure and where it comes from; NaN where a group or exam has too few masks for it.

    Attributes:
        goal: what it is to be.
        pooled: over all groups.
        groups: by group.
        exams: by exam.
    """

    goal: Goal
    pooled: float
    groups: Mapping[str, float]
    exams: Mapping[str, float]

    @property
    def worst(self) -> tuple[str, float] | None:
        """The exam that is furthest on the wrong side, and its value."""
        known = {exam: value for exam, value in self.exams.items() if math.isfinite(value)}
        if not known:
            return None
        exam = min(known, key=lambda name: known[name] if self.goal.higher else -known[name])
        return exam, known[exam]


Measure = Callable[[pd.DataFrame], float]
"""From rows of masks with a column ``stars`` to a number."""


def share_far(rows: pd.DataFrame) -> float:
    """Share of the experts' masks that are more than `FAR` from the published stars."""
    return float((_distance(rows) > FAR).mean())


def furthest(rows: pd.DataFrame) -> float:
    """Largest distance of an expert's mask from the published stars."""
    return float(_distance(rows).max())


def pooled_r(rows: pd.DataFrame) -> float:
    """Pearson's r of stars and mean Dice."""
    return _correlation(pearsonr, _judged(rows), "dice")


def natural_r(rows: pd.DataFrame) -> float:
    """The same of natural masks alone."""
    return _correlation(pearsonr, rows[rows["kind"] == NATURAL], "dice")


def whole_r(rows: pd.DataFrame) -> float:
    """Pearson's r of stars and the Dice of the whole tumor, of masks without a core."""
    return _correlation(pearsonr, rows[rows["kind"] == WHOLE_ONLY], "dice_WT")


def median_spearman(rows: pd.DataFrame) -> float:
    """Median over exams of Spearman's r of stars and mean Dice within each."""
    values = [_correlation(spearmanr, masks, "dice") for _, masks in _judged(rows).groupby("exam")]
    return float(pd.Series(values, dtype=float).median())


def failure_auc(rows: pd.DataFrame) -> float:
    """Area under the ROC curve of low stars for a mean Dice below `FAILED`."""
    judged = _judged(rows)
    failed = judged["dice"] < FAILED
    return float(roc_auc_score(failed, -judged["stars"])) if failed.nunique() == 2 else math.nan


def absurd_margin(rows: pd.DataFrame) -> float:
    """Least distance, over exams, of an absurd mask below the expert's; absurd as the audit says it, by Dice."""
    absurd = rows[(rows["kind"] == ABSURD) & (rows["planes"] <= Thresholds().absurd_dice)]
    expert = rows[rows["kind"] == EXPERT].set_index("exam")["stars"]
    return float((absurd["exam"].map(expert) - absurd["stars"]).min())


def mean_expert(rows: pd.DataFrame) -> float:
    """Mean stars of the experts' masks."""
    return float(rows.loc[rows["kind"] == EXPERT, "stars"].mean())


MEASURES: dict[Goal, Measure] = {
    Goal("expert masks more than .5 star from the published stars, share", 0.05, False): share_far,
    Goal("expert masks, furthest from the published stars", 1.0, False): furthest,
    Goal("expert masks, mean stars"): mean_expert,
    Goal("r of stars and mean Dice (expert, corruptions, natural)", 0.92): pooled_r,
    Goal("Spearman within an exam, median", 0.95): median_spearman,
    Goal("natural masks, r with mean Dice", 0.95): natural_r,
    Goal("masks of the whole tumor only, r with its Dice"): whole_r,
    Goal("ROC AUC for a mean Dice below .7", 0.98): failure_auc,
    Goal("absurd masks, least distance below the expert's", 1.5): absurd_margin,
}


def figures(rows: pd.DataFrame, stars: pd.Series) -> list[Figure]:
    """Each of `MEASURES`.

    Args:
        rows: masks, see `_hardening_pool.Pooled`.
        stars: of each.
    """
    rows = rows.assign(stars=stars)
    return [
        Figure(
            goal,
            measure(rows),
            {str(name): measure(part) for name, part in rows.groupby("group", sort=False)},
            {str(name): measure(part) for name, part in rows.groupby("exam", sort=False)},
        )
        for goal, measure in MEASURES.items()
    ]


def extreme(goal: Goal, values: pd.Series, rows: pd.DataFrame) -> Figure:
    """A figure that is the worst of its parts: of an exam's values, of a group's, of all."""

    def worst(found: pd.Series) -> float:
        return float(found.min() if goal.higher else found.max())

    by = [values.groupby(rows[column], sort=False).agg(worst).to_dict() for column in ("group", "exam")]
    return Figure(goal, worst(values), *by)


def _distance(rows: pd.DataFrame) -> pd.Series:
    expert = rows[rows["kind"] == EXPERT]
    return (expert["stars"] - expert["published"]).abs()


def _judged(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["kind"].isin(JUDGED)]


def _correlation(of: Callable[..., Any], rows: pd.DataFrame, dice: str) -> float:
    """SciPy's ``pearsonr`` or ``spearmanr`` of stars and a column; NaN of few masks, or where either is constant."""
    varied = len(rows) >= LEAST and rows["stars"].nunique() > 1 and rows[dice].nunique() > 1
    return float(of(rows["stars"], rows[dice]).statistic) if varied else math.nan

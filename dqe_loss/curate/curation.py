"""A whole curation: from a rated table to a threshold, and to a decision on each row."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from dqe_loss.curate.decide import (
    CENTER,
    Rule,
    StarsColumn,
    decide,
    deciding_stars,
    find_candidates,
    find_centers,
    quantile_threshold,
)
from dqe_loss.curate.guarantee import TriedThreshold, chosen_threshold, minimum_labels, order_thresholds, try_thresholds
from dqe_loss.curate.labeled_sample import Labels, draw_judged, read_labels
from dqe_loss.data.label_sets import LabelSurvey
from dqe_loss.data.tables.rated import read_rated
from dqe_loss.task import GLIOMA, Task
from dqe_loss.tasks.scale import step_of

STEP = 0.1
"""Between thresholds where `CurationSettings.start` begins their sequence, as a share of a step of the scale (a star
from 1 to 6)."""


@dataclass(frozen=True)
class CurationSettings:
    """What was asked for; see ``python -m dqe_loss.curate --help``."""

    threshold: float | None = None
    quantile: float | None = None
    labels: Path | None = None
    quality: str | None = None
    acceptable_from: float | None = None
    error_rate: float = 0.1
    confidence: float = 0.9
    start: float | None = None
    seed: int = 0
    stars: StarsColumn = "mean"
    per_exam: Literal["all", "best"] = "all"
    margin: float = 0.25
    drop_below: float | None = None
    accept_warnings: tuple[str, ...] = ()
    budget: int | None = None
    center_column: str | None = None
    center_pattern: str = CENTER


@dataclass(frozen=True)
class Calibration:
    """How a threshold was chosen from labels.

    Attributes:
        labels: all of them.
        judged: index of the rows that were tested, one an exam.
        trials: the tests, in their order.
        left_out: number of labeled exams whose candidate has no label.
    """

    labels: Labels
    judged: pd.Index
    trials: list[TriedThreshold]
    left_out: int

    @property
    def chosen(self) -> TriedThreshold | None:
        """The threshold to use, or None if none could be shown to do."""
        return chosen_threshold(self.trials)


@dataclass(frozen=True)
class Curation:
    """What came out.

    Attributes:
        table: the rated table with ``stars`` (those that decide), ``decision``, ``reason``, and ``center`` if needed.
        rule: what decided.
        calibration: how its threshold was chosen from labels, or None.
        task: what was rated.
    """

    table: pd.DataFrame
    rule: Rule
    calibration: Calibration | None
    task: Task = GLIOMA


def curate(path: Path, settings: CurationSettings, task: Task) -> Curation:
    """Read a rated table and decide on each row.

    Args:
        path: the table.
        settings: what is asked for.
        task: what was rated.

    Returns:
        The decisions. If no threshold could be shown to do, its threshold is infinite, and nothing is kept.

    Raises:
        ValueError: a table or a setting cannot be used; of a table, every problem is listed with its row.
    """
    table = read_rated(path, task)
    LabelSurvey(task.scheme(str(table["label_scheme"].iloc[0]))).add_table(table)
    stars = deciding_stars(table, settings.stars)
    candidates = find_candidates(table, stars, settings.per_exam, settings.accept_warnings)
    centers = _centers(table, settings) if settings.budget is not None else None
    rule = Rule(
        margin=settings.margin * step_of(task.stars),
        drop_below=-np.inf if settings.drop_below is None else settings.drop_below,
        per_exam=settings.per_exam,
        accept_warnings=settings.accept_warnings,
        budget=settings.budget,
    )
    calibration, unacceptable = None, set()
    if settings.labels:
        labels = read_labels(settings.labels, table, settings.quality, settings.acceptable_from)
        calibration = calibrate(table, stars, candidates, labels, settings, task)
        rule = replace(rule, threshold=calibration.chosen.threshold if calibration.chosen else np.inf)
        bad = table.loc[labels.table.index[labels.table["unacceptable"]]]
        unacceptable = set(zip(bad["exam"], bad["segmentation"], strict=True))
    elif settings.threshold is not None:
        rule = replace(rule, threshold=settings.threshold)
    elif settings.quantile is not None:
        rule = replace(rule, threshold=quantile_threshold(stars[candidates], settings.quantile))
    if rule.drop_below > rule.threshold > -np.inf:
        raise ValueError(
            f"--drop-below {rule.drop_below:g} is above the threshold of {rule.threshold:.2f}: it would drop what that "
            "keeps; give a lower one"
        )
    decisions = decide(table, stars, rule, centers=centers, unacceptable=unacceptable)
    extra = {} if centers is None else {"center": centers}
    return Curation(table.assign(**extra, stars=stars, **decisions), rule, calibration, task)


def calibrate(
    table: pd.DataFrame,
    stars: pd.Series,
    candidates: pd.Series,
    labels: Labels,
    settings: CurationSettings,
    task: Task,
) -> Calibration:
    """Choose the laxest threshold whose kept masks can be shown to have no more than the error rate.

    Args:
        table: the rated table.
        stars: those that decide.
        candidates: which rows a threshold may keep.
        labels: the judged rows.
        settings: error rate, confidence, and how exams are judged.
        task: what was rated.

    Returns:
        The tests, whether one passed or not.

    Raises:
        ValueError: there are too few labels to show anything, or no exam without a label to order thresholds by.
    """
    judged = draw_judged(table, labels, candidates, settings.per_exam, settings.seed)
    labeled_exams = table.loc[labels.table.index, "exam"].unique()
    # What no threshold keeps counts among the judged: it is rejected at each of them.
    offered = stars.where(candidates, -np.inf)
    needed = minimum_labels(settings.error_rate, settings.confidence)
    if len(judged) < needed:
        raise ValueError(
            f"{settings.labels}: {len(judged)} labeled exams cannot show an error rate of {settings.error_rate:g} with "
            f"confidence {settings.confidence:g}: it takes at least {needed} that are kept, all of them acceptable; "
            "label more, or ask for less"
        )
    others = ~table["exam"].isin(labeled_exams)
    if settings.per_exam == "best":
        others &= candidates | ~candidates.groupby(table["exam"]).transform("any") & ~table["exam"].duplicated()
    if settings.start is not None:
        lowest = float(stars.min())
        step = STEP * step_of(task.stars)
        steps = max(1, int((settings.start - lowest) / step) + 2)
        thresholds = [round(settings.start - step * i, 6) for i in range(steps)]
    else:
        thresholds = order_thresholds(offered[others], len(judged), settings.error_rate, settings.confidence)
    if not thresholds:
        raise ValueError(
            "no exam without a label has stars and no warning to review, and thresholds to test must not be chosen by "
            "the labels; give --start STARS, the first threshold, without a look at them"
        )
    bad = labels.table.loc[judged, "unacceptable"]
    trials = try_thresholds(offered[judged], bad, thresholds, settings.error_rate, settings.confidence)
    return Calibration(labels, judged, trials, len(labeled_exams) - len(judged))


def _centers(table: pd.DataFrame, settings: CurationSettings) -> pd.Series:
    if settings.center_column is None:
        return find_centers(table["exam"], settings.center_pattern)
    if settings.center_column not in table:
        raise ValueError(
            f"--center-column {settings.center_column}: the table has no such column; it has {', '.join(table)}"
        )
    return table[settings.center_column].astype(str)

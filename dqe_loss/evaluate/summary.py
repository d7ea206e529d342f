"""The numbers of an evaluation, as plain nested dictionaries: what ``evaluation.json`` holds and the page shows."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dqe_loss.data.tables.ratings import judgments_by_view
from dqe_loss.evaluate.baselines import predict_baselines
from dqe_loss.evaluate.predictions import columns_of, overlaps_of, volumes_of
from dqe_loss.metrics.agreement import METRICS, RESAMPLES, agreement, bootstrap_intervals, leave_one_rater_out
from dqe_loss.metrics.failure import failure_detection
from dqe_loss.task import GLIOMA, Task

CORRELATIONS = ("pearson", "spearman")
Numbers = dict[str, Any]


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are made: number of resamples of the exams, and their seed."""

    resamples: int = RESAMPLES
    seed: int = 0


def compare_with_ratings(
    rated: pd.DataFrame,
    table: pd.DataFrame,
    train: pd.DataFrame | None = None,
    bootstrap: Bootstrap | None = None,
    task: Task = GLIOMA,
) -> Numbers:
    """Agreement of a surrogate with raters, beside two baselines and the raters' own disagreement.

    Args:
        rated: a row for each evaluated segmentation, indexed by ``exam`` and ``segmentation``: `rate_rated_exam`'s
            columns joined with `wide_ratings`'.
        table: the ratings table's rows of these segmentations.
        train: what the baselines are fitted to: `volumes_of`, ratings of the views and ``rated_mean``. Without it each
            exam is predicted from all the others.
        bootstrap: how intervals are made.
        task: what was rated.

    Returns:
        Counts, and under ``views`` for each of `columns_of` that was rated: ``segmentations``; ``surrogate``,
        ``constant mean`` and ``linear in volume``, each with ``value``, ``low`` and ``high`` of every metric; and
        ``raters``, see `leave_one_rater_out`. As in the paper, ``mean`` compares the mean prediction of the three
        views with the mean rating of the views that were rated. Undefined numbers are NaN.
    """
    bootstrap = bootstrap or Bootstrap()
    judged, volumes = judgments_by_view(table, task), list(volumes_of(task))
    item = judged["exam"] + "\0" + judged["segmentation"]
    views = {}
    for column in columns_of(task):
        rows = rated[rated[f"rated_{column}"].notna()]
        if rows.empty:
            continue
        given = rows[f"rated_{column}"].to_numpy()
        exams = rows.index.get_level_values("exam").to_numpy()
        fit = None if train is None else train[train[f"rated_{column}"].notna()]
        predictions = {"surrogate": rows[f"stars_{column}"].to_numpy()} | predict_baselines(
            rows[volumes].to_numpy(),
            given,
            exams,
            train_volumes=None if fit is None else fit[volumes].to_numpy(),
            train_rated=None if fit is None else fit[f"rated_{column}"].to_numpy(),
        )
        numbers: Numbers = {"segmentations": len(rows)}
        for name, predicted in predictions.items():
            numbers[name] = _agreement(predicted, given, exams, bootstrap)
        # Fitted to all the others, a constant moves against each exam: r = -1 of nothing but arithmetic.
        numbers["constant mean"] |= {metric: _value() for metric in METRICS if metric not in ("mae", "rmse")}
        kept = judged.assign(item=item) if column == "mean" else judged.assign(item=item)[judged["view"] == column]
        numbers["raters"] = leave_one_rater_out(kept[["item", "rater", "stars"]])
        views[column] = numbers
    return {
        "exams": int(rated.index.get_level_values("exam").nunique()),
        "segmentations": len(rated),
        "judgments": len(table),
        "raters": int(table["rater"].nunique()),
        "views": views,
    }


def compare_with_references(rows: pd.DataFrame, bootstrap: Bootstrap | None = None, task: Task = GLIOMA) -> Numbers:
    """How stars follow overlap with a reference, pooled and exam by exam.

    Args:
        rows: as `rate_referenced_exam` returns them, of any number of exams.
        bootstrap: how intervals are made.
        task: what was rated.

    Returns:
        ``pooled``, and under ``exams`` the same for each: ``exams``, ``segmentations``; under ``correlation`` for each
        of `columns_of` and `overlaps_of` Pearson's and Spearman's ``value``, ``low`` and ``high``; under ``failure``
        for each of `columns_of` the `FailureDetection` with the risk 1 - mean region Dice. Undefined numbers are NaN.
    """
    exams = {
        str(name): _follow(part, bootstrap or Bootstrap(), task) for name, part in rows.groupby("exam", sort=False)
    }
    return {"pooled": _follow(rows, bootstrap or Bootstrap(), task), "exams": exams}


def _follow(rows: pd.DataFrame, bootstrap: Bootstrap, task: Task) -> Numbers:
    exams = rows["exam"].to_numpy()
    risk = (1 - rows["dice_mean"]).clip(lower=0).to_numpy()
    correlation: Numbers = {}
    failure: Numbers = {}
    for column in columns_of(task):
        stars = rows[f"stars_{column}"].to_numpy()
        correlation[column] = {
            overlap: _agreement(stars, rows[overlap].to_numpy(), exams, bootstrap, CORRELATIONS)
            for overlap in overlaps_of(task)
        }
        failure[column] = asdict(failure_detection(risk, stars))
    return {
        "exams": int(rows["exam"].nunique()),
        "segmentations": len(rows),
        "correlation": correlation,
        "failure": failure,
    }


def _agreement(
    predicted: NDArray[np.float64],
    given: NDArray[np.float64],
    exams: NDArray[Any],
    bootstrap: Bootstrap,
    metrics: tuple[str, ...] = METRICS,
) -> Numbers:
    if np.isnan(predicted).any():  # a baseline that had nothing to be fitted to
        return {metric: _value() for metric in metrics}
    values = agreement(predicted, given)
    intervals = bootstrap_intervals(predicted, given, exams, metrics=metrics, **asdict(bootstrap))
    return {metric: _value(values[metric], *intervals[metric]) for metric in metrics}


def _value(value: float = float("nan"), low: float = float("nan"), high: float = float("nan")) -> dict[str, float]:
    return {"value": value, "low": low, "high": high}

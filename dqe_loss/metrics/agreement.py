"""Agreement of predicted with given ratings: five numbers, their confidence intervals, and the raters' own ceiling.

All functions are pure and take arrays. What is not defined (a correlation of constant predictions, an interval from
four exams) is NaN, never 0.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dqe_loss.extras import needs_extra

with needs_extra("train"):
    import pandas as pd
    from scipy import stats

METRICS = ("mae", "rmse", "pearson", "spearman", "kendall")
"""Mean absolute error and root mean square error in stars; Pearson's r, Spearman's rho and Kendall's tau-b."""

RESAMPLES = 2000
MINIMUM_EXAMS = 5
"""Exams below which no interval is given (our choice): four exams have 35 different resamples, five have 126."""

_BLOCK = 4_000_000  # values of one intermediate array: bounds the memory of a bootstrap to some 100 MB
_ROUNDING = 1e-9  # a spread this small, relative to the values, is rounding

Array = NDArray[np.float64]
Groups = NDArray[np.int64]
Interval = tuple[float, float]


def agreement(predicted: ArrayLike, rated: ArrayLike) -> dict[str, float]:
    """Compare predictions with ratings.

    Args:
        predicted: ``(N,)`` predicted stars.
        rated: ``(N,)`` given stars.

    Returns:
        A value for each of `METRICS`; NaN for errors of nothing, and for correlations of fewer than two values or of
        constant ones.

    Raises:
        ValueError: if the arrays are not finite and of one length.

    Example:
        >>> numbers = agreement([1, 2, 4], [1, 3, 5])
        >>> [round(numbers[name], 3) for name in ("mae", "rmse", "pearson", "kendall")]
        [0.667, 0.816, 0.982, 1.0]
    """
    x, y = _check(predicted, rated)
    numbers = dict.fromkeys(METRICS, float("nan"))
    if len(x):
        numbers |= {"mae": float(np.abs(x - y).mean()), "rmse": float(np.sqrt(((x - y) ** 2).mean()))}
    if len(x) > 1 and not _is_constant(x) and not _is_constant(y):
        numbers["pearson"] = float(stats.pearsonr(x, y).statistic)
        numbers["spearman"] = float(stats.spearmanr(x, y).statistic)
        numbers["kendall"] = float(stats.kendalltau(x, y).statistic)
    return numbers


def bootstrap_intervals(
    predicted: ArrayLike,
    rated: ArrayLike,
    exams: Sequence[object] | ArrayLike,
    *,
    metrics: Sequence[str] = METRICS,
    resamples: int = RESAMPLES,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """Percentile bootstrap intervals of `agreement`, by exam.

    Exams are drawn with replacement, each with all its segmentations: those of one exam are alike, and drawing them
    one by one would make the intervals too narrow. A resample is a vector of counts, so that all of them are
    computed at once, exactly, without copying data.

    Args:
        predicted: ``(N,)`` predicted stars.
        rated: ``(N,)`` given stars.
        exams: ``(N,)`` exam that each value belongs to.
        metrics: which of `METRICS` are asked for.
        resamples: number of resamples.
        level: share of the resamples between the bounds.
        seed: seed of the draws.

    Returns:
        Lower and upper bound for each metric; NaN with fewer than `MINIMUM_EXAMS` exams, or where less than
        half of the resamples have a value (correlations of resamples that are constant have none).

    Raises:
        ValueError: if arrays or options are not as said.
    """
    x, y = _check(predicted, rated)
    groups = pd.factorize(np.asarray(exams, dtype=object))[0]
    if groups.shape != x.shape:
        raise ValueError(f"expected an exam for each of {len(x)} values, got {len(groups)}")
    if resamples < 1 or not 0 < level < 1:
        raise ValueError(f"expected resamples >= 1 and a level in (0, 1), got {resamples} and {level}")
    count = int(groups.max()) + 1 if len(x) else 0
    if count < MINIMUM_EXAMS:
        return dict.fromkeys(metrics, (float("nan"), float("nan")))
    blocks = list(_blocks(draw_exams(count, resamples, seed), len(x)))
    values = {name: np.concatenate([_WEIGHTED[name](x, y, groups, block) for block in blocks]) for name in metrics}
    return {name: middle(value, level) for name, value in values.items()}


def draw_exams(count: int, resamples: int, seed: int) -> Groups:
    """How often each of some exams is drawn, ``(resamples, count)``: each row is a draw with replacement."""
    return np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=resamples)


def middle(values: Array, level: float = 0.95) -> Interval:
    """Bounds of the middle of resampled values ``(resamples,)``; NaN where less than half of them have a value."""
    if np.isfinite(values).mean() < 0.5:
        return float("nan"), float("nan")
    tail = (1 - level) / 2
    low, high = np.nanquantile(values, (tail, 1 - tail))
    return float(low), float(high)


def leave_one_rater_out(judgments: pd.DataFrame) -> dict[str, float | int]:
    """How far raters are from each other: each against the mean of the others, the ceiling for a surrogate.

    A surrogate is compared with the mean of all raters, which is steadier than that of all but one: one that is as
    good as a rater can come out a little better than this number.

    Args:
        judgments: columns ``item`` (what was judged: a segmentation, or one of its views), ``rater``, ``stars``.

    Returns:
        ``mae`` in stars, NaN where nothing was judged by two raters; ``judgments`` that could be compared;
        ``raters`` who gave them.
    """
    table = judgments.groupby(["item", "rater"], as_index=False)["stars"].mean()
    groups = table.groupby("item")["stars"]
    raters, total = groups.transform("count"), groups.transform("sum")
    table, raters, total = (part[raters > 1] for part in (table, raters, total))
    others = (total - table["stars"]) / (raters - 1)
    error = (table["stars"] - others).abs().mean() if len(table) else float("nan")
    return {"mae": float(error), "judgments": len(table), "raters": int(table["rater"].nunique())}


def _check(predicted: ArrayLike, rated: ArrayLike) -> tuple[Array, Array]:
    x, y = np.asarray(predicted, dtype=np.float64), np.asarray(rated, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(f"expected two arrays of one length, got the shapes {x.shape} and {y.shape}")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("expected finite ratings, got NaN or Inf; leave out what was not rated")
    return x, y


def _is_constant(x: Array) -> bool:
    return bool(np.ptp(x) <= _ROUNDING * np.abs(x).max())


def _blocks(draws: Groups, size: int) -> Iterator[Array]:
    step = max(1, _BLOCK // size)
    for start in range(0, len(draws), step):
        yield draws[start : start + step].astype(np.float64)


def _weighted_error(x: Array, y: Array, groups: Groups, counts: Array, power: int = 1) -> Array:
    mean: Array = (counts[:, groups] @ np.abs(x - y) ** power / counts[:, groups].sum(1)) ** (1 / power)
    return mean


def _weighted_spearman(x: Array, y: Array, groups: Groups, counts: Array) -> Array:
    weights = counts[:, groups]
    return _correlation(_weighted_ranks(x, weights), _weighted_ranks(y, weights), weights)


def _correlation(x: Array, y: Array, weights: Array) -> Array:
    """Correlation for each row of weights (R, N); x and y are (N,) or (R, N)."""
    total = weights.sum(1, keepdims=True)
    dx, dy = (v - (weights * v).sum(1, keepdims=True) / total for v in (x, y))
    moments = [(weights * a * b).sum(1) / total[:, 0] for a, b in ((dx, dy), (dx, dx), (dy, dy))]
    tiny = [(_ROUNDING * np.abs(v).max()) ** 2 for v in (x, y)]
    defined = (moments[1] > tiny[0]) & (moments[2] > tiny[1])
    spread = np.sqrt(np.where(defined, moments[1] * moments[2], 1))
    return np.where(defined, np.clip(moments[0] / spread, -1, 1), np.nan)


def _weighted_ranks(x: Array, weights: Array) -> Array:
    """Rank of each value in each resample (R, N), tied values sharing the mean of theirs."""
    order = np.argsort(x, kind="stable")
    values, first = np.unique(x[order], return_index=True)
    mass = np.add.reduceat(weights[:, order], first, axis=1)
    ranks: Array = (mass.cumsum(1) - (mass - 1) / 2)[:, np.searchsorted(values, x)]
    return ranks


def _weighted_kendall(x: Array, y: Array, groups: Groups, counts: Array) -> Array:
    """Tau-b of resamples. Signs of all pairs are summed by pairs of exams once, which leaves (exams, exams) sums."""
    exams = counts.shape[1]
    sums = np.zeros((3, exams, exams))
    member = np.zeros((len(x), exams))
    member[np.arange(len(x)), groups] = 1
    for exam in range(exams):
        rows = groups == exam
        sx, sy = (np.sign(v[rows, None] - v) for v in (x, y))
        for i, signs in enumerate((sx * sy, np.abs(sx), np.abs(sy))):
            sums[i, exam] = signs.sum(0) @ member
    both, untied_x, untied_y = (((counts @ s) * counts).sum(1) for s in sums)
    defined = (untied_x > 0) & (untied_y > 0)
    return np.where(defined, both / np.sqrt(np.where(defined, untied_x * untied_y, 1)), np.nan)


# The metrics of resamples: counts (R, exams) says how often each exam was drawn, groups the exam of each value.
_WEIGHTED: dict[str, Callable[[Array, Array, Groups, Array], Array]] = {
    "mae": _weighted_error,
    "rmse": partial(_weighted_error, power=2),
    "pearson": lambda x, y, groups, counts: _correlation(x, y, counts[:, groups]),
    "spearman": _weighted_spearman,
    "kendall": _weighted_kendall,
}

"""Raters as instruments: how good each segmentation is, how lenient and how exact each rater, estimated together.

The model is that of `dqe_loss.metrics.rater_likelihood`. Where raters differ in exactness, the estimated qualities lie
closer to the true ones than the raters' mean does.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dqe_loss.extras import needs_extra
from dqe_loss.metrics.rater_likelihood import GRID, MODEL_SCALE, TYPICAL_SPREAD, RaterLikelihood
from dqe_loss.tasks.scale import steps_given

with needs_extra("train"):
    import pandas as pd
    from scipy import optimize, stats

Array = NDArray[np.float64]

_LEAST_GROUPS = 5
"""Groups below which there are no intervals (our choice)."""
ENOUGH = {3: 30, 2: 300}
"""Items that a rater must have rated together with two others, or with one, for an interval of the noise.

In simulated studies with fewer the intervals were too narrow: of those of two raters with 20 items 86 in 100 held the
truth, with 60 items 90 (75 for a steady rater beside a noisy one); with three raters and 40 items 94, with two and 300
items 96.
"""


@dataclass(frozen=True)
class LatentFit:
    """What is known of raters and segmentations.

    Attributes:
        raters: rater to ``bias``, ``bias_low``, ``bias_high`` (stars above the mean of all raters), ``spread``,
            ``spread_low``, ``spread_high`` (standard deviation of the noise, in stars), ``ratings`` (number).
        items: item to ``quality`` (posterior mean, stars), ``sd`` (posterior standard deviation), ``ratings`` (number).
        mean: of the qualities.
        deviation: standard deviation of the qualities.
    """

    raters: pd.DataFrame
    items: pd.DataFrame
    mean: float
    deviation: float


def fit_latent(
    items: ArrayLike,
    raters: ArrayLike,
    stars: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    scale: tuple[float, float] = (1, 6),
) -> LatentFit:
    """Fit the model by maximum posterior likelihood.

    Args:
        items: ``(N,)`` what was rated. A rater may rate an item several times.
        raters: ``(N,)`` who rated.
        stars: ``(N,)`` what was given: values of the scale (`dqe_loss.tasks.scale.levels_of`), or others at equal
            distances; what fits no more than 20 steps is taken to the nearest twentieth of the scale.
        groups: ``(N,)`` what items belong together, such as exams: intervals take them as one observation. Each item
            by itself if None.
        scale: least and largest value that can be given.

    Returns:
        The fit; intervals are 95 %, from a covariance that is robust to dependence within groups, by Student's t with
        one degree of freedom less than groups. NaN with fewer than five groups; those of the noise, too, where a rater
        shares too few items (`ENOUGH`).

    Raises:
        ValueError: values are off the scale, or there are none.
    """
    given = np.asarray(stars, np.float64)
    if not len(given) or not ((given >= scale[0]) & (given <= scale[1])).all():
        raise ValueError(f"expected ratings from {scale[0]:g} to {scale[1]:g}, got none, or some that are not")
    problem = RaterLikelihood.of(
        items, raters, (given - scale[0]) / (scale[1] - scale[0]), groups, steps_given(given, scale)
    )
    start = np.concatenate(
        [np.zeros(problem.raters - 1), np.full(problem.raters, np.log(TYPICAL_SPREAD)), problem.prior]
    )
    found = optimize.minimize(problem.value, start, jac=True, method="L-BFGS-B", options={"maxiter": 500})
    return _on_scale(_describe(problem, found.x), scale)


def _on_scale(fit: LatentFit, scale: tuple[float, float]) -> LatentFit:
    """Estimates on the model's scale, as the raters' scale has them."""
    star = (scale[1] - scale[0]) / (MODEL_SCALE[1] - MODEL_SCALE[0])
    lengths = [name for name in fit.raters if name != "ratings"]
    raters = fit.raters.assign(**{name: star * fit.raters[name] for name in lengths})
    place = scale[0] + star * (fit.items["quality"] - MODEL_SCALE[0])
    items = fit.items.assign(quality=place, sd=star * fit.items["sd"])
    return LatentFit(raters, items, scale[0] + star * (fit.mean - MODEL_SCALE[0]), star * fit.deviation)


def _describe(model: RaterLikelihood, parameters: Array) -> LatentFit:
    """The fit on the model's scale."""
    biases, spreads, mean, deviation = model.parts(parameters)
    _, posterior, scores = model.likelihood(parameters)
    errors = _standard_errors(model, parameters, scores)
    bias_errors, spread_errors = errors
    groups = int(model.group_of_item.max()) + 1
    wide = float(stats.t.ppf(0.975, max(groups - 1, 1)))
    spread_errors = np.where(_tell_noise(model), spread_errors, np.nan)
    counts = model.counts.sum(0).reshape(model.raters, -1).sum(1).astype(int)
    raters = pd.DataFrame(
        {
            "bias": biases,
            "bias_low": biases - wide * bias_errors,
            "bias_high": biases + wide * bias_errors,
            "spread": spreads,
            "spread_low": spreads * np.exp(-wide * spread_errors),
            "spread_high": spreads * np.exp(wide * spread_errors),
            "ratings": counts,
        },
        index=pd.Index(model.rater_names, name="rater"),
    )
    quality = posterior @ GRID
    # A quality is known no better than its grid is fine: many alike ratings leave all of it on one point.
    finest = (GRID[1] - GRID[0]) ** 2 / 12
    deviations = np.sqrt(np.maximum(posterior @ GRID**2 - quality**2, finest))
    number = model.counts.sum(1).astype(int)
    items = pd.DataFrame(
        {"quality": quality, "sd": deviations, "ratings": number}, index=pd.Index(model.item_names, name="item")
    )
    return LatentFit(raters, items, mean, deviation)


def _tell_noise(model: RaterLikelihood) -> NDArray[np.bool_]:
    """Whether a rater shares enough items with others for an interval of the noise, ``(raters,)``."""
    rated = model.counts.toarray().reshape(len(model.item_names), model.raters, -1).any(2)
    together = rated.sum(1)
    enough = [(rated & (together >= least)[:, None]).sum(0) >= count for least, count in ENOUGH.items()]
    found: NDArray[np.bool_] = np.logical_or.reduce(enough)
    return found


def _standard_errors(model: RaterLikelihood, parameters: Array, scores: Array) -> tuple[Array, Array]:
    """Of the biases and of the log spreads: sandwich covariance, groups as observations."""
    groups = int(model.group_of_item.max()) + 1
    if groups < _LEAST_GROUPS:
        nothing = np.full(model.raters, np.nan)
        return nothing, nothing
    hessian = _derivative(lambda p: model.value(p)[1], parameters)
    summed = np.zeros((groups, scores.shape[1]))
    np.add.at(summed, model.group_of_item, scores)
    middle = summed.T @ summed * groups / (groups - 1)
    bread = np.linalg.pinv((hessian + hessian.T) / 2)
    covariance = bread @ middle @ bread
    n = model.raters
    spread = np.vstack([np.eye(n - 1), -np.ones((1, n - 1))]) if n > 1 else np.zeros((1, 0))
    of_biases = spread @ covariance[: n - 1, : n - 1] @ spread.T
    variances = np.diag(of_biases), np.diag(covariance)[n - 1 : 2 * n - 1]
    bias, log_spread = (np.sqrt(np.maximum(variance, 0)) for variance in variances)
    return bias, log_spread


def _derivative(gradient: Callable[[Array], Array], at: Array, step: float = 1e-4) -> Array:
    """Central differences of a gradient."""
    moves = step * np.eye(len(at))
    return np.stack([(gradient(at + move) - gradient(at - move)) / (2 * step) for move in moves])

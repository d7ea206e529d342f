"""Raters as instruments: how good each segmentation is, how lenient and how exact each rater, estimated together.

A segmentation has a quality t, drawn from a normal distribution. Rater j forms t + bias + noise, with a bias and a
standard deviation of their own, and says the nearest whole star on the scale: the likelihood is that of the interval
around a star, open at the ends of the scale, so that rounding and the scale's ends do not pass for agreement. Qualities
are integrated out on a grid; biases add up to 0. Where raters differ in exactness, the estimated qualities lie closer
to the true ones than the raters' mean does.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, sparse, special, stats

from dqe_loss.tasks.scale import levels_of

Array = NDArray[np.float64]

_STARS = (1.0, 6.0)
"""The scale on which the model works; ratings on another one are taken to it, and the estimates back."""
_GRID = np.linspace(-2.0, 9.0, 111)
_FINEST = 20
"""Steps of a scale on which every value between is rounded to the nearest."""
_TYPICAL_SPREAD = 0.8
"""Stars; raters' noise is taken to be about that before any is seen (log-normal with a standard deviation of 1), and
biases to be within a star (normal with standard deviation 1): weak, enough for few or perfect ratings (our choice)."""


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
        The fit; intervals are 95 %, from a covariance that is robust to dependence within groups. NaN with fewer than
        five groups.

    Raises:
        ValueError: values are off the scale, or there are none.
    """
    given = np.asarray(stars, np.float64)
    if not len(given) or not ((given >= scale[0]) & (given <= scale[1])).all():
        raise ValueError(f"expected ratings from {scale[0]:g} to {scale[1]:g}, got none, or some that are not")
    problem = _Problem.of(items, raters, (given - scale[0]) / (scale[1] - scale[0]), groups, _steps(given, scale))
    start = np.concatenate(
        [np.zeros(problem.raters - 1), np.full(problem.raters, np.log(_TYPICAL_SPREAD)), problem.prior]
    )
    found = optimize.minimize(problem.value, start, jac=True, method="L-BFGS-B", options={"maxiter": 500})
    return _on_scale(problem.describe(found.x), scale)


def _steps(given: Array, scale: tuple[float, float]) -> int:
    """How many steps the raters' scale had: those that the scale offers, or as few as all values fit."""
    share = (given - scale[0]) / (scale[1] - scale[0])

    def fits(steps: int) -> bool:
        return bool(np.allclose(share * steps, np.rint(share * steps), rtol=0, atol=1e-6))

    offered = len(levels_of(scale)) - 1
    return next((steps for steps in (offered, *range(1, _FINEST)) if fits(steps)), _FINEST)


def _on_scale(fit: LatentFit, scale: tuple[float, float]) -> LatentFit:
    """Estimates on the model's scale, as the raters' scale has them."""
    star = (scale[1] - scale[0]) / (_STARS[1] - _STARS[0])
    lengths = [name for name in fit.raters if name != "ratings"]
    raters = fit.raters.assign(**{name: star * fit.raters[name] for name in lengths})
    place = scale[0] + star * (fit.items["quality"] - _STARS[0])
    items = fit.items.assign(quality=place, sd=star * fit.items["sd"])
    return LatentFit(raters, items, scale[0] + star * (fit.mean - _STARS[0]), star * fit.deviation)


@dataclass(frozen=True)
class _Problem:
    """Counts of ratings by item, rater and star, and the likelihood of parameters.

    Parameters are the biases but the last, the logarithms of the spreads, and mean and log deviation of the qualities.
    """

    counts: sparse.csr_array
    """(items, raters x levels)"""
    edges: Array
    """(levels, 2): the interval of each level."""
    item_names: list[object]
    rater_names: list[object]
    group_of_item: NDArray[np.int64]
    prior: Array

    @classmethod
    def of(cls, items: ArrayLike, raters: ArrayLike, share: Array, groups: ArrayLike | None, steps: int) -> "_Problem":
        """Count ratings, given as shares ``(N,)`` of a scale of so many steps."""
        given = _STARS[0] + share * (_STARS[1] - _STARS[0])
        centers = np.linspace(*_STARS, steps + 1)
        step = centers[1] - centers[0]
        edges = np.stack([centers - step / 2, centers + step / 2], 1)
        edges[0, 0], edges[-1, 1] = -np.inf, np.inf
        level = np.rint(share * steps).astype(int)
        item, item_names = pd.factorize(np.asarray(items, dtype=object))
        rater, rater_names = pd.factorize(np.asarray(raters, dtype=object), sort=True)
        shape = (len(item_names), len(rater_names) * len(centers))
        counts = sparse.coo_array((np.ones(len(item)), (item, rater * len(centers) + level)), shape).tocsr()
        group = pd.factorize(np.asarray(items if groups is None else groups, dtype=object))[0]
        group_of_item = np.zeros(len(item_names), np.int64)
        group_of_item[item] = group
        prior = np.array([given.mean(), np.log(max(given.std(), 0.3))])
        return cls(counts, edges, list(item_names), list(rater_names), group_of_item, prior)

    @property
    def raters(self) -> int:
        return len(self.rater_names)

    def parts(self, parameters: Array) -> tuple[Array, Array, float, float]:
        """Biases, spreads, mean and deviation of the qualities."""
        free, n = parameters[: self.raters - 1], self.raters
        biases = np.append(free, -free.sum())
        return biases, np.exp(parameters[n - 1 : 2 * n - 1]), float(parameters[-2]), float(np.exp(parameters[-1]))

    def value(self, parameters: Array) -> tuple[float, Array]:
        """Negative log posterior, and its gradient."""
        biases, spreads, *_ = self.parts(parameters)
        marginal, _, scores = self.likelihood(parameters)
        distance = np.log(spreads / _TYPICAL_SPREAD)
        value = -marginal.sum() + 0.5 * (biases**2).sum() + 0.5 * (distance**2).sum()
        penalty = np.concatenate([biases[:-1] - biases[-1], distance, [0, 0]])
        return float(value), -scores.sum(0) + penalty

    def likelihood(self, parameters: Array) -> tuple[Array, Array, Array]:
        """Log marginal likelihood (items,), posterior on the grid (items, G), gradients (items, parameters)."""
        biases, spreads, mean, deviation = self.parts(parameters)
        upper, lower = (
            (self.edges[None, :, side, None] - _GRID - biases[:, None, None]) / spreads[:, None, None]
            for side in (1, 0)
        )
        # In the upper tail the difference of two values near 1 is lost, that of the mirrored ones is not.
        flip = lower > 0
        chance = np.where(
            flip, special.ndtr(-lower) - special.ndtr(-upper), special.ndtr(upper) - special.ndtr(lower)
        ).clip(1e-300)
        dense_up, dense_low = stats.norm.pdf(upper), stats.norm.pdf(lower)
        by_bias = -(dense_up - dense_low) / spreads[:, None, None] / chance
        finite_up, finite_low = np.where(np.isinf(upper), 0, upper), np.where(np.isinf(lower), 0, lower)
        by_spread = -(finite_up * dense_up - finite_low * dense_low) / chance
        flat = (-1, len(_GRID))
        z = (_GRID - mean) / deviation
        prior = -0.5 * z**2
        prior -= special.logsumexp(prior)
        joint = self.counts @ np.log(chance).reshape(flat) + prior
        marginal = special.logsumexp(joint, axis=1)
        posterior: Array = np.exp(joint - marginal[:, None])
        gradients = [self._by_rater(posterior @ table.reshape(flat).T) for table in (by_bias, by_spread)]
        # Of the prior, whose weights on the grid add up to 1.
        weight = np.exp(prior)
        by_mean, by_deviation = z / deviation, z**2
        of_mean, of_deviation = (posterior @ d - weight @ d for d in (by_mean, by_deviation))
        bias = gradients[0][:, :-1] - gradients[0][:, -1:]
        scores = np.concatenate([bias, gradients[1], of_mean[:, None], of_deviation[:, None]], 1)
        return marginal, posterior, scores

    def _by_rater(self, expected: Array) -> Array:
        """(items, raters x levels) to (items, raters): what was given, of what each answer would add."""
        given = self.counts.multiply(expected).tocoo()
        summed = np.zeros((expected.shape[0], self.raters))
        np.add.at(summed, (given.coords[0], given.coords[1] // len(self.edges)), given.data)
        return summed

    def describe(self, parameters: Array) -> LatentFit:
        biases, spreads, mean, deviation = self.parts(parameters)
        _, posterior, scores = self.likelihood(parameters)
        errors = self._standard_errors(parameters, scores)
        bias_errors, spread_errors = errors
        counts = self.counts.sum(0).reshape(self.raters, -1).sum(1).astype(int)
        raters = pd.DataFrame(
            {
                "bias": biases,
                "bias_low": biases - 1.96 * bias_errors,
                "bias_high": biases + 1.96 * bias_errors,
                "spread": spreads,
                "spread_low": spreads * np.exp(-1.96 * spread_errors),
                "spread_high": spreads * np.exp(1.96 * spread_errors),
                "ratings": counts,
            },
            index=pd.Index(self.rater_names, name="rater"),
        )
        quality = posterior @ _GRID
        deviations = np.sqrt(np.maximum(posterior @ _GRID**2 - quality**2, 0))
        number = self.counts.sum(1).astype(int)
        items = pd.DataFrame(
            {"quality": quality, "sd": deviations, "ratings": number}, index=pd.Index(self.item_names, name="item")
        )
        return LatentFit(raters, items, mean, deviation)

    def _standard_errors(self, parameters: Array, scores: Array) -> tuple[Array, Array]:
        """Of the biases and of the log spreads: sandwich covariance, groups as observations."""
        groups = int(self.group_of_item.max()) + 1
        if groups < 5:
            nothing = np.full(self.raters, np.nan)
            return nothing, nothing
        hessian = _derivative(lambda p: self.value(p)[1], parameters)
        summed = np.zeros((groups, scores.shape[1]))
        np.add.at(summed, self.group_of_item, scores)
        middle = summed.T @ summed * groups / (groups - 1)
        bread = np.linalg.pinv((hessian + hessian.T) / 2)
        covariance = bread @ middle @ bread
        n = self.raters
        spread = np.vstack([np.eye(n - 1), -np.ones((1, n - 1))]) if n > 1 else np.zeros((1, 0))
        of_biases = spread @ covariance[: n - 1, : n - 1] @ spread.T
        variances = np.diag(of_biases), np.diag(covariance)[n - 1 : 2 * n - 1]
        bias, log_spread = (np.sqrt(np.maximum(variance, 0)) for variance in variances)
        return bias, log_spread


def _derivative(gradient: Callable[[Array], Array], at: Array, step: float = 1e-4) -> Array:
    """Central differences of a gradient."""
    moves = step * np.eye(len(at))
    return np.stack([(gradient(at + move) - gradient(at - move)) / (2 * step) for move in moves])

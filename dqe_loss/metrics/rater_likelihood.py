"""How likely ratings are, given raters as instruments: the model behind `dqe_loss.metrics.latent_raters`.

A segmentation has a quality t, drawn from a normal distribution. Rater j forms t + bias + noise, with a bias and a
standard deviation of their own, and says the nearest value of the scale: the likelihood is that of the interval around
a value, open at the ends of the scale, so that rounding and the scale's ends do not pass for agreement. Qualities are
integrated out on a grid; biases add up to 0.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dqe_loss.extras import needs_extra

with needs_extra("train"):
    import pandas as pd
    from scipy import sparse, special, stats

Array = NDArray[np.float64]

MODEL_SCALE = (1.0, 6.0)
"""The scale on which the model works; ratings on another one are taken to it, and the estimates back."""
GRID = np.linspace(-2.0, 9.0, 111)
TYPICAL_SPREAD = 0.8
"""Stars; raters' noise is taken to be about that before any is seen (log-normal with a standard deviation of 1), and
biases to be within a star (normal with standard deviation 1): weak, enough for few or perfect ratings (our choice)."""


@dataclass(frozen=True)
class RaterLikelihood:
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
    def of(
        cls, items: ArrayLike, raters: ArrayLike, share: Array, groups: ArrayLike | None, steps: int
    ) -> "RaterLikelihood":
        """Count ratings, given as shares ``(N,)`` of a scale of so many steps."""
        given = MODEL_SCALE[0] + share * (MODEL_SCALE[1] - MODEL_SCALE[0])
        centers = np.linspace(*MODEL_SCALE, steps + 1)
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
        """How many there are."""
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
        distance = np.log(spreads / TYPICAL_SPREAD)
        value = -marginal.sum() + 0.5 * (biases**2).sum() + 0.5 * (distance**2).sum()
        penalty = np.concatenate([biases[:-1] - biases[-1], distance, [0, 0]])
        return float(value), -scores.sum(0) + penalty

    def likelihood(self, parameters: Array) -> tuple[Array, Array, Array]:
        """Log marginal likelihood (items,), posterior on the grid (items, G), gradients (items, parameters)."""
        biases, spreads, mean, deviation = self.parts(parameters)
        upper, lower = (
            (self.edges[None, :, side, None] - GRID - biases[:, None, None]) / spreads[:, None, None] for side in (1, 0)
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
        flat = (-1, len(GRID))
        z = (GRID - mean) / deviation
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

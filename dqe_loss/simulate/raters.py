"""Simulated raters around metric stars: each with a bias, all with a spread that grows for bad segmentations.

The paper's raters agree on good segmentations and disagree on bad ones (its Figure 4: the range from lowest to highest
rating is narrow at the top of the scale and wide below). The numbers here are our choice; nobody was asked, and what
comes out is called simulated everywhere (contract C12).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dqe_loss.task import GLIOMA
from dqe_loss.tasks.scale import nearest_level

# On another scale than the built-in task's, the numbers are as large a part of it.
BIAS = 0.3
"""Stars; standard deviation of the raters' biases: how much more lenient or severe one is than another."""
SPREAD_GOOD = 0.3
"""Stars; standard deviation of one rater's judgment at six metric stars."""
SPREAD_BAD = 1.0
"""Stars; the same at one metric star. Cut off at the end of the scale, it also makes raters overestimate bad masks."""


@dataclass(frozen=True)
class SimulatedRater:
    """A rater that does not exist.

    Attributes:
        name: such as ``"simulated-1"``.
        bias: stars that this rater gives more than others.
    """

    name: str
    bias: float


def make_raters(count: int, seed: int = 0, scale: tuple[float, float] = GLIOMA.stars) -> tuple[SimulatedRater, ...]:
    """Draw raters.

    Args:
        count: how many, 1 or more; the first ones are the same for any count.
        seed: seed of their biases, 0 or above.
        scale: worst and best stars.

    Returns:
        The raters; their biases do not add up to 0, as those of a small panel do not.

    Raises:
        ValueError: if there are none.
    """
    if count < 1:
        raise ValueError(f"expected at least one rater, got {count}")
    biases = np.random.default_rng(seed).normal(0, BIAS, count) * _unit(scale)
    return tuple(SimulatedRater(f"simulated-{i}", float(bias)) for i, bias in enumerate(biases, 1))


def _unit(scale: tuple[float, float]) -> float:
    """How large a star of the built-in task is on another scale."""
    return (scale[1] - scale[0]) / (GLIOMA.stars[1] - GLIOMA.stars[0])


def spread(metric_stars: ArrayLike, scale: tuple[float, float] = GLIOMA.stars) -> NDArray[np.float64]:
    """Standard deviation of a rater's judgment in stars: from `SPREAD_GOOD` at the best to `SPREAD_BAD`, linearly."""
    goodness = (np.asarray(metric_stars, np.float64) - scale[0]) / (scale[1] - scale[0])
    deviation: NDArray[np.float64] = (SPREAD_BAD + (SPREAD_GOOD - SPREAD_BAD) * goodness) * _unit(scale)
    return deviation


def simulate_judgments(
    rater: SimulatedRater,
    metric_stars: ArrayLike,
    rng: np.random.Generator,
    scale: tuple[float, float] = GLIOMA.stars,
) -> NDArray[np.int64] | NDArray[np.float64]:
    """Let a rater judge.

    Args:
        rater: who judges.
        metric_stars: the segmentations' metric stars, any shape, on the scale.
        rng: source of randomness.
        scale: worst and best stars.

    Returns:
        Stars of the same shape: of those that a human could give, `dqe_loss.tasks.scale.levels_of`.

    Raises:
        ValueError: if metric stars are off the scale.
    """
    stars = np.asarray(metric_stars, np.float64)
    low, high = scale
    if not ((stars >= low) & (stars <= high)).all():  # false of NaN, too
        raise ValueError(f"expected metric stars from {low:g} to {high:g}, got {stars.min():g} to {stars.max():g}")
    judged = stars + rater.bias + spread(stars, scale) * rng.standard_normal(stars.shape)
    return nearest_level(judged, scale)

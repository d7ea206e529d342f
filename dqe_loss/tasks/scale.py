"""The values of a rating scale: what a rater can say."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

_SIX = 5
"""Steps of the paper's scale, which scales without whole numbers of their own take, too."""
_MOST = 9
"""Steps for which there is a key each, and which a rater can still tell apart (our choice)."""
_FINEST = 20
"""Steps of a scale on which every value between is rounded to the nearest."""


def levels_of(scale: tuple[float, float]) -> tuple[float, ...]:
    """The values that a rater can give, from the worst to the best.

    Args:
        scale: lowest and highest rating, as `dqe_loss.task.Task.stars` has them.

    Returns:
        The whole numbers of the scale, if its ends are whole and there are three to ten; else six values with equal
        distances.

    Example:
        >>> levels_of((1.0, 5.0)), levels_of((0.0, 1.0))
        ((1, 2, 3, 4, 5), (0.0, 0.2, 0.4, 0.6, 0.8, 1.0))
    """
    low, high = scale
    if low == int(low) and high == int(high) and 2 <= high - low <= _MOST:
        return tuple(range(int(low), int(high) + 1))
    return tuple(round(low + (high - low) * step / _SIX, 6) for step in range(_SIX + 1))


def step_of(scale: tuple[float, float]) -> float:
    """The distance of two neighboring values of `levels_of`: one star from 1 to 6."""
    first, second, *_ = levels_of(scale)
    return second - first


def nearest_level(stars: ArrayLike, scale: tuple[float, float]) -> NDArray[np.int64] | NDArray[np.float64]:
    """Each value's nearest of `levels_of`; the lowest or highest for what lies beyond.

    Args:
        stars: values, any shape, finite.
        scale: lowest and highest rating.

    Returns:
        Of the same shape; integers where the levels are whole numbers of their own.

    Example:
        >>> nearest_level([-0.3, 0.29, 0.31], (0, 1)).tolist()
        [0.0, 0.2, 0.4]
    """
    levels: NDArray[np.int64] | NDArray[np.float64] = np.array(levels_of(scale))
    place = np.rint((np.asarray(stars, np.float64) - scale[0]) / step_of(scale))
    return levels[np.clip(place, 0, len(levels) - 1).astype(np.int64)]


def steps_given(stars: ArrayLike, scale: tuple[float, float]) -> int:
    """How many steps the raters' scale had: those that the scale offers, or as few as all values fit.

    Args:
        stars: ``(N,)`` what was given, within the scale.
        scale: lowest and highest rating.

    Returns:
        The number of steps; 20 where no fewer fit.

    Example:
        >>> steps_given([1, 3.5, 4.75], (1, 6))  # five values, brought to stars
        4
    """
    share = (np.asarray(stars, np.float64) - scale[0]) / (scale[1] - scale[0])

    def fits(steps: int) -> bool:
        return bool(np.allclose(share * steps, np.rint(share * steps), rtol=0, atol=1e-6))

    offered = len(levels_of(scale)) - 1
    return next((steps for steps in (offered, *range(1, _FINEST)) if fits(steps)), _FINEST)

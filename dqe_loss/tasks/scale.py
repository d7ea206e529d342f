"""The values of a rating scale: what a rater can say."""

_SIX = 5
"""Steps of the paper's scale, which scales without whole numbers of their own take, too."""
_MOST = 9
"""Steps for which there is a key each, and which a rater can still tell apart (our choice)."""


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

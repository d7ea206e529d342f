"""From the stars of a label to what its exam counts."""

from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor

from dqe_loss.core.checks import tell
from dqe_loss.core.tensors import at_least_float32, plain

Stars = Tensor | Sequence[float]
"""Mean stars of each label of a batch."""

LEAST_QUALITY = 0.5
"""Share of the scale that a label needs to count at all: 3.5 of 1 to 6 stars."""


def weight_of_quality(quality: Tensor) -> Tensor:
    """What a label counts by default: the square of its quality, and nothing below half of the scale.

    Args:
        quality: ``(B,)`` in [0, 1]: 0 for the lowest stars of the scale, 1 for the best.

    Example:
        >>> weight_of_quality(torch.tensor([0.0, 0.4, 0.5, 0.8, 1.0]))
        tensor([0.0000, 0.0000, 0.2500, 0.6400, 1.0000])
    """
    return torch.where(quality >= LEAST_QUALITY, quality.square(), torch.zeros_like(quality))


def weights_of(stars: Tensor, scale: tuple[float, float], weight: Callable[[Tensor], Tensor]) -> Tensor:
    """What each label counts.

    Args:
        stars: ``(B,)``; where they are not a number, a label counts nothing. Outside the scale they count as its ends.
        scale: lowest and highest stars.
        weight: gives weights ``(B,)`` of qualities ``(B,)`` in [0, 1].

    Returns:
        ``(B,)``, finite and at least 0.

    Raises:
        ValueError: if the function gives something else.

    Warns:
        UserWarning: once: stars lie far outside the scale.
    """
    low, best = scale
    if bool(((stars - (low + best) / 2).abs() > best - low).any()):  # networks go a little beyond the ends
        _tell_far(low, best)
    unknown = stars.isnan()
    quality = ((stars - low) / (best - low)).clamp(0, 1).masked_fill(unknown, 0)
    weights = torch.as_tensor(weight(quality))
    if weights.shape != quality.shape or not bool((weights.isfinite() & (weights >= 0)).all()):
        raise ValueError(
            f"weight must give a finite number >= 0 for each quality in [0, 1], shape {tuple(quality.shape)}; "
            f"of {[round(q, 3) for q in quality.tolist()]} it gave {weights.tolist()}"
        )
    return weights.to(quality).masked_fill(unknown, 0)


@cache
def _tell_far(low: float, best: float) -> None:
    tell(
        f"stars of labels lie far outside the surrogate's scale of {low:g} to {best:g}, and count as its ends: bring "
        "numbers of another scale, such as percent, to this one before they are handed over as stars="
    )


def read_stars(stars: Stars, exams: int) -> Tensor:
    """Stars as they were handed over, ``(B,)``, floating point and without a gradient.

    Raises:
        ValueError: if there is not one for each exam.
    """
    known = at_least_float32(torch.as_tensor(stars).detach())
    if known.shape != (exams,):
        raise ValueError(
            f"expected stars ({exams},), the mean of each label's views, got {tuple(known.shape)}"
            + ("; say stars.mean(1)" if known.ndim == 2 else "")
        )
    return plain(known)

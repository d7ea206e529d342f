"""What a loss of stars is made of: the stars that segmentations lack, without guard or options."""

from typing import Any

from torch import Tensor

from dqe_loss.surrogate.network import Surrogate
from dqe_loss.surrogate.rating import rate_segmentation


def dqe_loss(surrogate: Surrogate, image: Tensor, segmentation: Tensor, **options: Any) -> Tensor:
    """Stars that each segmentation lacks: ``relu(6 - mean stars of the views)``, the loss without guard or options.

    Args:
        surrogate: the frozen network.
        image: intensities ``(B, C, X, Y, Z)``.
        segmentation: regions ``(B, R, X, Y, Z)`` in [0, 1], or a label map ``(B, 1, X, Y, Z)``.
        **options: those of `rate_segmentation`; slicing is ``"soft"`` unless said otherwise.

    Returns:
        ``(B,)`` missing stars, at least 0.

    Raises:
        ValueError: if shapes, values or options are not as `rate_segmentation` takes them.
        TypeError: if image or segmentation is no tensor.
    """
    stars = rate_segmentation(surrogate, image, segmentation, **{"slicing": "soft", **options})
    return missing_stars(stars, surrogate)


def missing_stars(stars: Tensor, surrogate: Surrogate) -> Tensor:
    """``relu(best - mean of views)`` of stars ``(B, V)``, where best is the top of the surrogate's scale (6)."""
    return (surrogate.config.stars[1] - stars.mean(1)).relu()


def mean_of_rated(stars: Tensor) -> Tensor:
    """Mean of stars ``(B, V)`` over the exams that have any, a scalar; NaN if none has. Waits for no device."""
    return stars.mean(1).nanmean()


def reduce_rated(values: Tensor, rated: Tensor, reduction: str) -> Tensor:
    """Reduce values ``(B,)``. Of a mean, exams that were not rated are no part: they would look like progress."""
    if reduction == "none":
        return values
    return values.sum() / rated.sum().clamp(min=1) if reduction == "mean" else values.sum()

"""The weight of a loss in a sum: one number."""

import math
from numbers import Real

from torch import Tensor


def is_no_weight(weight: object) -> bool:
    """Whether something is no number, so that ``weight * loss`` is not ours to answer."""
    return isinstance(weight, bool) or not isinstance(weight, Real | Tensor)


def read_weight(weight: object) -> float:
    """A loss's weight as a number.

    Raises:
        TypeError: if it is none.
        ValueError: if it is negative, not finite, or a tensor that is to be learned or has several elements.
    """
    if isinstance(weight, Tensor) and (weight.requires_grad or weight.numel() != 1):
        raise ValueError(
            "the weight of a loss must be one number that is not learned (a learned one would go to 0), got a tensor "
            f"of shape {tuple(weight.shape)}" + (" that requires gradient" if weight.requires_grad else "")
        )
    if is_no_weight(weight):
        raise TypeError(f"the weight of a loss must be a number, got {type(weight).__name__}")
    number = float(weight)  # type: ignore[arg-type]
    if not (math.isfinite(number) and number >= 0):
        raise ValueError(f"the weight of a loss must be a finite number >= 0, got {number:g}")
    return number

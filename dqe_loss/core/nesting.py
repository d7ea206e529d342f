"""In which order regions lie in each other as they do by definition: who mixes channels up gets wrong stars."""

from collections.abc import Sequence
from itertools import permutations

from torch import Tensor

from dqe_loss.task import LabelScheme

OUTSIDE = 0.05
"""Share of a region's voxels that may lie outside of the region that holds it: a few do in fused masks."""
ORDERED = 6
"""Most regions of which all orders are tried (720), to tell which one fits."""


def fitting_order(regions: Tensor, order: Sequence[str], scheme: LabelScheme) -> tuple[str, ...] | None:
    """The order of channels in which each region lies in those that hold it.

    Args:
        regions: ``(B, R, ...)``, binarized at 0.5.
        order: name of each channel; it may name further regions.
        scheme: knows which region lies in which.

    Returns:
        The order that was given if it fits, else the first that does; None if none does, or there are too many to try.
    """
    channels = (regions > 0.5).unbind(1)

    def nested(names: Sequence[str]) -> bool:
        named = dict(zip(names, channels, strict=True))
        pairs = ((named[inner], named[outer]) for inner, outer in scheme.nesting)
        return all(int((inner & ~outer).sum()) <= OUTSIDE * int(inner.sum()) for inner, outer in pairs)

    if nested(order):
        return tuple(order)
    return next(filter(nested, permutations(order)), None) if len(order) <= ORDERED else None


def misplaced(what: str, order: Sequence[str], scheme: LabelScheme) -> str:
    """What is wrong with channels in that order, as a message begins."""
    lies = " and ".join(f"{inner} lies in {outer}" for inner, outer in scheme.nesting)
    return f"{what}'s channels cannot be {', '.join(order)}: {lies}, but not in these"

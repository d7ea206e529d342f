"""How well a mask and a refined mask agree, and what share of its stars that leaves to it: the gate."""

from typing import NamedTuple

import torch
from torch import Tensor

SMOOTHING = 20.0
"""Voxels at which a region counts by half: a few voxels are no reason for a fall from 1 to 0."""


class Overlap(NamedTuple):
    """What an agreement is made of, region by region: sums over voxels, which add up over planes.

    Attributes:
        both: ``(..., 3)``, of the products of mask and refined mask.
        total: the same shape, of their squares.
    """

    both: Tensor
    total: Tensor


def overlap(regions: Tensor, refined: Tensor) -> Overlap:
    """Sums over each plane. Probabilities count by the smooth step ``p^2 (3 - 2p)``: a network's 0.05 is no tumor.

    Args:
        regions: ``(N, 3, H, W)`` in [0, 1].
        refined: the same shape, 0 or 1.

    Returns:
        Sums ``(N, 3)``, differentiable by the mask.
    """
    weight = regions.square() * (3 - 2 * regions)
    return Overlap((weight * refined).sum((-2, -1)), (weight.square() + refined).sum((-2, -1)))


def agreement_of(sums: Overlap) -> Tensor:
    """Soft Dice ``2 sum(p q) / sum(p^2 + q^2)`` of a mask and a refined mask, mean over the regions that either has.

    A region counts by ``n / (n + SMOOTHING)``, n being the mean of its voxels in the two: of a region that neither has,
    nothing is known, and agreement on nothing would flatter a mask that is wrong in another one.

    Args:
        sums: ``(N, 3)`` each, of planes or of whole exams.

    Returns:
        ``(N,)`` in [0, 1]; 1 where both are empty.
    """
    size = sums.total.detach() / 2
    counts = size / (size + SMOOTHING)
    present = counts.sum(1)
    mean = (counts * 2 * sums.both / sums.total.clamp(min=1e-6)).sum(1) / present.clamp(min=1e-6)
    return torch.where(present > 0, mean, torch.ones_like(mean))


def agreement(regions: Tensor, refined: Tensor) -> Tensor:
    """How well a mask and a refined mask agree in each plane; see `overlap` and `agreement_of`.

    Example:
        >>> mask = torch.zeros(1, 3, 4, 4)
        >>> mask[:, 1, :2] = 1
        >>> agreement(mask, mask).item(), agreement(mask, 0 * mask).item()
        (1.0, 0.0)
    """
    return agreement_of(overlap(regions, refined))


def gate_of(agreement: Tensor, full_marks: float, exponent: float) -> Tensor:
    """What share of its stars an agreement leaves to a mask, in [0, 1]."""
    return (agreement / full_marks).clamp(max=1) ** exponent

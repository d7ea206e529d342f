"""Means and maxima over squares of a plane."""

from torch import Tensor
from torch.nn import functional as F


def blur(planes: Tensor, width: int) -> Tensor:
    """Mean of ``(C, H, W)`` over squares of an odd width: along rows, then columns, by sums that use vector units."""
    padded = F.pad(planes[None], (width // 2,) * 4, "replicate")[0]
    for dim in (-1, -2):
        size = padded.shape[dim] - width + 1
        total = padded.narrow(dim, 0, size).clone()
        for start in range(1, width):
            total += padded.narrow(dim, start, size)
        padded = total
    return padded / width**2


def grow(planes: Tensor, width: int) -> Tensor:
    """Maximum of ``(C, H, W)`` over squares of an odd width."""
    half = width // 2
    return F.max_pool2d(F.max_pool2d(planes[None], (1, width), 1, (0, half)), (width, 1), 1, (half, 0))[0]

"""Boxes of voxels: the smallest one around what is not 0, in arrays and in tensors, and one of a given size."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dqe_loss.core.tensors import as_signed

Box = tuple[slice, ...]
"""Index of a part of a volume."""


def array_box(values: NDArray[Any], margin: int = 0) -> Box | None:
    """Smallest box that holds all that is not 0.

    Args:
        values: labels, a mask or intensities; each axis is one of space.
        margin: voxels by which the box is widened, as far as the array goes.

    Returns:
        An index of ``values``; None if all of them are 0.

    Example:
        >>> array_box(np.array([[0, 0, 0, 0], [0, 5, 7, 0]]), margin=1)
        (slice(0, 2, None), slice(0, 4, None))
    """
    box = []
    for axis, size in enumerate(values.shape):
        inside = np.flatnonzero(values.any(axis=tuple(a for a in range(values.ndim) if a != axis)))
        if not inside.size:
            return None
        box.append(slice(max(int(inside[0]) - margin, 0), min(int(inside[-1]) + 1 + margin, size)))
    return tuple(box)


def tensor_box(values: Tensor, leading: int = 0) -> Box:
    """Smallest box that holds all that is above 0, in any exam and any channel.

    Args:
        values: labels, a mask or another tensor without negative values.
        leading: number of leading axes, such as batch and channel, that are not of space; they stay whole.

    Returns:
        An index of ``values``; of the first voxel if nothing is above 0.

    Example:
        >>> import torch
        >>> tensor_box(torch.tensor([[0, 0, 0, 0], [0, 5, 7, 0]]))
        (slice(1, 2, None), slice(1, 3, None))
    """
    # In the order of memory, whole planes are gone through fastest; what is empty there is not looked at again.
    order = sorted(range(leading, values.ndim), key=values.stride, reverse=True)
    box = [slice(None)] * values.ndim
    rest = as_signed(values).permute(*range(leading), *order)
    for axis in order:
        others = [a for a in range(rest.ndim) if a != leading]
        found = ((rest.amax(others) if others else rest) > 0).nonzero()
        first, last = (int(found[0]), int(found[-1])) if len(found) else (0, 0)
        box[axis] = slice(first, last + 1)
        rest = rest.narrow(leading, first, last + 1 - first).amax(leading)
    return tuple(box)


def box_around(center: Sequence[int], side: int, shape: Sequence[int]) -> Box:
    """Box of at most a side's voxels around a place, moved as far as it takes to lie inside a volume.

    Args:
        center: the place, a coordinate for each axis.
        side: width along each axis.
        shape: of the volume.
    """
    starts = [min(max(middle - side // 2, 0), max(size - side, 0)) for middle, size in zip(center, shape, strict=True)]
    return tuple(slice(start, min(start + side, size)) for start, size in zip(starts, shape, strict=True))

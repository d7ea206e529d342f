"""Tensors as they are given, made what the core computes with: plain, signed, precise enough, and volumes.

Planes by themselves, as 2D networks see them (contract C6), are volumes one voxel thick, so that one path rates both.
"""

from typing import Any, TypeVar

import torch
from torch import Tensor

MaybeTensor = TypeVar("MaybeTensor", Tensor, Tensor | None)


def at_least_float32(x: Tensor) -> Tensor:
    """Integers, booleans and half precision as float32; float32 and float64 as they are (contract C10)."""
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


def as_signed(x: Tensor) -> Tensor:
    """Integers of the larger unsigned types, for which torch has few operations, as signed ones; others as they are."""
    if x.dtype == torch.uint16:
        return x.int()
    return x.long() if x.dtype in (torch.uint32, torch.uint64) else x


def plain(x: Tensor) -> Tensor:
    """Without a subclass such as MONAI's MetaTensor, whose bookkeeping costs time and breaks compilation."""
    return x if type(x) is Tensor else x.as_subclass(Tensor)


def cannot_wait(x: Tensor) -> bool:
    """Whether values must not be looked at: under ``torch.compile``, and while a CUDA graph is captured."""
    return torch.compiler.is_compiling() or (x.is_cuda and torch.cuda.is_current_stream_capturing())


def is_flat(image: Any, mask: Any) -> bool:
    """Whether an image ``(B, C, H, W)`` and its mask ``(B, R, H, W)`` are planes, and not volumes.

    Raises:
        ValueError: one of them is, and the other is not.
    """
    flat = [isinstance(x, Tensor) and x.ndim == 4 for x in (image, mask)]
    if flat[0] != flat[1]:
        raise ValueError(
            "image and segmentation are both volumes, (B, C, X, Y, Z) and (B, R, X, Y, Z), or both planes, "
            f"(B, C, H, W) and (B, R, H, W); got an image of shape {tuple(image.shape)} and a segmentation of shape "
            f"{tuple(mask.shape)}"
        )
    return flat[0]


def thicken(planes: MaybeTensor) -> MaybeTensor:
    """Planes ``(B, ..., H, W)`` as volumes ``(B, ..., H, W, 1)``, without a copy; nothing stays nothing."""
    # A MetaTensor's affine is of the volume that the plane was taken from, if any: it says nothing of the plane's axes.
    return None if planes is None else plain(planes).unsqueeze(-1)


def shape_of(x: Tensor) -> str:
    """A shape for a message; of a volume one voxel thick, which a user of planes has not given, with a word on it."""
    thick = x.ndim == 5 and x.shape[-1] == 1
    return f"{tuple(x.shape)}{' (planes count as volumes one voxel thick)' if thick else ''}"


def refuse_origin(origin: Any) -> None:
    """Refuse an origin, which planes do not have.

    Raises:
        ValueError: if there is one.
    """
    if origin is not None:
        raise ValueError(
            "origin= places patches in volumes, and (B, R, H, W) is read as planes, which are rated as they are: leave "
            "it out, and let planes be large enough to hold the tumor and what surrounds it"
        )

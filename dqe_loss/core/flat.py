"""Planes by themselves, as 2D networks see them (contract C6): volumes one voxel thick, so that one path rates both."""

from typing import Any, TypeVar

from torch import Tensor

from dqe_loss.core.dtypes import plain
from dqe_loss.core.pipeline import Sampling

FLAT = Sampling(("axial",))
"""The one plane of a volume ``(B, C, H, W, 1)``."""

MaybeTensor = TypeVar("MaybeTensor", Tensor, Tensor | None)


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

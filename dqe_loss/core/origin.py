"""Where a crop lies in the volume it was cut from, by their affines."""

import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dqe_loss.core.patch import read_origins

TOLERANCE = 1e-3
"""How far axes may be apart, as a share of a voxel: affines are often stored in single precision."""


@dataclass(frozen=True)
class Placed:
    """A volume's place in space: its affine ``(4, 4)``, and its size in voxels where that is known."""

    affine: Tensor
    size: tuple[int, ...] | None


def crop_origin(crop: Any, full: Any) -> Tensor:
    """Where a crop lies in the full-size volume it was cut from: what ``origin=`` takes.

    MONAI's crops keep their place in the affine of a `monai.data.MetaTensor`. Keep the full-size image and target
    beside what is cropped (``CopyItemsd`` before the crop).

    Args:
        crop: a MetaTensor ``(C, X, Y, Z)``, a collated batch of them, or a list; or their affines ``(4, 4)`` or
            ``(B, 4, 4)``, as tensor or array.
        full: the same of the full-size volumes; one volume may serve all crops.

    Returns:
        First voxel of the crop, three integers, int64 on the CPU; ``(B, 3)`` of a batch or a list.

    Raises:
        ValueError: if the crop was flipped, rotated or resampled after it was cut out, does not start at a whole
            voxel, or does not lie inside (as far as sizes are known).

    Example:
        >>> full = torch.diag(torch.tensor([-1.0, -1.0, 1.0, 1.0]))
        >>> crop = full.clone()
        >>> crop[:3, 3] = torch.tensor([-60.0, -70.0, 20.0])
        >>> crop_origin(crop, full).tolist()
        [60, 70, 20]
    """
    crops, fulls = _read(crop, "crop"), _read(full, "full-size volume")
    if len(fulls) not in (1, len(crops)):
        raise ValueError(f"got {len(crops)} crops but {len(fulls)} full-size volumes: pass one for each crop, or one")
    fulls = fulls if len(fulls) == len(crops) else fulls * len(crops)
    origins = torch.stack([_origin(*pair) for pair in zip(crops, fulls, strict=True)])
    return origins[0] if not isinstance(crop, (list, tuple)) and _affine_of(crop).ndim == 2 else origins


def check_origin(origin: Any, crop: Any, full: Any) -> None:
    """Check an origin by what MetaTensors know of their place; nothing is checked where one is none.

    Args:
        origin: what was said, three integers or ``(B, 3)``.
        crop: the prediction of a crop ``(B, C, ...)``; that of a MetaTensor is one, with the affine of its input.
        full: the full-size image ``(B, C, X, Y, Z)``.

    Warns:
        UserWarning: the affines say otherwise. It is no error, for affines may be lost on the way.
    """
    if not (hasattr(crop, "affine") and hasattr(full, "affine")):
        return
    said = "origin= says otherwise than prediction and image do by their affines"
    try:
        found = crop_origin(crop, full).reshape(-1, 3)
    except ValueError as error:
        warnings.warn(f"{said}: {error}", stacklevel=2)
        return
    given = read_origins(origin, len(crop)).cpu()
    if bool((found != given).any()):
        warnings.warn(f"{said}: origin={given.tolist()}, but it starts at {found.tolist()}", stacklevel=2)


def _affine_of(volume: Any) -> Tensor:
    return torch.as_tensor(getattr(volume, "affine", volume)).detach().cpu().double()


def _read(volumes: Any, what: str) -> list[Placed]:
    if isinstance(volumes, (list, tuple)):
        return [one for volume in volumes for one in _read(volume, what)]
    affine = _affine_of(volumes)
    if affine.ndim not in (2, 3) or affine.shape[-2:] != (4, 4):
        raise ValueError(
            f"the {what} must be a MetaTensor of MONAI's, which knows its place, or an affine (4, 4); got "
            f"{type(volumes).__name__} of shape {tuple(volumes.shape)}"
        )
    size = tuple(volumes.shape[-3:]) if hasattr(volumes, "affine") else None
    return [Placed(one, size) for one in affine.reshape(-1, 4, 4)]


def _origin(crop: Placed, full: Placed) -> Tensor:
    between = torch.linalg.inv_ex(full.affine)[0] @ crop.affine  # from the crop's voxels to the volume's
    offset = between[:3, 3]
    # All comparisons are so put that NaN fails them.
    if not (between[:3, :3] - torch.eye(3)).abs().max() < TOLERANCE:
        raise ValueError(
            "the crop's axes are not those of the full-size volume: it was flipped, rotated or resampled after it was "
            "cut out. Do that before the crop, and set the full-size image and target aside between the two; or rate "
            f"the crop alone, without origin=. From crop to volume: {between[:3].tolist()}"
        )
    if not (offset - offset.round()).abs().max() < 10 * TOLERANCE:
        raise ValueError(
            f"the crop lies between voxels of the full-size volume, it starts at {offset.tolist()}: was either of "
            "them resampled? Crop after that, and set the full-size image and target aside between the two"
        )
    origin: Tensor = offset.round().long()
    outside = bool((origin < 0).any())
    if crop.size is not None and full.size is not None:
        outside |= bool((origin + torch.tensor(crop.size) > torch.tensor(full.size)).any())
    if outside:
        raise ValueError(
            f"the crop does not lie inside the full-size volume: it starts at {origin.tolist()}, of size {crop.size}, "
            f"in a volume of size {full.size}. If it was padded, pad before the full-size image and target are set "
            "aside; else they are not of this exam"
        )
    return origin

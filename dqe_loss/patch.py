"""Rating a patch in its place: the prediction of a crop, the reference around it.

Most networks train on crops, but the surrogate has only ever seen whole planes. Padding a crop shows it something
new; putting the crop's prediction where it belongs, into the full-size reference, shows it what it knows, and the
gradient still reaches the crop alone. Only profiles and planes are put together, never volumes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dqe_loss.mask import Mask
from dqe_loss.slicing import VIEW_AXIS, Profiles

Origins = tuple[tuple[int, int, int], ...]
"""First voxel of each exam's patch in its full-size volume, X, Y, Z."""


def read_origins(origin: Sequence[int] | Sequence[Sequence[int]] | Tensor, batch: int) -> Origins:
    """Bring an origin, one for all exams or one for each, into one form.

    Args:
        origin: three integers, or ``(B, 3)`` of them, as a sequence or a tensor.
        batch: number of exams.

    Raises:
        ValueError: if there are not three integers per exam.
    """
    values = torch.as_tensor(origin)
    if values.is_floating_point() or values.shape not in ((3,), (batch, 3)):
        raise ValueError(
            f"origin must be three integers, or three for each of the {batch} exams: the patch's first voxel in the "
            f"full-size volume; got {values.tolist()}"
        )
    return tuple((int(x), int(y), int(z)) for x, y, z in values.expand(batch, 3).tolist())


def crop(volume: Tensor, origins: Origins, size: Sequence[int]) -> Tensor:
    """Cut each exam's patch out of full-size volumes.

    Args:
        volume: ``(B, C, X, Y, Z)`` or ``(B, X, Y, Z)``.
        origins: first voxel of each patch.
        size: size of the patches.

    Returns:
        ``(B, C, *size)`` or ``(B, *size)``.

    Raises:
        ValueError: if a patch does not lie inside the volume.
    """
    for origin in origins:
        if any(o < 0 or o + n > full for o, n, full in zip(origin, size, volume.shape[-3:], strict=True)):
            raise ValueError(
                f"a patch of {tuple(size)} voxels at origin {origin} does not lie inside the full-size volume of "
                f"{tuple(volume.shape[-3:])}; with origin=, target and image are full-size and input is the patch"
            )
    (dx, dy, dz) = size
    return torch.stack(
        [v[..., x : x + dx, y : y + dy, z : z + dz] for v, (x, y, z) in zip(volume, origins, strict=True)]
    )


@dataclass(frozen=True)
class PatchMask:
    """A patch's segmentation inside full-size surroundings, as a `Mask`.

    Attributes:
        patch: what is predicted.
        replaced: the surroundings' own segmentation of the patch's voxels, of the same size.
        surroundings: the full-size segmentation.
        origins: where each patch lies.
    """

    patch: Mask
    replaced: Mask
    surroundings: Mask
    origins: Origins

    @property
    def shape(self) -> torch.Size:
        """Shape of the full-size volumes."""
        return self.surroundings.shape

    def profiles(self, region: str) -> Profiles:
        """Mass profiles of a region: the surroundings', with the patch's own mass replaced by what is predicted."""
        around = self.surroundings.profiles(region)
        replaced, patch = self.replaced.profiles(region), self.patch.profiles(region)

        def along(axis: int) -> Tensor:
            change = patch[axis] - replaced[axis]
            length = around[axis].shape[1]
            rows = [
                F.pad(c, (o[axis], length - o[axis] - c.shape[0])) for c, o in zip(change, self.origins, strict=True)
            ]
            return around[axis] + torch.stack(rows)

        return along(0), along(1), along(2)

    def take(self, index: Tensor, view: str) -> Tensor:
        """Region planes at integer positions of the full-size volume."""
        axis = VIEW_AXIS[view]
        rows, columns = (a for a in range(3) if a != axis)
        around = self.surroundings.take(index, view)
        first = torch.tensor([origin[axis] for origin in self.origins], device=index.device)[:, None]
        depth = self.patch.shape[2 + axis]
        inside = (index >= first) & (index < first + depth)
        planes = self.patch.take((index - first).clamp(0, depth - 1), view)
        height, width = around.shape[-2:]

        def place(plane: Tensor, origin: tuple[int, int, int]) -> Tensor:
            top, left = origin[rows], origin[columns]
            return F.pad(plane, (left, width - left - plane.shape[-1], top, height - top - plane.shape[-2]))

        dtype = torch.promote_types(planes.dtype, torch.float32)
        placed = torch.stack([place(p, o) for p, o in zip(planes.to(dtype), self.origins, strict=True)])
        cover = torch.stack(
            [place(torch.ones_like(p[:, :1], dtype=dtype), o) for p, o in zip(planes, self.origins, strict=True)]
        )
        return torch.where((cover > 0) & inside[..., None, None, None], placed, around.to(dtype))

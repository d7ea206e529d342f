"""Rating a patch in its place: the prediction of a crop, the reference around it.

Most networks train on crops, but the surrogate has only ever seen whole planes. Padding a crop shows it something
new; putting the crop's prediction where it belongs, into the full-size reference, shows it what it knows, and the
gradient still reaches the crop alone. Only profiles and planes are put together, never volumes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dqe_loss.core.center_of_mass import Profiles
from dqe_loss.core.mask import Mask
from dqe_loss.core.slicing import VIEW_AXIS
from dqe_loss.core.tensors import cannot_wait


def read_origins(origin: Any, batch: int) -> Tensor:
    """Bring an origin, one for all exams or one for each, into one form.

    Args:
        origin: three integers, or ``(B, 3)`` of them, as a sequence or a tensor; or what a DataLoader collates triples
            of integers to: three tensors ``(B,)``.
        batch: number of exams.

    Returns:
        First voxel of each exam's patch in its full-size volume, ``(B, 3)``, where it was given.

    Raises:
        ValueError: if there are not three integers per exam, or there are three tensors of three exams, which can be
            meant either way.
    """
    if isinstance(origin, list | tuple) and origin and all(isinstance(part, Tensor) for part in origin):
        collated = len(origin) == 3 and all(part.shape == (batch,) for part in origin)
        if collated and batch == 3:
            raise ValueError(
                "origin is three tensors of three integers, for three exams: say torch.stack(origin, 1) if there is "
                "one for each axis, as a DataLoader collates them, or torch.stack(origin) if there is one for each exam"
            )
        origin = torch.stack(tuple(origin), int(collated))
    values = _as_tensor(origin) if torch.compiler.is_compiling() else torch.as_tensor(origin)
    if values.is_floating_point() or values.shape not in ((3,), (batch, 3)):
        raise ValueError(
            f"origin must be three integers, or three for each of the {batch} exams: the patch's first voxel in the "
            f"full-size volume; got {values.tolist()}"
        )
    return values.expand(batch, 3)


def _as_tensor(origin: Any) -> Tensor:
    """Integers as a tensor; `torch.as_tensor` makes constants of them, and a graph for each value."""
    if isinstance(origin, int):
        return torch.full((), origin)
    return torch.stack([_as_tensor(part) for part in origin]) if isinstance(origin, (list, tuple)) else origin


def origins_beside(origins: Tensor, masks: Tensor) -> Tensor:
    """Origins on the device of the masks, copied once for all planes; an accelerator is not waited for.

    A tensor on the CPU is pinned for it, except where a graph is made: its memory would not outlive this call.
    """
    if masks.is_cuda and not origins.is_cuda and not cannot_wait(masks):
        origins = origins.contiguous().pin_memory()
    return origins.to(masks.device, non_blocking=True)


def crop(volume: Tensor, origins: Tensor, size: Sequence[int]) -> Tensor:
    """Cut each exam's patch out of full-size volumes.

    Args:
        volume: ``(B, C, X, Y, Z)`` or ``(B, X, Y, Z)``.
        origins: first voxel of each patch, ``(B, 3)``.
        size: size of the patches.

    Returns:
        ``(B, C, *size)`` or ``(B, *size)``.

    Raises:
        ValueError: if a patch does not lie inside the volume, or there is not one volume for each.
    """
    if len(volume) != len(origins):
        raise ValueError(
            f"expected a full-size volume for each of the {len(origins)} patches, got {len(volume)} of shape "
            f"{tuple(volume.shape)}; where all patches are of one exam, say target.expand({len(origins)}, "
            "*target.shape[1:])"
        )
    if cannot_wait(volume):  # the origins are data: a compiled graph serves all of them
        for axis, (starts, n) in enumerate(
            zip(origins.to(volume.device).unbind(1), size, strict=True), volume.ndim - 3
        ):
            index = starts[:, None] + torch.arange(n, device=volume.device)
            shape = [n if a == axis else length for a, length in enumerate(volume.shape)]
            volume = volume.gather(axis, _spread(index, axis, volume.ndim).expand(shape))
        return volume
    places = origins.tolist()
    for origin in places:
        if any(o < 0 or o + n > full for o, n, full in zip(origin, size, volume.shape[-3:], strict=True)):
            raise ValueError(
                f"a patch of {tuple(size)} voxels at origin {tuple(origin)} does not lie inside the full-size volume "
                f"of {tuple(volume.shape[-3:])}; with origin=, target and image are full-size and input is the patch"
            )
    (dx, dy, dz) = size
    return torch.stack(
        [v[..., x : x + dx, y : y + dy, z : z + dz] for v, (x, y, z) in zip(volume, places, strict=True)]
    )


@dataclass(frozen=True)
class PatchMask:
    """A patch's segmentation inside full-size surroundings, as a `Mask`.

    Attributes:
        patch: what is predicted.
        replaced: the surroundings' own segmentation of the patch's voxels, of the same size.
        surroundings: the full-size segmentation.
        origins: where each patch lies, ``(B, 3)``.
    """

    patch: Mask
    replaced: Mask
    surroundings: Mask
    origins: Tensor

    @property
    def shape(self) -> torch.Size:
        """Shape of the full-size volumes."""
        return self.surroundings.shape

    def profiles(self, region: str) -> Profiles:
        """Mass profiles of a region, three tensors ``(B, size)``: the surroundings', with the patch's as predicted."""
        around = self.surroundings.profiles(region)
        replaced, patch = self.replaced.profiles(region), self.patch.profiles(region)

        def along(axis: int) -> Tensor:
            index, inside = self._places(axis, around[axis].device)
            change = (patch[axis] - replaced[axis]).gather(1, index)
            return around[axis] + torch.where(inside, change, 0)

        return along(0), along(1), along(2)

    def take(self, index: Tensor, view: str) -> Tensor:
        """Region planes ``(B, P, R, H, W)`` at integer positions ``(B, P)`` of the full-size volume."""
        axis = VIEW_AXIS[view]
        (row, in_rows), (column, in_columns) = (self._places(a, index.device) for a in range(3) if a != axis)
        depth, in_depth = (places.gather(1, index) for places in self._places(axis, index.device))
        around = self.surroundings.take(index, view)
        planes = self.patch.take(depth, view)
        dtype = torch.promote_types(planes.dtype, torch.float32)
        planes = planes.to(dtype)
        for places, dim in ((row, -2), (column, -1)):
            shape = (*planes.shape[:3], *(places.shape[1] if d == dim else planes.shape[d] for d in (-2, -1)))
            planes = planes.gather(dim, _spread(places, dim % 5, 5).expand(shape))
        inside = in_depth[..., None, None] & (in_rows[:, :, None] & in_columns[:, None, :])[:, None]
        return torch.where(inside[:, :, None], planes, around.to(dtype))

    def _places(self, axis: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Of each voxel of the volume along an axis: its index in the patch (clamped), and whether it is inside."""
        first = self.origins.to(device)[:, axis, None]
        index = torch.arange(self.shape[2 + axis], device=device) - first
        size = self.patch.shape[2 + axis]
        return index.clamp(0, size - 1), (index >= 0) & (index < size)


def _spread(index: Tensor, axis: int, ndim: int) -> Tensor:
    """An index of one axis ``(B, N)`` with as many dimensions as what it indexes, 1 but for the batch and that axis."""
    return index.reshape([index.shape[0], *(index.shape[1] if a == axis else 1 for a in range(1, ndim))])

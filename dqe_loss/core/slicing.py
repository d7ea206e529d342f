"""Planes of volumes: the three views, planes cut between voxels if need be, and padded to the field of view."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from dqe_loss.core.boxes import Box
from dqe_loss.core.tensors import as_signed
from dqe_loss.task import GLIOMA, Task
from dqe_loss.tasks.definition import VIEWS as VIEWS  # every room takes it from here

_T = TypeVar("_T")

VIEW_AXIS = {"axial": 2, "coronal": 1, "sagittal": 0}
"""Spatial axis that each view's planes are perpendicular to."""


class PlaneSource(Protocol):
    """Volumes ``(B, C, X, Y, Z)`` that give planes without lying in memory as a whole."""

    @property
    def shape(self) -> torch.Size:
        """Shape of the volumes."""

    def take(self, index: Tensor, view: str) -> Tensor:
        """Planes ``(B, P, C, H, W)`` at integer positions ``(B, P)``, as `take_planes` gives them."""

    def thin(self, step: int) -> Tensor:
        """Every ``step``-th voxel along each axis."""


def check_views(views: tuple[str, ...]) -> None:
    """Check that views are named, known and not named twice.

    Raises:
        ValueError: saying which views there are.
    """
    if not views or len(set(views)) != len(views) or not set(views) <= set(VIEWS):
        raise ValueError(f"views must be one or more of {VIEWS}, each once, got {tuple(views)}")


def take_planes(volume: Tensor | PlaneSource, index: Tensor, view: str) -> Tensor:
    """Take whole planes of one view out of a batch of volumes.

    Args:
        volume: ``(B, C, X, Y, Z)`` of any dtype, in memory or not.
        index: ``(B, P)`` integer voxel coordinates along the view's axis, inside the volume.
        view: ``"axial"``, ``"coronal"`` or ``"sagittal"``.

    Returns:
        Planes ``(B, P, C, H, W)`` in the volume's dtype.
    """
    if not isinstance(volume, Tensor):
        return volume.take(index, view)
    batch = torch.arange(volume.shape[0], device=volume.device)[:, None]
    return volume.movedim(2 + VIEW_AXIS[view], 1)[batch, index]


def interpolate_planes(take: Callable[[Tensor, str], Tensor], positions: Tensor, view: str, depth: int) -> Tensor:
    """Planes at positions that may lie between voxels.

    Args:
        take: gives the planes at integer positions ``(B, P)`` of a view.
        positions: ``(B, P)``, clamped to the volume: integers take planes as they are, fractions interpolate
            linearly between the two neighbors, with a gradient for the planes and for the position.
        view: ``"axial"``, ``"coronal"`` or ``"sagittal"``.
        depth: number of planes along the view's axis.

    Returns:
        Planes ``(B, P, C, H, W)``: in their own dtype for integer positions, and of a volume one voxel thick; else
        floating point.
    """
    positions = positions.clamp(0, depth - 1)
    if not positions.is_floating_point() or depth == 1:
        return take(positions.long(), view)
    lower = positions.detach().floor().long().clamp(max=max(depth - 2, 0))
    below, above = take(torch.cat((lower, (lower + 1).clamp(max=depth - 1)), 1), view).chunk(2, 1)
    dtype = torch.promote_types(below.dtype, positions.dtype)
    fraction = (positions - lower)[..., None, None, None].to(dtype)
    return below.to(dtype) + fraction * (above.to(dtype) - below.to(dtype))


def extract_planes(volume: Tensor, positions: Tensor, view: str) -> Tensor:
    """Take planes of one view out of a batch of volumes, between voxels if need be.

    Args:
        volume: ``(B, C, X, Y, Z)`` of any dtype.
        positions: ``(B, P)`` voxel coordinates along the view's axis, see `interpolate_planes`.
        view: ``"axial"``, ``"coronal"`` or ``"sagittal"``: planes of constant Z, Y or X.

    Returns:
        Planes ``(B, P, C, H, W)``: in the volume's dtype for integer positions, and of a volume one voxel thick; else
        floating point. H and W are the two remaining axes in their order.

    Raises:
        ValueError: if the view is unknown.
    """
    check_views((view,))
    return interpolate_planes(partial(take_planes, volume), positions, view, volume.shape[2 + VIEW_AXIS[view]])


def pad_planes(
    planes: Tensor,
    size: tuple[int, int] = GLIOMA.field_of_view,
    value: float | None = None,
    task: Task | None = None,
) -> Tensor:
    """Pad planes on all sides to the surrogate's field of view, centered.

    Args:
        planes: ``(..., H, W)``; of the larger unsigned types they come out as signed.
        size: height and width to reach.
        value: what to pad with; None takes, axis by axis, the minimum of the row or column that is prolonged, which
            is what upstream does (``numpy.pad``'s mode "minimum").
        task: whose usual grid an error tells.

    Returns:
        Planes ``(..., *size)``.

    Raises:
        ValueError: if a plane is larger than the field of view.
    """
    if planes.shape[-2] > size[0] or planes.shape[-1] > size[1]:
        raise ValueError(
            f"a plane of {planes.shape[-2]}x{planes.shape[-1]} voxels exceeds the surrogate's field of view of "
            f"{size[0]}x{size[1]}; crop or resample the volume to that of the exams it was trained on{_usual(task)}"
        )
    planes = as_signed(planes)
    for dim, wanted in zip((-2, -1), size, strict=True):
        missing = wanted - planes.shape[dim]
        if missing == 0:
            continue
        edge = planes.amin(dim, keepdim=True) if value is None else torch.full_like(planes.narrow(dim, 0, 1), value)
        before = edge.repeat_interleave(missing // 2, dim)
        planes = torch.cat((before, planes, edge.repeat_interleave(missing - missing // 2, dim)), dim)
    return planes


def in_plane(along: Iterable[_T], *views: str) -> list[_T]:
    """Of what is said of the axes X, Y and Z, that of those in a plane of a view (two), or of one of several views."""
    return [value for axis, value in enumerate(along) if any(axis != VIEW_AXIS[view] for view in views)]


def place_of(size: tuple[int, ...], field: tuple[int, ...]) -> Box:
    """Rows and columns where `pad_planes` puts a plane: of a height and width, in a field of view."""
    (height, width), top, left = size, (field[0] - size[0]) // 2, (field[1] - size[1]) // 2
    return slice(top, top + height), slice(left, left + width)


def _usual(task: Task | None) -> str:
    """The grid and the voxels of a task's exams in brackets, as far as they are known."""
    if task is None or task.grid is None:
        return ""
    millimeters = "x".join(dict.fromkeys(f"{mm:g}" for mm in task.spacing))
    return f" ({task.source or task.name}: {'x'.join(map(str, task.grid))} at {millimeters} mm)"

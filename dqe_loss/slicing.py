"""Where the surrogate looks: center of mass of a tumor, and the planes through it.

Volumes are ``(B, C, X, Y, Z)`` as BraTS arrays lie on disk (contract C1); positions are voxel coordinates.
A center is found from *mass profiles*, the mass of each plane along X, Y and Z: three short vectors that say all a
center needs, and that add up when a mask is put together from parts (see `dqe_loss.patch`).
"""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

VIEWS = ("axial", "coronal", "sagittal")
"""The three views: planes of constant Z, of constant Y and of constant X."""

VIEW_AXIS = {"axial": 2, "coronal": 1, "sagittal": 0}
"""Spatial axis that each view's planes are perpendicular to."""

MINIMUM_MASS = 0.5
"""Mass in voxels below which a soft region counts as empty; it bounds the gradient of a center by distance / mass."""

Profiles = tuple[Tensor, Tensor, Tensor]
"""Mass of each plane along X, Y and Z: ``(B, X)``, ``(B, Y)``, ``(B, Z)``."""


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


def at_least_float32(x: Tensor) -> Tensor:
    """Integers, booleans and half precision as float32; float32 and float64 as they are (contract C10)."""
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


def as_signed(x: Tensor) -> Tensor:
    """Integers of the larger unsigned types, for which torch has few operations, as signed ones; others as they are."""
    if x.dtype == torch.uint16:
        return x.int()
    return x.long() if x.dtype in (torch.uint32, torch.uint64) else x


def sharpen(probabilities: Tensor) -> Tensor:
    """Weight of a voxel in a soft center of mass: ``relu(2p - 1)``.

    A mass of plain probabilities fails: 5 % background probability in nine million voxels outweighs any tumor and
    drags the center out of it. This weight is 0 up to p = 0.5, rises continuously to 1, and equals the voxel itself
    for a binary mask, so that soft and hard centers agree there.
    """
    return (2 * at_least_float32(probabilities) - 1).relu()


def mass_profiles(weights: Tensor) -> Profiles:
    """Sum a mask over all planes perpendicular to each axis.

    Args:
        weights: ``(B, X, Y, Z)``, boolean or non-negative.

    Returns:
        The mass profiles along X, Y, Z; exact for binary masks.
    """
    weights = at_least_float32(weights)
    return weights.sum((2, 3)), weights.sum((1, 3)), weights.sum((1, 2))


def center_of_profiles(core: Profiles, whole: Callable[[], Profiles], *, hard: bool) -> Tensor:
    """Center of the tumor core, else of the whole tumor, else of the volume.

    Args:
        core: mass profiles of the tumor core.
        whole: gives those of the whole tumor; not called where the cores' mass is known to suffice.
        hard: whether to count in integers and truncate, as upstream does, or to stay fractional and differentiable.

    Returns:
        ``(B, 3)`` voxel coordinates X, Y, Z: int64 if hard, else floating point.
    """
    center, found = _moment(core, hard)
    # Asking an accelerator would stall its stream and break graph capture: there both are always computed.
    if core[0].device.type == "cpu" and not torch.compiler.is_compiling() and bool(found.all()):
        return center
    fallback, found_whole = _moment(whole(), hard)
    last = [profile.shape[1] - 1 for profile in core]
    middle = torch.stack([torch.full_like(center[0, 0], n // 2 if hard else n / 2) for n in last])
    return torch.where(found, center, torch.where(found_whole, fallback, middle))


def _moment(profiles: Profiles, hard: bool) -> tuple[Tensor, Tensor]:
    """First moment along each axis ``(B, 3)``, and whether there is any mass ``(B, 1)``."""
    if hard:
        profiles = tuple(profile.round().long() for profile in profiles)  # type: ignore[assignment]
    mass = profiles[0].sum(1)
    found = mass >= (1 if hard else MINIMUM_MASS)
    safe = torch.where(found, mass, torch.ones_like(mass))
    centers = []
    for profile in profiles:
        moment = (profile * torch.arange(profile.shape[1], device=profile.device)).sum(1)
        centers.append(moment // safe if hard else moment / safe)
    return torch.stack(centers, 1), found[:, None]


def hard_center_of_mass(regions: Tensor) -> Tensor:
    """Center of mass of a binary segmentation, truncated to whole voxels as the published surrogate takes it.

    Args:
        regions: ``(B, 3, X, Y, Z)`` in the order TC, WT, ET; soft regions are binarized at 0.5.

    Returns:
        ``(B, 3)`` int64 voxel coordinates of the tumor core; of the whole tumor where there is no core; of the
        volume where there is no tumor (upstream raises there).
    """
    binary = regions if regions.dtype == torch.bool else regions > 0.5
    return center_of_profiles(mass_profiles(binary[:, 0]), lambda: mass_profiles(binary[:, 1]), hard=True)


def soft_center_of_mass(regions: Tensor) -> Tensor:
    """Differentiable center of mass of a soft segmentation.

    Voxels weigh ``relu(2p - 1)`` (see `sharpen`), so that background probability does not move the center. Value
    and gradient are finite for every mask; the fallbacks are those of `hard_center_of_mass`.

    Args:
        regions: region probabilities ``(B, 3, X, Y, Z)`` in the order TC, WT, ET, in [0, 1].

    Returns:
        ``(B, 3)`` fractional voxel coordinates, float32 or float64.

    Example:
        >>> regions = torch.zeros(1, 3, 8, 8, 8)
        >>> regions[:, :, 2:4, 5, 6] = 1
        >>> soft_center_of_mass(regions.requires_grad_()).tolist()
        [[2.5, 5.0, 6.0]]
    """
    core, whole = regions[:, 0], regions[:, 1]
    return center_of_profiles(mass_profiles(sharpen(core)), lambda: mass_profiles(sharpen(whole)), hard=False)


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


def interpolate_planes(take: Callable[[Tensor], Tensor], positions: Tensor, depth: int) -> Tensor:
    """Planes at positions that may lie between voxels.

    Args:
        take: gives the planes at integer positions ``(B, P)``.
        positions: ``(B, P)``, clamped to the volume: integers take planes as they are, fractions interpolate
            linearly between the two neighbors, with a gradient for the planes and for the position.
        depth: number of planes along the axis.

    Returns:
        Planes ``(B, P, C, H, W)``: in their own dtype for integer positions, else floating point.
    """
    positions = positions.clamp(0, depth - 1)
    if not positions.is_floating_point():
        return take(positions)
    lower = positions.detach().floor().long().clamp(max=max(depth - 2, 0))
    below, above = take(torch.cat((lower, (lower + 1).clamp(max=depth - 1)), 1)).chunk(2, 1)
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
        Planes ``(B, P, C, H, W)``: in the volume's dtype for integer positions, else floating point. H and W are the
        two remaining axes in their order.

    Raises:
        ValueError: if the view is unknown.
    """
    check_views((view,))
    depth = volume.shape[2 + VIEW_AXIS[view]]
    return interpolate_planes(lambda index: take_planes(volume, index, view), positions, depth)


def pad_planes(planes: Tensor, size: tuple[int, int] = (240, 240), value: float | None = None) -> Tensor:
    """Pad planes on all sides to the surrogate's field of view, centered.

    Args:
        planes: ``(..., H, W)``; of the larger unsigned types they come out as signed.
        size: height and width to reach.
        value: what to pad with; None takes, axis by axis, the minimum of the row or column that is prolonged, which
            is what upstream does (``numpy.pad``'s mode "minimum").

    Returns:
        Planes ``(..., *size)``.

    Raises:
        ValueError: if a plane is larger than the field of view.
    """
    if planes.shape[-2] > size[0] or planes.shape[-1] > size[1]:
        raise ValueError(
            f"a plane of {planes.shape[-2]}x{planes.shape[-1]} voxels exceeds the surrogate's field of view of "
            f"{size[0]}x{size[1]}; crop or resample the volume to BraTS space (240x240x155 at 1 mm)"
        )
    planes = as_signed(planes)
    for dim, wanted in zip((-2, -1), size, strict=True):
        missing = wanted - planes.shape[dim]
        if missing == 0:
            continue
        edge = planes.amin(dim, keepdim=True)
        if value is not None:
            edge = torch.full_like(edge, value)
        sides = [
            edge.expand_as(planes.narrow(dim, 0, 1)).repeat_interleave(n, dim)
            for n in (missing // 2, missing - missing // 2)
        ]
        planes = torch.cat((sides[0], planes, sides[1]), dim)
    return planes

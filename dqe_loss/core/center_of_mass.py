"""The center of mass of what is segmented, hard as published or soft with a gradient.

A center is found from *mass profiles*, the mass of each plane along X, Y and Z: three short vectors that say all a
center needs, and that add up when a mask is put together from parts (see `dqe_loss.core.patch`).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from dqe_loss.core.checks import check_probabilities
from dqe_loss.core.tensors import at_least_float32, cannot_wait
from dqe_loss.task import GLIOMA, Task

MINIMUM_MASS = 0.5
"""Mass in voxels below which a soft region counts as empty; it bounds the gradient of a center by distance / mass."""

Profiles = tuple[Tensor, Tensor, Tensor]
"""Mass of each plane along X, Y and Z: ``(B, X)``, ``(B, Y)``, ``(B, Z)``."""


def sharpen(probabilities: Tensor) -> Tensor:
    """Weight of a voxel in a soft center of mass: ``relu(2p - 1)``.

    A mass of plain probabilities fails: 5 % background probability in nine million voxels outweighs any lesion and
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


def center_of_profiles(profiles: Callable[[str], Profiles], regions: tuple[str, ...], *, hard: bool) -> Tensor:
    """Center of the first region that has any mass, else of the volume.

    Args:
        profiles: gives the mass profiles of a region.
        regions: those that are asked, one at least; not the next ones where the mass before them is known to suffice.
        hard: whether to count in integers and truncate, as upstream does, or to stay fractional and differentiable.

    Returns:
        ``(B, 3)`` voxel coordinates X, Y, Z: int64 if hard, else floating point.
    """
    moments = []
    for region in regions:
        mass = profiles(region)
        center, found = _moment(mass, hard)
        moments.append((center, found))
        # Asking an accelerator would stall its stream and break graph capture: there all are always computed.
        if found.device.type == "cpu" and not torch.compiler.is_compiling() and bool(found.all()):
            break
    last = [profile.shape[1] - 1 for profile in mass]
    center = torch.stack([torch.full_like(center[0, 0], n // 2 if hard else n / 2) for n in last])
    for fallback, found in reversed(moments):
        center = torch.where(found, fallback, center)
    return center


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


def hard_center_of_mass(regions: Tensor, task: Task = GLIOMA) -> Tensor:
    """Center of mass of a binary segmentation, truncated to whole voxels as the published surrogate takes it.

    Args:
        regions: ``(B, R, X, Y, Z)`` in the task's order; soft regions are binarized at 0.5.
        task: says which region's center is taken.

    Returns:
        ``(B, 3)`` int64 voxel coordinates of the first of `Task.centers` that is there; of the volume where there is
        none (upstream raises there).

    Raises:
        ValueError: if there is not one channel for each region, or values are not in [0, 1].
    """
    _check(regions, task)
    binary = regions if regions.dtype == torch.bool else regions > 0.5
    return _center(binary, task, mass_profiles, hard=True)


def soft_center_of_mass(regions: Tensor, task: Task = GLIOMA) -> Tensor:
    """Differentiable center of mass of a soft segmentation.

    Voxels weigh ``relu(2p - 1)`` (see `sharpen`), so that background probability does not move the center. Value
    and gradient are finite for every mask; the fallbacks are those of `hard_center_of_mass`.

    Args:
        regions: region probabilities ``(B, R, X, Y, Z)`` in the task's order, in [0, 1].
        task: says which region's center is taken.

    Returns:
        ``(B, 3)`` fractional voxel coordinates, float32 or float64.

    Raises:
        ValueError: see `hard_center_of_mass`.

    Example:
        >>> regions = torch.zeros(1, 3, 8, 8, 8)
        >>> regions[:, :, 2:4, 5, 6] = 1
        >>> soft_center_of_mass(regions.requires_grad_()).tolist()
        [[2.5, 5.0, 6.0]]
    """
    _check(regions, task)
    return _center(regions, task, lambda region: mass_profiles(sharpen(region)), hard=False)


def _check(regions: Tensor, task: Task) -> None:
    if regions.ndim != 5 or regions.shape[1] != len(task.regions):
        raise ValueError(
            f"expected regions (B, {len(task.regions)}, X, Y, Z) of {', '.join(task.regions)}, got shape "
            f"{tuple(regions.shape)}; dqe_loss.regions_from_labels makes them of a label map"
        )
    if not cannot_wait(regions):
        check_probabilities(regions, "the regions", "pass torch.sigmoid(logits)")


def _center(regions: Tensor, task: Task, profiles: Callable[[Tensor], Profiles], *, hard: bool) -> Tensor:
    return center_of_profiles(lambda name: profiles(regions[:, task.regions.index(name)]), task.centers, hard=hard)

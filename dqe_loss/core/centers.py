"""Where else planes can lie: centers that do not depend on the segmentation.

Planes through a mask's own center show what it marks, never what it misses elsewhere: a small false tumor in the
healthy hemisphere is rated for itself. These centers come from the image alone. `rate_segmentation(center=...)` rates
through several and takes, view by view, the lowest stars.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from dqe_loss.core.center_of_mass import center_of_profiles, mass_profiles
from dqe_loss.core.intensity import modality_index, shows
from dqe_loss.core.slicing import VIEW_AXIS
from dqe_loss.core.tensors import at_least_float32
from dqe_loss.task import GLIOMA, Task


def places_of(task: Task) -> dict[str, str]:
    """What the planes of a task can go through, by name, in words; the first is as published."""
    bright = {task.bright: f"the place where {task.title(task.bright)} is brightest"} if task.bright else {}
    of = task.title(task.centers[0])
    return {"mask": f"the center of the segmentation's {of}"} | bright | {"brain": "the center of the brain"}


PLACES = places_of(GLIOMA)
"""What the planes of the built-in task can go through."""

CENTERS = tuple(PLACES)
"""Where planes of the built-in task can lie, by name."""

SURVEY = "survey"
"""What is told beside the places where stars count the whole volume, too; no place by itself."""

CELL = 4
"""Side in voxels of the cells in which the bright modality is averaged first."""

BRIGHT_CELLS = 4
"""Width in cells over which it is averaged then: 16 mm, wider than a sulcus or a vessel, narrower than most lesions."""


def plane_title(view: str, index: int, place: str, task: Task = GLIOMA) -> str:
    """Name a plane, and the place that it goes through if that is not the mask's own center.

    Example:
        >>> plane_title("axial", 77, "mask"), plane_title("sagittal", 9, "brain")
        ('axial, Z = 77', "sagittal, X = 9 through the brain's center")
    """
    through = {"brain": " through the brain's center"}
    if task.bright:
        through[task.bright] = f" through bright {task.title(task.bright)}"
    return f"{view}, {'XYZ'[VIEW_AXIS[view]]} = {index}{through.get(place, '')}"


def told_centers(centers: tuple[str, ...], surveyed: bool) -> tuple[str, ...]:
    """What tables and files say of where stars come from: the places, and whether there was a survey."""
    return (*centers, SURVEY) if surveyed else centers


def check_centers(centers: tuple[str, ...], task: Task = GLIOMA) -> None:
    """Check that places are named, known and not named twice.

    Raises:
        ValueError: saying which there are.
    """
    known = tuple(places_of(task))
    if not centers or len(set(centers)) != len(centers) or not set(centers) <= set(known):
        raise ValueError(f"center must be one or more of {known}, each once, got {tuple(centers)}")


def image_centers(
    image: Tensor, centers: tuple[str, ...], modalities: tuple[str, ...] | None = None, task: Task = GLIOMA
) -> dict[str, Tensor]:
    """Those of the named centers that do not depend on a segmentation, each ``(B, 3)`` int64.

    Raises:
        ValueError: if a place is unknown.
    """
    check_centers(centers, task)
    found = {task.bright: lambda: bright_center(image, modalities, task), "brain": lambda: brain_center(image, task)}
    return {name: found[name]() for name in centers if name in found}


def brain_center(image: Tensor, task: Task = GLIOMA) -> Tensor:
    """Center of mass of the brain, of all voxels that are not air in every modality.

    Args:
        image: intensities ``(B, C, X, Y, Z)``, around the head 0, or below the task's window.
        task: says what air is.

    Returns:
        ``(B, 3)`` int64 voxel coordinates; the volume's middle where there is no brain.
    """
    brain = mass_profiles(shows(image, task).any(1))
    return center_of_profiles(lambda _: brain, ("brain",), hard=True)


def bright_center(image: Tensor, modalities: tuple[str, ...] | None = None, task: Task = GLIOMA) -> Tensor:
    """Where the task's bright modality is brightest, averaged over cubes of 16 voxels.

    Args:
        image: intensities ``(B, C, X, Y, Z)``, skull-stripped, voxels of 1 mm.
        modalities: the image's channel order.
        task: says which modality.

    Returns:
        ``(B, 3)`` int64 voxel coordinates.
    """
    channel = modality_index(modalities or task.modalities, task.modalities)[task.modalities.index(task.bright)]
    bright = image[:, channel, None]
    # Air counts as 0, so that the rim of the brain, which is bright in many exams, is at a disadvantage.
    cells = F.avg_pool3d(at_least_float32(bright).nan_to_num(0, 0, 0), CELL, ceil_mode=True, count_include_pad=False)
    cubes = F.avg_pool3d(cells, BRIGHT_CELLS, 1, BRIGHT_CELLS // 2)
    place = cubes.flatten(1).argmax(1)
    _, y, z = cubes.shape[2:]
    # Cube i covers the cells i - BRIGHT_CELLS / 2 and following: its middle is where cell i begins.
    corner = torch.stack((place // (y * z), place // z % y, place % z), 1) * CELL
    last = torch.tensor(image.shape[2:], device=image.device) - 1
    return torch.minimum(corner, last)

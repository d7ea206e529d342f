"""Where else planes can lie: centers that do not depend on the segmentation.

Planes through a mask's own center show what it marks, never what it misses elsewhere: a small false tumor in the
healthy hemisphere is rated for itself. These centers come from the image alone. `rate_segmentation(center=...)` rates
through several and takes, view by view, the lowest stars.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from dqe_loss.core.center_of_mass import center_of_profiles, mass_profiles
from dqe_loss.core.dtypes import at_least_float32
from dqe_loss.core.intensity import modality_index
from dqe_loss.core.slicing import VIEW_AXIS
from dqe_loss.task import MODALITIES

PLACES = {
    "mask": "the center of the segmentation's tumor core",
    "flair": "the place where FLAIR is brightest",
    "brain": "the center of the brain",
}
"""What the planes go through, in words; the first is as published."""

CENTERS = tuple(PLACES)
"""Where planes can lie, by name."""

SURVEY = "survey"
"""What is told beside the places where stars count the whole volume, too; no place by itself."""

THROUGH = {"flair": " through bright FLAIR", "brain": " through the brain's center"}
"""What a picture's title says of a plane that does not go through the mask's own center."""

CELL = 4
"""Side in voxels of the cells in which FLAIR is averaged first."""

BRIGHT_CELLS = 4
"""Width in cells over which it is averaged then: 16 mm, wider than a sulcus or a vessel, narrower than most edema."""


def plane_title(view: str, index: int, place: str) -> str:
    """Name a plane, and the place that it goes through if that is not the mask's own center.

    Example:
        >>> plane_title("axial", 77, "mask"), plane_title("sagittal", 9, "flair")
        ('axial, Z = 77', 'sagittal, X = 9 through bright FLAIR')
    """
    return f"{view}, {'XYZ'[VIEW_AXIS[view]]} = {index}{THROUGH.get(place, '')}"


def told_centers(centers: tuple[str, ...], surveyed: bool) -> tuple[str, ...]:
    """What tables and files say of where stars come from: the places, and whether there was a survey."""
    return (*centers, SURVEY) if surveyed else centers


def check_centers(centers: tuple[str, ...]) -> None:
    """Check that places are named, known and not named twice.

    Raises:
        ValueError: saying which there are.
    """
    if not centers or len(set(centers)) != len(centers) or not set(centers) <= set(CENTERS):
        raise ValueError(f"center must be one or more of {CENTERS}, each once, got {tuple(centers)}")


def image_centers(
    image: Tensor, centers: tuple[str, ...], modalities: tuple[str, ...] | None = None
) -> dict[str, Tensor]:
    """Those of the named centers that do not depend on a segmentation, each ``(B, 3)`` int64.

    Raises:
        ValueError: if a place is unknown.
    """
    check_centers(centers)
    found = {"flair": lambda: bright_center(image, modalities), "brain": lambda: brain_center(image)}
    return {name: found[name]() for name in centers if name in found}


def brain_center(image: Tensor) -> Tensor:
    """Center of mass of the brain, of all voxels that are not 0 in every modality.

    Args:
        image: intensities ``(B, 4, X, Y, Z)``, skull-stripped.

    Returns:
        ``(B, 3)`` int64 voxel coordinates; the volume's middle where there is no brain.
    """
    brain = mass_profiles((image != 0).any(1))
    return center_of_profiles(brain, lambda: brain, hard=True)


def bright_center(image: Tensor, modalities: tuple[str, ...] | None = None) -> Tensor:
    """Where FLAIR is brightest, averaged over cubes of 16 voxels: in edema, if there is any.

    Args:
        image: intensities ``(B, 4, X, Y, Z)``, skull-stripped, voxels of 1 mm.
        modalities: the image's channel order.

    Returns:
        ``(B, 3)`` int64 voxel coordinates.
    """
    flair = image[:, modality_index(modalities or MODALITIES, MODALITIES)[MODALITIES.index("flair")], None]
    # Air counts as 0, so that the rim of the brain, which is bright in many exams, is at a disadvantage.
    cells = F.avg_pool3d(at_least_float32(flair).nan_to_num(0, 0, 0), CELL, ceil_mode=True, count_include_pad=False)
    cubes = F.avg_pool3d(cells, BRIGHT_CELLS, 1, BRIGHT_CELLS // 2)
    place = cubes.flatten(1).argmax(1)
    _, y, z = cubes.shape[2:]
    # Cube i covers the cells i - BRIGHT_CELLS / 2 and following: its middle is where cell i begins.
    corner = torch.stack((place // (y * z), place // z % y, place % z), 1) * CELL
    last = torch.tensor(image.shape[2:], device=image.device) - 1
    return torch.minimum(corner, last)

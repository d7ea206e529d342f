"""What must hold of an exam's files together, and what is odd about them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.affines import voxel_sizes
from numpy.typing import NDArray

from dqe_loss.core.checks import VOXEL_TOLERANCE, describe_spacing
from dqe_loss.core.intensity import shows
from dqe_loss.core.slicing import in_plane
from dqe_loss.data.alignment import Misalignment, misalignment
from dqe_loss.data.nifti import ExamError, StoredVolume
from dqe_loss.task import GLIOMA, Task

_AFFINE_TOLERANCE = 1e-3  # mm
_BELOW_AIR = -500.0
"""Intensities without a unit do not go as low in any exam at hand; air of CT is at -1000."""


def check_grids(files: Mapping[Path, StoredVolume], first: Path, planar: bool) -> None:
    """Refuse files that do not lie on one voxel grid of the task's kind.

    Raises:
        ExamError: naming the file.
    """
    shape = files[first].stored.shape
    for path, volume in files.items():
        if volume.flat and not planar:
            raise ExamError(
                f"{path}: expected a 3D volume, found shape {volume.stored.shape[:2]}; save it as a volume, or say "
                "views: [axial] in the task's file, without volumes: true, if all images of the task are 2D"
            )
        if planar and volume.stored.shape[2] != 1:
            raise ExamError(
                f"{path}: expected a 2D image, for a task of axial planes alone is one of 2D images unless it says "
                f"volumes: true, found shape {volume.stored.shape}; of volumes write volumes: true into the task's "
                "file, or name another view, too; or save each plane as its own exam"
            )
    for path, volume in files.items():
        if volume.stored.shape != shape:
            raise ExamError(
                f"{path}: shape {volume.stored.shape}, expected {shape} as in {first}; "
                "all files of an exam must lie on one voxel grid, resample the file or take the right one"
            )


def odd_voxels(affine: NDArray[np.float64], task: Task) -> str:
    """What is said where voxels are not of the size that the task's surrogates know; empty if they are."""
    sizes = voxel_sizes(affine)
    count = 2 if task.planar else 3
    if np.allclose(sizes[:count], task.spacing[:count], atol=VOXEL_TOLERANCE):  # NaN is not close, either
        return ""
    told = " x ".join(f"{size:.3g}" for size in sizes)
    return f"voxels of {told} mm, expected {describe_spacing(task.spacing)}"


def check_extent(path: Path, shape: tuple[int, ...], field_of_view: tuple[int, int], task: Task) -> None:
    """Refuse a volume of which a plane does not fit the field of view.

    Raises:
        ExamError: saying which field of view would.
    """
    needed = list(map(max, zip(*(in_plane(shape, view) for view in task.views), strict=True)))
    if needed[0] > field_of_view[0] or needed[1] > field_of_view[1]:
        even = [max(own, size + size % 2) for own, size in zip(field_of_view, needed, strict=True)]
        told = " x ".join(map(str, shape[:2] if shape[2] == 1 else shape))
        raise ExamError(
            f"{path}: {told} voxels do not fit the field of view of {field_of_view[0]} x {field_of_view[1]}; "
            f"crop image and segmentation, or resample them to voxels of {describe_spacing(task.spacing)}, or write "
            f"field_of_view: {even} or more in the task's file before anything is trained"
        )


def odd_units(volumes: Mapping[str, StoredVolume], task: Task) -> str:
    """What is said where intensities seem to have a unit, as those of CT, and the task no window; empty if not."""
    if task == GLIOMA or task.window is not None:  # scans of gliomas are MR, whatever their numbers
        return ""
    if not (odd := [name for name, one in volumes.items() if one.bounds()[0] < _BELOW_AIR]):
        return ""
    cure = "write window: [-160, 240], or another, in the task's file"
    if len(volumes) > 1:
        cure = (
            "a window in the task is of all modalities, so clip this one to a window of yours, and add a constant by "
            "which air is 0"
        )
    return f"{', '.join(odd)}: values below {_BELOW_AIR:g}, as in CT, but the task has no window; {cure}"


def compare_affines(
    files: Mapping[Path, StoredVolume], images: Sequence[Path], affine: NDArray[np.float64], task: Task
) -> dict[Path, Misalignment]:
    """Files with another affine; the voxels of the others are not asked."""
    found = {}
    head = None
    for path, volume in files.items():
        if not volume.oriented or np.allclose(volume.affine, affine, rtol=0, atol=_AFFINE_TOLERANCE):
            continue
        if head is None:
            head = head_of(files[images[0]].values()[None], task)
        filled = head_of(volume.values()[None], task) if path in images else volume.values() != 0
        found[path] = misalignment(filled, volume.affine, head, affine)
    return found


def head_of(image: NDArray[Any], task: Task) -> NDArray[np.bool_]:
    """Where an image ``(C, X, Y, Z)`` shows anything, boolean (X, Y, Z): what is not air."""
    return np.asarray(shows(image, task).any(0))

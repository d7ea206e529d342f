"""Volumes for the 3D view: what a rater may scroll through, with nothing in the header but the geometry."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from dqe_loss.collect.study import Case, StudyDesign, check_files
from dqe_loss.core.labels import regions_from_labels
from dqe_loss.data.file_names import file_at
from dqe_loss.data.label_files import read_labels
from dqe_loss.data.nifti import open_volume
from dqe_loss.data.write_nifti import nifti_bytes
from dqe_loss.outputs import write_together
from dqe_loss.task import Task
from dqe_loss.viz.hanging import gray, outlines_of, window

VOLUMES = "volumes"
MASK = "mask"
"""What the segmentation is called beside the modalities."""


def volume_bytes(case: Case, name: str, design: StudyDesign, folder: Path) -> bytes:
    """A volume as .nii.gz; made when it is first asked for (about a second), and kept.

    Args:
        case: the case.
        name: a modality, or `MASK`. Images come as 8 bit, windowed as the planes are; the mask as one more than the
            place of a voxel's innermost region in `dqe_loss.viz.hanging.outlines_of`.
        design: of the study.
        folder: where volumes are kept.

    Raises:
        KeyError: there is no such volume, as of single planes.
        ValueError: a file cannot be read, or is not as it was when the study began.
        OSError: the volume cannot be kept.
    """
    task = design.task
    path = kept_at(case, name, design, folder)
    if path.is_file():
        return path.read_bytes()
    reference = open_volume(file_at(case.images[task.modalities[0]]))
    array = _regions(case, design) if name == MASK else _gray(file_at(case.images[name]), task)
    content = nifti_bytes(array, reference.affine)
    check_files([case])  # once it has been read: what is kept is kept for good
    folder.mkdir(exist_ok=True)
    write_together({path: content})
    return content


def kept_at(case: Case, name: str, design: StudyDesign, folder: Path) -> Path:
    """Where a volume is kept once it has been asked for.

    Raises:
        KeyError: there is no such volume, as of single planes.
    """
    if design.task.planar or name not in (*design.task.modalities, MASK):
        raise KeyError(name)
    return folder / f"{design.key_of(case)}-{name}.nii.gz"


def _gray(path: Path, task: Task) -> NDArray[np.uint8]:
    values = open_volume(path).values().astype(np.float32)
    low, high = task.window or window(values[values > 0])
    levels: NDArray[np.uint8] = np.rint(255 * gray(values, low, high)).astype(np.uint8)
    return levels


def _regions(case: Case, design: StudyDesign) -> NDArray[np.uint8]:
    labels = read_labels(file_at(case.mask), design.scheme).stored
    regions = regions_from_labels(torch.from_numpy(np.ascontiguousarray(labels))[None, None], design.scheme)[0].numpy()
    shown = np.zeros(labels.shape, np.uint8)
    for value, region in enumerate(outlines_of(design.task), 1):  # in the order of drawing: inner regions come later
        shown[regions[design.task.regions.index(region)] > 0] = value
    return shown

"""Volumes for the 3D view: what a rater may scroll through, with nothing in the header but the geometry."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from dqe_loss.collect.study import Case
from dqe_loss.core.labels import regions_from_labels
from dqe_loss.data.file_names import file_at
from dqe_loss.data.label_files import read_labels
from dqe_loss.data.nifti import open_volume
from dqe_loss.data.write_nifti import nifti_bytes
from dqe_loss.outputs import write_together
from dqe_loss.task import MODALITIES, REGIONS
from dqe_loss.viz.hanging import OUTLINES, gray, window

VOLUMES = "volumes"
NAMES = (*MODALITIES, "mask")


def volume_bytes(case: Case, name: str, label_scheme: str, folder: Path) -> bytes:
    """A volume as .nii.gz; made when it is first asked for (about a second), and kept.

    Args:
        case: the case.
        name: one of `NAMES`. Images come as 8 bit, windowed as the planes are; the mask as one more than the place of a
            voxel's innermost region in `dqe_loss.viz.hanging.OUTLINES`.
        label_scheme: of the mask.
        folder: where volumes are kept.

    Raises:
        KeyError: there is no such volume.
        ValueError: a file cannot be read.
        OSError: the volume cannot be kept.
    """
    if name not in NAMES:
        raise KeyError(name)
    path = folder / f"{case.stamp}-{name}.nii.gz"
    if path.is_file():
        return path.read_bytes()
    reference = open_volume(file_at(case.images[MODALITIES[0]]))
    array = _regions(case, label_scheme) if name == "mask" else _gray(file_at(case.images[name]))
    content = nifti_bytes(array, reference.affine)
    folder.mkdir(exist_ok=True)
    write_together({path: content})
    return content


def _gray(path: Path) -> NDArray[np.uint8]:
    values = open_volume(path).values().astype(np.float32)
    low, high = window(values[values > 0])
    levels: NDArray[np.uint8] = np.rint(255 * gray(values, low, high)).astype(np.uint8)
    return levels


def _regions(case: Case, label_scheme: str) -> NDArray[np.uint8]:
    labels = read_labels(file_at(case.mask), label_scheme).stored
    regions = regions_from_labels(torch.from_numpy(np.ascontiguousarray(labels))[None, None], label_scheme)[0].numpy()
    shown = np.zeros(labels.shape, np.uint8)
    for value, region in enumerate(OUTLINES, 1):  # in the order of drawing: inner regions come later
        shown[regions[REGIONS.index(region)] > 0] = value
    return shown

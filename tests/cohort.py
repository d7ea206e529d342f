"""Tiny data sets for the tests of rating many exams."""

from pathlib import Path

import nibabel as nib
import numpy as np
from helpers import make_image, make_labels

from dqe_loss import MODALITIES

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def write(path: Path, array: np.ndarray, affine: np.ndarray = LPS) -> Path:
    nib.Nifti1Image(array, affine).to_filename(path)
    return path


def write_exam(folder: Path, seed: int = 0, masks: tuple[str, ...] = ("seg-a", "seg-b")) -> Path:
    """An exam of 32x28x24 voxels: four modalities, and masks that are moved a little from one another."""
    folder.mkdir(parents=True)
    for modality, channel in zip(MODALITIES, make_image(seed=seed), strict=True):
        write(folder / f"{folder.name}_{modality}.nii.gz", channel.astype(np.int16))
    for number, name in enumerate(masks):
        path = folder / f"{name}.nii.gz"
        path.parent.mkdir(exist_ok=True)
        write(path, make_labels(center=(0.1 - 0.02 * seed, -0.1 + 0.07 * number, 0.05)))
    return folder

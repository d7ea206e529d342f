"""Read a segmentation from its file as labels of a scheme, whatever type and scaling a tool saved them with."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dqe_loss.core.labels import SchemeLike, check_labels
from dqe_loss.data.nifti import ExamError, StoredVolume, Volume, open_volume

# Labels that a tool scaled on disk come back as 2.9999998: closer than this to an integer is that integer.
_LABEL_TOLERANCE = 1e-3
_LARGEST_HALF_STEP = 0.02  # of labels up to 10 under a header of uint8
_FEW_LABELS = 4


def read_labels(path: Path, label_scheme: SchemeLike) -> StoredVolume:
    """Read a segmentation by itself, of any type that its values fit.

    Args:
        path: a .nii or .nii.gz file.
        label_scheme: that its values must fit.

    Returns:
        The labels as they are ``stored`` there, but uint8 (X, Y, Z), and the affine.

    Raises:
        ExamError: the file cannot be read, or its values are no labels of the scheme.
    """
    return read_labels_present(path, label_scheme)[0]


def read_labels_present(path: Path, label_scheme: SchemeLike) -> tuple[StoredVolume, tuple[int, ...]]:
    """`read_labels`, and the labels that occur there, background left out."""
    volume = open_volume(path)
    array = volume.values()
    low, high = volume.bounds()
    with np.errstate(invalid="ignore"):
        labels = array.astype(np.uint8, copy=not array.flags.writeable)  # never a view of the file
    exact = array.dtype.kind in "iu" and low >= 0 and high <= np.iinfo(np.uint8).max
    if not exact and not np.array_equal(labels, array):
        labels = _round_labels(path, volume, label_scheme)
    # A look for each value is faster than sorting; 0 is background in every scheme.
    few = range(1, 1 + int(labels.max()))
    if len(few) <= _FEW_LABELS:
        present = np.array([value for value in few if (labels == value).any()], np.uint8)
    else:
        present = np.unique(labels)
    if present.size:
        _check_values(path, present, label_scheme)
    return replace(volume, stored=labels, slope=1.0, inter=0.0), tuple(present[present > 0].tolist())


def _round_labels(path: Path, volume: StoredVolume, label_scheme: SchemeLike) -> NDArray[np.uint8]:
    """Return labels that scaling on disk moved a little off the integers as uint8.

    Floats that were saved under a header of integers lie up to half a step of its scale off: labels 0, 1, 2, 4 under
    uint8 come back as 0, 1.0039, 1.9922, 4. Within that step they cannot be anything else.
    """
    array = volume.values()
    if not np.isfinite(array).all():
        raise ExamError(f"{path}: expected integer labels, found NaN or Inf; save the label map as integers")
    rounded: Volume = np.rint(array)
    half_a_step = abs(volume.slope) / 2 * (1 + _LABEL_TOLERANCE) if volume.scaled else 0.0
    tolerance = max(_LABEL_TOLERANCE, min(half_a_step, _LARGEST_HALF_STEP))
    odd = np.unique(array[np.abs(array - rounded) > tolerance])
    if volume.scaled and not odd.size and rounded.min() == rounded.max():
        odd = np.unique(array[array != rounded])  # several values that would be one label: a scale of something else
    if odd.size:
        shown = ", ".join(f"{value:g}" for value in odd[:5].tolist())
        cure = "resample label maps with nearest neighbor, turn probabilities into labels first"
        if volume.scaled:
            cure = (
                f"its header scales what is stored (slope {volume.slope:g}, intercept {volume.inter:g}): save the "
                "label map as integers, without scaling"
            )
        raise ExamError(f"{path}: expected integer labels, found {shown}{' and more' if odd.size > 5 else ''}; {cure}")
    _check_values(path, np.unique(rounded), label_scheme)
    return rounded.astype(np.uint8)


def _check_values(path: Path, values: NDArray[Any], label_scheme: SchemeLike) -> None:
    """Check the values that occur, not all voxels; the scheme's own message says what would fit."""
    try:
        check_labels(torch.from_numpy(values.astype(np.int64)), label_scheme)
    except ValueError as error:
        raise ExamError(f"{path}: {error}") from error

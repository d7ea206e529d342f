"""What is noted of an exam beside its stars: volumes, and what a reader of the stars should know, in a few words."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from nibabel.affines import voxel_sizes
from numpy.typing import NDArray

from dqe_loss.core.labels import label_scheme as find_scheme
from dqe_loss.data.exam_files import MODALITY_TOKENS, last_part
from dqe_loss.data.exams import OpenExam
from dqe_loss.data.tables.warning_kinds import Finding
from dqe_loss.task import GLIOMA, MODALITIES, REGIONS

BRATS_SHAPE = (*GLIOMA.field_of_view, 155)
LARGEST_SHARE = 1 / 3
"""Largest whole tumor, as a share of T1c's voxels other than 0, that is no warning: a hemisphere is a half."""

_TOLERANCE = 0.01  # mm


def region_volumes(labels: NDArray[np.integer], label_scheme: str = "brats", voxel: float = 1.0) -> NDArray[np.float64]:
    """Volume of each region of a label map.

    Args:
        labels: label map of any shape, non-negative integers; its values are not checked here.
        label_scheme: name of its scheme.
        voxel: volume of a voxel in mm³.

    Returns:
        ``(3,)`` volumes in cm³ (ml) in the order TC, WT, ET.
    """
    scheme = find_scheme(label_scheme)
    counts = {value: np.count_nonzero(labels == value) for value in scheme.region("WT")}
    return np.array([sum(counts[value] for value in scheme.region(name)) for name in REGIONS]) * (voxel / 1000)


def image_findings(exam: OpenExam, files: Mapping[str, Path]) -> list[Finding]:
    """What is odd about an exam's images, though they can be rated.

    Modalities that were swapped cannot be told from their voxels; only where a file's name says other than what it is
    given as.

    Args:
        exam: the exam.
        files: modality to file.

    Returns:
        What was found, with its kind.
    """
    found = []
    volumes, sizes = exam.image.volumes, voxel_sizes(exam.affine)
    shape = volumes[0].stored.shape
    if not np.allclose(sizes, 1, atol=_TOLERANCE):  # NaN is not close, either
        found.append(Finding("spacing", f"voxels of {' x '.join(f'{size:.3g}' for size in sizes)} mm, expected 1 mm"))
    if shape != BRATS_SHAPE:
        expected = " x ".join(map(str, BRATS_SHAPE))
        found.append(Finding("grid", f"{' x '.join(map(str, shape))} voxels, expected {expected} as in BraTS"))
    if len(turned := [modality for modality in MODALITIES if files[modality] in exam.misaligned]):
        kinds = {exam.misaligned[files[modality]].kind for modality in turned}
        kind = "affine" if "affine" in kinds else "header"
        told = ", ".join(f"{modality}: {exam.misaligned[files[modality]]}" for modality in turned)
        found.append(Finding(kind, f"affine of {' and '.join(turned)} differs from that of t1c ({_one_part(told)})"))
    found += [
        Finding("header", f"{modality}: {exam.headers[files[modality]]}")
        for modality in MODALITIES
        if files[modality] in exam.headers
    ]
    middle = shape[2] // 2
    for i, first in enumerate(MODALITIES):
        for j in range(i + 1, len(MODALITIES)):
            one, other = volumes[i], volumes[j]
            first_plane, other_plane = (volume.values(volume.stored[..., middle]) for volume in (one, other))
            if np.array_equal(first_plane, other_plane) and np.array_equal(one.values(), other.values()):
                found.append(Finding("same-image", f"{first} and {MODALITIES[j]} are the same image"))
    for modality in MODALITIES:
        named = [name for name, tokens in MODALITY_TOKENS.items() if last_part(files[modality]) in tokens]
        if named and named != [modality]:
            found.append(Finding("named-as", f"the file given as {modality} is named as {named[0]}"))
    return found


def mask_findings(
    exam: OpenExam, labels: NDArray[np.uint8], file: Path, volumes: NDArray[np.float64], label_scheme: str = "brats"
) -> list[Finding]:
    """What is odd about a segmentation, though it can be rated.

    Args:
        exam: the exam.
        labels: the label map (X, Y, Z).
        file: where it came from.
        volumes: of its regions, as `region_volumes` gives them for voxels of 1 mm³.
        label_scheme: name of its scheme.

    Returns:
        What was found, with its kind.
    """
    found = []
    if file in exam.misaligned:
        told = _one_part(str(exam.misaligned[file]))
        found.append(
            Finding(exam.misaligned[file].kind, f"affine of the segmentation differs from that of t1c ({told})")
        )
    if file in exam.headers:
        found.append(Finding("header", f"segmentation: {exam.headers[file]}"))
    if empty := [region for region, volume in zip(REGIONS, volumes, strict=True) if volume == 0]:
        found.append(Finding("empty-region", f"empty region {', '.join(empty)}"))
    faces = (np.moveaxis(labels, axis, 0)[edge] for axis in range(labels.ndim) for edge in (0, -1))
    tumor = find_scheme(label_scheme).region("WT")  # a cavity is none
    if any(face.any() and np.isin(face, tumor).any() for face in faces):
        found.append(Finding("border", "tumor touches the border of the volume"))
    head = np.count_nonzero(exam.image.volumes[0].values())  # a modality is never all 0
    share = float(volumes[REGIONS.index("WT")] * 1000 / head)
    if share > LARGEST_SHARE:
        found.append(Finding("large", f"tumor as large as {share:.0%} of the head"))
    return found


def _one_part(text: str) -> str:
    """Without the semicolons that part the warnings of a table."""
    return text.replace("; ", ", ")

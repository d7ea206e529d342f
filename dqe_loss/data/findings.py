"""What is noted of an exam beside its stars: volumes, and what a reader of the stars should know, in a few words."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dqe_loss.core.labels import LabelScheme, SchemeLike
from dqe_loss.core.labels import label_scheme as find_scheme
from dqe_loss.data.exam_checks import head_of, odd_voxels
from dqe_loss.data.exam_files import last_part
from dqe_loss.data.exams import OpenExam
from dqe_loss.data.tables.warning_kinds import Finding
from dqe_loss.task import GLIOMA, Task


def region_volumes(
    labels: NDArray[np.integer], label_scheme: SchemeLike = GLIOMA.default_scheme, voxel: float = 1.0
) -> NDArray[np.float64]:
    """Volume of each region of a label map.

    Args:
        labels: label map of any shape, non-negative integers; its values are not checked here.
        label_scheme: its scheme.
        voxel: volume of a voxel in mm³.

    Returns:
        ``(R,)`` volumes in cm³ (ml) in the task's order.
    """
    scheme = find_scheme(label_scheme)
    counts = {value: np.count_nonzero(labels == value) for value in _labels_of(scheme)}
    return np.array([sum(counts[value] for value in scheme.region(name)) for name in scheme.regions]) * (voxel / 1000)


def _labels_of(scheme: LabelScheme) -> tuple[int, ...]:
    """Labels that are in a region."""
    return tuple(label for tissue in scheme.tissues for label in scheme.labels[tissue])


def image_findings(exam: OpenExam, files: Mapping[str, Path], task: Task = GLIOMA) -> list[Finding]:
    """What is odd about an exam's images, though they can be rated.

    Modalities that were swapped cannot be told from their voxels; only where a file's name says other than what it is
    given as.

    Args:
        exam: the exam.
        files: modality to file.
        task: what an exam is expected to be.

    Returns:
        What was found, with its kind.
    """
    found = []
    volumes = exam.image.volumes
    shape = volumes[0].stored.shape
    if odd := odd_voxels(exam.affine, task):
        found.append(Finding("spacing", odd))
    if task.grid is not None and shape != task.grid:
        expected = " x ".join(map(str, task.grid))
        found.append(
            Finding(
                "grid", f"{' x '.join(map(str, shape))} voxels, expected {expected} as in {task.source or task.name}"
            )
        )
    if len(turned := [modality for modality in task.modalities if files[modality] in exam.misaligned]):
        kinds = {exam.misaligned[files[modality]].kind for modality in turned}
        kind = "affine" if "affine" in kinds else "header"
        told = ", ".join(f"{modality}: {exam.misaligned[files[modality]]}" for modality in turned)
        found.append(
            Finding(
                kind, f"affine of {' and '.join(turned)} differs from that of {task.modalities[0]} ({_one_part(told)})"
            )
        )
    found += [
        Finding("header", f"{modality}: {exam.headers[files[modality]]}")
        for modality in task.modalities
        if files[modality] in exam.headers
    ]
    middle = shape[2] // 2
    for i, first in enumerate(task.modalities):
        for j in range(i + 1, len(task.modalities)):
            one, other = volumes[i], volumes[j]
            first_plane, other_plane = (volume.values(volume.stored[..., middle]) for volume in (one, other))
            if np.array_equal(first_plane, other_plane) and np.array_equal(one.values(), other.values()):
                found.append(Finding("same-image", f"{first} and {task.modalities[j]} are the same image"))
    for modality in task.modalities:
        named = [name for name in task.modalities if last_part(files[modality]) in task.endings(name)]
        if named and named != [modality]:
            found.append(Finding("named-as", f"the file given as {modality} is named as {named[0]}"))
    return found


def mask_findings(
    exam: OpenExam,
    labels: NDArray[np.uint8],
    file: Path,
    volumes: NDArray[np.float64],
    label_scheme: SchemeLike = GLIOMA.default_scheme,
    task: Task = GLIOMA,
) -> list[Finding]:
    """What is odd about a segmentation, though it can be rated.

    Args:
        exam: the exam.
        labels: the label map (X, Y, Z).
        file: where it came from.
        volumes: of its regions, as `region_volumes` gives them for voxels of 1 mm³.
        label_scheme: its scheme.
        task: what is segmented.

    Returns:
        What was found, with its kind.
    """
    found = []
    if file in exam.misaligned:
        told = _one_part(str(exam.misaligned[file]))
        found.append(
            Finding(
                exam.misaligned[file].kind,
                f"affine of the segmentation differs from that of {task.modalities[0]} ({told})",
            )
        )
    if file in exam.headers:
        found.append(Finding("header", f"segmentation: {exam.headers[file]}"))
    if empty := [region for region, volume in zip(task.regions, volumes, strict=True) if volume == 0]:
        found.append(Finding("empty-region", f"empty region {', '.join(empty)}"))
    axes = [axis for axis in range(labels.ndim) if labels.shape[axis] > 1]  # a 2D image is all border along one
    faces = (np.moveaxis(labels, axis, 0)[edge] for axis in axes for edge in (0, -1))
    inside = _labels_of(find_scheme(label_scheme))  # a cavity is in no region
    if any(face.any() and np.isin(face, inside).any() for face in faces):
        found.append(Finding("border", f"{task.subject} touches the border of the volume"))
    head = np.count_nonzero(head_of(exam.image.volumes[0].values()[None], task))
    share = float(sum(volumes[task.regions.index(name)] for name in task.covering) * 1000 / max(head, 1))
    if share > task.largest_share:
        found.append(Finding("large", f"{task.subject} as large as {share:.0%} of the head"))
    return found


def _one_part(text: str) -> str:
    """Without the semicolons that part the warnings of a table."""
    return text.replace("; ", ", ")

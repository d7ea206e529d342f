"""Read one exam (its modalities and any number of segmentations) from NIfTI files, with checks.

The arrays come out as they lie on disk: no reorientation, no resampling, the stored integer type. Headers in
circulation are wrong too often to be trusted over the arrays, so that a shape that differs is an error and an
affine that differs is a warning.
"""

import warnings
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqe_loss.core.labels import LabelScheme, SchemeLike
from dqe_loss.core.labels import label_scheme as find_scheme
from dqe_loss.data.alignment import Misalignment
from dqe_loss.data.exam_checks import check_extent, check_grids, compare_affines, odd_units, odd_voxels
from dqe_loss.data.exam_files import ExamPaths, find_exam, unique_names
from dqe_loss.data.file_names import written
from dqe_loss.data.label_files import read_labels_present
from dqe_loss.data.nifti import ExamError, StoredVolume, open_volume
from dqe_loss.data.stored_image import StoredImage
from dqe_loss.task import GLIOMA, Task


@dataclass(frozen=True)
class Exam:
    """One exam in memory.

    Attributes:
        name: what to call it.
        image: (C, X, Y, Z) raw intensities in the task's order, in the stored type (never float64).
        segmentations: name to (X, Y, Z) uint8 label map.
        affine: (4, 4) voxel to world matrix in mm, of the first file that has one; nothing is
            reoriented by it.
        misaligned: files whose affine differs from it, and whether the arrays agree.
        headers: files whose header is wrong though their voxels can be read, and what is wrong.
        present: name of each segmentation to the labels that occur in it, background left out.
    """

    name: str
    image: NDArray[Any]
    segmentations: dict[str, NDArray[np.uint8]]
    affine: NDArray[np.float64]
    misaligned: Mapping[Path, Misalignment] = field(default_factory=dict)
    headers: Mapping[Path, str] = field(default_factory=dict)
    present: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class OpenExam:
    """One exam of which the image is still in its files, as far as they are not compressed.

    Attributes:
        image: raw intensities in the task's order; what `dqe_loss.core.pipeline` takes planes of. All else is
            as in `Exam`.
    """

    name: str
    image: StoredImage
    segmentations: dict[str, NDArray[np.uint8]]
    affine: NDArray[np.float64]
    misaligned: Mapping[Path, Misalignment] = field(default_factory=dict)
    headers: Mapping[Path, str] = field(default_factory=dict)
    present: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


def read_exam(
    source: str | Path | ExamPaths,
    *,
    label_scheme: SchemeLike | None = None,
    warn: bool = True,
    task: Task = GLIOMA,
    field_of_view: tuple[int, int] | None = None,
) -> Exam:
    """Read and check one exam.

    The files are read by threads, since most of the time goes into inflating them, which releases the interpreter lock.

    Args:
        source: the exam's folder (see `dqe_loss.data.exam_files.find_exam`) or its paths.
        label_scheme: that every segmentation must fit; the task's default if None.
        warn: whether to warn; threads do not, for whose warnings would be mixed, and ask ``misaligned``.
        task: what an exam of this folder holds.
        field_of_view: height and width in voxels that each plane must fit; not asked of gliomas, nor if None.

    Returns:
        The exam; each modality of its image is contiguous in the order of the file (Fortran order).

    Raises:
        ExamError: a file is missing or damaged, not 3D, empty, not finite, of another shape, larger than the field of
            view, or holds labels that the scheme does not know.
        ValueError: ``label_scheme`` is not known.

    Warns:
        UserWarning: a file's affine differs from that of the first image, with how much of the file lies in the head
            as it is and reoriented; the arrays are taken as aligned. Or a header's affine or intercept cannot be used.
            Or, told once for all exams alike, voxels are of another size than the task's, or intensities seem to have a
            unit though the task has no window.
    """
    exam = _open(source, find_scheme(label_scheme, task), warn, task, field_of_view)
    return Exam(
        exam.name, exam.image.read(), exam.segmentations, exam.affine, exam.misaligned, exam.headers, exam.present
    )


def open_exam(
    source: str | Path | ExamPaths,
    *,
    label_scheme: SchemeLike | None = None,
    warn: bool = True,
    task: Task = GLIOMA,
) -> OpenExam:
    """Open and check one exam without a copy of its image: all that a rating needs, which looks at a few planes.

    Arguments, errors and warnings are those of `read_exam`, and so are the values of the planes. Every check holds
    here, too: that intensities are finite and not all the same is asked of every voxel, not of the planes alone. It
    takes 1 to 2 ms a volume, and a sagittal plane has a voxel in each page of a mapped file, which is read anyway.
    """
    return _open(source, find_scheme(label_scheme, task), warn, task)


def _open(
    source: str | Path | ExamPaths,
    scheme: LabelScheme,
    warn: bool,
    task: Task,
    field_of_view: tuple[int, int] | None = None,
) -> OpenExam:
    paths = source if isinstance(source, ExamPaths) else find_exam(source, task)
    images = [Path(path) for path in paths.images.values()]
    masks = [Path(p) for p in paths.segmentations]
    with ThreadPoolExecutor(min(len(images) + len(masks), 8)) as pool:
        opened_images = [pool.submit(_open_image, p) for p in images]
        read_masks = [pool.submit(read_labels_present, p, scheme) for p in masks]
        volumes = [f.result() for f in opened_images]
        read = [f.result() for f in read_masks]
    labels = [volume for volume, _ in read]
    files = dict(zip(images + masks, volumes + labels, strict=True))
    check_grids(files, images[0], paths.planar)
    # The built-in task has no file whose field of view a lab could widen: it says another with dqe train.
    if field_of_view is not None and task != GLIOMA:
        check_extent(images[0], volumes[0].stored.shape, field_of_view, task)
    headers = {path: volume.odd for path, volume in files.items() if volume.odd}
    reference = next((path for path, volume in files.items() if volume.oriented), images[0])
    affine = files[reference].affine
    misaligned = compare_affines(files, images, affine, task)
    if warn:
        for path, odd in headers.items():
            warnings.warn(
                f"{path}: {odd}; its voxels are read, save it again with the header of another file of the exam",
                stacklevel=3,
            )
        for path, found in misaligned.items():
            warnings.warn(
                f"{path}: its affine differs from that of {reference}; {found}; nothing is reoriented", stacklevel=3
            )
        # Without the exam's name: told once of all that are alike.
        if odd := odd_voxels(affine, task):
            cure = "resample image and segmentation, or correct spacing in the task's file"
            warnings.warn(f"{odd}: stars and errors are of that size; {cure}", stacklevel=3)
        if odd := odd_units(dict(zip(paths.images, volumes, strict=True)), task):
            warnings.warn(odd, stacklevel=3)
    name = paths.name or written(images[0].resolve().parent.name)
    names = unique_names(masks)
    segmentations = dict(zip(names, (volume.stored for volume in labels), strict=True))
    present = dict(zip(names, (values for _, values in read), strict=True))
    return OpenExam(name, StoredImage(tuple(volumes)), segmentations, affine, misaligned, headers, present)


def _open_image(path: Path) -> StoredVolume:
    """Open a modality and check that it is finite and not empty."""
    volume = open_volume(path)
    low, high = volume.bounds()
    limit = np.finfo(np.float32).max
    if not (-limit <= low and high <= limit):
        raise ExamError(
            f"{path}: expected finite intensities, found NaN, Inf or values beyond float32; "
            "replace them (0 outside the brain) and save the file again"
        )
    if low == high:
        raise ExamError(f"{path}: expected an image, found nothing but {low:g}; export the modality again")
    return volume

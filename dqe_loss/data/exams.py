"""Read one exam (four modalities and any number of segmentations) from NIfTI files, with checks.

The arrays come out as they lie on disk: no reorientation, no resampling, the stored integer type. Headers in
circulation are wrong too often to be trusted over the arrays, so that a shape that differs is an error and an
affine that differs is a warning.
"""

import re
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dqe_loss.data.nifti import ExamError, StoredVolume, Volume, open_volume, read_volume
from dqe_loss.data.stored_image import StoredImage
from dqe_loss.intensity import MODALITIES
from dqe_loss.labels import LABEL_SCHEMES, check_labels

__all__ = [
    "Exam",
    "ExamError",
    "ExamPaths",
    "OpenExam",
    "find_exam",
    "is_segmentation_name",
    "open_exam",
    "read_exam",
    "read_volume",
]

# Last token of the file name, lower case: BraTS 2017-2020 (t1ce, flair), 2021 on Kaggle and TCIA (t1gd, fla),
# 2023 and later (t1c, t1n, t2w, t2f).
MODALITY_TOKENS = {
    "t1c": ("t1c", "t1ce", "t1gd"),
    "t1": ("t1", "t1n"),
    "t2": ("t2", "t2w"),
    "flair": ("flair", "t2f", "fla"),
}
_SEGMENTATION = re.compile(r"(?:^|[-_.])seg(?:m|mentation)?\d*(?:[-_.]|$)")
# Labels that a tool scaled on disk come back as 2.9999998: closer than this to an integer is that integer.
_LABEL_TOLERANCE = 1e-3
_AFFINE_TOLERANCE = 1e-3  # mm
_FEW_LABELS = 4


@dataclass(frozen=True)
class ExamPaths:
    """Where the files of one exam are.

    Attributes:
        t1c: T1 with contrast agent.
        t1: native T1.
        t2: T2.
        flair: T2 FLAIR.
        segmentations: label maps of the exam, in the order in which they are reported.
        name: what to call the exam; the folder of ``t1c`` when empty.
    """

    t1c: Path
    t1: Path
    t2: Path
    flair: Path
    segmentations: tuple[Path, ...] = ()
    name: str = ""


@dataclass(frozen=True)
class Exam:
    """One exam in memory.

    Attributes:
        name: what to call it.
        image: (4, X, Y, Z) raw intensities in the order ``MODALITIES``, in the stored type (never float64).
        segmentations: name to (X, Y, Z) uint8 label map.
        affine: (4, 4) voxel to world matrix of T1c, in mm; nothing is reoriented by it.
        misaligned: files whose affine differs from it.
        present: name of each segmentation to the labels that occur in it, background left out.
    """

    name: str
    image: NDArray[Any]
    segmentations: dict[str, NDArray[np.uint8]]
    affine: NDArray[np.float64]
    misaligned: tuple[Path, ...] = ()
    present: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class OpenExam:
    """One exam of which the image is still in its files, as far as they are not compressed.

    Attributes:
        name: what to call it.
        image: raw intensities in the order ``MODALITIES``; what `dqe_loss.rating` takes planes of.
        segmentations: name to (X, Y, Z) uint8 label map.
        affine: (4, 4) voxel to world matrix of T1c, in mm; nothing is reoriented by it.
        misaligned: files whose affine differs from it.
        present: name of each segmentation to the labels that occur in it, background left out.
    """

    name: str
    image: StoredImage
    segmentations: dict[str, NDArray[np.uint8]]
    affine: NDArray[np.float64]
    misaligned: tuple[Path, ...] = ()
    present: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


def find_exam(folder: str | Path) -> ExamPaths:
    """Recognize the files of an exam in a folder by the names that BraTS 2017 to 2023 gave them.

    Subfolders and hidden files are left out. A name counts as a segmentation when ``seg`` is one of its parts
    (``_seg``, ``seg-nnunet``), and else as a modality by its last part (``_t1ce``, ``-t2f``), in any case.

    Args:
        folder: the exam's folder.

    Returns:
        The four modalities and all segmentations, sorted by name (possibly none).

    Raises:
        ExamError: no such folder, a modality is missing, or more than one file could be it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        found = "a file" if folder.exists() else "nothing there"
        raise ExamError(f"{folder}: expected an exam's folder, found {found}; check the path")
    files = sorted(p for p in folder.iterdir() if is_nifti_name(p.name) and p.is_file())
    segmentations = tuple(p for p in files if is_segmentation_name(p.name))
    modalities: dict[str, Path] = {}
    for modality in MODALITIES:
        tokens = MODALITY_TOKENS[modality]
        candidates = [p for p in files if p not in segmentations and last_part(p) in tokens]
        if not candidates:
            listed = ", ".join(p.name for p in files) or "no .nii or .nii.gz file"
            raise ExamError(
                f"{folder}: no {modality} file, expected a name that ends in {' or '.join(tokens)}, "
                f"found {listed}; rename the file or give the paths one by one"
            )
        if len(candidates) > 1:
            raise ExamError(
                f"{folder}: expected one {modality} file, found {', '.join(p.name for p in candidates)}; "
                "move the others away or give the paths one by one"
            )
        modalities[modality] = candidates[0]
    return ExamPaths(**modalities, segmentations=segmentations, name=folder.resolve().name)


def read_exam(source: str | Path | ExamPaths, *, label_scheme: str = "brats", warn: bool = True) -> Exam:
    """Read and check one exam.

    The files are read by threads, since most of the time goes into inflating them, which releases the interpreter lock.

    Args:
        source: the exam's folder (see :func:`find_exam`) or its paths.
        label_scheme: a key of ``dqe_loss.labels.LABEL_SCHEMES`` that every segmentation must fit.
        warn: whether to warn; threads do not, for whose warnings would be mixed, and ask ``misaligned``.

    Returns:
        The exam; each modality of its image is contiguous in the order of the file (Fortran order).

    Raises:
        ExamError: a file is missing or damaged, not 3D, empty, not finite, of another shape, or holds labels
            that the scheme does not know.
        ValueError: ``label_scheme`` is not known.

    Warns:
        UserWarning: a file's affine differs from that of T1c; the arrays are taken as aligned.
    """
    exam = _open(source, label_scheme, warn)
    return Exam(exam.name, exam.image.read(), exam.segmentations, exam.affine, exam.misaligned, exam.present)


def open_exam(source: str | Path | ExamPaths, *, label_scheme: str = "brats", warn: bool = True) -> OpenExam:
    """Open and check one exam without a copy of its image: all that a rating needs, which looks at a few planes.

    Arguments, errors and warnings are those of `read_exam`, and so are the values of the planes. Every check holds
    here, too: that intensities are finite and not all the same is asked of every voxel, not of the planes alone. It
    takes 1 to 2 ms a volume, and a sagittal plane has a voxel in each page of a mapped file, which is read anyway.
    """
    return _open(source, label_scheme, warn)


def _open(source: str | Path | ExamPaths, label_scheme: str, warn: bool) -> OpenExam:
    if label_scheme not in LABEL_SCHEMES:
        raise ValueError(f"label_scheme is {label_scheme!r}, expected one of {', '.join(LABEL_SCHEMES)}")
    paths = source if isinstance(source, ExamPaths) else find_exam(source)
    images = [Path(getattr(paths, modality)) for modality in MODALITIES]
    masks = [Path(p) for p in paths.segmentations]
    with ThreadPoolExecutor(min(len(images) + len(masks), 8)) as pool:
        opened_images = [pool.submit(_open_image, p) for p in images]
        read_masks = [pool.submit(_read_labels, p, label_scheme) for p in masks]
        volumes = [f.result() for f in opened_images]
        labels = [f.result() for f in read_masks]
    affine = volumes[0].affine
    shape = volumes[0].stored.shape
    found = [
        *((volume.stored.shape, volume.affine) for volume in volumes),
        *((a.shape, other) for a, other, _ in labels),
    ]
    misaligned = []
    for path, (other_shape, other) in zip(images + masks, found, strict=True):
        if other_shape != shape:
            raise ExamError(
                f"{path}: shape {other_shape}, expected {shape} as in {images[0]}; "
                "all files of an exam must lie on one voxel grid, resample the file or take the right one"
            )
        if not np.allclose(other, affine, rtol=0, atol=_AFFINE_TOLERANCE):
            misaligned.append(path)
    if warn:
        for path in misaligned:
            warnings.warn(
                f"{path}: its affine differs from that of {images[0]}; the voxel arrays are taken as aligned "
                "and nothing is reoriented, look at the two together if you are not sure",
                stacklevel=3,
            )
    name = paths.name or images[0].resolve().parent.name
    names = unique_names(masks)
    segmentations = dict(zip(names, (a for a, *_ in labels), strict=True))
    present = dict(zip(names, (values for *_, values in labels), strict=True))
    return OpenExam(name, StoredImage(tuple(volumes)), segmentations, affine, tuple(misaligned), present)


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


def _read_labels(path: Path, label_scheme: str) -> tuple[NDArray[np.uint8], NDArray[np.float64], tuple[int, ...]]:
    """Read a segmentation as uint8 with its affine and the labels that occur, checked against the scheme."""
    volume = open_volume(path)
    array = volume.values()
    low, high = volume.bounds()
    with np.errstate(invalid="ignore"):
        labels = array.astype(np.uint8, copy=not array.flags.writeable)  # never a view of the file
    exact = array.dtype.kind in "iu" and low >= 0 and high <= np.iinfo(np.uint8).max
    if not exact and not np.array_equal(labels, array):
        labels = _round_labels(path, array, label_scheme)
    # A look for each value is faster than sorting; 0 is background in every scheme.
    few = range(1, 1 + int(labels.max()))
    if len(few) <= _FEW_LABELS:
        present = np.array([value for value in few if (labels == value).any()], np.uint8)
    else:
        present = np.unique(labels)
    if present.size:
        _check_values(path, present, label_scheme)
    return labels, volume.affine, tuple(present[present > 0].tolist())


def _round_labels(path: Path, array: Volume, label_scheme: str) -> NDArray[np.uint8]:
    """Return labels that scaling on disk moved a little off the integers as uint8."""
    if not np.isfinite(array).all():
        raise ExamError(f"{path}: expected integer labels, found NaN or Inf; save the label map as integers")
    rounded: Volume = np.rint(array)
    odd = np.unique(array[np.abs(array - rounded) > _LABEL_TOLERANCE])
    if odd.size:
        shown = ", ".join(f"{value:g}" for value in odd[:5].tolist())
        raise ExamError(
            f"{path}: expected integer labels, found {shown}{' and more' if odd.size > 5 else ''}; "
            "resample label maps with nearest neighbor, turn probabilities into labels first"
        )
    _check_values(path, np.unique(rounded), label_scheme)
    return rounded.astype(np.uint8)


def _check_values(path: Path, values: NDArray[Any], label_scheme: str) -> None:
    """Check the values that occur, not all voxels; the scheme's own message says what would fit."""
    try:
        check_labels(torch.from_numpy(values.astype(np.int64)), label_scheme)
    except ValueError as error:
        raise ExamError(f"{path}: {error}") from error


def unique_names(paths: Sequence[Path]) -> list[str]:
    """Name segmentations by file; by folder and file where that is not enough, else by the whole path."""
    names = [_stem(p) for p in paths]
    for fuller in (lambda p: f"{p.resolve().parent.name}/{_stem(p)}", str):
        counts = Counter(names)
        names = [fuller(p) if counts[name] > 1 else name for p, name in zip(paths, names, strict=True)]
    return names


def choose_reference(folder: Path, files: Sequence[Path], names: Sequence[str]) -> Path:
    """The one file that is called like a reference.

    Args:
        folder: the exam's folder.
        files: its segmentations, in the folder or below it.
        names: names of references, with or without ``.nii.gz``.

    Raises:
        ValueError: there is no such file, or more than one.
    """
    wanted = {_stem(Path(name)) for name in names}
    found = [file for file in files if _stem(file) in wanted]
    if len(found) != 1:
        listed = ", ".join(path_name(file, folder) for file in (found or files)) or "no segmentation"
        raise ValueError(
            f"{folder}: expected one segmentation named {' or '.join(names)} as the reference, found {listed}; "
            "give --reference a name that one of its files has"
        )
    return found[0]


def path_name(file: Path, folder: Path) -> str:
    """A file's path in a folder, without the ending."""
    return file.relative_to(folder).with_name(_stem(file)).as_posix()


def is_segmentation_name(name: str) -> bool:
    """Whether a file is a segmentation by its name: NIfTI, not hidden, with ``seg`` as one of its parts."""
    return is_nifti_name(name) and bool(_SEGMENTATION.search(_stem(Path(name)).lower()))


def is_nifti_name(name: str) -> bool:
    """Whether a file is NIfTI by its name, and not hidden."""
    return name.lower().endswith((".nii", ".nii.gz")) and not name.startswith(".")


def _stem(path: Path) -> str:
    return re.sub(r"\.nii(\.gz)?$", "", path.name, flags=re.IGNORECASE)


def last_part(path: Path) -> str:
    """The last part of a file name, by which modalities are recognized: lower case, without the ending."""
    return re.split(r"[-_.]", _stem(path).lower())[-1]

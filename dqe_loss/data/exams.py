"""Read one exam (four modalities and any number of segmentations) from NIfTI files, with checks.

The arrays come out as they lie on disk: no reorientation, no resampling, the stored integer type. Headers in
circulation are wrong too often to be trusted over the arrays, so that a shape that differs is an error and an
affine that differs is a warning.
"""

import re
import warnings
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dqe_loss.data.nifti import ExamError, Volume, read_volume
from dqe_loss.intensity import MODALITIES
from dqe_loss.labels import LABEL_SCHEMES, check_labels

__all__ = ["Exam", "ExamError", "ExamPaths", "find_exam", "is_segmentation_name", "read_exam", "read_volume"]

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
    """

    name: str
    image: NDArray[Any]
    segmentations: dict[str, NDArray[np.uint8]]
    affine: NDArray[np.float64]


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
    files = sorted(p for p in folder.iterdir() if _is_nifti_name(p.name) and p.is_file())
    segmentations = tuple(p for p in files if is_segmentation_name(p.name))
    modalities: dict[str, Path] = {}
    for modality in MODALITIES:
        tokens = MODALITY_TOKENS[modality]
        candidates = [p for p in files if p not in segmentations and _last_part(p) in tokens]
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


def read_exam(source: str | Path | ExamPaths, *, label_scheme: str = "brats") -> Exam:
    """Read and check one exam.

    The files are read by threads, since most of the time goes into zlib, which releases the interpreter lock.

    Args:
        source: the exam's folder (see :func:`find_exam`) or its paths.
        label_scheme: a key of ``dqe_loss.labels.LABEL_SCHEMES`` that every segmentation must fit.

    Returns:
        The exam; each modality of its image is contiguous in the order of the file (Fortran order).

    Raises:
        ExamError: a file is missing or damaged, not 3D, empty, not finite, of another shape, or holds labels
            that the scheme does not know.
        ValueError: ``label_scheme`` is not known.

    Warns:
        UserWarning: a file's affine differs from that of T1c; the arrays are taken as aligned.
    """
    if label_scheme not in LABEL_SCHEMES:
        raise ValueError(f"label_scheme is {label_scheme!r}, expected one of {', '.join(LABEL_SCHEMES)}")
    paths = source if isinstance(source, ExamPaths) else find_exam(source)
    images = [Path(getattr(paths, modality)) for modality in MODALITIES]
    masks = [Path(p) for p in paths.segmentations]
    with ThreadPoolExecutor(min(len(images) + len(masks), 8)) as pool:
        read_images = [pool.submit(_read_image, p) for p in images]
        read_masks = [pool.submit(_read_labels, p, label_scheme) for p in masks]
        volumes = [f.result() for f in read_images]
        labels = [f.result() for f in read_masks]
    affine = volumes[0][1]
    shape = volumes[0][0].shape
    for path, (array, other) in zip(images + masks, [*volumes, *labels], strict=True):
        if array.shape != shape:
            raise ExamError(
                f"{path}: shape {array.shape}, expected {shape} as in {images[0]}; "
                "all files of an exam must lie on one voxel grid, resample the file or take the right one"
            )
        if not np.allclose(other, affine, rtol=0, atol=_AFFINE_TOLERANCE):
            warnings.warn(
                f"{path}: its affine differs from that of {images[0]}; the voxel arrays are taken as aligned "
                "and nothing is reoriented, look at the two together if you are not sure",
                stacklevel=2,
            )
    image = _stack([array for array, _ in volumes])
    name = paths.name or images[0].resolve().parent.name
    return Exam(name, image, dict(zip(unique_names(masks), (a for a, _ in labels), strict=True)), affine)


def _read_image(path: Path) -> tuple[Volume, NDArray[np.float64]]:
    """Read a modality and check that it is finite and not empty."""
    array, affine = read_volume(path)
    low, high = array.min(), array.max()  # both carry NaN and Inf through, without a mask in memory
    limit = np.finfo(np.float32).max
    if not (-limit <= low and high <= limit):
        raise ExamError(
            f"{path}: expected finite intensities, found NaN, Inf or values beyond float32; "
            "replace them (0 outside the brain) and save the file again"
        )
    if low == high == 0:
        raise ExamError(f"{path}: expected an image, found nothing but 0; export the modality again")
    return array, affine


def _read_labels(path: Path, label_scheme: str) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Read a segmentation as uint8 and check its values against the scheme."""
    array, affine = read_volume(path)
    with np.errstate(invalid="ignore"):
        labels = array.astype(np.uint8)
    if not np.array_equal(labels, array):
        labels = _round_labels(path, array, label_scheme)
    flat = labels.ravel(order="K")
    present = np.unique(flat[flat > 0])  # 0 is background in every scheme, and most voxels
    if present.size:
        _check_values(path, present, label_scheme)
    return labels, affine


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


def _stack(volumes: Sequence[Volume]) -> NDArray[Any]:
    """Copy (X, Y, Z) volumes into one (C, X, Y, Z) array, each contiguous in the order of the file."""
    x, y, z = volumes[0].shape
    dtype = np.result_type(*volumes)
    if dtype == np.uint16:
        dtype = np.dtype(np.int32)  # torch has hardly any operation for the larger unsigned types
    elif dtype.kind == "f" or dtype in (np.uint32, np.uint64):
        dtype = np.dtype(np.float32)
    image: NDArray[Any] = np.empty((len(volumes), z, y, x), dtype=dtype).transpose(0, 3, 2, 1)
    for channel, volume in zip(image, volumes, strict=True):
        np.copyto(channel, volume, casting="unsafe")
    return image


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
    return _is_nifti_name(name) and bool(_SEGMENTATION.search(_stem(Path(name)).lower()))


def _is_nifti_name(name: str) -> bool:
    return name.lower().endswith((".nii", ".nii.gz")) and not name.startswith(".")


def _stem(path: Path) -> str:
    return re.sub(r"\.nii(\.gz)?$", "", path.name, flags=re.IGNORECASE)


def _last_part(path: Path) -> str:
    return re.split(r"[-_.]", _stem(path).lower())[-1]

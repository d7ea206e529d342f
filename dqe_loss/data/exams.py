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
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dqe_loss.core.labels import LABEL_SCHEMES, check_labels
from dqe_loss.data.alignment import Misalignment, misalignment
from dqe_loss.data.file_names import written
from dqe_loss.data.nifti import ExamError, StoredVolume, Volume, open_volume, read_volume
from dqe_loss.data.stored_image import StoredImage
from dqe_loss.task import MODALITIES

__all__ = [
    "Exam",
    "ExamError",
    "ExamPaths",
    "OpenExam",
    "find_exam",
    "is_segmentation_name",
    "open_exam",
    "read_exam",
    "read_labels",
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
_LARGEST_HALF_STEP = 0.02  # of labels up to 10 under a header of uint8
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
        affine: (4, 4) voxel to world matrix in mm, of T1c or else of the first file that has one; nothing is
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
        name: what to call it.
        image: raw intensities in the order ``MODALITIES``; what `dqe_loss.core.pipeline` takes planes of.
        segmentations: name to (X, Y, Z) uint8 label map.
        affine: (4, 4) voxel to world matrix in mm, of T1c or else of the first file that has one; nothing is
            reoriented by it.
        misaligned: files whose affine differs from it, and whether the arrays agree.
        headers: files whose header is wrong though their voxels can be read, and what is wrong.
        present: name of each segmentation to the labels that occur in it, background left out.
    """

    name: str
    image: StoredImage
    segmentations: dict[str, NDArray[np.uint8]]
    affine: NDArray[np.float64]
    misaligned: Mapping[Path, Misalignment] = field(default_factory=dict)
    headers: Mapping[Path, str] = field(default_factory=dict)
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
    return ExamPaths(**modalities, segmentations=segmentations, name=written(folder.resolve().name))


def read_exam(source: str | Path | ExamPaths, *, label_scheme: str = "brats", warn: bool = True) -> Exam:
    """Read and check one exam.

    The files are read by threads, since most of the time goes into inflating them, which releases the interpreter lock.

    Args:
        source: the exam's folder (see :func:`find_exam`) or its paths.
        label_scheme: a key of ``dqe_loss.core.labels.LABEL_SCHEMES`` that every segmentation must fit.
        warn: whether to warn; threads do not, for whose warnings would be mixed, and ask ``misaligned``.

    Returns:
        The exam; each modality of its image is contiguous in the order of the file (Fortran order).

    Raises:
        ExamError: a file is missing or damaged, not 3D, empty, not finite, of another shape, or holds labels
            that the scheme does not know.
        ValueError: ``label_scheme`` is not known.

    Warns:
        UserWarning: a file's affine differs from that of T1c, with how much of the file lies in the head as it is and
            reoriented; the arrays are taken as aligned. Or a header's affine or intercept cannot be used.
    """
    exam = _open(source, label_scheme, warn)
    return Exam(
        exam.name, exam.image.read(), exam.segmentations, exam.affine, exam.misaligned, exam.headers, exam.present
    )


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
        read = [f.result() for f in read_masks]
    labels = [volume for volume, _ in read]
    files = dict(zip(images + masks, volumes + labels, strict=True))
    shape = volumes[0].stored.shape
    for path, volume in files.items():
        if volume.stored.shape != shape:
            raise ExamError(
                f"{path}: shape {volume.stored.shape}, expected {shape} as in {images[0]}; "
                "all files of an exam must lie on one voxel grid, resample the file or take the right one"
            )
    headers = {path: volume.odd for path, volume in files.items() if volume.odd}
    reference = next((path for path, volume in files.items() if volume.oriented), images[0])
    affine = files[reference].affine
    misaligned = _compare_affines(files, affine)
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
    name = paths.name or written(images[0].resolve().parent.name)
    names = unique_names(masks)
    segmentations = dict(zip(names, (volume.stored for volume in labels), strict=True))
    present = dict(zip(names, (values for _, values in read), strict=True))
    return OpenExam(name, StoredImage(tuple(volumes)), segmentations, affine, misaligned, headers, present)


def _compare_affines(files: Mapping[Path, StoredVolume], affine: NDArray[np.float64]) -> dict[Path, Misalignment]:
    """Files with another affine; the voxels of the others are not asked."""
    found = {}
    head = None
    for path, volume in files.items():
        if not volume.oriented or np.allclose(volume.affine, affine, rtol=0, atol=_AFFINE_TOLERANCE):
            continue
        if head is None:
            head = next(iter(files.values())).values() != 0
        found[path] = misalignment(volume.values() != 0, volume.affine, head, affine)
    return found


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


def read_labels(path: Path, label_scheme: str) -> StoredVolume:
    """Read a segmentation by itself, of any type that its values fit.

    Args:
        path: a .nii or .nii.gz file.
        label_scheme: that its values must fit.

    Returns:
        The labels as they are ``stored`` there, but uint8 (X, Y, Z), and the affine.

    Raises:
        ExamError: the file cannot be read, or its values are no labels of the scheme.
    """
    return _read_labels(path, label_scheme)[0]


def _read_labels(path: Path, label_scheme: str) -> tuple[StoredVolume, tuple[int, ...]]:
    """`read_labels`, and the labels that occur, background left out."""
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


def _round_labels(path: Path, volume: StoredVolume, label_scheme: str) -> NDArray[np.uint8]:
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
    return [written(name) for name in names]


def choose_reference(folder: Path, files: Sequence[Path], wanted: Sequence[str]) -> Path:
    """The one file of an exam that is its reference.

    Args:
        folder: the exam's folder.
        files: its segmentations, in the folder or below it.
        wanted: what may be its reference, as `match_reference` takes it.

    Raises:
        ValueError: there is no such file, or more than one.
    """
    names = [path_name(file, folder) for file in files]
    return files[names.index(choose_reference_name(str(folder), names, wanted))]


def choose_reference_name(exam: str, names: Sequence[str], wanted: Sequence[str]) -> str:
    """The one segmentation of an exam that is its reference, by name.

    Args:
        exam: what to call the exam in an error.
        names: its segmentations.
        wanted: what may be its reference, as `match_reference` takes it.

    Raises:
        ValueError: there is no such segmentation, or more than one.
    """
    found = match_reference(names, wanted)
    if len(found) == 1:
        return found[0]
    given = f"{exam}: --reference {' or '.join(wanted)} fits"
    if found:
        raise ValueError(f"{given} {', '.join(found)}, expected one of them; give more of the name")
    if not names:
        raise ValueError(f"{given} none, for the exam has no segmentation; leave the exam out")
    raise ValueError(
        f"{given} none of {', '.join(names)}; give a name, the end of a name (seg for CASE-seg.nii.gz) or a pattern "
        "('*-seg')"
    )


def match_reference(names: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """Those of an exam's segmentations that fit what the user calls a reference: the one rule of all commands.

    Upper and lower case are the same, and ``.nii.gz`` may be left out. Whole names come first: with the folders that
    they are in or, where there is no such name, without. Where nothing has a wanted whole name, it may be the end of
    one after a ``-``, ``_`` or ``.`` (``seg`` for ``BraTS-GLI-00000-000-seg``), or a pattern with ``*`` or ``?``.

    Args:
        names: the segmentations' names, with the folders that they are in, if any.
        wanted: names, ends or patterns.

    Returns:
        The names that fit.
    """
    plain = {name: _without_ending(name).lower() for name in names}
    files = {name: text.rpartition("/")[2] for name, text in plain.items()}
    asked = [text for text in (_without_ending(name).lower() for name in wanted) if text]

    def fits(text: str, asked: str) -> bool:
        if "*" in asked or "?" in asked:
            return fnmatchcase(text, asked)
        return text.endswith(asked) and (asked[0] in "-_." or text[: -len(asked)].endswith(("-", "_", ".")))

    exact = set()
    for text in asked:
        exact |= {n for n in names if plain[n] == text} or {n for n in names if files[n] == text}
    found = exact or {n for n in names if any(fits(plain[n], text) or fits(files[n], text) for text in asked)}
    return [name for name in names if name in found]


def path_name(file: Path, folder: Path) -> str:
    """A file's path in a folder, without the ending."""
    return written(file.relative_to(folder).with_name(_stem(file)).as_posix())


def is_segmentation_name(name: str) -> bool:
    """Whether a file is a segmentation by its name: NIfTI, not hidden, with ``seg`` as one of its parts."""
    return is_nifti_name(name) and bool(_SEGMENTATION.search(_stem(Path(name)).lower()))


def is_nifti_name(name: str) -> bool:
    """Whether a file is NIfTI by its name, and not hidden."""
    return name.lower().endswith((".nii", ".nii.gz")) and not name.startswith(".")


def _stem(path: Path) -> str:
    return _without_ending(path.name)


def _without_ending(name: str) -> str:
    return re.sub(r"\.nii(\.gz)?$", "", name, flags=re.IGNORECASE)


def last_part(path: Path) -> str:
    """The last part of a file name, by which modalities are recognized: lower case, without the ending."""
    return re.split(r"[-_.]", _stem(path).lower())[-1]

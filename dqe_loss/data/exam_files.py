"""Which files are an exam's: its modalities and segmentations by name, and which segmentation is the reference."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from dqe_loss.data.file_names import written
from dqe_loss.data.nifti import ExamError
from dqe_loss.task import GLIOMA, Task

_SEGMENTATION = re.compile(r"(?:^|[-_.])seg(?:m|mentation)?\d*(?:[-_.]|$)")


@dataclass(frozen=True)
class ExamPaths:
    """Where the files of one exam are.

    Attributes:
        images: modality to file, in the order of the image's channels.
        segmentations: label maps of the exam, in the order in which they are reported.
        name: what to call the exam; the folder of the first image when empty.
        planar: whether images are single planes, stored as 2D images or as volumes of one plane.
    """

    images: Mapping[str, Path]
    segmentations: tuple[Path, ...] = ()
    name: str = ""
    planar: bool = False

    @property
    def folder(self) -> Path:
        """Folder of the first image."""
        return Path(next(iter(self.images.values()))).parent


def find_exam(folder: str | Path, task: Task = GLIOMA) -> ExamPaths:
    """Recognize the files of an exam in a folder by the last parts of their names (by default as in BraTS).

    Subfolders and hidden files are left out. A name counts as a segmentation when ``seg`` is one of its parts
    (``_seg``, ``seg-nnunet``), and else as a modality by its last part, in any case.

    Args:
        folder: the exam's folder.
        task: says which modalities there are, and how their files end.

    Returns:
        All modalities and all segmentations, sorted by name (possibly none).

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
    for modality in task.modalities:
        tokens = task.endings(modality)
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
    return ExamPaths(modalities, segmentations, written(folder.resolve().name), task.planar)


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
        wanted: what may be its reference, as `match_reference` takes it; empty for the only one.

    Raises:
        ValueError: there is no such file, or more than one.
    """
    names = [path_name(file, folder) if file.is_relative_to(folder) else written(_stem(file)) for file in files]
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
    if not wanted and len(names) == 1:
        return names[0]
    if not wanted:
        listed = ", ".join(names) or "none"
        raise ValueError(f"{exam}: expected one segmentation, its reference, found {listed}; name it with --reference")
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

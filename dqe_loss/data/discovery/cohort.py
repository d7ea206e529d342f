"""Find the exams of a data set: a tree of folders, nnU-Net's folders, or a table of paths."""

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dqe_loss.data.exam_files import (
    ExamPaths,
    find_exam,
    is_nifti_name,
    is_segmentation_name,
    last_part,
    path_name,
    unique_names,
)
from dqe_loss.data.file_names import file_at, written
from dqe_loss.data.nifti import ExamError
from dqe_loss.task import GLIOMA, Task

NIFTI = (".nii.gz", ".nii")


@dataclass(frozen=True)
class FoundExam:
    """An exam of a data set, as it was found; nothing is read yet.

    Attributes:
        name: unique in the data set.
        images: modality to file; empty if there is an error.
        masks: name of each segmentation within the exam to its file.
        error: why the exam's files could not be told apart; empty if they could.
        planar: whether its images are single planes.
    """

    name: str
    images: Mapping[str, Path]
    masks: Mapping[str, Path]
    error: str = ""
    planar: bool = False

    @property
    def paths(self) -> ExamPaths:
        """The files as `dqe_loss.data.exams.read_exam` takes them."""
        return ExamPaths(self.images, tuple(self.masks.values()), self.name, self.planar)


def find_tree(root: Path, task: Task = GLIOMA) -> list[FoundExam]:
    """Find all exams in a folder and below it.

    A folder is an exam where it holds two modalities or more by their names (`dqe_loss.data.exam_files.find_exam`), or
    all that the task has, or one modality or segmentation and no exam below it. What is called a segmentation in its
    subfolders belongs to it, named as its path in the exam's folder, such as ``failed/seg-x``. Links to folders are
    followed.

    Args:
        root: the folder; may be an exam itself.
        task: says how files are named.

    Returns:
        The exams, named by their folder below the root, in the order of names; one with an ``error`` for each folder
        whose modalities could not be told apart.

    Raises:
        ExamError: no such folder, or no exam in it.
    """
    if not root.is_dir():
        raise ExamError(f"{root}: expected the folder of a data set, found nothing there; check the path")
    cases = [_tree_case(folder, root, task) for folder in _exam_folders(root, (), task)]
    if not cases:
        raise ExamError(
            f"{root}: expected exams with file names such as case-7/case-7_{task.endings(task.modalities[0])[0]}.nii.gz"
            " in it or below it, found none; a table of paths takes any names"
        )
    return sorted(cases, key=lambda case: case.name)


def with_predictions(cases: Sequence[FoundExam], folders: Sequence[Path], *, some: bool = False) -> list[FoundExam]:
    """Cases with the segmentations of other folders in place of their own.

    Args:
        cases: the cases.
        folders: each holds a file for each case, named like the case, with its folders or without, and ``.nii.gz`` or
            ``.nii``. The segmentation is named by its folder.
        some: leave those cases out that no folder has a segmentation of: where only test cases were predicted, or one
            fold.

    Returns:
        The cases; one that is missing in a folder has the path where it should be.

    Warns:
        UserWarning: how many were left out.

    Raises:
        ExamError: no such folder, or two of one name, or none of the cases in one of them.
    """
    names = {written(folder.resolve().name): folder for folder in folders}
    if len(names) < len(folders):
        raise ExamError("expected folders of predictions with names of their own, found two of one name; rename one")
    masks: list[dict[str, Path]] = [{} for _ in cases]
    predicted: set[str] = set()
    for name, folder in names.items():
        if not folder.is_dir():
            raise ExamError(f"{folder}: expected a folder of predictions, found nothing there; check the path")
        there = {written(path.name): path for path in folder.iterdir()}
        found = [_prediction(case.name, folder, there) for case in cases]
        wanted = [f"{case.name.rpartition('/')[2]}{NIFTI[0]}" for case in cases]
        if not any(found):
            raise ExamError(
                f"{folder}: expected predictions named like the exams, such as {wanted[0]}; found none of them"
            )
        for own, file, missing in zip(masks, found, wanted, strict=True):
            own[name] = file or folder / missing
        predicted.update(case.name for case, file in zip(cases, found, strict=True) if file)
    taken = [replace(case, masks=own) for case, own in zip(cases, masks, strict=True)]
    if some and (left := len(cases) - len(predicted)):
        where = " or ".join(map(str, folders))
        warnings.warn(f"{left} of {len(cases)} exams have no prediction in {where}: they are not rated", stacklevel=2)
        taken = [case for case in taken if case.name in predicted]
    return taken


def _prediction(name: str, folder: Path, there: Mapping[str, Path]) -> Path | None:
    """A folder's segmentation of an exam: named like the exam, below folders, too, or as the last part of its name."""
    path = file_at(name)
    if len(path.parts) > 1 and not path.is_absolute() and ".." not in path.parts:
        for ending in NIFTI:
            if (folder / f"{path}{ending}").is_file():
                return folder / f"{path}{ending}"
    last = (f"{name.rpartition('/')[2]}{ending}" for ending in NIFTI)
    return next((there[file] for file in last if file in there), None)


def name_masks(files: Sequence[Path], folder: Path) -> dict[str, Path]:
    """Name segmentations by their path in the exam's folder, or else by their file, as far as that tells them apart."""
    inside = [path_name(file, folder) if file.is_relative_to(folder) else "" for file in files]
    outside = iter(unique_names([file for file, name in zip(files, inside, strict=True) if not name]))
    names = [name or next(outside) for name in inside]
    counts = Counter(names)
    return {written(str(file)) if counts[name] > 1 else name: file for file, name in zip(files, names, strict=True)}


def _exam_folders(folder: Path, ancestors: tuple[Path, ...], task: Task) -> Iterator[Path]:
    """Folders of exams, deepest first where one could be either."""
    real = folder.resolve()
    if real in ancestors:  # a link that leads back up
        return
    entries = [path for path in folder.iterdir() if not path.name.startswith(".")]
    names = [path for path in entries if is_nifti_name(path.name)]
    endings = {ending: modality for modality in task.modalities for ending in task.endings(modality)}
    modalities = {endings.get(last_part(path)) for path in names if not is_segmentation_name(path.name)} - {None}
    if len(modalities) > 1 or modalities >= set(task.modalities):
        yield folder
        return
    below = False
    for path in entries:
        if path.is_dir():
            for found in _exam_folders(path, (*ancestors, real), task):
                below = True
                yield found
    if not below and (modalities or any(is_segmentation_name(path.name) for path in names)):
        yield folder


def _tree_case(folder: Path, root: Path, task: Task) -> FoundExam:
    name = written(folder.relative_to(root).as_posix() if folder != root else root.resolve().name)
    files = sorted(path for path in folder.rglob("*") if _is_mask(path, folder))
    # The exam's own folder first, as its reader has it.
    files.sort(key=lambda path: len(path.relative_to(folder).parts))
    masks = name_masks(files, folder)
    try:
        paths = find_exam(folder, task)
    except ExamError as error:
        return FoundExam(name, {}, masks, str(error))
    return FoundExam(name, paths.images, masks, planar=task.planar)


def _is_mask(path: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    return not hidden and is_segmentation_name(path.name)  # even if it is a folder: that is told when it is read

"""Exams with a reference beside other segmentations: which they are, and which file is the reference."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dqe_loss.data.discovery.named_exams import TABLES, find_named_exams
from dqe_loss.data.exam_files import (
    ExamPaths,
    choose_reference,
    find_exam,
    is_segmentation_name,
    path_name,
    unique_names,
)
from dqe_loss.task import GLIOMA, Task


@dataclass(frozen=True)
class ReferencedExam:
    """An exam with a reference and other segmentations.

    Attributes:
        paths: its files; the first segmentation is the reference.
        names: name of each segmentation: its path in the exam's folder, without the ending.
    """

    paths: ExamPaths
    names: tuple[str, ...]


def find_referenced_exams(folders: Sequence[Path], references: Sequence[str], task: Task) -> list[ReferencedExam]:
    """Find all exams, and leave out those with nothing to compare; see `find_referenced_exam`.

    Raises:
        ValueError: an exam cannot be used, two have one name, or none is left.
    """
    named: list[Path | ExamPaths] = []
    for folder in folders:
        named += find_named_exams([folder], task) if _is_data_set(folder, task) else [folder]
    found = [exam for one in named if (exam := find_referenced_exam(one, references, task))]
    names = [exam.paths.name for exam in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(
            f"--exams names more than one exam {', '.join(twice)}; give each once, in a folder of its name"
        )
    if not found:
        raise ValueError("no exam of --exams has a segmentation beside its reference; there is nothing to compare")
    return found


def _is_data_set(path: Path, task: Task) -> bool:
    return path.suffix.lower() in TABLES or bool(task.files.images)


def find_referenced_exam(
    folder: str | Path | ExamPaths, references: Sequence[str], task: Task = GLIOMA
) -> ReferencedExam | None:
    """The same as `find_all_segmentations`, or None, with a warning, if there is nothing but the reference.

    An exam of a table of paths has the segmentations that the table names.
    """
    if isinstance(folder, ExamPaths):
        paths, folder = folder, folder.name
        names = unique_names(paths.segmentations)
        exam = _reference_first(paths, paths.folder, paths.segmentations, names, references)
    else:
        exam = find_all_segmentations(folder, references, task)
    if len(exam.names) == 1:
        (reference,) = exam.paths.segmentations
        warnings.warn(f"{folder}: left out, it has no segmentation but the reference {reference.name}", stacklevel=2)
        return None
    return exam


def find_all_segmentations(folder: str | Path, references: Sequence[str], task: Task) -> ReferencedExam:
    """Find an exam's segmentations, in its folder and the folders in it, and which of them is the reference.

    Args:
        folder: the exam's folder, as `dqe_loss.data.exam_files.find_exam` reads it; files in subfolders that are
            called segmentations (`is_segmentation_name`) count, too.
        references: names, ends or patterns of references, see `dqe_loss.data.exam_files.match_reference`.
        task: what an exam holds.

    Returns:
        The exam, its reference first.

    Raises:
        ExamError: there is no exam.
        ValueError: there is no reference, or more than one.
    """
    folder = Path(folder)
    paths = find_exam(folder, task)
    below = [p.relative_to(folder) for p in sorted(folder.rglob("*")) if p.parent != folder]
    hidden = [any(part.startswith(".") for part in p.parts) for p in below]
    deeper = [folder / p for p, h in zip(below, hidden, strict=True) if not h and is_segmentation_name(p.name)]
    files = [*paths.segmentations, *deeper]
    return _reference_first(paths, folder, files, [path_name(file, folder) for file in files], references)


def _reference_first(
    paths: ExamPaths, folder: Path, files: Sequence[Path], names: Sequence[str], references: Sequence[str]
) -> ReferencedExam:
    named = dict(zip(files, names, strict=True))
    reference = choose_reference(folder, files, references)
    ordered = (reference, *(file for file in files if file != reference))
    return ReferencedExam(replace(paths, segmentations=ordered), tuple(named[file] for file in ordered))

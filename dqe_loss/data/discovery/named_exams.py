"""The exams that ``--exams`` names: folders of an exam each, a data set by its task's paths, or a table of paths."""

import re
from collections.abc import Sequence
from pathlib import Path

from dqe_loss.data.discovery.cohort import NIFTI, FoundExam, name_masks
from dqe_loss.data.discovery.nnunet_labels import refuse_other_labels
from dqe_loss.data.exam_files import ExamPaths, find_exam
from dqe_loss.data.file_names import written
from dqe_loss.data.nifti import ExamError
from dqe_loss.task import Task

TABLES = (".csv", ".parquet")


def find_named_exams(named: Sequence[Path], task: Task) -> list[ExamPaths]:
    """Find all exams.

    Args:
        named: each an exam's folder (`find_exam`), the folder of a data set whose files are as the task's
            `FileNames.images` say, or a table of paths (`find_in_table`).
        task: what an exam holds, and how its files are named.

    Returns:
        The files of each, in the order given.

    Raises:
        TableError: a table cannot be used.
        ExamError: a folder cannot be used, or an exam lacks a modality. Both are ValueErrors.
    """
    found: list[ExamPaths] = []
    for path in map(Path, named):
        if path.suffix.lower() in TABLES:
            from dqe_loss.data.discovery.path_table import find_in_table  # not before: it needs pandas

            found += [exam.paths for exam in find_in_table(path, task)]
        elif task.files.images and path.is_dir():
            refuse_other_labels(path, task)
            exams = find_by_pattern(path, task)
            if broken := next((exam for exam in exams if exam.error), None):
                raise ExamError(f"{broken.error}; complete the exam, or name the others in a table of paths")
            found += [exam.paths for exam in exams]
        else:
            found.append(find_exam(path, task))
    return found


def fits_pattern(root: Path, task: Task) -> bool:
    """Whether a folder holds files where `FileNames.images` of a task says."""
    return any(_names(root, pattern) for pattern in task.files.images.values())


def find_by_pattern(root: Path, task: Task) -> list[FoundExam]:
    """The exams of a data set whose paths are as `FileNames.images` and `FileNames.reference` of its task say.

    Hidden files, such as those that macOS leaves beside others (``._case-7.nii.gz``), are none.

    Args:
        root: folder of the data set.
        task: the task.

    Returns:
        The exams by name, with the reference, where there is one; one with an ``error`` for each that lacks a modality.

    Raises:
        ExamError: if there is none.
    """
    patterns = {modality: task.files.images[modality] for modality in task.modalities}
    names: list[str] = sorted(set().union(*(_names(root, pattern) for pattern in patterns.values())))
    images = {name: {m: root / text.replace("{exam}", name) for m, text in patterns.items()} for name in names}
    there = {name: {path for path in images[name].values() if path.is_file()} for name in names}
    references = {}
    if task.files.reference:
        paths = {name: root / task.files.reference.replace("{exam}", name) for name in names}
        references = {name: path for name, path in paths.items() if path.is_file()}
    # Patterns may overlap: case-7_seg.nii.gz fits {exam}.nii.gz, and is no exam but the reference of case-7.
    owners = {path: name for name in names if len(there[name]) == len(patterns) for path in there[name]}
    owners |= {path: name for name, path in references.items()}
    found = []
    for name in names:
        if all(owners.get(path, name) != name for path in there[name]):
            continue
        masks = name_masks([references[name]] if name in references else [], root)
        missing = [f"{path} ({m})" for m, path in images[name].items() if path not in there[name]]
        error = f"{root}: exam {name} lacks {', '.join(missing)}" if missing else ""
        found.append(FoundExam(written(name), {} if error else images[name], masks, error, task.planar))
    if not found:
        listed = ", ".join(patterns.values())
        raise ExamError(f"{root}: expected exams with the paths {listed} ({' or '.join(NIFTI)}), found none")
    return found


def _names(root: Path, pattern: str) -> set[str]:
    """The exams that have a file as a pattern says."""
    before, _, after = pattern.partition("{exam}")
    name = "[^/]+" if before and not before.endswith("/") else "[^/.][^/]*"  # not hidden
    # The name may stand in the path twice, as in {exam}/{exam}_t1.nii.gz.
    whole = re.compile(re.escape(before) + f"(?P<exam>{name})" + re.escape(after).replace(r"\{exam\}", "(?P=exam)"))
    files = (path.relative_to(root).as_posix() for path in root.glob(pattern.replace("{exam}", "*")))
    return {match["exam"] for file in files if (match := whole.fullmatch(file))}

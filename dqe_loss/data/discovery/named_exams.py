"""The exams that ``--exams`` names: folders of an exam each, a data set by its task's paths, or a table of paths."""

import re
from collections.abc import Sequence
from pathlib import Path

from dqe_loss.data.discovery.cohort import NIFTI
from dqe_loss.data.exam_files import ExamPaths, find_exam
from dqe_loss.data.nifti import ExamError
from dqe_loss.task import GLIOMA, Task

TABLES = (".csv", ".parquet")


def find_named_exams(named: Sequence[Path], task: Task = GLIOMA) -> list[ExamPaths]:
    """Find all exams.

    Args:
        named: each an exam's folder (`find_exam`), the folder of a data set whose files are as the task's
            `FileNames.images` say, or a table of paths (`find_in_table`).
        task: what an exam holds, and how its files are named.

    Raises:
        ValueError: a folder or table cannot be used.
    """
    found: list[ExamPaths] = []
    for path in map(Path, named):
        if path.suffix.lower() in TABLES:
            from dqe_loss.data.discovery.path_table import find_in_table  # not before: it needs pandas

            found += [exam.paths for exam in find_in_table(path, task)]
        elif task.files.images and path.is_dir():
            found += find_by_pattern(path, task)
        else:
            found.append(find_exam(path, task))
    return found


def find_by_pattern(root: Path, task: Task) -> list[ExamPaths]:
    """The exams of a data set whose paths are as `FileNames.images` and `FileNames.reference` of its task say.

    Args:
        root: folder of the data set.
        task: the task.

    Returns:
        The exams that have all modalities, by name; with the reference, where there is one.

    Raises:
        ExamError: if there is none.
    """
    first = task.files.images[task.modalities[0]]
    before, _, after = first.partition("{exam}")
    # The name may stand in the path twice, as in {exam}/{exam}_t1.nii.gz.
    pattern = re.compile(re.escape(before) + "(?P<exam>[^/]+)" + re.escape(after).replace(r"\{exam\}", "(?P=exam)"))
    names = [
        m["exam"] for file in root.glob(first.replace("{exam}", "*")) if (m := pattern.fullmatch(_relative(file, root)))
    ]
    exams = []
    for name in sorted(set(names)):
        images = {modality: root / text.replace("{exam}", name) for modality, text in task.files.images.items()}
        if not all(path.is_file() for path in images.values()):
            continue
        reference = root / task.files.reference.replace("{exam}", name) if task.files.reference else None
        masks = (reference,) if reference is not None and reference.is_file() else ()
        exams.append(ExamPaths({m: images[m] for m in task.modalities}, masks, name, task.planar))
    if not exams:
        listed = ", ".join(task.files.images.values())
        raise ExamError(f"{root}: expected exams with the paths {listed} ({' or '.join(NIFTI)}), found none")
    return exams


def _relative(file: Path, root: Path) -> str:
    return file.relative_to(root).as_posix()

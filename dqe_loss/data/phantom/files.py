"""Phantoms as files, in folders as commands find exams."""

from pathlib import Path

from dqe_loss.data.exam_files import ExamPaths
from dqe_loss.data.phantom import phantom_of
from dqe_loss.data.write_nifti import nifti_bytes
from dqe_loss.outputs import write_together
from dqe_loss.task import GLIOMA, Task


def phantom_paths(seed: int, folder: Path, task: Task = GLIOMA) -> ExamPaths:
    """Where the files of a phantom are: a folder with file names by which commands find them."""
    phantom = phantom_of(task)
    name = phantom.name(seed)
    images = {m: folder / name / f"{name}-{phantom.endings[m]}.nii.gz" for m in task.modalities}
    return ExamPaths(images, (folder / name / f"{name}-seg.nii.gz",), name, task.planar)


def write_phantom(seed: int, folder: Path, task: Task = GLIOMA) -> None:
    """Draw a phantom and write its files (a glioma's in about 2.5 s); done if all are there.

    Raises:
        OSError: a file cannot be written.
    """
    paths = phantom_paths(seed, folder, task)
    images = list(paths.images.values())
    if all(path.is_file() for path in (*images, *paths.segmentations)):
        return
    exam = phantom_of(task).make(seed)
    paths.folder.mkdir(parents=True, exist_ok=True)
    contents = {path: nifti_bytes(image, exam.affine) for path, image in zip(images, exam.image, strict=True)}
    contents[paths.segmentations[0]] = nifti_bytes(exam.segmentations["reference"], exam.affine)
    write_together(contents)

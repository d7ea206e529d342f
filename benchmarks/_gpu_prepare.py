"""Part `prepare` of `gpu.py`: exams and planes that later parts use, made on the cores while the GPU is busy."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from _gpu_part import FAILED, FOLDER, READY, GpuPart, wait_for

from dqe_loss.audit.audited_exam import phantom_sources, read_audited_exam
from dqe_loss.data.phantom import phantom_of
from dqe_loss.harden.sources import FIRST_PHANTOM
from dqe_loss.harden.taught_exams import ARRAYS, TaughtExam, prepare_exam
from dqe_loss.task import BLOBS, GLIOMA, Task

PHANTOMS = 4
ERRORS = 6
"""Wrong masks of each, as a hardening has of a phantom."""


def prepare(part: GpuPart) -> None:
    """The taught phantoms, each in a process; then the planes of the training."""
    count, task = 1 if part.smoke else PHANTOMS, task_of(part)
    folder = part.out / "exams"

    def taught() -> None:
        if part.smoke:
            _taught(FIRST_PHANTOM, folder, 1, task)
        else:
            with ProcessPoolExecutor(count, get_context("spawn")) as pool:
                seeds = range(FIRST_PHANTOM, FIRST_PHANTOM + count)
                list(pool.map(_taught, seeds, [folder] * count, [ERRORS] * count, [task] * count))
        (folder / READY).touch()

    def planes() -> None:
        from _gpu_training import configured
        from training_throughput import phantom_planes

        planes = part.out / FOLDER
        planes.mkdir(exist_ok=True)
        phantom_planes(planes, 1 if part.smoke else 2, configured(part))
        (planes / READY).touch()

    for what, work, made in (("planes", planes, part.out / FOLDER), ("exams", taught, folder)):
        if not part.attempt(what, work):
            made.mkdir(exist_ok=True)
            (made / FAILED).write_text(part.failures[what].splitlines()[-1])


def task_of(part: GpuPart) -> Task:
    """What is rated: exams of a smoke test hold blobs, and are drawn in milliseconds."""
    return BLOBS if part.smoke else GLIOMA


def taught_exams(part: GpuPart) -> list[TaughtExam]:
    """What `prepare` made, waiting for it.

    Raises:
        TimeoutError: it did not come.
    """
    wait_for(part, part.out / "exams")
    task = task_of(part)
    found = sorted((part.out / "exams").glob(f"{phantom_of(task).prefix}-*"))
    whole = [folder for folder in found if all((folder / f"{name}.npy").is_file() for name in ARRAYS)]
    return [TaughtExam(folder.name, folder, True, task) for folder in whole]


def _taught(seed: int, folder: Path, errors: int, task: Task) -> None:
    (source,) = phantom_sources(1, first=seed, task=task)
    prepare_exam(read_audited_exam(source), folder, errors=errors, synthetic=True)

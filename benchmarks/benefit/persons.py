"""Who is in which part. Left and right side are one person's; the split knows persons only."""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from design import OTHER, SAME
from torch import Tensor

from dqe_loss import read_task, regions_from_labels
from dqe_loss.data.discovery.named_exams import find_named_exams
from dqe_loss.data.exam_files import ExamPaths
from dqe_loss.data.exams import read_exam

ROOT = Path(__file__).resolve().parents[2]
TASK = read_task(ROOT / "examples" / "tasks" / "hippocampus.yaml")
SIDE = 64
"""Planes are padded to squares of so many voxels: the task's field of view."""
TEACHING, TEACHING_JUDGE, POOL, UNLABELLED = 40, 20, 12, 60
"""Persons who teach the loss's refiner, who teach the judge, of whom some are labelled, who are not; the rest test."""
REGIMES = (255.0, 2e4)
"""Largest intensities of the three kinds of files: up to the first, between, above."""


@dataclass(frozen=True)
class Exam:
    """One side of one person.

    Attributes:
        paths: its files.
        person: whose it is.
        image: raw intensities ``(X, Y, Z)``.
        regions: ``(3, X, Y, Z)`` boolean, of `TASK`.
    """

    paths: ExamPaths
    person: int
    image: Tensor
    regions: Tensor

    @property
    def name(self) -> str:
        """The exam's name."""
        return self.paths.name

    @cached_property
    def normalized(self) -> Tensor:
        """The image in units of its own mean and spread."""
        return (self.image - self.image.mean()) / self.image.std()


@dataclass(frozen=True)
class Parts:
    """Persons of a setting.

    Attributes:
        teaching: teach the refiner in the loss, and the networks of arms t, s and sd.
        judge: teach the second refiner, which only judges.
        pool: of whom each seed draws its labelled ones.
        unlabelled: whose scans are used without labels.
        test: on whom everything is reported.
    """

    teaching: list[int]
    judge: list[int]
    pool: list[int]
    unlabelled: list[int]
    test: list[int]

    def labelled(self, count: int, seed: int) -> list[int]:
        """The labelled persons of a seed: those of fewer are among those of more."""
        return np.random.default_rng(seed).permutation(self.pool)[:count].tolist()


def read_exams(data: Path) -> list[Exam]:
    """All exams, in memory (about 80 MB)."""
    exams = []
    for paths in find_named_exams([data], TASK):
        exam = read_exam(paths, task=TASK, warn=False)
        labels = torch.from_numpy(next(iter(exam.segmentations.values())))
        regions = regions_from_labels(labels[None, None], TASK.scheme())[0] > 0
        image = torch.from_numpy(exam.image[0].astype(np.float32))
        exams.append(Exam(paths, (int(paths.name.rpartition("_")[2]) + 1) // 2, image, regions))
    return exams


def split(exams: list[Exam], setting: str) -> Parts:
    """The persons of a setting.

    In ``same``, all are drawn at random. In ``other``, those who teach are the persons whose files are 8-bit or in
    hundreds of thousands (60 of 170), and users are those in thousands: other scanners or other processing.
    """
    rng = np.random.default_rng(21)
    persons = sorted({exam.person for exam in exams})
    taught = TEACHING + TEACHING_JUDGE
    if setting == SAME:
        order = rng.permutation(persons).tolist()
    elif setting == OTHER:
        users = {e.person for e in exams if REGIMES[0] < float(e.image.max()) <= REGIMES[1]}
        order = [
            *rng.permutation([p for p in persons if p not in users]).tolist(),
            *rng.permutation(sorted(users)).tolist(),
        ]
    else:
        raise ValueError(f"expected a setting of {SAME!r} or {OTHER!r}, got {setting!r}")
    starts = np.cumsum([0, TEACHING, TEACHING_JUDGE, POOL, UNLABELLED, len(order) - taught - POOL - UNLABELLED])
    return Parts(*(order[a:b] for a, b in pairwise(starts)))


def of_persons(exams: list[Exam], persons: list[int]) -> list[Exam]:
    """Both sides of some persons."""
    wanted = set(persons)
    return [exam for exam in exams if exam.person in wanted]

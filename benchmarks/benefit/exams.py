"""Exams of the study, and who is in which part. The parts of a person's exams are never parted."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dqe_loss import Task, regions_from_labels
from dqe_loss.data.exam_files import ExamPaths
from dqe_loss.data.exams import read_exam

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Exam:
    """Scans of one person at one time, with their reference.

    Attributes:
        paths: its files; of segmentations the reference alone.
        person: whose it is.
        raw: intensities ``(C, X, Y, Z)`` as in the file, integers if `read_paths` was told so.
        regions: ``(R, X, Y, Z)`` boolean, of the task.
        of_head: whether `normalized` goes by the voxels that are not 0, or by all.
    """

    paths: ExamPaths
    person: int
    raw: Tensor
    regions: Tensor
    of_head: bool

    @property
    def name(self) -> str:
        """The exam's name."""
        return self.paths.name

    @property
    def image(self) -> Tensor:
        """Intensities as floats."""
        return self.raw.float()

    @property
    def normalized(self) -> Tensor:
        """The image, each channel in units of its own mean and spread."""
        if not self.of_head:
            return torch.stack([(one - one.mean()) / one.std() for one in self.image])
        channels = []
        for one in self.image:
            head = one != 0
            channels.append(torch.where(head, (one - one[head].mean()) / one[head].std(), 0))
        return torch.stack(channels)

    @cached_property
    def largest(self) -> float:
        """The largest intensity."""
        return float(self.raw.max())


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


@dataclass(frozen=True)
class Cohort:
    """The exams of one task, and what the study must know of them.

    Attributes:
        task: what is segmented.
        exams: all of them.
        parts: persons of each setting.
        side: voxels of the squares that planes are padded to: the task's field of view.
        every: of how many axial planes one is trained on; all are tested.
        halvings: by how much a network makes planes coarser before it begins.
        judged: the regions that are judged.
        harden: options of ``dqe harden`` that say what the task is, and how good masks may be.
        steps: of a refiner's teaching.
        lesions: whether lesions are counted one by one, too.
    """

    task: Task
    exams: list[Exam]
    parts: dict[str, Parts]
    side: int
    every: int
    halvings: int
    judged: tuple[str, ...]
    harden: tuple[str, ...]
    steps: int
    lesions: bool

    @property
    def channels(self) -> list[int]:
        """Places of the judged regions."""
        return [self.task.regions.index(name) for name in self.judged]

    def of(self, persons: list[int]) -> list[Exam]:
        """All exams of some persons."""
        wanted = set(persons)
        return [exam for exam in self.exams if exam.person in wanted]


def read_paths(
    found: list[ExamPaths], task: Task, person_of: Callable[[str], int], of_head: bool, integers: bool = False
) -> list[Exam]:
    """Read exams into memory.

    Args:
        found: their files.
        task: what is segmented.
        person_of: from an exam's name to its person.
        of_head: see `Exam`.
        integers: keep intensities as 16-bit integers.

    Raises:
        ValueError: intensities are no such integers.
    """
    exams = []
    for paths in found:
        exam = read_exam(paths, task=task, warn=False)
        labels = torch.from_numpy(next(iter(exam.segmentations.values())))
        image = torch.from_numpy(exam.image.astype(np.float32))
        raw = image.short() if integers else image
        if not torch.equal(raw.float(), image):
            raise ValueError(f"{paths.name}: expected intensities that are integers of 16 bits, got others")
        regions = regions_from_labels(labels[None, None], task.scheme())[0] > 0
        exams.append(Exam(paths, person_of(paths.name), raw, regions, of_head))
    return exams

"""A small exam to harden on, and a small refiner."""

from pathlib import Path

import numpy as np
import torch

from dqe_loss.audit.audited_exam import AuditedExam
from dqe_loss.harden.taught_exams import TaughtExam, prepare_exam
from dqe_loss.surrogate.refiner import Refiner, RefinerConfig

SHAPE = (56, 64, 48)
FEATURES = (4, 4, 4, 4, 4, 4)


def make_case(name: str = "small", place: float = 0.2) -> AuditedExam:
    rng = np.random.default_rng(0)
    grid = np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij")
    brain = sum(axis**2 for axis in grid) < 0.7
    tumor = sum((axis - place) ** 2 for axis in grid)
    labels = np.zeros(SHAPE, np.uint8)
    labels[tumor < 0.15], labels[tumor < 0.07], labels[tumor < 0.03] = 2, 3, 1
    image = brain * (rng.uniform(80, 120, (4, *SHAPE)) + 100 * (labels > 0)).astype(np.float32)
    return AuditedExam(name, torch.from_numpy(image)[None], labels * brain, brain)


def make_taught(folder: Path, name: str = "small", place: float = 0.2) -> TaughtExam:
    natural = [np.zeros(SHAPE, np.uint8)]
    return prepare_exam(make_case(name, place), folder, errors=4, natural=natural, synthetic=False)


def make_refiner(norm: str = "batch") -> Refiner:
    torch.manual_seed(0)
    return Refiner(RefinerConfig(FEATURES, norm))

"""The study with power: hippocampi of 170 persons. Left and right are one person's; the split knows persons only."""

from pathlib import Path

import numpy as np
from design import OTHER, SAME
from exams import ROOT, Cohort, Exam, Parts, read_paths

from dqe_loss import read_task
from dqe_loss.data.discovery.named_exams import find_named_exams

TASK_FILE = ROOT / "examples" / "tasks" / "hippocampus.yaml"
TEACHING, TEACHING_JUDGE, POOL, UNLABELLED = 40, 20, 12, 60
"""Persons who teach the loss's refiner, who teach the judge, of whom some are labelled, who are not; the rest test."""
REGIMES = (255.0, 2e4)
"""Largest intensities of the three kinds of files: up to the first, between, above."""


def read_hippocampi(data: Path) -> Cohort:
    """All exams, in memory (about 80 MB).

    Args:
        data: folder with ``images`` and ``labels`` of the Medical Segmentation Decathlon's Task04.
    """
    task = read_task(TASK_FILE)
    exams = read_paths(find_named_exams([data], task), task, person_of, of_head=False)
    return Cohort(
        task,
        exams,
        {setting: split(exams, setting) for setting in (SAME, OTHER)},
        side=64,
        every=1,
        halvings=1,
        judged=("anterior", "posterior"),
        harden=("--task", str(TASK_FILE), "--errors", "12"),
        steps=1500,
        lesions=False,
    )


def person_of(name: str) -> int:
    """Numbers of exams come in pairs."""
    return (int(name.rpartition("_")[2]) + 1) // 2


def split(exams: list[Exam], setting: str) -> Parts:
    """The persons of a setting.

    In ``same``, all are drawn at random. In ``other``, those who teach are the persons whose files are 8-bit or in
    hundreds of thousands (60 of 170), and users are those in thousands: other scanners or other processing.
    """
    rng = np.random.default_rng(21)
    persons = sorted({exam.person for exam in exams})
    if setting == SAME:
        order = rng.permutation(persons).tolist()
    elif setting == OTHER:
        users = {e.person for e in exams if REGIMES[0] < e.largest <= REGIMES[1]}
        others = rng.permutation([p for p in persons if p not in users]).tolist()
        order = others + rng.permutation(sorted(users)).tolist()
    else:
        raise ValueError(f"expected a setting of {SAME!r} or {OTHER!r}, got {setting!r}")
    ends = np.cumsum([TEACHING, TEACHING_JUDGE, POOL, UNLABELLED])
    return Parts(*(part.tolist() for part in np.split(order, ends)))

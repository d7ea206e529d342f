"""Simulated ratings of one exam: graded errors of its reference, scored in metric stars, judged by simulated raters.

Every file depends on the exam's name, the seed and the settings alone, never on the order or number of processes.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dqe_loss.core.labels import LabelScheme, regions_from_labels
from dqe_loss.data.corruption import CORRUPTIONS, Step, as_canonical, corrupt
from dqe_loss.data.corruption.label_maps import Labels
from dqe_loss.data.exam_checks import head_of
from dqe_loss.data.exam_files import ExamPaths
from dqe_loss.data.exams import read_exam
from dqe_loss.data.label_files import read_labels
from dqe_loss.data.tables.ratings import write_ratings
from dqe_loss.data.write_nifti import nifti_bytes
from dqe_loss.metrics.metric_stars import metric_stars_of_views
from dqe_loss.outputs import write_together
from dqe_loss.simulate.judgments import judge_masks
from dqe_loss.task import GLIOMA, Task
from dqe_loss.tasks.reading import error_values

CHAIN = (0.4, 0.35, 0.25)
"""How often a segmentation has one, two, three errors (our choice)."""
_STREAM = 0  # of randomness; that of the raters is another one, for more raters must not change the masks


@dataclass(frozen=True)
class SimulationSettings:
    """What all exams of a simulation share.

    Attributes:
        segmentations: rated segmentations of each exam, the reference among them.
        raters: simulated raters; 0 leaves metric stars as they are.
        seed: seed of errors and raters.
        label_scheme: scheme of the references, and of what is written; the task's default if None.
        task: what is segmented.
    """

    segmentations: int = 5
    raters: int = 3
    seed: int = 0
    label_scheme: str | None = None
    task: Task = GLIOMA

    @property
    def scheme(self) -> LabelScheme:
        """The label scheme."""
        return self.task.scheme(self.label_scheme)

    def record(self) -> dict[str, Any]:
        """What a continuation must share, JSON-ready."""
        told = {"segmentations": self.segmentations, "raters": self.raters, "seed": self.seed} | {
            "label_scheme": self.scheme.name
        }
        return told if self.task == GLIOMA else told | {"task": error_values(self.task, self.scheme)}


@dataclass(frozen=True)
class SimulatedExam:
    """One exam of a simulation.

    Attributes:
        paths: its files and its name; the reference is the only segmentation.
        others: references of other exams, for the error ``"other"``: the first that fits is taken.
    """

    paths: ExamPaths
    others: tuple[Path, ...] = ()


def segmentation_paths(name: str, count: int, out: Path) -> list[Path]:
    """Where the segmentations of an exam are written, the reference first."""
    kinds = ["reference", *map(str, range(1, count))]
    return [out / "segmentations" / name / f"{name}-seg-{kind}.nii.gz" for kind in kinds]


def part_path(name: str, out: Path) -> Path:
    """Where the exam's part of the ratings table is written."""
    return out / "parts" / f"{name}.csv"


def simulate_exam(exam: SimulatedExam, settings: SimulationSettings, out: Path) -> tuple[int, ...]:
    """Write the segmentations of one exam, and last its part of the ratings table; done if all are there.

    Args:
        exam: the exam.
        settings: what all exams share.
        out: folder of the simulation.

    Returns:
        The labels that occur in the reference; none if all was there.

    Raises:
        ValueError: a file cannot be read, or the reference is empty.
        OSError: a file cannot be written.
    """
    name = exam.paths.name
    paths = segmentation_paths(name, settings.segmentations, out)
    part = part_path(name, out)
    if all(path.is_file() for path in (*paths, part)):
        return ()
    task, scheme = settings.task, settings.scheme
    loaded = read_exam(exam.paths, label_scheme=scheme, task=task, field_of_view=task.field_of_view)
    (stored,), (present,) = loaded.segmentations.values(), loaded.present.values()
    reference = as_canonical(stored, scheme)
    if not reference.any():
        raise ValueError(
            f"{exam.paths.segmentations[0]}: expected a reference with {task.subject}, found none; leave it out"
        )
    other = _find_other(exam.others, reference.shape, scheme)
    brain = head_of(loaded.image, task)
    rng = np.random.default_rng([settings.seed, zlib.crc32(name.encode()), _STREAM])
    masks = [reference]
    plans: list[list[Step]] = [
        [],
        *draw_steps(settings.segmentations - 1, rng, with_other=other is not None, task=task),
    ]
    masks += [corrupt(reference, steps, rng=rng, brain=brain, other=other, task=task) for steps in plans[1:]]
    regions = _regions(reference, task)
    stars = [metric_stars_of_views(_regions(mask, task), regions, task=task)[0].tolist() for mask in masks]

    values, outside = _values(stored, scheme), scheme.outside
    kept = np.where(np.isin(stored, outside), stored, 0) if outside else np.uint8(0)  # stays where nothing comes
    written = [np.where(mask > 0, values[mask], kept) for mask in masks]
    paths[0].parent.mkdir(parents=True, exist_ok=True)
    part.parent.mkdir(parents=True, exist_ok=True)
    write_together({path: nifti_bytes(mask, loaded.affine) for path, mask in zip(paths, written, strict=True)})
    judged = judge_masks(exam.paths, paths, plans, stars, settings.raters, settings.seed, task)
    write_ratings(judged, part, task)
    return present


def draw_steps(count: int, rng: np.random.Generator, *, with_other: bool = True, task: Task) -> list[list[Step]]:
    """Draw errors for segmentations from nearly good to failed.

    Args:
        count: segmentations.
        rng: source of randomness.
        with_other: whether there is another exam for the error ``"other"``.
        task: what is segmented; of one tissue there is nothing to swap.

    Returns:
        For each segmentation one to three different errors. Levels are spread evenly over [0, 1], one drawn from
        each of ``count`` equal intervals, and severities lie between 0.6 of the level and the level: views then
        get metric stars over all of the scale.
    """
    names = [name for name in CORRUPTIONS if with_other or name != "other"]
    if len(task.tissues) == 1:
        names.remove("swap")
    plans = []
    for index in range(count):
        level = (index + rng.uniform()) / count
        length = int(rng.choice(len(CHAIN), p=CHAIN)) + 1
        chosen = rng.choice(names, length, replace=False)
        plans.append([(str(name), float(level * rng.uniform(0.6, 1.0))) for name in chosen])
    return plans


def _regions(labels: Labels, task: Task) -> Tensor:
    return regions_from_labels(torch.from_numpy(labels)[None, None], task.canonical)


def _find_other(paths: Sequence[Path], shape: tuple[int, ...], scheme: LabelScheme) -> Labels | None:
    """The first label map of this shape."""
    for path in paths:
        stored: Labels = read_labels(path, scheme).stored
        if stored.shape == shape:
            return as_canonical(stored, scheme)
    return None


def _values(stored: Labels, scheme: LabelScheme) -> Labels:
    """What canonical labels are written as: of several labels the first; where only one may be, one that occurs."""
    values = [0]
    for tissue in scheme.tissues:
        labels = scheme.labels[tissue]
        there = (value for value in labels if tissue == scheme.either and (stored == value).any())
        values.append(next(there, labels[0]))
    return np.array(values, np.uint8)

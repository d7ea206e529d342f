"""Simulated ratings of one exam: graded errors of its reference, scored in metric stars, judged by simulated raters.

Every file depends on the exam's name, the seed and the settings alone, never on the order or number of processes.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dqe_loss.core.labels import label_scheme, regions_from_labels
from dqe_loss.core.slicing import VIEWS
from dqe_loss.data.corruption import CORRUPTIONS, Step, as_brats23, corrupt, describe_steps
from dqe_loss.data.corruption.shapes import Labels
from dqe_loss.data.exam_files import ExamPaths
from dqe_loss.data.exams import read_exam
from dqe_loss.data.file_names import written
from dqe_loss.data.label_files import read_labels
from dqe_loss.data.phantom import make_phantom
from dqe_loss.data.tables.ratings import write_ratings
from dqe_loss.data.write_nifti import nifti_bytes
from dqe_loss.metrics.metric_stars import metric_stars_of_views
from dqe_loss.outputs import write_together
from dqe_loss.simulate.raters import make_raters, simulate_judgments
from dqe_loss.task import MODALITIES

CHAIN = (0.4, 0.35, 0.25)
"""How often a segmentation has one, two, three errors (our choice)."""
BRATS_NAMES = {"t1c": "t1c", "t1": "t1n", "t2": "t2w", "flair": "t2f"}
"""Last part of the file names of BraTS 2023."""
_MASKS, _RATERS = 0, 1  # separate streams of randomness: more raters must not change the masks


@dataclass(frozen=True)
class SimulationSettings:
    """What all exams of a simulation share.

    Attributes:
        segmentations: rated segmentations of each exam, the reference among them.
        raters: simulated raters.
        seed: seed of errors and raters.
        label_scheme: scheme of the references, and of what is written.
    """

    segmentations: int = 5
    raters: int = 3
    seed: int = 0
    label_scheme: str = "brats"


@dataclass(frozen=True)
class SimulatedExam:
    """One exam of a simulation.

    Attributes:
        paths: its files and its name; the reference is the only segmentation.
        others: references of other exams, for the error ``"other"``: the first that fits is taken.
    """

    paths: ExamPaths
    others: tuple[Path, ...] = ()


def phantom_paths(seed: int, folder: Path) -> ExamPaths:
    """Where the files of a phantom are: a folder with the file names of BraTS 2023."""
    name = f"phantom-{seed}"
    images = {m: folder / name / f"{name}-{BRATS_NAMES[m]}.nii.gz" for m in MODALITIES}
    return ExamPaths(**images, segmentations=(folder / name / f"{name}-seg.nii.gz",), name=name)


def write_phantom(seed: int, folder: Path) -> None:
    """Draw a phantom and write its five files (about 2.5 s); done if all are there.

    Raises:
        OSError: a file cannot be written.
    """
    paths = phantom_paths(seed, folder)
    images = [getattr(paths, modality) for modality in MODALITIES]
    if all(path.is_file() for path in (*images, *paths.segmentations)):
        return
    exam = make_phantom(seed)
    paths.t1c.parent.mkdir(parents=True, exist_ok=True)
    contents = {path: nifti_bytes(image, exam.affine) for path, image in zip(images, exam.image, strict=True)}
    contents[paths.segmentations[0]] = nifti_bytes(exam.segmentations["reference"], exam.affine)
    write_together(contents)


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
        ValueError: a file cannot be read, or the reference holds no tumor.
        OSError: a file cannot be written.
    """
    name = exam.paths.name
    paths = segmentation_paths(name, settings.segmentations, out)
    part = part_path(name, out)
    if all(path.is_file() for path in (*paths, part)):
        return ()
    loaded = read_exam(exam.paths, label_scheme=settings.label_scheme)
    (stored,), (present,) = loaded.segmentations.values(), loaded.present.values()
    reference = as_brats23(stored, settings.label_scheme)
    if not reference.any():
        raise ValueError(f"{exam.paths.segmentations[0]}: expected a reference with tumor, found none; leave it out")
    other = _find_other(exam.others, reference.shape, settings.label_scheme)
    # Negative intensities occur in real exams, so that brain is what is not 0.
    brain = (loaded.image != 0).any(0)
    rng = np.random.default_rng([settings.seed, zlib.crc32(name.encode()), _MASKS])
    masks = [reference]
    plans: list[list[Step]] = [[], *draw_steps(settings.segmentations - 1, rng, with_other=other is not None)]
    masks += [corrupt(reference, steps, rng=rng, brain=brain, other=other) for steps in plans[1:]]
    regions = _regions(reference)
    stars = [metric_stars_of_views(_regions(mask), regions)[0].tolist() for mask in masks]

    values, cavity = _values(stored, settings.label_scheme), label_scheme(settings.label_scheme).cavity
    kept = np.where(np.isin(stored, cavity), stored, 0) if cavity else np.uint8(0)  # a hole stays where no tumor comes
    written = [np.where(mask > 0, values[mask], kept) for mask in masks]
    paths[0].parent.mkdir(parents=True, exist_ok=True)
    part.parent.mkdir(parents=True, exist_ok=True)
    write_together({path: nifti_bytes(mask, loaded.affine) for path, mask in zip(paths, written, strict=True)})
    write_ratings(_judge(exam.paths, paths, plans, stars, settings), part)
    return present


def draw_steps(count: int, rng: np.random.Generator, *, with_other: bool = True) -> list[list[Step]]:
    """Draw errors for segmentations from nearly good to failed.

    Args:
        count: segmentations.
        rng: source of randomness.
        with_other: whether there is another exam for the error ``"other"``.

    Returns:
        For each segmentation one to three different errors. Levels are spread evenly over [0, 1], one drawn from
        each of ``count`` equal intervals, and severities lie between 0.6 of the level and the level: views then
        get metric stars over all of the scale.
    """
    names = [name for name in CORRUPTIONS if with_other or name != "other"]
    plans = []
    for index in range(count):
        level = (index + rng.uniform()) / count
        length = int(rng.choice(len(CHAIN), p=CHAIN)) + 1
        chosen = rng.choice(names, length, replace=False)
        plans.append([(str(name), float(level * rng.uniform(0.6, 1.0))) for name in chosen])
    return plans


def _judge(
    exam: ExamPaths,
    paths: Sequence[Path],
    plans: Sequence[Sequence[Step]],
    stars: Sequence[list[float]],
    s: SimulationSettings,
) -> pd.DataFrame:
    """Rows of the ratings table: a judgment for each segmentation, view and rater."""
    rows = []
    for number, rater in enumerate(make_raters(s.raters, s.seed), 1):
        # A stream for each rater: the judgments of the first ones are the same for any number of raters.
        rng = np.random.default_rng([s.seed, zlib.crc32(exam.name.encode()), _RATERS, number])
        judged = simulate_judgments(rater, stars, rng).tolist()
        for path, steps, values, judgments in zip(paths, plans, stars, judged, strict=True):
            for view, value, judgment in zip(VIEWS, values, judgments, strict=True):
                row = {"exam": exam.name, "segmentation": written(str(path))}
                row |= {modality: written(str(getattr(exam, modality))) for modality in MODALITIES}
                row |= {"rater": rater.name, "view": view, "stars": judgment, "kind": "simulated"}
                rows.append(row | {"corruption": describe_steps(steps), "metric_stars": f"{value:.4f}"})
    return pd.DataFrame(rows)


def _regions(labels: Labels) -> Tensor:
    return regions_from_labels(torch.from_numpy(labels)[None, None], "brats23")


def _find_other(paths: Sequence[Path], shape: tuple[int, ...], scheme: str) -> Labels | None:
    """The first label map of this shape."""
    for path in paths:
        stored: Labels = read_labels(path, scheme).stored
        if stored.shape == shape:
            return as_brats23(stored, scheme)
    return None


def _values(stored: Labels, scheme: str) -> Labels:
    """What brats23's 0, 1, 2, 3 are written as: of several labels the first; for enhancing tumor, one that occurs."""
    known = label_scheme(scheme)
    enhancing = next((value for value in known.enhancing if (stored == value).any()), known.enhancing[0])
    return np.array([0, known.necrosis[0], known.edema[0], enhancing], np.uint8)

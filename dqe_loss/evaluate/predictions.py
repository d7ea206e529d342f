"""What is evaluated: a row for each segmentation, with its predicted stars beside its ratings or its overlap."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from nibabel.affines import voxel_sizes
from numpy.typing import NDArray

from dqe_loss.core.labels import SchemeLike, regions_from_labels
from dqe_loss.core.labels import label_scheme as find_scheme
from dqe_loss.data.exam_files import ExamPaths
from dqe_loss.data.exams import Exam, read_exam
from dqe_loss.data.file_names import file_at
from dqe_loss.data.findings import region_volumes
from dqe_loss.data.label_files import read_labels
from dqe_loss.evaluate.referenced_exams import ReferencedExam
from dqe_loss.metrics.overlap import region_dice, region_surface_dice
from dqe_loss.surrogate.describe import Ratings
from dqe_loss.task import GLIOMA, Task


def columns_of(task: Task) -> tuple[str, ...]:
    """What is rated: each view, and the mean of the views."""
    return (*task.views, "mean")


def volumes_of(task: Task) -> tuple[str, ...]:
    """Columns of the regions' volumes."""
    return tuple(f"volume_{region}" for region in task.regions)


def overlaps_of(task: Task) -> tuple[str, ...]:
    """Columns of overlaps: two measures of each region, and their means."""
    regions = (*task.regions, "mean") if len(task.regions) > 1 else ("mean",)
    return tuple(f"{measure}_{region}" for measure in ("dice", "surface_dice") for region in regions)


Rate = Callable[[Exam], Ratings]
"""Gives the stars of each segmentation of an exam, as `dqe_loss.rate.rate_exam.rate_exam` does."""


def rate_rated_exam(
    rows: pd.DataFrame, rate: Rate, label_scheme: SchemeLike | None = None, task: Task = GLIOMA
) -> pd.DataFrame:
    """Rate the segmentations of one exam of a ratings table; its images are read once.

    Args:
        rows: the exam's rows of the table.
        rate: gives the stars.
        label_scheme: scheme of the label maps; the task's default if None.
        task: what was rated.

    Returns:
        Indexed by ``exam`` and ``segmentation``: stars of the views and ``stars_mean``, and `volumes_of` in cm³.

    Raises:
        ExamError: a file cannot be used.
    """
    first, scheme = rows.iloc[0], find_scheme(label_scheme, task)
    images = {modality: file_at(first[modality]) for modality in task.modalities}
    files = list(dict.fromkeys(rows["segmentation"]))
    exam = read_exam(
        ExamPaths(images, tuple(map(file_at, files)), first["exam"], task.planar), label_scheme=scheme, task=task
    )
    stars = rate(exam)
    records = []
    for file, (name, labels) in zip(files, exam.segmentations.items(), strict=True):
        volumes = region_volumes(labels, scheme, float(voxel_sizes(exam.affine).prod()))
        record = {"exam": exam.name, "segmentation": file} | _prefix("stars", stars[name], task)
        records.append(record | dict(zip(volumes_of(task), volumes.tolist(), strict=True)))
    return pd.DataFrame(records).set_index(["exam", "segmentation"])


def read_volumes(file: Path, label_scheme: SchemeLike = GLIOMA.default_scheme) -> NDArray[np.float64]:
    """Region volumes (R,) in cm³, in the task's order, of a label map on disk.

    Raises:
        ExamError: the file cannot be used.
    """
    read = read_labels(file, label_scheme)
    return region_volumes(read.stored, label_scheme, float(voxel_sizes(read.affine).prod()))


def rate_referenced_exam(
    referenced: ReferencedExam,
    rate: Rate,
    label_scheme: SchemeLike | None = None,
    tolerance: float = 2.0,
    task: Task = GLIOMA,
) -> pd.DataFrame:
    """Rate the segmentations of an exam and compare them with its reference, in the whole volume.

    Args:
        referenced: the exam.
        rate: gives the stars.
        label_scheme: scheme of the label maps.
        tolerance: of surface Dice, in mm.
        task: what was rated.

    Returns:
        A row for each segmentation but the reference: ``exam``, ``segmentation``, ``reference``, stars of the
        views and ``stars_mean``, and `overlaps_of`; a mean is that of the regions.

    Raises:
        ExamError: a file cannot be used.
    """
    scheme = find_scheme(label_scheme, task)
    exam = read_exam(referenced.paths, label_scheme=scheme, task=task)
    regions = [regions_from_labels(torch.from_numpy(m)[None, None], scheme) for m in exam.segmentations.values()]
    spacing = tuple(voxel_sizes(exam.affine).tolist())
    truth, name = regions[0], referenced.names[0]
    labels = list(exam.segmentations.items())[1:]
    stars = rate(replace(exam, segmentations=dict(labels)))
    records = []
    for segmentation, (key, _), mask in zip(referenced.names[1:], labels, regions[1:], strict=True):
        if torch.equal(mask, truth):
            warnings.warn(
                f"{exam.name}: {segmentation} is voxel for voxel the reference {name}; it counts all the same, move "
                "it away if it is a copy",
                stacklevel=2,
            )
        dice, surface = region_dice(mask, truth)[0], region_surface_dice(mask, truth, tolerance, spacing)[0]
        single = len(task.regions) == 1  # whose mean is itself
        values = [v for m in (dice, surface) for v in (*([] if single else m.tolist()), m.mean().item())]
        record = {"exam": exam.name, "segmentation": segmentation, "reference": name}
        records.append(record | _prefix("stars", stars[key], task) | dict(zip(overlaps_of(task), values, strict=True)))
    return pd.DataFrame(records)


def _prefix(prefix: str, values: dict[str, float], task: Task) -> dict[str, float]:
    return {f"{prefix}_{column}": values[column] for column in columns_of(task)}

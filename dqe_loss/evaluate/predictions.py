"""What is evaluated: a row for each segmentation, with its predicted stars beside its ratings or its overlap."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from nibabel.affines import voxel_sizes
from numpy.typing import NDArray

from dqe_loss.core.labels import SchemeLike, regions_from_labels
from dqe_loss.core.labels import label_scheme as find_scheme
from dqe_loss.data.exam_files import (
    ExamPaths,
    choose_reference,
    find_exam,
    is_segmentation_name,
    path_name,
    unique_names,
)
from dqe_loss.data.exams import Exam, read_exam
from dqe_loss.data.file_names import file_at
from dqe_loss.data.findings import region_volumes
from dqe_loss.data.label_files import read_labels
from dqe_loss.data.tables.ratings import judgments_by_view, mean_ratings
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


@dataclass(frozen=True)
class ReferencedExam:
    """An exam with a reference and other segmentations.

    Attributes:
        paths: its files; the first segmentation is the reference.
        names: name of each segmentation: its path in the exam's folder, without the ending.
    """

    paths: ExamPaths
    names: tuple[str, ...]


def wide_ratings(table: pd.DataFrame, task: Task = GLIOMA) -> pd.DataFrame:
    """Ratings with a row for each segmentation.

    Args:
        table: as `dqe_loss.data.tables.ratings.read_ratings` returns it.
        task: what was rated.

    Returns:
        Indexed by ``exam`` and ``segmentation``: ``rated_axial``, ``rated_coronal``, ``rated_sagittal`` (mean of the
        raters, NaN for a view that nobody rated), ``rated_mean`` (mean of the rated views), ``rated_lowest`` and
        ``rated_highest`` (of the single judgments), ``raters`` (how many).
    """
    keys = ["exam", "segmentation"]
    means = mean_ratings(table, task)
    wide = (
        means.pivot(index=keys, columns="view", values="stars").reindex(columns=list(task.views)).add_prefix("rated_")
    )
    groups = means.groupby(keys)
    wide["rated_mean"], wide["rated_lowest"] = groups["stars"].mean(), groups["lowest"].min()
    wide["rated_highest"] = groups["highest"].max()
    wide["raters"] = judgments_by_view(table, task).groupby(keys)["rater"].nunique()
    wide.columns.name = None
    return wide


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


def find_referenced_exam(
    folder: str | Path | ExamPaths, references: Sequence[str], task: Task = GLIOMA
) -> ReferencedExam | None:
    """The same as `find_all_segmentations`, or None, with a warning, if there is nothing but the reference.

    An exam of a table of paths has the segmentations that the table names.
    """
    exam = (
        _with_reference(folder, references)
        if isinstance(folder, ExamPaths)
        else find_all_segmentations(folder, references, task)
    )
    folder = folder.name if isinstance(folder, ExamPaths) else folder
    if len(exam.names) == 1:
        (reference,) = exam.paths.segmentations
        warnings.warn(f"{folder}: left out, it has no segmentation but the reference {reference.name}", stacklevel=2)
        return None
    return exam


def _with_reference(paths: ExamPaths, references: Sequence[str]) -> ReferencedExam:
    names = dict(zip(paths.segmentations, unique_names(paths.segmentations), strict=True))
    reference = choose_reference(paths.folder, paths.segmentations, references)
    ordered = (reference, *(file for file in paths.segmentations if file != reference))
    return ReferencedExam(replace(paths, segmentations=ordered), tuple(names[file] for file in ordered))


def find_all_segmentations(folder: str | Path, references: Sequence[str], task: Task = GLIOMA) -> ReferencedExam:
    """Find an exam's segmentations, in its folder and the folders in it, and which of them is the reference.

    Args:
        folder: the exam's folder, as `dqe_loss.data.exam_files.find_exam` reads it; files in subfolders that are
            called segmentations (`is_segmentation_name`) count, too.
        references: names, ends or patterns of references, see `dqe_loss.data.exam_files.match_reference`.
        task: what an exam holds.

    Returns:
        The exam, its reference first.

    Raises:
        ExamError: there is no exam.
        ValueError: there is no reference, or more than one.
    """
    folder = Path(folder)
    paths = find_exam(folder, task)
    below = [p.relative_to(folder) for p in sorted(folder.rglob("*")) if p.parent != folder]
    hidden = [any(part.startswith(".") for part in p.parts) for p in below]
    deeper = [folder / p for p, h in zip(below, hidden, strict=True) if not h and is_segmentation_name(p.name)]
    files = [*paths.segmentations, *deeper]
    reference = choose_reference(folder, files, references)
    ordered = (reference, *(file for file in files if file != reference))
    return ReferencedExam(replace(paths, segmentations=ordered), tuple(path_name(file, folder) for file in ordered))


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

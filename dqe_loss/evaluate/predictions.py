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

from dqe_loss.core.labels import regions_from_labels
from dqe_loss.core.slicing import VIEWS
from dqe_loss.data.exam_files import ExamPaths, choose_reference, find_exam, is_segmentation_name, path_name
from dqe_loss.data.exams import Exam, read_exam
from dqe_loss.data.file_names import file_at
from dqe_loss.data.findings import region_volumes
from dqe_loss.data.label_files import read_labels
from dqe_loss.data.tables.ratings import judgments_by_view, mean_ratings
from dqe_loss.metrics.overlap import region_dice, region_surface_dice
from dqe_loss.surrogate.describe import Ratings
from dqe_loss.task import MODALITIES, REGIONS

COLUMNS = (*VIEWS, "mean")
"""What is rated: each view, and the mean of the views."""

VOLUMES = tuple(f"volume_{region}" for region in REGIONS)
OVERLAPS = tuple(f"{measure}_{region}" for measure in ("dice", "surface_dice") for region in (*REGIONS, "mean"))

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


def wide_ratings(table: pd.DataFrame) -> pd.DataFrame:
    """Ratings with a row for each segmentation.

    Args:
        table: as `dqe_loss.data.tables.ratings.read_ratings` returns it.

    Returns:
        Indexed by ``exam`` and ``segmentation``: ``rated_axial``, ``rated_coronal``, ``rated_sagittal`` (mean of the
        raters, NaN for a view that nobody rated), ``rated_mean`` (mean of the rated views), ``rated_lowest`` and
        ``rated_highest`` (of the single judgments), ``raters`` (how many).
    """
    keys = ["exam", "segmentation"]
    means = mean_ratings(table)
    wide = means.pivot(index=keys, columns="view", values="stars").reindex(columns=list(VIEWS)).add_prefix("rated_")
    groups = means.groupby(keys)
    wide["rated_mean"], wide["rated_lowest"] = groups["stars"].mean(), groups["lowest"].min()
    wide["rated_highest"] = groups["highest"].max()
    wide["raters"] = judgments_by_view(table).groupby(keys)["rater"].nunique()
    wide.columns.name = None
    return wide


def rate_rated_exam(rows: pd.DataFrame, rate: Rate, label_scheme: str = "brats") -> pd.DataFrame:
    """Rate the segmentations of one exam of a ratings table; its images are read once.

    Args:
        rows: the exam's rows of the table.
        rate: gives the stars.
        label_scheme: scheme of the label maps.

    Returns:
        Indexed by ``exam`` and ``segmentation``: ``stars_axial`` to ``stars_mean``, and `VOLUMES` in cm³.

    Raises:
        ExamError: a file cannot be used.
    """
    first = rows.iloc[0]
    images = {modality: file_at(first[modality]) for modality in MODALITIES}
    files = list(dict.fromkeys(rows["segmentation"]))
    exam = read_exam(
        ExamPaths(**images, segmentations=tuple(map(file_at, files)), name=first["exam"]), label_scheme=label_scheme
    )
    stars = rate(exam)
    records = []
    for file, (name, labels) in zip(files, exam.segmentations.items(), strict=True):
        volumes = region_volumes(labels, label_scheme, float(voxel_sizes(exam.affine).prod()))
        record = {"exam": exam.name, "segmentation": file} | _prefix("stars", stars[name])
        records.append(record | dict(zip(VOLUMES, volumes.tolist(), strict=True)))
    return pd.DataFrame(records).set_index(["exam", "segmentation"])


def read_volumes(file: Path, label_scheme: str = "brats") -> NDArray[np.float64]:
    """Region volumes (3,) in cm³, order TC, WT, ET, of a label map on disk.

    Raises:
        ExamError: the file cannot be used.
    """
    read = read_labels(file, label_scheme)
    return region_volumes(read.stored, label_scheme, float(voxel_sizes(read.affine).prod()))


def find_referenced_exam(folder: str | Path, references: Sequence[str]) -> ReferencedExam | None:
    """The same as `find_all_segmentations`, or None, with a warning, if there is nothing but the reference."""
    exam = find_all_segmentations(folder, references)
    if len(exam.names) == 1:
        (reference,) = exam.paths.segmentations
        warnings.warn(f"{folder}: left out, it has no segmentation but the reference {reference.name}", stacklevel=2)
        return None
    return exam


def find_all_segmentations(folder: str | Path, references: Sequence[str]) -> ReferencedExam:
    """Find an exam's segmentations, in its folder and the folders in it, and which of them is the reference.

    Args:
        folder: the exam's folder, as `dqe_loss.data.exam_files.find_exam` reads it; files in subfolders that are
            called segmentations (`is_segmentation_name`) count, too.
        references: names, ends or patterns of references, see `dqe_loss.data.exam_files.match_reference`.

    Returns:
        The exam, its reference first.

    Raises:
        ExamError: there is no exam.
        ValueError: there is no reference, or more than one.
    """
    folder = Path(folder)
    paths = find_exam(folder)
    below = [p.relative_to(folder) for p in sorted(folder.rglob("*")) if p.parent != folder]
    hidden = [any(part.startswith(".") for part in p.parts) for p in below]
    deeper = [folder / p for p, h in zip(below, hidden, strict=True) if not h and is_segmentation_name(p.name)]
    files = [*paths.segmentations, *deeper]
    reference = choose_reference(folder, files, references)
    ordered = (reference, *(file for file in files if file != reference))
    return ReferencedExam(replace(paths, segmentations=ordered), tuple(path_name(file, folder) for file in ordered))


def rate_referenced_exam(
    referenced: ReferencedExam, rate: Rate, label_scheme: str = "brats", tolerance: float = 2.0
) -> pd.DataFrame:
    """Rate the segmentations of an exam and compare them with its reference, in the whole volume.

    Args:
        referenced: the exam.
        rate: gives the stars.
        label_scheme: scheme of the label maps.
        tolerance: of surface Dice, in mm.

    Returns:
        A row for each segmentation but the reference: ``exam``, ``segmentation``, ``reference``, ``stars_axial`` to
        ``stars_mean``, and `OVERLAPS`; a mean is that of the three regions.

    Raises:
        ExamError: a file cannot be used.
    """
    exam = read_exam(referenced.paths, label_scheme=label_scheme)
    regions = [regions_from_labels(torch.from_numpy(m)[None, None], label_scheme) for m in exam.segmentations.values()]
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
        values = [v for measure in (dice, surface) for v in (*measure.tolist(), measure.mean().item())]
        record = {"exam": exam.name, "segmentation": segmentation, "reference": name}
        records.append(record | _prefix("stars", stars[key]) | dict(zip(OVERLAPS, values, strict=True)))
    return pd.DataFrame(records)


def _prefix(prefix: str, values: dict[str, float]) -> dict[str, float]:
    return {f"{prefix}_{column}": values[column] for column in COLUMNS}

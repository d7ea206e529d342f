"""Rate one exam: from files to rows of the table, in two halves, of which threads do the first ahead of the network."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from nibabel.affines import voxel_sizes

from dqe_loss.core.boxes import tensor_box
from dqe_loss.core.labels import LabelScheme
from dqe_loss.core.mask import LabelMask
from dqe_loss.data.discovery.cohort import FoundExam
from dqe_loss.data.exams import open_exam
from dqe_loss.data.file_names import printable
from dqe_loss.data.findings import image_findings, mask_findings, region_volumes
from dqe_loss.data.label_sets import LABELS
from dqe_loss.rate.rate_exam import CenterNames, PreparedPlanes, prepare_planes, rate_prepared_stars
from dqe_loss.surrogate.network import Surrogate
from dqe_loss.surrogate.rater import Rater
from dqe_loss.task import Task

Row = dict[str, Any]
"""What is said of one segmentation, JSON-ready: ``segmentation``, stars, volumes, labels, ``warnings``, ``error``."""

_STAR_DIGITS, _VOLUME_DIGITS = 5, 3


@dataclass(frozen=True)
class PreparedMask:
    """A segmentation on its way to the network.

    Attributes:
        row: all but its stars.
        planes: as the network takes them; None where there is an error.
    """

    row: Row
    planes: PreparedPlanes | None


def prepare_rows(
    case: FoundExam,
    surrogate: Surrogate,
    scheme: LabelScheme,
    centers: CenterNames = ("mask",),
    thorough: bool = True,
    task: Task | None = None,
) -> list[PreparedMask]:
    """Read an exam and take its planes: all but the network, on the CPU; safe in a thread.

    Nothing that is wrong with the exam is raised: it becomes the rows' ``error``. What is wrong with an image is wrong
    with all rows; what is wrong with one segmentation, with its row alone.

    Args:
        case: the exam.
        surrogate: says how planes are made; its network is not asked.
        scheme: scheme of the label maps.
        centers: where the planes lie, see `dqe_loss.core.centers.CENTERS`.
        thorough: whether to survey, if there is a refiner.
        task: what an exam is expected to be; the surrogate's task if None.

    Returns:
        One for each segmentation; one without a name if there is none.
    """
    task = task or surrogate.config.task
    if case.error:
        return _failed(case, case.error)
    if not case.masks:
        return _failed(case, 'expected a segmentation with "seg" in its name, or given as a prediction; found none')
    try:
        return _prepare(case, surrogate, scheme, centers, thorough, task)
    except Exception as error:  # whatever a file can do to a reader: one exam must not end the run
        reason = _reason(error)
    if len(case.masks) == 1:
        return _failed(case, reason)
    try:
        open_exam(replace(case.paths, segmentations=()), label_scheme=scheme, warn=False, task=task)
    except Exception as error:
        return _failed(case, _reason(error))
    alone = (replace(case, masks={name: file}) for name, file in case.masks.items())
    return [
        prepared for single in alone for prepared in prepare_rows(single, surrogate, scheme, centers, thorough, task)
    ]


def rate_prepared(prepared: PreparedMask, surrogate: Rater) -> Row:
    """The second half: ask the network.

    Args:
        prepared: the segmentation.
        surrogate: the network, on any device.

    Returns:
        The row, with stars for each view, ``mean`` and ``spread`` unless there is an error.
    """
    if prepared.planes is None:
        return prepared.row
    stars = rate_prepared_stars(surrogate, prepared.planes)[0].tolist()
    if not np.isfinite(stars).all():
        return prepared.row | {"error": f"the surrogate gives {', '.join(map(str, stars))}, which are no stars"}
    named = dict(zip(surrogate.config.task.views, stars, strict=True)) | {
        "mean": sum(stars) / len(stars),
        "spread": max(stars) - min(stars),
    }
    return prepared.row | _rounded(named, _STAR_DIGITS)


def _prepare(
    case: FoundExam, surrogate: Surrogate, scheme: LabelScheme, centers: CenterNames, thorough: bool, task: Task
) -> list[PreparedMask]:
    exam = open_exam(case.paths, label_scheme=scheme, warn=False, task=task)
    common = image_findings(exam, case.images, task)
    voxel = float(voxel_sizes(exam.affine).prod())
    prepared = []
    taken = prepare_planes(exam, surrogate, scheme, centers, thorough).values()
    read = zip(exam.segmentations.values(), exam.present.values(), taken, strict=True)
    for (name, file), (labels, present, planes) in zip(case.masks.items(), read, strict=True):
        mask = LabelMask(torch.from_numpy(labels)[None, None], scheme)
        volumes = region_volumes(mask.labels[tensor_box(mask.labels, leading=2)].numpy(), scheme)
        found = [*mask_findings(exam, labels, file, volumes, scheme, task), *common]
        named = {f"{region.lower()}_ml": volume * voxel for region, volume in zip(scheme.regions, volumes, strict=True)}
        row = _row(name, warnings="; ".join(map(str, found))) | _rounded(named, _VOLUME_DIGITS)
        prepared.append(PreparedMask(row | {LABELS: " ".join(map(str, present))}, planes))
    return prepared


def _row(segmentation: str, warnings: str = "", error: str = "") -> Row:
    return {"segmentation": segmentation, "warnings": printable(warnings), "error": printable(error)}


def _failed(case: FoundExam, reason: str) -> list[PreparedMask]:
    return [PreparedMask(_row(name, error=reason), None) for name in case.masks or ("",)]


def _reason(error: Exception) -> str:
    """An error in one line; by its type where nobody thought of it."""
    text = " ".join(str(error).split())
    return text if isinstance(error, ValueError) and text else f"{type(error).__name__}: {text}"


def _rounded(values: Mapping[str, float], digits: int) -> dict[str, float | None]:
    """Rounded, for JSON: what is not finite (a volume by a damaged header) is nothing."""
    return {name: round(float(value), digits) if np.isfinite(value) else None for name, value in values.items()}

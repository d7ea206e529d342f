"""From an exam to its stars in two halves: planes, which threads can prepare ahead, and the network."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from dqe_loss.core.centers import image_centers
from dqe_loss.core.labels import SchemeLike
from dqe_loss.core.labels import label_scheme as find_scheme
from dqe_loss.core.mask import LabelMask, center_of_mask
from dqe_loss.core.pipeline import Sampling
from dqe_loss.data.exam_files import ExamPaths
from dqe_loss.data.exams import Exam, OpenExam, open_exam
from dqe_loss.data.stored_image import StoredImage
from dqe_loss.surrogate.describe import Ratings
from dqe_loss.surrogate.rater import Rater
from dqe_loss.surrogate.rating import cut_places, rate_places
from dqe_loss.surrogate.survey import SurveyPlanes, is_surveyed, show, survey_planes, survey_scans

CenterNames = tuple[str, ...]
"""Where the planes lie, see `dqe_loss.core.centers.CENTERS`."""


class PreparedPlanes(NamedTuple):
    """All that the network is shown of a segmentation.

    Attributes:
        rated: for each place ``(1, V, 1, C, H, W)`` float32, a plane for each view: 4.8 MB with regions.
        survey: planes all over the head, their scans shared by all segmentations of an exam (33 MB), their regions not
            (6 MB); None for none.
    """

    rated: list[Tensor]
    survey: SurveyPlanes | None = None


def rate_exam(
    exam: str | Path | ExamPaths | Exam | OpenExam,
    surrogate: Rater,
    label_scheme: SchemeLike | None = None,
    centers: CenterNames = ("mask",),
    thorough: bool = True,
) -> Ratings:
    """Rate each segmentation of an exam in each view, with the published slicing (``"hard"``): the one way to do so.

    The stars are those of `dqe_loss.rate_segmentation`; of an exam in its files no more is copied than the planes.

    Args:
        exam: the exam, as `dqe_loss.data.exams` reads or opens it; or its folder or paths, to be opened.
        surrogate: the network, on any device; planes are cut on the CPU.
        label_scheme: the label maps' scheme; the default of the surrogate's task if None.
        centers: where the planes lie; of several places, each view's lowest stars count.
        thorough: whether to ask the refiner all over the head, if there is one (`dqe_loss.surrogate.survey`).

    Returns:
        For each segmentation the stars of the views and their ``"mean"``. Not clamped to the scale.

    Raises:
        ExamError: see `dqe_loss.data.exams.read_exam`.
        ValueError: the label scheme or a place is not known, or a plane does not fit the field of view.
    """
    scheme = find_scheme(label_scheme, surrogate.config.task)
    if not isinstance(exam, Exam | OpenExam):
        exam = open_exam(exam, label_scheme=scheme, task=surrogate.config.task)
    return rate_prepared_planes(prepare_planes(exam, surrogate, scheme, centers, thorough), surrogate)


def prepare_planes(
    exam: Exam | OpenExam,
    rater: Rater,
    label_scheme: SchemeLike | None = None,
    centers: CenterNames = ("mask",),
    thorough: bool = True,
) -> dict[str, PreparedPlanes]:
    """The first half: all but the network, on the CPU; safe in a thread, and most of it without the interpreter lock.

    Args:
        exam: the exam; may be dropped afterwards.
        rater: says how planes are made; its network is not asked.
        label_scheme: the label maps' scheme; the default of the surrogate's task if None.
        centers: where the planes lie; other places than the mask need the whole image read.
        thorough: whether to cut the planes of a survey, too, if there is a refiner to show them to.

    Returns:
        For each segmentation its planes as the network takes them.

    Raises:
        ValueError: a place is not known, or a plane does not fit the field of view.
    """
    prepared, task = {}, rater.config.task
    scheme, sampling = find_scheme(label_scheme, task), Sampling(task.views)
    with torch.no_grad():
        image = exam.image if isinstance(exam, OpenExam) else torch.from_numpy(exam.image)[None]
        whole = image if isinstance(image, Tensor) else torch.empty(0)
        if isinstance(image, StoredImage) and set(centers) - {"mask"}:
            whole = torch.from_numpy(image.read())[None]
        found = image_centers(whole, centers, task=task)
        cut = survey_scans(rater.config, image) if is_surveyed(rater.config, thorough) else None
        for segmentation, labels in exam.segmentations.items():
            mask = LabelMask(torch.from_numpy(labels)[None, None], scheme)
            own = center_of_mask(mask, hard=True, regions=task.centers)
            through = [own if name == "mask" else found[name] for name in centers]
            rated = cut_places(rater.config, image, mask, through, sampling)
            prepared[segmentation] = PreparedPlanes(rated, None if cut is None else show(rater.config, cut, mask))
    return prepared


def rate_prepared_planes(planes: Mapping[str, PreparedPlanes], rater: Rater) -> Ratings:
    """The second half: ask the network.

    One segmentation at a time, which keeps memory small; whether more planes in a call are faster was not measured.

    Args:
        planes: as `prepare_planes` gives them.
        rater: the network, on any device.

    Returns:
        For each segmentation the stars of the views and their ``"mean"``.
    """
    ratings = {}
    for name, prepared in planes.items():
        stars = rate_prepared_stars(rater, prepared)[0]
        ratings[name] = dict(zip(rater.config.task.views, stars.tolist(), strict=True)) | {"mean": stars.mean().item()}
    return ratings


def rate_prepared_stars(rater: Rater, prepared: PreparedPlanes) -> Tensor:
    """Stars ``(1, V)`` without gradient: each view's lowest of all places, under the ceiling of the survey."""
    with torch.no_grad():
        seen = None if prepared.survey is None else survey_planes(rater, prepared.survey)
        return rate_places(rater, prepared.rated, seen).amin(0)

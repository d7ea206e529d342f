"""From an exam's files to its stars in two halves: planes, which threads can prepare ahead, and the network."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from dqe_loss.data.exams import ExamPaths, OpenExam, open_exam
from dqe_loss.look import image_centers
from dqe_loss.mask import LabelMask, center_of_mask
from dqe_loss.planes import Rater
from dqe_loss.rating import mask_inputs, rate_inputs
from dqe_loss.slicing import VIEWS
from dqe_loss.stars import Ratings

Look = tuple[str, ...]
"""Where to look, see `dqe_loss.look.LOOKS`."""


def rate_files(
    source: str | Path | ExamPaths, rater: Rater, label_scheme: str = "brats", look: Look = ("mask",)
) -> Ratings:
    """Rate each segmentation of an exam in each view from its files, with the published slicing (``"hard"``).

    The stars are those of `dqe_loss.rate_segmentation` on the arrays of `dqe_loss.data.exams.read_exam`, and so are the
    errors and warnings; but no more is copied than the planes.

    Args:
        source: the exam's folder or its paths.
        rater: the network.
        label_scheme: name of the label maps' scheme.
        look: where to look; of several places, each view's lowest stars count.

    Returns:
        For each segmentation the stars of the views and their ``"mean"``. Not clamped to the scale.

    Raises:
        ExamError: as of `read_exam`.
        ValueError: the label scheme or a place is not known, or a plane does not fit the field of view.
    """
    return rate_planes(prepare_planes(open_exam(source, label_scheme=label_scheme), rater, label_scheme, look), rater)


def prepare_planes(
    exam: OpenExam, rater: Rater, label_scheme: str = "brats", look: Look = ("mask",)
) -> dict[str, Tensor]:
    """The first half: all but the network, on the CPU; safe in a thread, and most of it without the interpreter lock.

    Args:
        exam: the exam; may be dropped afterwards.
        rater: says how planes are made; its network is not asked.
        label_scheme: name of the label maps' scheme.
        look: where to look; other places than the mask need the whole image read.

    Returns:
        For each segmentation ``(1, V, L, C, H, W)`` float32 as the network takes it, a plane for each place: 4.8 MB
        with regions and one place.

    Raises:
        ValueError: a place is not known, or a plane does not fit the field of view.
    """
    prepared = {}
    with torch.no_grad():
        image = torch.from_numpy(exam.image.read())[None] if set(look) - {"mask"} else torch.empty(0)
        found = image_centers(image, look)
        for name, labels in exam.segmentations.items():
            mask = LabelMask(torch.from_numpy(labels)[None, None], label_scheme)
            centers = [center_of_mask(mask, hard=True) if place == "mask" else found[place] for place in look]
            prepared[name] = torch.cat([mask_inputs(rater, exam.image, mask, center) for center in centers], 2)
    return prepared


def rate_planes(planes: Mapping[str, Tensor], rater: Rater) -> Ratings:
    """The second half: ask the network.

    One segmentation at a time, which keeps memory small; whether more planes in a call are faster was not measured.

    Args:
        planes: as `prepare_planes` gives them.
        rater: the network, on any device.

    Returns:
        For each segmentation the stars of the views and their ``"mean"``.
    """
    ratings = {}
    for name, inputs in planes.items():
        with torch.no_grad():
            stars = rate_looks(rater, inputs)[0]
        ratings[name] = dict(zip(VIEWS, stars.tolist(), strict=True)) | {"mean": stars.mean().item()}
    return ratings


def rate_looks(rater: Rater, inputs: Tensor) -> Tensor:
    """Stars ``(1, V)`` of planes ``(1, V, L, C, H, W)`` through several places: each view's lowest."""
    inputs = inputs.to(rater.device)
    return torch.stack([rate_inputs(rater, place) for place in torch.split(inputs, 1, 2)]).amin(0)

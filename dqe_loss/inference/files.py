"""From an exam's files to its stars in two halves: planes, which threads can prepare ahead, and the network."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from dqe_loss.data.exams import ExamPaths, OpenExam, open_exam
from dqe_loss.mask import LabelMask, center_of_mask
from dqe_loss.rating import Rater, mask_inputs, rate_inputs
from dqe_loss.slicing import VIEWS
from dqe_loss.stars import Ratings


def rate_files(source: str | Path | ExamPaths, rater: Rater, label_scheme: str = "brats") -> Ratings:
    """Rate each segmentation of an exam in each view from its files, with the published slicing (``"hard"``).

    The stars are those of `dqe_loss.rate_segmentation` on the arrays of `dqe_loss.data.exams.read_exam`, and so are the
    errors and warnings; but no more is copied than the planes.

    Args:
        source: the exam's folder or its paths.
        rater: the network.
        label_scheme: name of the label maps' scheme.

    Returns:
        For each segmentation the stars of the views and their ``"mean"``. Not clamped to the scale.

    Raises:
        ExamError: as of `read_exam`.
        ValueError: the label scheme is not known, or a plane does not fit the field of view.
    """
    return rate_planes(prepare_planes(open_exam(source, label_scheme=label_scheme), rater, label_scheme), rater)


def prepare_planes(exam: OpenExam, rater: Rater, label_scheme: str = "brats") -> dict[str, Tensor]:
    """The first half: all but the network, on the CPU; safe in a thread, and most of it without the interpreter lock.

    Args:
        exam: the exam; may be dropped afterwards.
        rater: says how planes are made; its network is not asked.
        label_scheme: name of the label maps' scheme.

    Returns:
        For each segmentation ``(1, V, 1, C, H, W)`` float32 as the network takes it: 4.8 MB with regions.
    """
    prepared = {}
    with torch.no_grad():
        for name, labels in exam.segmentations.items():
            mask = LabelMask(torch.from_numpy(labels)[None, None], label_scheme)
            prepared[name] = mask_inputs(rater, exam.image, mask, center_of_mask(mask, hard=True))
    return prepared


def rate_planes(planes: Mapping[str, Tensor], rater: Rater) -> Ratings:
    """The second half: ask the network.

    One segmentation at a time: more planes in a call are not faster on a CPU (`benchmarks/file_throughput.py`).

    Args:
        planes: as `prepare_planes` gives them.
        rater: the network, on any device.

    Returns:
        For each segmentation the stars of the views and their ``"mean"``.
    """
    ratings = {}
    for name, inputs in planes.items():
        with torch.no_grad():
            stars = rate_inputs(rater, inputs.to(rater.device))[0]
        ratings[name] = dict(zip(VIEWS, stars.tolist(), strict=True)) | {"mean": stars.mean().item()}
    return ratings

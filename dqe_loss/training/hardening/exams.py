"""The exams that a second reader is taught on: scans, reference, and a stock of wrong masks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dqe_loss.data.corruption import CORRUPTIONS, Step, corrupt
from dqe_loss.data.corruption_shapes import Box, Labels, tumor_box
from dqe_loss.evaluation.audit.case import Case
from dqe_loss.intensity import percentiles
from dqe_loss.slicing import VIEW_AXIS, VIEWS
from dqe_loss.surrogate import SurrogateConfig

MARGIN = 8
"""Voxels kept around the brain: errors may reach out of it a little."""
MOST_ERRORS = 3
"""Errors in a row that a mask of the stock may have."""
DEPTH_BATCH = 16


@dataclass(frozen=True)
class TaughtExam:
    """An exam in memory, cropped to its brain.

    Attributes:
        name: what to call it.
        image: raw intensities float32 ``(4, X, Y, Z)``.
        bounds: for each view, what is scaled to 0 and 1 in each plane, ``(planes, 2)``.
        reference: labels in the scheme ``"brats23"``, uint8 ``(X, Y, Z)``.
        stock: other masks of the same kind: wrong ones, and natural ones where there are any.
        synthetic: whether it is a phantom.
    """

    name: str
    image: Tensor
    bounds: dict[str, Tensor]
    reference: Tensor
    stock: list[Tensor]
    synthetic: bool


def prepare_exam(
    case: Case, config: SurrogateConfig, *, errors: int, natural: Sequence[Labels] = (), synthetic: bool, seed: int = 0
) -> TaughtExam:
    """Crop an exam and make its stock of wrong masks.

    Args:
        case: the exam; its other mask, if any, goes into the stock too.
        config: says how planes are scaled.
        errors: number of corrupted masks.
        natural: segmentations of this exam by people or algorithms, good or bad, in the scheme ``"brats23"``.
        synthetic: whether it is a phantom.
        seed: of the errors.
    """
    box = tumor_box(case.brain | (case.labels > 0), MARGIN)
    if box is None:  # read_case refuses exams without tumor
        raise ValueError(f"{case.name}: expected an exam with a brain and a tumor, found neither")
    labels, brain = case.labels[box], case.brain[box]
    other = None if case.other is None else case.other[box]
    rng = case.rng(seed, "stock")
    stock = [mask[box] for mask in natural] + ([] if other is None else [other])
    stock += [
        corrupt(labels, draw_errors(rng, other is not None), rng=rng, brain=brain, other=other) for _ in range(errors)
    ]
    return TaughtExam(
        case.name,
        case.image[0, :, box[0], box[1], box[2]].float().contiguous(),
        {view: plane_bounds(case.image[0], view, box, config) for view in VIEWS},
        torch.from_numpy(np.ascontiguousarray(labels)),
        [torch.from_numpy(np.ascontiguousarray(mask)) for mask in stock],
        synthetic,
    )


def draw_errors(rng: np.random.Generator, other: bool) -> list[Step]:
    """One to `MOST_ERRORS` kinds of errors of any severity, small ones more often."""
    names = [name for name in CORRUPTIONS if other or name != "other"]
    count = int(rng.integers(1, MOST_ERRORS + 1))
    return [(str(name), float(rng.uniform(0.03, 1) ** 1.5)) for name in rng.choice(names, count, replace=False)]


def plane_bounds(image: Tensor, view: str, box: Box, config: SurrogateConfig) -> Tensor:
    """Joint percentiles of the whole planes, which the crop has lost, of those planes that it kept."""
    axis = VIEW_AXIS[view]
    kept = range(box[axis].start, box[axis].stop)
    planes = image.movedim(1 + axis, 0)[kept.start : kept.stop]
    bounds = [
        torch.cat(percentiles(part.float().flatten(1), *config.percentiles), -1)
        for part in torch.split(planes, DEPTH_BATCH)
    ]
    return torch.cat(bounds)


def scaled_plane(exam: TaughtExam, view: str, index: int) -> Tensor:
    """Scans ``(4, H, W)`` in [0, 1], as the rating scales them."""
    low, high = exam.bounds[view][index]
    plane = exam.image.select(1 + VIEW_AXIS[view], index)
    scaled: Tensor = (plane - low) / torch.clamp(high - low, min=1e-6)
    return scaled.clamp(0, 1)


def label_plane(volume: Tensor, view: str, index: int) -> Tensor:
    """Labels ``(H, W)``."""
    return volume.select(VIEW_AXIS[view], index)

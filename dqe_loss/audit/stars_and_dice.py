"""What every part of the audit measures: stars by the one rating path, and Dice where those stars come from."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dqe_loss.audit.audited_exam import AuditedExam
from dqe_loss.core.boxes import array_box
from dqe_loss.core.slicing import VIEW_AXIS, extract_planes
from dqe_loss.metrics.overlap import region_dice
from dqe_loss.surrogate.network import Surrogate
from dqe_loss.surrogate.rating import rate_segmentation
from dqe_loss.surrogate.survey import is_surveyed
from dqe_loss.task import GLIOMA, Task

OWN_OR_REFERENCE = ("own", "reference")
"""Whose center the rated planes go through: the mask's, as the loss and `dqe_loss.rate` look, or the reference's."""

SURVEYED = ("absurd", "invariance")
"""Parts about ratings of whole masks. The others set stars beside Dice in the rated planes, or are about the loss."""

Tick = Callable[[int], None]
"""Told how many ratings' worth of work has been done."""
Numbers = dict[str, Any]


@dataclass(frozen=True)
class AuditSettings:
    """What the parts depend on besides checkpoint and exam.

    Attributes:
        seed: of all that is random.
        attack_steps: steps of each attack.
        thorough: whether `SURVEYED` parts rate as `dqe_loss.rate` does, with a survey where there is a refiner.
    """

    seed: int = 0
    attack_steps: int = 100
    thorough: bool = True


@dataclass(frozen=True)
class Panel:
    """One axial plane of a mask, for a picture.

    Attributes:
        title: what the mask is.
        note: its figures.
        scan: the first modality (H, W).
        regions: boolean (R, H, W).
        task: what is segmented.
        affine: of the exam's files; None where there are none.
    """

    title: str
    note: str
    scan: NDArray[Any]
    regions: NDArray[np.bool_]
    task: Task = GLIOMA
    affine: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Measured:
    """What a part found out about one exam.

    Attributes:
        numbers: JSON-ready.
        panels: rows of planes to show.
    """

    numbers: Numbers
    panels: list[list[Panel]] = field(default_factory=list)


@torch.no_grad()
def mean_stars(
    surrogate: Surrogate,
    image: Tensor,
    regions: Tensor,
    center: Tensor | tuple[str, ...] = ("mask",),
    slicing: str = "hard",
    thorough: bool = False,
) -> float:
    """Mean stars of the views.

    Args:
        surrogate: the network.
        image: raw ``(1, C, X, Y, Z)``.
        regions: ``(1, R, X, Y, Z)``, boolean or in [0, 1].
        center: ``(1, 3)``, integers for hard slicing, or names, see `rate_segmentation`.
        slicing: ``"hard"`` or ``"soft"``, see `rate_segmentation`.
        thorough: whether to survey the whole volume, if there is a refiner.

    Raises:
        ValueError: if the rating is not finite.
    """
    thorough = is_surveyed(surrogate.config, thorough)
    rated = rate_segmentation(surrogate, image, regions, slicing=slicing, center=center, thorough=thorough)
    stars = float(rated.mean())
    if not math.isfinite(stars):
        raise ValueError(f"the checkpoint rates a mask with {stars} stars; its weights are broken, train it again")
    return stars


@torch.no_grad()
def plane_dice(regions: Tensor, reference: Tensor, center: Tensor, task: Task) -> list[float]:
    """Dice of each region in the planes of the views through a center, counted together, binarized at 0.5.

    Planes that hold a region neither in the mask nor in the reference say nothing about it: an agreement on nothing,
    such as that of an empty mask, which has no center, is not to count as one. There it is the whole volume's Dice.

    Args:
        regions: of the mask, ``(1, R, X, Y, Z)`` in [0, 1].
        reference: the same of the reference.
        center: ``(1, 3)`` in voxels.
        task: says which views there are.
    """
    pair = [flat_planes(volume, center, task) > 0.5 for volume in (regions, reference)]
    values: list[float] = region_dice(*pair)[0].tolist()
    blank = (~(pair[0] | pair[1]).flatten(2)[0].any(1)).tolist()
    if any(blank):
        whole = region_dice(regions > 0.5, reference > 0.5)[0].tolist()
        values = [v if nothing else value for v, value, nothing in zip(whole, values, blank, strict=True)]
    return values


@torch.no_grad()
def soft_dice(probabilities: Tensor, reference: Tensor) -> list[float]:
    """Dice of each region of probabilities ``(1, R, ...)``: ``2 sum(p r) / (sum p + sum r)``; 1 where both are 0."""
    p, r = probabilities.flatten(2)[0], reference.flatten(2)[0].to(probabilities.dtype)
    total = p.sum(1) + r.sum(1)
    values: list[float] = torch.where(total > 0, 2 * (p * r).sum(1) / total.clamp(min=1e-9), 1.0).tolist()
    return values


def flat_planes(volume: Tensor, center: Tensor, task: Task) -> Tensor:
    """The planes of the views of a volume ``(1, C, X, Y, Z)`` through a center ``(1, 3)``, differentiably.

    Returns:
        All their pixels in one, ``(1, C, N, 1)``.
    """
    planes = [extract_planes(volume, center[:, VIEW_AXIS[view], None], view)[:, 0].flatten(2) for view in task.views]
    return torch.cat(planes, 2)[..., None]


def mean(values: Sequence[float]) -> float:
    """The mean as a float."""
    return math.fsum(values) / len(values)


def axial_panel(case: AuditedExam, regions: Tensor, center: Tensor, title: str, note: str) -> Panel:
    """The axial plane of a mask through a center, cropped to the brain."""
    box = array_box(case.brain, 4) or tuple(slice(0, size) for size in case.brain.shape)
    z = min(max(round(float(center[0, 2])), 0), case.brain.shape[2] - 1)
    scan, planes = case.image[0, 0, box[0], box[1], z], regions[0, :, box[0], box[1], z]
    return Panel(title, note, scan.cpu().numpy(), (planes > 0.5).cpu().numpy(), case.task, case.affine)

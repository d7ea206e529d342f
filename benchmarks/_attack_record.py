"""What to note of a mask under attack: stars, and Dice in the planes that earn them and in the whole volume."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from dqe_loss import VIEWS, Surrogate, extract_planes, rate_segmentation, soft_center_of_mass
from dqe_loss.audit.audited_exam import AuditedExam
from dqe_loss.audit.stars_and_dice import flat_planes
from dqe_loss.core.slicing import VIEW_AXIS
from dqe_loss.metrics.overlap import region_dice
from dqe_loss.task import GLIOMA


@torch.no_grad()
def observe(
    soft: Tensor, exam: AuditedExam, surrogate: Surrogate, center: Tensor, *, volume: bool, binarized: bool
) -> dict[str, Any]:
    """Stars and Dice (TC, WT, ET) of a mask.

    Args:
        soft: probabilities ``(1, 3, X, Y, Z)``.
        exam: image and reference.
        surrogate: the network under attack.
        center: ``(1, 3)`` voxel coordinates that the rated planes go through.
        volume: whether to compute the 3D Dice.
        binarized: whether to rate the binarized mask, too, by hard slicing, as the published package does.

    Returns:
        ``stars`` (mean) and ``views`` (each) through ``center``, which is noted, too; Dice in these ``planes`` and in
        the ``reference_planes``, those through the reference's center, pooled over the three views and binarized at
        0.5; and, if asked for, ``volume`` and ``binarized_stars``.
    """
    regions = exam.regions

    def plane_dice(center: Tensor) -> list[float]:
        pair = (flat_planes(volume, center, GLIOMA) > 0.5 for volume in (soft, regions))
        return list(region_dice(*pair)[0].tolist())

    stars = rate_segmentation(surrogate, exam.image, soft, slicing="soft", center=center)
    record: dict[str, Any] = {
        "stars": float(stars.mean()),
        "views": stars[0].tolist(),
        "center": center[0].tolist(),
        "planes": plane_dice(center),
        "reference_planes": plane_dice(soft_center_of_mass(regions)),
    }
    if volume:
        record["volume"] = region_dice(soft > 0.5, regions)[0].tolist()
    if binarized:
        record["binarized_stars"] = float(rate_segmentation(surrogate, exam.image, soft > 0.5).mean())
    return record


@torch.no_grad()
def rated_planes(soft: Tensor, exam: AuditedExam, center: Tensor, when: str) -> dict[str, np.ndarray]:
    """T1c and probabilities in the three planes through a center, name (with ``when`` in front) to array."""
    planes = {}
    for view in VIEWS:
        for name, volume in (("image", exam.image[:, :1]), ("mask", soft)):
            plane = extract_planes(volume, center[:, VIEW_AXIS[view], None], view)[0, 0]
            planes[f"{when}_{view}_{name}"] = plane.half().cpu().numpy()
    return planes

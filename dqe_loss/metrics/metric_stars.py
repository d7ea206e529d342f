"""Metric stars: overlap with a reference on the raters' scale, for labs without raters (contract C12: never "human").

Raters look at overlap and at outlines; so do metric stars. With q the mean over the regions of (Dice + surface
Dice) / 2,

    metric stars = 1 + 5 q.

The map is monotone and straight (our choice): the paper's ratings correlate with Dice (r = .79) and with surface Dice
(.85) linearly, and its raters' overestimation of bad masks is the raters' own, see `dqe_loss.simulate.raters`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from dqe_loss.core.center_of_mass import hard_center_of_mass
from dqe_loss.core.slicing import VIEW_AXIS, extract_planes, in_plane
from dqe_loss.metrics.overlap import TOLERANCE, region_dice, region_surface_dice
from dqe_loss.task import GLIOMA, Task


def metric_stars(
    prediction_regions: Tensor,
    reference_regions: Tensor,
    *,
    tolerance: float = TOLERANCE,
    spacing: float | Sequence[float] = 1.0,
    scale: tuple[float, float] = GLIOMA.stars,
) -> Tensor:
    """Score segmentations, or planes of them, against a reference, on the raters' scale.

    Args:
        prediction_regions: ``(B, R, X, Y, Z)`` or ``(B, R, H, W)``, boolean or 0-1.
        reference_regions: the same shape and kind.
        tolerance: distance in mm within which two surfaces count as one.
        spacing: size of a voxel in mm, one number or one for each axis.
        scale: worst and best stars.

    Returns:
        Metric stars ``(B,)`` within the scale, float32.

    Raises:
        ValueError: if shapes or values are not as said.

    Example:
        >>> regions = torch.zeros(1, 3, 8, 8)
        >>> regions[..., 2:6, 2:6] = 1
        >>> metric_stars(regions, regions).item(), metric_stars(0 * regions, regions).item()
        (6.0, 1.0)
    """
    dice = region_dice(prediction_regions, reference_regions)
    surface = region_surface_dice(prediction_regions, reference_regions, tolerance, spacing)
    low, high = scale
    return low + (high - low) * ((dice + surface) / 2).mean(1)


def metric_stars_of_views(
    prediction_regions: Tensor, reference_regions: Tensor, *, tolerance: float = TOLERANCE, task: Task = GLIOMA
) -> Tensor:
    """Score what a rater sees: the planes through the prediction's center, with the reference cut by the same planes.

    A plane in which neither has anything says nothing about the prediction, and an empty prediction has no center, so
    that its planes lie in the middle of the volume: both take the metric stars of the volume, instead of those for an
    agreement on nothing.

    Args:
        prediction_regions: ``(B, R, X, Y, Z)`` in the task's order, boolean or 0-1.
        reference_regions: the same shape and kind.
        tolerance: distance in mm within which two surfaces count as one.
        task: what the regions are; says the views, the size of voxels and the scale.

    Returns:
        Metric stars ``(B, V)``, a column for each of the task's views.

    Raises:
        ValueError: if shapes or values are not as said.
    """
    center = hard_center_of_mass(prediction_regions, task)
    columns, blank = [], []
    for view in task.views:
        positions = center[:, VIEW_AXIS[view], None]
        prediction = extract_planes(prediction_regions, positions, view)[:, 0]
        reference = extract_planes(reference_regions, positions, view)[:, 0]
        sizes = in_plane(task.spacing, view)
        columns.append(metric_stars(prediction, reference, tolerance=tolerance, spacing=sizes, scale=task.stars))
        blank.append(~(prediction.flatten(1).any(1) | reference.flatten(1).any(1)))
    nothing = ~prediction_regions.flatten(1).any(1)
    stars, empty = torch.stack(columns, 1), (torch.stack(blank, 1) | nothing[:, None]).cpu()
    for exam in empty.any(1).nonzero()[:, 0].tolist():  # the volume takes much longer than planes
        one = slice(exam, exam + 1)
        whole = metric_stars(
            prediction_regions[one],
            reference_regions[one],
            tolerance=tolerance,
            spacing=task.spacing,
            scale=task.stars,
        )
        stars[exam] = torch.where(empty[exam], whole, stars[exam])
    return stars

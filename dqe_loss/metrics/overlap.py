"""Overlap with a reference: Dice and surface Dice of each region, in planes or in volumes, by MONAI."""

import warnings
from collections.abc import Sequence

import torch
from monai.metrics import compute_dice, compute_surface_dice
from torch import Tensor

from dqe_loss.core.boxes import tensor_box

TOLERANCE = 2.0
"""Default distance in mm up to which two surfaces count as one (our choice: about what expert readers differ by)."""


def region_dice(prediction: Tensor, reference: Tensor) -> Tensor:
    """Dice of each region, ``2 |P and R| / (|P| + |R|)``.

    Args:
        prediction: regions ``(B, R, X, Y, Z)`` or planes of them ``(B, R, H, W)``, boolean or 0-1.
        reference: the same shape and kind.

    Returns:
        ``(B, R)`` float32 in [0, 1] on the CPU; 1 where a region is empty in both, 0 where in one of the two.

    Raises:
        ValueError: if shapes or values are not as said.

    Example:
        >>> regions = torch.ones(1, 3, 4, 4)
        >>> half = regions.clone()
        >>> half[..., :2] = 0
        >>> region_dice(half, regions).mean().item()  # 2 * 8 / (8 + 16)
        0.6666666865348816
    """
    prediction, reference = _crop_to_common_box(*_as_masks(prediction, reference))
    dice: Tensor = compute_dice(prediction.float(), reference.float(), include_background=True, ignore_empty=False)
    return dice.float()


def region_surface_dice(
    prediction: Tensor,
    reference: Tensor,
    tolerance: float = TOLERANCE,
    spacing: float | Sequence[float] = 1.0,
) -> Tensor:
    """Normalized surface Dice of each region: the share of both surfaces that lies within a distance of the other.

    A surface is the voxels of a region that touch, face to face, what is not the region; outside the array nothing
    is. In planes it is the outline.

    Args:
        prediction: regions ``(B, R, X, Y, Z)`` or planes of them ``(B, R, H, W)``, boolean or 0-1.
        reference: the same shape and kind.
        tolerance: the distance in mm, 0 or above.
        spacing: size of a voxel in mm, one number or one for each axis.

    Returns:
        ``(B, R)`` float32 in [0, 1] on the CPU; 1 where a region is empty in both, 0 where in one of the two.

    Raises:
        ValueError: if shapes, values, tolerance or spacing are not as said.
    """
    prediction, reference = _as_masks(prediction, reference)
    axes = prediction.ndim - 2
    sizes = [float(spacing)] * axes if isinstance(spacing, (int, float)) else [float(mm) for mm in spacing]
    if len(sizes) != axes or not all(0 < mm < float("inf") for mm in sizes):
        raise ValueError(f"spacing must be one number above 0, or one for each of {axes} axes, got {spacing}")
    if not 0 <= tolerance < float("inf"):
        raise ValueError(f"tolerance must be a distance in mm, 0 or above, got {tolerance}")
    prediction, reference = _crop_to_common_box(prediction, reference)
    found = torch.stack([mask.flatten(2).any(2) for mask in (prediction, reference)])
    scores = (found[0] == found[1]).float()
    for exam, region in found.all(0).nonzero().tolist():  # MONAI warns about empty masks, and has NaN for them
        pair = (mask[exam : exam + 1, region : region + 1] for mask in (prediction, reference))
        with warnings.catch_warnings():  # MONAI passes itself an argument that it has deprecated
            warnings.simplefilter("ignore", FutureWarning)
            score = compute_surface_dice(*pair, [tolerance], include_background=True, spacing=sizes)
        scores[exam, region] = score.item()
    return scores


def _as_masks(prediction: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """Check two sets of regions and make them boolean, on the CPU."""
    for name, regions in (("prediction", prediction), ("reference", reference)):
        if regions.ndim not in (4, 5):
            raise ValueError(
                f"expected regions (B, R, X, Y, Z) or planes (B, R, H, W), got a {name} of shape "
                f"{tuple(regions.shape)}; see dqe_loss.regions_from_labels"
            )
        if regions.dtype != torch.bool and not bool(((regions == 0) | (regions == 1)).all()):
            raise ValueError(f"expected a {name} of 0 and 1, got other values; binarize it first (regions > 0.5)")
    if prediction.shape != reference.shape:
        raise ValueError(
            f"prediction and reference must have one shape, got {tuple(prediction.shape)} and {tuple(reference.shape)}"
        )
    return prediction.cpu().bool(), reference.cpu().bool()


def _crop_to_common_box(prediction: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """Leave away what is empty in both: a lesion is a twentieth of a volume, and distances are slow."""
    box = tensor_box(prediction | reference, leading=2)
    return prediction[box], reference[box]

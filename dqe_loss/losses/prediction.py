"""Predictions and targets in the shapes that networks and data sets have, read as masks that can be rated."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any, TypedDict

import torch
from torch import Tensor

from dqe_loss.core.checks import check_exclusive, check_logits, check_probabilities, tell
from dqe_loss.core.labels import SchemeLike, check_labels
from dqe_loss.core.labels import label_scheme as find_scheme
from dqe_loss.core.mask import LabelMask, Mask, RegionMask, VolumeMask
from dqe_loss.core.patch import PatchMask, crop, read_origins
from dqe_loss.losses.activation import NONE, SIGMOID, SOFTMAX
from dqe_loss.losses.gradients import GradientLog
from dqe_loss.losses.guards import GuardedMask
from dqe_loss.surrogate.rating import is_label_map
from dqe_loss.task import GLIOMA, LabelScheme

ONE_HOT_TOLERANCE = 1e-2
"""By how much the channels of a one-hot target, in half precision, may miss a sum of 1."""
OUTSIDE = 0.05
"""Share of a region's voxels that may lie outside of the region that holds it."""


class Names(TypedDict):
    """What prediction and target have in common; see `read_prediction`."""

    region_order: tuple[str, ...]
    label_scheme: LabelScheme
    hard: bool


def read_prediction(
    prediction: Tensor,
    activation: str | None,
    *,
    region_order: tuple[str, ...],
    label_scheme: LabelScheme,
    hard: bool,
    check: bool = False,
) -> RegionMask:
    """Read a network's output.

    Args:
        prediction: regions ``(B, R, X, Y, Z)``, one channel for each of ``region_order``, or background and tissues
            ``(B, 1 + T, X, Y, Z)``. Where these are as many, the activation tells.
        activation: ``"sigmoid"`` (logits of regions), ``"softmax"`` (logits of tissues), ``"none"`` (probabilities), or
            None (logits; the number of channels tells of what).
        region_order: order of region channels.
        label_scheme: scheme that orders tissue channels.
        hard: whether mass is counted on the binarized mask.
        check: whether to look at the values, for which an accelerator must be waited for.

    Raises:
        ValueError: if shape, activation and values do not go together.
    """
    channels = prediction.shape[1] if prediction.ndim == 5 else 0
    tissue_channels = 1 + len(label_scheme.tissues)
    if channels not in (len(region_order), tissue_channels):
        raise ValueError(
            f"expected a prediction (B, {len(region_order)}, X, Y, Z) of the regions {', '.join(region_order)}, or "
            f"(B, {tissue_channels}, X, Y, Z) of background and tissues, got {tuple(prediction.shape)}"
            f"{_thick(prediction)}; region_order= names channels"
        )
    # Whoever names further regions means regions.
    either = len(region_order) == len(label_scheme.regions) == tissue_channels
    tissues = activation == SOFTMAX if either else channels != len(region_order)
    if activation is None and either:
        raise ValueError(
            f"{channels} channels can be the regions {', '.join(region_order)}, or background and tissues: say "
            "DQELoss(sigmoid=True) for logits of regions, DQELoss(softmax=True) for logits of tissues"
        )
    if activation is None:
        activation = SOFTMAX if tissues else SIGMOID
    if activation == (SIGMOID if tissues else SOFTMAX):
        raise ValueError(
            f"{activation}=True does not go with {channels} channels: regions overlap and take sigmoid=True, "
            f"background and {len(label_scheme.tissues)} tissues exclude each other and take softmax=True. If there "
            "are more regions than are rated, such as a resection cavity, name all of them, as in "
            f"region_order={(*label_scheme.regions, 'other')}"
        )
    if check and activation == NONE:
        check_probabilities(
            prediction,
            "the prediction",
            "if they are logits, say so: DiceLoss(sigmoid=True) + 0.1 * DQELoss(), or DQELoss(sigmoid=True)",
        )
        if tissues:
            check_exclusive(prediction)
    elif check:
        check_logits(
            prediction,
            "the prediction",
            "give logits, or say DQELoss(sigmoid=False, softmax=False); to rate a mask there is rate_segmentation",
        )
    return RegionMask(prediction, hard, activation, region_order, label_scheme)


def read_target(
    target: Tensor,
    *,
    region_order: tuple[str, ...],
    label_scheme: LabelScheme,
    hard: bool,
    check: bool = False,
    doubtful: bool = False,
) -> LabelMask | RegionMask:
    """Read a target.

    The labels of a map are looked at on a CPU in every call, and where ``check`` says so.

    Args:
        target: label map ``(B, 1, X, Y, Z)`` or ``(B, X, Y, Z)`` (integers where there is one region), regions
            ``(B, R, X, Y, Z)``, one channel for each of ``region_order``, or one-hot background and tissues
            ``(B, 1 + T, X, Y, Z)`` (regions if as many).
        region_order: order of region channels.
        label_scheme: scheme of a label map, or of the one-hot channels.
        hard: whether mass is counted on the binarized mask.
        check: whether to look at the values, for which an accelerator must be waited for.
        doubtful: whether it may be a network's: regions that seem to be in another order are told then, not refused.

    Raises:
        ValueError: if the shape is another, the label map holds values that the scheme has not, or channels do not hold
            what they are taken for.
    """
    if target.ndim == 4:
        target = target[:, None]  # class indices
    tissue_channels = 1 + len(label_scheme.tissues)
    if target.ndim != 5 or target.shape[1] not in (1, len(region_order), tissue_channels):
        raise ValueError(
            f"expected a target of shape (B, 1, X, Y, Z) (label map), (B, {len(region_order)}, X, Y, Z) (regions) or "
            f"(B, {tissue_channels}, X, Y, Z) (one-hot background and tissues), got {tuple(target.shape)}"
            f"{_thick(target)}"
        )
    if is_label_map(target, len(label_scheme.regions)):
        if check or (target.device.type == "cpu" and not torch.compiler.is_compiling()):
            check_labels(target, label_scheme)
        return LabelMask(target, label_scheme)
    mask = RegionMask(target, hard, region_order=region_order, label_scheme=label_scheme)
    if check:
        check_probabilities(target, "the target", "binarize it first")
        total = target.sum(1, dtype=torch.float32)  # 0, too, is background: transforms fill in zeros
        if mask.tissues and bool((total.minimum((total - 1).abs()) > ONE_HOT_TOLERANCE).any()):
            raise ValueError(
                f"the target has {tissue_channels} channels that add up to neither 0 nor 1 in a voxel, so they are not "
                "one-hot background and tissues. If the last is nnU-Net's channel of voxels to ignore, leave it out, "
                "as in target[:, :-1] (DQELoss ignores no voxels); if all are regions, name them in region_order="
            )
        if not mask.tissues:
            _check_nesting(target, region_order, label_scheme, doubtful)
    return mask


def _thick(x: Tensor) -> str:
    """What is said of a shape that a user of planes has not given."""
    return " (planes count as volumes one voxel thick)" if x.ndim == 5 and x.shape[-1] == 1 else ""


def _check_nesting(target: Tensor, region_order: tuple[str, ...], scheme: LabelScheme, doubtful: bool) -> None:
    """Check that regions lie in those that hold them, as they do by definition but for a few voxels of fused masks.

    Raises:
        ValueError: if not, but in another order they would, and that is beyond doubt.

    Warns:
        UserWarning: if they do in no order, or in another one that may be a network's mistake.
    """
    channels = (target > 0.5).unbind(1)

    def nested(order: Sequence[str]) -> bool:
        named = dict(zip(order, channels, strict=True))
        pairs = ((named[inner], named[outer]) for inner, outer in scheme.nesting)
        return all(int((inner & ~outer).sum()) <= OUTSIDE * int(inner.sum()) for inner, outer in pairs)

    if nested(region_order):
        return
    (inner, outer), *others = scheme.nesting
    lies = " and ".join([f"{inner} lies in {outer}", *(f"{one} in {another}" for one, another in others)])
    told = f"the target's channels cannot be {', '.join(region_order)}: {lies}, but not in these"
    if fitting := [order for order in permutations(region_order) if nested(order)]:
        if not doubtful:
            raise ValueError(f"{told}; they fit region_order={fitting[0]}")
        tell(f"{told}; if other batches are so, too, say region_order={fitting[0]}")
        return
    tell(f"{told}, in no order")


@dataclass(frozen=True)
class RatedBatch:
    """A batch to be rated.

    Attributes:
        predicted: what is rated.
        target: what it is compared with, if there is a target.
        in_place: whether the prediction is a patch inside the full-size target.
        flat: whether it is planes, ``(B, C, H, W, 1)``.
    """

    predicted: Mask
    target: VolumeMask | None
    in_place: bool = False
    flat: bool = False

    @property
    def sides(self) -> tuple[int, ...]:
        """What is rated, in voxels along each of its axes."""
        return tuple(self.predicted.shape[2:4] if self.flat else self.predicted.shape[2:])


def read_batch(
    input: Tensor,
    target: Tensor | None,
    origin: Any,
    *,
    activation: str | None,
    size: Sequence[int] = (),
    region_order: tuple[str, ...] = GLIOMA.regions,
    label_scheme: SchemeLike = GLIOMA.default_scheme,
    hard: bool = False,
    guarded: GradientLog | None = None,
    check: bool = False,
    flat: bool = False,
) -> RatedBatch:
    """Read prediction and target as masks, with the guard between them.

    Args:
        input: prediction, see `read_prediction`.
        target: target, see `read_target`; full-size if there is an origin.
        origin: first voxel of the patch that ``input`` is, or None if it is no patch.
        activation: see `read_prediction`.
        size: voxels of the full-size image, in which a patch without a target lies.
        region_order: order of region channels in both.
        label_scheme: scheme of labels and tissue channels in both.
        hard: whether mass is counted on binarized masks.
        guarded: guard the prediction's gradient by the target, where there is one, and note here what it kept.
        check: whether to look at the values of both, for which an accelerator must be waited for.
        flat: whether both are planes, one voxel thick.

    Returns:
        The masks.

    Raises:
        ValueError: if a shape or a label is not as said.
    """
    names: Names = {"region_order": region_order, "label_scheme": find_scheme(label_scheme), "hard": hard}
    predicted = read_prediction(input, activation, **names, check=check)
    if target is None:
        if origin is None:
            return RatedBatch(predicted, None, flat=flat)
        origins = read_origins(origin, input.shape[0])
        empty = input.new_zeros((input.shape[0], 1, *size), dtype=torch.uint8)
        within, around = (read_target(mask, **names) for mask in (crop(empty, origins, input.shape[2:]), empty))
        return RatedBatch(PatchMask(predicted, within, around, origins), None, in_place=True)
    local = target
    if origin is not None:
        origins = read_origins(origin, input.shape[0])
        local = crop(target, origins, input.shape[2:])
    elif target.shape[:1] + target.shape[-3:] != input.shape[:1] + input.shape[2:]:
        raise ValueError(
            f"prediction and target must have the same batch and voxels, got {tuple(input.shape)} and "
            f"{tuple(target.shape)}{_thick(input)}"
            + ("" if flat else "; where a patch of a full-size target is predicted, say so by origin=")
        )
    reference = read_target(local, **names, check=check)
    mask: Mask = predicted if guarded is None else GuardedMask(predicted, reference, guarded)
    if origin is None:
        return RatedBatch(mask, reference, flat=flat)
    around = read_target(target, **names, check=check)
    return RatedBatch(PatchMask(mask, reference, around, origins), around, in_place=True)

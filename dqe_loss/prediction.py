"""Predictions and targets in the shapes that networks and data sets have, read as masks that can be rated."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dqe_loss.balance import GradientLog
from dqe_loss.guards import GuardedMask
from dqe_loss.labels import REGIONS, check_labels
from dqe_loss.mask import TISSUES, LabelMask, Mask, RegionMask, VolumeMask
from dqe_loss.patch import PatchMask, crop, read_origins


def read_prediction(
    prediction: Tensor, activation: str, *, region_order: tuple[str, ...], label_scheme: str, hard: bool
) -> RegionMask:
    """Read a network's output.

    Args:
        prediction: ``(B, 3, X, Y, Z)`` regions or ``(B, 4, X, Y, Z)`` background and tissues.
        activation: ``"sigmoid"`` (logits of regions), ``"softmax"`` (logits of tissues), ``"auto"`` (logits; the
            number of channels tells of what), or ``"none"`` (probabilities).
        region_order: order of region channels.
        label_scheme: scheme that orders tissue channels.
        hard: whether mass is counted on the binarized mask.

    Raises:
        ValueError: if shape and activation do not go together.
    """
    if prediction.ndim != 5 or prediction.shape[1] not in (len(REGIONS), TISSUES):
        raise ValueError(
            "expected a prediction (B, 3, X, Y, Z) of regions or (B, 4, X, Y, Z) of background and tissues, "
            f"got {tuple(prediction.shape)}"
        )
    tissues = prediction.shape[1] == TISSUES
    if activation == "auto":
        activation = "softmax" if tissues else "sigmoid"
    if activation == ("sigmoid" if tissues else "softmax"):
        raise ValueError(
            f"{activation}=True does not go with {prediction.shape[1]} channels: three region channels overlap and "
            "take sigmoid=True, background and three tissues exclude each other and take softmax=True"
        )
    return RegionMask(prediction, hard, activation, region_order, label_scheme)


def read_target(
    target: Tensor, *, region_order: tuple[str, ...], label_scheme: str, hard: bool, check: bool = True
) -> LabelMask | RegionMask:
    """Read a target.

    Label maps are checked on every call, except under ``torch.compile`` and CUDA graph capture, where nothing can wait
    for the device.

    Args:
        target: label map ``(B, 1, X, Y, Z)``, regions ``(B, 3, X, Y, Z)``, or one-hot ``(B, 4, X, Y, Z)``.
        region_order: order of region channels.
        label_scheme: scheme of a label map, or of the one-hot channels.
        hard: whether mass is counted on the binarized mask.
        check: whether to check the values of a label map.

    Raises:
        ValueError: if the shape is another, or the label map holds values that the scheme has not.
    """
    if target.ndim != 5 or target.shape[1] not in (1, len(REGIONS), TISSUES):
        raise ValueError(
            "expected a target of shape (B, 1, X, Y, Z) (label map), (B, 3, X, Y, Z) (regions) or (B, 4, X, Y, Z) "
            f"(one-hot background and tissues), got {tuple(target.shape)}"
        )
    if target.shape[1] == 1:
        if check and not _cannot_wait(target):
            check_labels(target, label_scheme)
        return LabelMask(target, label_scheme)
    return RegionMask(target, hard, region_order=region_order, label_scheme=label_scheme)


@dataclass(frozen=True)
class Case:
    """A batch to be rated.

    Attributes:
        predicted: what is rated.
        target: what it is compared with, if there is a target.
        in_place: whether the prediction is a patch inside the full-size target.
    """

    predicted: Mask
    target: VolumeMask | None
    in_place: bool


def read_case(
    input: Tensor,
    target: Tensor | None,
    origin: Any,
    *,
    activation: str,
    region_order: tuple[str, ...] = REGIONS,
    label_scheme: str = "brats",
    hard: bool = False,
    guarded: GradientLog | None = None,
) -> Case:
    """Read prediction and target as masks, with the guard between them.

    Args:
        input: prediction, see `read_prediction`.
        target: target, see `read_target`, or class indices ``(B, X, Y, Z)``; full-size if there is an origin.
        origin: first voxel of the patch that ``input`` is, or None if it is no patch.
        activation: see `read_prediction`.
        region_order: order of region channels in both.
        label_scheme: scheme of labels and tissue channels in both.
        hard: whether mass is counted on binarized masks.
        guarded: guard the prediction's gradient by the target, where there is one, and note here what it kept.

    Returns:
        The masks.

    Raises:
        ValueError: if a shape or a label is not as said, or a patch comes without a target to lie in.
    """
    target = target[:, None] if target is not None and target.ndim == 4 else target  # class indices
    predicted = read_prediction(input, activation, region_order=region_order, label_scheme=label_scheme, hard=hard)
    if target is None:
        if origin is not None:
            raise ValueError("origin= places a patch in the full-size target: pass target=")
        return Case(predicted, None, in_place=False)
    local = target
    if origin is not None:
        origins = read_origins(origin, input.shape[0])
        local = crop(target, origins, input.shape[2:])
    elif target.shape[:1] + target.shape[2:] != input.shape[:1] + input.shape[2:]:
        raise ValueError(
            f"prediction and target must have the same batch and voxels, got {tuple(input.shape)} and "
            f"{tuple(target.shape)}; where a patch of a full-size target is predicted, say so by origin="
        )
    reference = read_target(local, region_order=region_order, label_scheme=label_scheme, hard=hard)
    mask: Mask = predicted if guarded is None else GuardedMask(predicted, reference, guarded)
    if origin is None:
        return Case(mask, reference, in_place=False)
    around = read_target(target, region_order=region_order, label_scheme=label_scheme, hard=hard, check=False)
    return Case(PatchMask(mask, reference, around, origins), around, in_place=True)


def _cannot_wait(x: Tensor) -> bool:
    return torch.compiler.is_compiling() or (x.is_cuda and torch.cuda.is_current_stream_capturing())

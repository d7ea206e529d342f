"""Predictions and targets in the shapes that networks and data sets have, read as the three regions."""

import torch
from torch import Tensor

from dqe_loss.labels import REGIONS, check_labels, regions_from_labels, regions_from_tissues, reorder_regions
from dqe_loss.slicing import at_least_float32

TISSUES = 4
"""Channels of a tissue head: background, and three tissues in ascending order of their labels."""


def regions_from_prediction(
    prediction: Tensor, activation: str, *, region_order: tuple[str, ...] = REGIONS, label_scheme: str = "brats"
) -> Tensor:
    """Read a network's output as region probabilities, differentiably.

    Args:
        prediction: ``(B, 3, X, Y, Z)`` regions or ``(B, 4, X, Y, Z)`` background and tissues.
        activation: ``"sigmoid"`` (logits of regions), ``"softmax"`` (logits of tissues), ``"auto"`` (logits; the
            number of channels tells of what), or ``"none"`` (probabilities).
        region_order: order of region channels.
        label_scheme: scheme that orders tissue channels.

    Returns:
        ``(B, 3, X, Y, Z)`` in the order of `REGIONS`, float32 or float64.

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
    # Half-precision probabilities are too coarse near 0 and 1 for a center of mass (contract C10).
    prediction = at_least_float32(prediction)
    if tissues:
        probabilities = prediction.softmax(1) if activation == "softmax" else prediction
        return regions_from_tissues(probabilities, label_scheme)
    return reorder_regions(prediction.sigmoid() if activation == "sigmoid" else prediction, region_order)


def regions_from_target(
    target: Tensor, *, region_order: tuple[str, ...] = REGIONS, label_scheme: str = "brats"
) -> Tensor:
    """Read a target as regions.

    Label maps are checked on every call, except under ``torch.compile`` and CUDA graph capture, where nothing can wait
    for the device.

    Args:
        target: label map ``(B, 1, X, Y, Z)``, regions ``(B, 3, X, Y, Z)``, or one-hot ``(B, 4, X, Y, Z)``.
        region_order: order of region channels.
        label_scheme: scheme of a label map, or of the one-hot channels.

    Returns:
        ``(B, 3, X, Y, Z)`` in the order of `REGIONS`, in the target's dtype (boolean for label maps).

    Raises:
        ValueError: if the shape is another, or the label map holds values that the scheme has not.
    """
    if target.ndim != 5 or target.shape[1] not in (1, len(REGIONS), TISSUES):
        raise ValueError(
            "expected a target of shape (B, 1, X, Y, Z) (label map), (B, 3, X, Y, Z) (regions) or (B, 4, X, Y, Z) "
            f"(one-hot background and tissues), got {tuple(target.shape)}"
        )
    if target.shape[1] == 1:
        if not _cannot_wait(target):
            check_labels(target, label_scheme)
        return regions_from_labels(target, label_scheme)
    if target.shape[1] == TISSUES:
        return regions_from_tissues(target, label_scheme)
    return reorder_regions(target, region_order)


def _cannot_wait(x: Tensor) -> bool:
    return torch.compiler.is_compiling() or (x.is_cuda and torch.cuda.is_current_stream_capturing())

"""Which of several segmentations of an exam has the most stars: as a whole, and in each view."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dqe_loss.metrics.prediction_rater import PredictionRater
from dqe_loss.surrogate.checkpoint import DEFAULT_CHECKPOINT, load_surrogate
from dqe_loss.surrogate.network import Surrogate, surrogate_on

MEAN = "mean"
"""Name of the mean over the views, beside the names of the views."""


@dataclass(frozen=True)
class BestOf:
    """What was chosen among segmentations of one exam.

    Attributes:
        best: the one with the most mean stars: its name, or its place in a sequence.
        best_in: view to the one with the most stars there; empty for planes, whose view nobody knows.
        stars: of each, by view and ``"mean"``, in the order given.
    """

    best: Any
    best_in: dict[str, Any]
    stars: dict[Any, dict[str, float]]


def best_of(
    segmentations: Mapping[str, Any] | Sequence[Any],
    image: Any,
    surrogate: str | Path | Surrogate = DEFAULT_CHECKPOINT,
    *,
    label_scheme: str | None = None,
    region_order: tuple[str, ...] | None = None,
    modalities: tuple[str, ...] | None = None,
    views: tuple[str, ...] | None = None,
    thorough: bool = True,
) -> BestOf:
    """Choose the segmentation with the most stars: which of several algorithms for this exam?

    The stars are those of ``dqe rate`` and `dqe_loss.DQEMetric`. Of equal ones the first is taken, so give what
    you trust most first. One candidate alone is rated and taken.

    Args:
        segmentations: of one exam, by name or in a sequence; tensors or arrays. Each a label map ``(X, Y, Z)`` or
            ``(1, X, Y, Z)``, regions ``(R, X, Y, Z)``, or background and tissues ``(1 + T, X, Y, Z)``, one-hot or
            probabilities, which are binarized at 0.5. Of an image of planes, without Z.
        image: intensities ``(C, X, Y, Z)``, raw or z-scores, or a plane ``(C, H, W)``.
        surrogate: what `load_surrogate` takes, or a `Surrogate`.
        label_scheme: scheme of label maps; the task's default if None.
        region_order: order of region channels; the task's if None.
        modalities: the image's channels; the task's if None.
        views: which views to rate; the task's if None.
        thorough: whether to ask the checkpoint's refiner, if it has one, all over the head, as ``dqe rate`` does.

    Returns:
        The best as a whole and in each view, and all the stars.

    Raises:
        TypeError: if segmentations are neither in a mapping nor in a list, or one or the image is no tensor or array.
        ValueError: if there is no segmentation, or one cannot be rated: it has another grid than the image, unknown
            labels, logits, or stars that are no numbers. It is named; leave it out, and choose among the others.

    Example:
        >>> masks = {"unet": torch.zeros(240, 240, 155), "swin": torch.zeros(240, 240, 155)}
        >>> best_of(masks, torch.zeros(4, 240, 240, 155)).best
        'unet'
    """
    if hasattr(segmentations, "shape"):  # else each of its channels would be taken for a candidate
        raise TypeError(
            "expected a mapping or a list of segmentations, got a "
            f"{type(segmentations).__name__} of shape {tuple(segmentations.shape)}; put one in a list"
        )
    named: Mapping[Any, Any] = segmentations if isinstance(segmentations, Mapping) else dict(enumerate(segmentations))
    if not named:
        raise ValueError("expected segmentations to choose among, got none")
    scans = _as_tensor(image, "the image")
    if scans.ndim not in (3, 4):
        raise ValueError(
            f"expected the image of one exam, (C, X, Y, Z) or (C, H, W), got shape {tuple(scans.shape)}"
            + ("; say image[0]" if scans.ndim == 5 else "")
        )
    network = surrogate if isinstance(surrogate, Surrogate) else load_surrogate(surrogate)
    network = surrogate_on(network, scans.device)
    rater = PredictionRater(network.config.task, label_scheme, region_order, modalities, views, thorough)
    stars = {}
    for name, mask in named.items():
        try:
            each = rater(network, _as_batch(_as_tensor(mask, f"segmentation {name!r}"), scans), scans[None])[0].tolist()
        except ValueError as error:
            raise ValueError(f"segmentation {name!r}: {error}") from error
        if not all(map(isfinite, each)):
            raise ValueError(f"segmentation {name!r}: cannot be rated, the surrogate gives {each}")
        by_view = dict(zip(rater.views, each, strict=True)) if scans.ndim == 4 else {}
        stars[name] = by_view | {MEAN: sum(each) / len(each)}
    return choose(stars)


def choose(stars: Mapping[Any, Mapping[str, float]]) -> BestOf:
    """The choice among rated segmentations: the most stars, and of equal ones the first.

    Args:
        stars: of each, by view and ``"mean"``; one at least.
    """
    columns = list(next(iter(stars.values())))
    best = {column: max(stars, key=lambda name: stars[name][column]) for column in columns}
    taken = {name: dict(values) for name, values in stars.items()}
    return BestOf(best[MEAN], {column: name for column, name in best.items() if column != MEAN}, taken)


def _as_tensor(given: Any, what: str) -> Tensor:
    """A tensor of a tensor, or of an array of either byte order: torch takes the machine's alone.

    Raises:
        TypeError: if it is something else.
    """
    if isinstance(given, np.ndarray):
        given = given.astype(given.dtype.newbyteorder("="), copy=False)
    try:
        tensor: Tensor = torch.as_tensor(given)
    except (TypeError, RuntimeError) as error:
        came = "path" if isinstance(given, str | PathLike) else type(given).__name__
        raise TypeError(
            f"{what}: expected a tensor or an array, got a {came}; read it, or use dqe rate --best, which takes files"
        ) from error
    return tensor


def _as_batch(mask: Tensor, image: Tensor) -> Tensor:
    """A mask as a batch of one, channels first.

    Raises:
        ValueError: if its voxels are not the image's.
    """
    mask = mask.to(image.device)
    grid = image.shape[1:]
    if mask.shape[-len(grid) :] != grid or mask.ndim not in (len(grid), len(grid) + 1):
        raise ValueError(
            f"expected a mask on the image's grid, {tuple(grid)} or (channels, *{tuple(grid)}), got shape "
            f"{tuple(mask.shape)}; resample it to the image, or leave it out"
        )
    return mask[None, None] if mask.ndim == len(grid) else mask[None]

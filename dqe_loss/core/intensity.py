"""Intensity scaling of planes: the surrogate was trained on scaled planes and owns its scaling (contract C2)."""

from typing import Any, overload

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

from dqe_loss.task import Task

NORMALIZATIONS = ("percentile", "minmax", "head_mean", "window")

MEAN_OF_HEAD = 0.3
"""What the mean over the head becomes. On 24 exams from five sources the published network gives an expert's mask so
what it gives with its own scaling, to .04 stars on average and .15 at most; with .25 or .32 at most .17 and .19."""

NEGATIVE_SHARE = 0.05
"""Share of a modality's head that is negative, above which it is no raw image; raw exams at hand have .4 % at most."""

AIR_SHARE = 0.01
"""Share of a plane that must have its lowest value for that to be the air's."""


@overload
def shows(image: Tensor, task: Task) -> Tensor: ...
@overload
def shows(image: NDArray[Any], task: Task) -> NDArray[np.bool_]: ...
def shows(image: Any, task: Task) -> Any:
    """Where raw intensities of any shape are not those of air, boolean.

    Negative intensities occur in real exams, so that air is 0; with a window it is what lies below.
    """
    return image != 0 if task.window is None else image > task.window[0]


def modality_index(given: tuple[str, ...], wanted: tuple[str, ...]) -> list[int]:
    """Where each wanted modality lies in an image.

    Args:
        given: the image's channels.
        wanted: the order to bring them into.

    Returns:
        The channel index of each wanted modality.

    Raises:
        ValueError: if ``given`` does not name each of ``wanted`` once.
    """
    if sorted(given) != sorted(wanted):
        raise ValueError(f"modalities must name each of {tuple(wanted)} once, got {tuple(given)}")
    return [given.index(name) for name in wanted]


def percentiles(values: Tensor, lower: float, upper: float) -> tuple[Tensor, Tensor]:
    """Two percentiles along the last axis, linearly interpolated as ``numpy.percentile`` does.

    Only the tails are sorted (``topk``), because a full sort of a plane costs more than the rest of the scaling, and
    ``torch.quantile`` refuses inputs of more than 16 million values, which a batch of planes passes easily.

    Args:
        values: ``(..., N)``, floating point.
        lower: lower percentile in [0, 50).
        upper: upper percentile in (50, 100].

    Returns:
        Both percentiles, each ``(..., 1)``.
    """
    last = values.shape[-1] - 1

    def tail(percent: float, largest: bool) -> Tensor:
        rank = percent / 100 * last
        whole = int(rank)
        ordered = values.topk(min(whole + 2, last + 1), dim=-1, largest=largest).values
        return torch.lerp(ordered[..., whole : whole + 1], ordered[..., -1:], rank - whole)

    return tail(lower, largest=False), tail(100 - upper, largest=True)


def scale_planes(
    planes: Tensor,
    normalization: str = "percentile",
    lower: float = 0.5,
    upper: float = 99.5,
    window: tuple[float, float] | None = None,
) -> Tensor:
    """Scale planes to [0, 1].

    ``"percentile"`` takes one lower and one upper percentile over all modalities of a plane together, as the
    published surrogate does; ``"minmax"`` takes minimum and maximum of each modality by itself (Table 1 of the paper
    has both); ``"head_mean"`` divides each modality by its own mean over the head, so that its units do not matter;
    ``"window"`` takes fixed bounds, for intensities that have a unit, such as those of CT.
    NaN counts as 0, as upstream reads it, and so do infinite values. A plane without range, such as one that holds no
    brain, becomes 0 everywhere instead of NaN.

    Planes of z-scores, or with a negative background, are recognized modality by modality and brought back
    (`without_offset`). As z-scores have lost how bright the modalities are beside each other, ``"percentile"`` scales
    such planes like ``"head_mean"``.

    Args:
        planes: intensities ``(..., C, H, W)``, floating point.
        normalization: one of `NORMALIZATIONS`.
        lower: lower percentile.
        upper: upper percentile.
        window: what becomes 0 and 1, for ``"window"``.

    Returns:
        Scaled planes of the same shape, in [0, 1].

    Raises:
        ValueError: if the normalization is unknown, or lacks its window.
    """
    if normalization not in NORMALIZATIONS:
        raise ValueError(f"normalization must be one of {NORMALIZATIONS}, got {normalization!r}")
    if normalization == "window":
        if window is None:
            raise ValueError("normalization 'window' needs a window, such as (-160, 240); give the task one")
        zero, one = window
        return ((planes.nan_to_num(zero, one, zero) - zero) / (one - zero)).clamp(0, 1)
    planes = planes.nan_to_num(0, 0, 0)
    if normalization == "minmax":
        low, high = planes.amin((-2, -1), keepdim=True), planes.amax((-2, -1), keepdim=True)
        return _between(planes, low, high)
    shifted = has_offset(planes)
    by_mean = by_head_mean(torch.where(shifted, without_offset(planes), planes))
    if normalization == "head_mean":
        return by_mean
    bounds = percentiles(rearrange(planes, "... c h w -> ... (c h w)"), lower, upper)
    low, high = (bound[..., None, None] for bound in bounds)
    return torch.where(shifted.any(-3, keepdim=True), by_mean, _between(planes, low, high))


def by_head_mean(planes: Tensor) -> Tensor:
    """Divide each modality of ``(..., H, W)`` by its mean over its head, times `MEAN_OF_HEAD`, cut to [0, 1]."""
    head = planes > 0
    mean = (planes * head).sum((-2, -1), keepdim=True) / head.sum((-2, -1), keepdim=True).clamp(min=1)
    return (planes * (MEAN_OF_HEAD / torch.where(mean > 0, mean, torch.ones_like(mean)))).clamp(0, 1)


def has_offset(planes: Tensor) -> Tensor:
    """Whether a modality of ``(..., H, W)`` is no raw image: ``(..., 1, 1)``, boolean.

    In z-scores about half of the head is negative; where all of the image was z-scored, the air is, too. A few
    negative voxels are what resampling leaves in raw images.
    """
    inside = (planes != 0).sum((-2, -1), keepdim=True)
    return (planes < 0).sum((-2, -1), keepdim=True) > NEGATIVE_SHARE * inside


def without_offset(planes: Tensor) -> Tensor:
    """Bring each modality of ``(..., H, W)`` back so that the air is 0 and nothing is below it.

    Where the air is negative, it was shifted with the rest, and tells by how much. Where it is 0, only the head was
    z-scored, and its darkest voxel becomes 0.
    """
    air = air_of(planes)
    head = planes != air
    darkest = planes.masked_fill(~head, torch.inf).amin((-2, -1), keepdim=True)
    return torch.where(head, planes - torch.where(air < 0, air, darkest), torch.zeros_like(planes))


def air_of(planes: Tensor) -> Tensor:
    """The air's value in each modality of ``(..., H, W)``: ``(..., 1, 1)``.

    It is the corner's value or the lowest, where many voxels share it, else 0. The lowest alone would not do:
    resampling leaves a few voxels darker than air.
    """
    many = AIR_SHARE * planes.shape[-1] * planes.shape[-2]
    air = torch.zeros_like(planes[..., :1, :1])
    for value in (planes.amin((-2, -1), keepdim=True), planes[..., :1, :1]):
        air = torch.where((planes == value).sum((-2, -1), keepdim=True) > many, value, air)
    return air


def _between(planes: Tensor, low: Tensor, high: Tensor) -> Tensor:
    extent = high - low
    extent = torch.where(extent > 0, extent, torch.ones_like(extent))
    return ((planes - low) / extent).clamp(0, 1)

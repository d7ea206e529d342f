"""Intensity scaling of planes: the surrogate was trained on scaled planes and owns its scaling (contract C2)."""

import torch
from einops import rearrange
from torch import Tensor

MODALITIES = ("t1c", "t1", "t2", "flair")
"""Channel order of images: contrast-enhanced T1, native T1, T2, T2-FLAIR (the published surrogate's order)."""

NORMALIZATIONS = ("percentile", "minmax")


def modality_index(given: tuple[str, ...], wanted: tuple[str, ...] = MODALITIES) -> list[int]:
    """Where each wanted modality lies in an image.

    Args:
        given: the image's channels, e.g. ``("flair", "t1", "t1c", "t2")`` for MSD Task01.
        wanted: the order to bring them into.

    Returns:
        The channel index of each wanted modality.

    Raises:
        ValueError: if ``given`` does not name each of `MODALITIES` once.
    """
    if sorted(given) != sorted(MODALITIES):
        raise ValueError(f"modalities must name each of {MODALITIES} once, got {tuple(given)}")
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


def scale_planes(planes: Tensor, normalization: str = "percentile", lower: float = 0.5, upper: float = 99.5) -> Tensor:
    """Scale raw planes to [0, 1].

    ``"percentile"`` takes one lower and one upper percentile over all modalities of a plane together, as the
    published surrogate does; ``"minmax"`` takes minimum and maximum of each modality by itself (Table 1 of the paper
    has both). NaN counts as 0, as upstream reads it, and so do infinite values. A plane without range, such as one
    that holds no brain, becomes 0 everywhere instead of NaN.

    Args:
        planes: raw intensities ``(..., C, H, W)``, floating point.
        normalization: ``"percentile"`` or ``"minmax"``.
        lower: lower percentile.
        upper: upper percentile.

    Returns:
        Scaled planes of the same shape, in [0, 1].

    Raises:
        ValueError: if the normalization is unknown.
    """
    if normalization not in NORMALIZATIONS:
        raise ValueError(f"normalization must be one of {NORMALIZATIONS}, got {normalization!r}")
    planes = planes.nan_to_num(0, 0, 0)
    if normalization == "percentile":
        flat = rearrange(planes, "... c h w -> ... (c h w)")
        bounds = percentiles(flat, lower, upper)
        low, high = (bound[..., None, None] for bound in bounds)
    else:
        low, high = planes.amin((-2, -1), keepdim=True), planes.amax((-2, -1), keepdim=True)
    extent = high - low
    extent = torch.where(extent > 0, extent, torch.ones_like(extent))
    return ((planes - low) / extent).clamp(0, 1)

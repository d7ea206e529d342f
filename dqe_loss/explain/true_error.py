"""Where a mask is truly wrong, and how much of a map of saliency falls there."""

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from dqe_loss.core.labels import SchemeLike
from dqe_loss.core.mask import LabelMask
from dqe_loss.explain.saliency import Saliency
from dqe_loss.task import GLIOMA

MARGIN = 1
"""Default voxels around an error that count as on it: a map of a finite smoothing cannot be sharper."""


def reference_error(
    saliency: Saliency, reference: Tensor, view: str, label_scheme: SchemeLike = GLIOMA.default_scheme
) -> Tensor:
    """Where the rated mask differs from a reference, region by region, in the rated plane.

    Args:
        saliency: of the rated mask.
        reference: label map ``(B, 1, X, Y, Z)``.
        view: the saliency's view.
        label_scheme: the reference's scheme.

    Returns:
        bool ``(B, R, H, W)``.
    """
    return LabelMask(reference, label_scheme).take(saliency.index[:, None], view)[:, 0] ^ saliency.regions


def share_on_error(
    saliency: Tensor, error: Tensor, inside: Tensor | None = None, margin: int = MARGIN
) -> tuple[Tensor, Tensor]:
    """Share of a map that falls on the true error, and the share that a map without any information would have.

    Args:
        saliency: ``(..., H, W)``, 0 or above.
        error: bool of the same shape.
        inside: bool of the same shape: where an error could be, such as the brain; everywhere if None.
        margin: voxels around the error that count as on it.

    Returns:
        Share, and chance (the error's share of the area), each ``(...)`` in [0, 1]. The share is NaN where the map is 0
        everywhere: it points nowhere.

    Raises:
        ValueError: if the map is negative somewhere, or shapes differ.

    Example:
        >>> saliency = torch.tensor([[0.0, 1.0, 3.0, 0.0]])
        >>> error = torch.tensor([[False, False, True, False]])
        >>> [share.item() for share in share_on_error(saliency, error, margin=0)]
        [0.75, 0.25]
    """
    inside = torch.ones_like(error) if inside is None else inside
    if not saliency.shape == error.shape == inside.shape:
        raise ValueError(
            "expected a map, an error and an inside of one shape, got "
            f"{tuple(saliency.shape)}, {tuple(error.shape)} and {tuple(inside.shape)}"
        )
    if bool((saliency < 0).any()):
        raise ValueError("expected a map of 0 and above, got negative values; take its positive part or magnitude")
    wide = max_pool2d(error.float().reshape(-1, 1, *error.shape[-2:]), 2 * margin + 1, stride=1, padding=margin)
    near = inside & (wide.reshape(error.shape) > 0)
    weight = saliency.double() * inside
    share = (weight * near).sum((-2, -1)) / weight.sum((-2, -1))
    return share, near.sum((-2, -1)) / inside.sum((-2, -1)).double()

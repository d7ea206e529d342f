"""From volumes to what the network takes: planes cut, scaled, padded, joined with the mask; and who is asked of them.

Both the planes that are rated (`dqe_loss.core.pipeline`) and those of a survey (`dqe_loss.surrogate.survey`) are made
here.
"""

from typing import Protocol

import torch
from torch import Tensor

from dqe_loss.core.dtypes import at_least_float32
from dqe_loss.core.intensity import scale_planes
from dqe_loss.core.mask import Mask
from dqe_loss.core.slicing import VIEW_AXIS, PlaneSource, interpolate_planes, pad_planes, take_planes
from dqe_loss.surrogate.config import SurrogateConfig
from dqe_loss.surrogate.network import encode_mask
from dqe_loss.surrogate.refiner import Opinion

CPU_BATCH = 12
"""Planes per network call on a CPU: larger batches fall out of its caches and get slower per plane."""


class Rater(Protocol):
    """What gives planes stars: a `Surrogate`, or the same network in another engine (`dqe_loss.surrogate.openvino`)."""

    @property
    def config(self) -> SurrogateConfig:
        """How planes are made."""

    @property
    def device(self) -> torch.device:
        """Where planes must lie."""

    def __call__(self, planes: Tensor, *, ceiling: Tensor | None = None) -> Tensor:
        """Stars ``(N,)`` of planes ``(N, C, H, W)``; see `Surrogate.forward`."""

    def consult(self, planes: Tensor) -> Opinion | None:
        """What the second reader would have drawn on planes ``(N, C, H, W)``; None without one."""


def network_input(
    surrogate: Rater, image: Tensor | PlaneSource, mask: Mask, positions: Tensor, view: str, channels: list[int]
) -> Tensor:
    """Planes of one view as the surrogate takes them, ``(B, P, C, H, W)``; `presented_planes` says of what."""
    scans, regions = presented_planes(surrogate.config, image, mask, positions, view, channels)
    return join_planes(surrogate.config, scans, regions)


def presented_planes(
    config: SurrogateConfig, image: Tensor | PlaneSource, mask: Mask, positions: Tensor, view: str, channels: list[int]
) -> tuple[Tensor, Tensor]:
    """Planes of one view, scaled and padded, image and mask apart: what training caches and augments.

    Args:
        config: says how planes are scaled and padded.
        image: ``(B, 4, X, Y, Z)``, in memory or not.
        mask: the segmentation.
        positions: ``(B, P)`` voxel coordinates along the view's axis.
        view: the view.
        channels: where each of the surrogate's modalities lies in the image.

    Returns:
        Scans ``(B, P, 4, H, W)`` in [0, 1], and regions ``(B, P, 3, H, W)`` in the order TC, WT, ET, of the mask's
        own type (boolean for hard planes of a label map).
    """
    return presented_scans(config, image, positions, view, channels), presented_regions(config, mask, positions, view)


def presented_scans(
    config: SurrogateConfig, image: Tensor | PlaneSource, positions: Tensor, view: str, channels: list[int]
) -> Tensor:
    """The first half of `presented_planes`, for several masks of one image.

    Planes are taken first and scaled then, before they are padded: upstream's order, and the percentiles depend on it.
    """

    def take(index: Tensor) -> Tensor:  # finite before they are interpolated, or the position's gradient is not
        # Contiguous, so that sums over a plane come out the same wherever it was taken from.
        return at_least_float32(take_planes(image, index, view)).nan_to_num(0, 0, 0).contiguous()

    scans = interpolate_planes(take, positions, image.shape[2 + VIEW_AXIS[view]])
    if channels != sorted(channels):
        scans = torch.stack([scans[:, :, channel] for channel in channels], 2)
    return pad_planes(scale_planes(scans, config.normalization, *config.percentiles), config.field_of_view)


def presented_regions(config: SurrogateConfig, mask: Mask, positions: Tensor, view: str) -> Tensor:
    """The second half of `presented_planes`."""
    regions = interpolate_planes(lambda index: mask.take(index, view), positions, mask.shape[2 + VIEW_AXIS[view]])
    # A soft mask is padded with zeros, for outside the volume nothing can be predicted: the minimum that upstream
    # pads with would hand the whole padding's gradient to one voxel of each row.
    return pad_planes(regions, config.field_of_view, 0.0 if positions.is_floating_point() else None)


def join_planes(config: SurrogateConfig, scans: Tensor, regions: Tensor) -> Tensor:
    """Scans and encoded regions as one input of the network, ``(..., 4 + encoded, H, W)``, floating point."""
    encoded = encode_mask(at_least_float32(regions), config.encoding)
    return torch.cat((scans.to(encoded.dtype), encoded), -3)

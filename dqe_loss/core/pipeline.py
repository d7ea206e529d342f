"""The one path from volumes to stars (contract C4): ``read_inputs``, ``cut_planes``, and a surrogate for the planes.

Loss, metrics and commands all rate through these steps, so that what is optimized is what is reported. The core knows
of no network: whatever takes planes and gives stars can be the last step.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from einops import rearrange
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from dqe_loss.core.boxes import Box
from dqe_loss.core.mask import Mask
from dqe_loss.core.numbers import check_number
from dqe_loss.core.planes import PlaneFormat, join_planes, presented_planes
from dqe_loss.core.slicing import VIEW_AXIS, VIEWS, PlaneSource, check_views, in_plane, place_of
from dqe_loss.core.tensors import at_least_float32

CPU_BATCH = 12
"""Planes per network call on a CPU: larger batches fall out of its caches and get slower per plane."""


@dataclass(frozen=True)
class RatingInput:
    """A batch of segmentations on their images, and the place to look at.

    Attributes:
        image: intensities ``(B, C, X, Y, Z)``, in memory or not.
        mask: the segmentations, of the image's size.
        center: ``(B, 3)`` voxel coordinates: integers give whole planes, fractions interpolated ones.
        channels: where each of the surrogate's modalities lies in the image.
    """

    image: Tensor | PlaneSource
    mask: Mask
    center: Tensor
    channels: list[int]


@dataclass(frozen=True)
class Sampling:
    """Which planes are cut around a center.

    Attributes:
        views: which views, see `dqe_loss.VIEWS`.
        planes: parallel planes per view: one at the center, the others around it.
        jitter: standard deviation in voxels by which planes are moved along their axis: every plane but the first,
            which keeps to the center; the only one if ``planes`` is 1.
        generator: CPU generator that draws the moves; compiled code draws from the global one.
    """

    views: tuple[str, ...] = VIEWS
    planes: int = 1
    jitter: float = 0.0
    generator: torch.Generator | None = None

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            ValueError: if a view is unknown, a number is none or too small, or more than one plane is asked for
                without jitter, which would rate one plane several times.
        """
        check_views(self.views)
        check_number("planes", self.planes, whole=True, least=1)
        check_number("jitter", self.jitter, least=0)
        if self.planes > 1 and self.jitter == 0:
            raise ValueError(
                f"planes={self.planes}, jitter={self.jitter}: expected jitter > 0 with planes > 1 (otherwise the same "
                "plane would be rated again)"
            )

    def moves(self, center: Tensor) -> Tensor:
        """How far each plane is moved from the center, ``(B, V, P)`` in voxels; whole voxels for an integer center."""
        shape = (center.shape[0], len(self.views), self.planes)
        if self.jitter == 0:
            return center.new_zeros(shape)
        if torch.compiler.is_compiling():  # a generator cannot be traced
            moves = torch.randn(shape, device=center.device)
        else:
            moves = torch.randn(shape, generator=self.generator).to(center.device, non_blocking=True)
        if self.planes > 1:
            moves = torch.cat((torch.zeros_like(moves[..., :1]), moves[..., 1:]), -1)
        moves = moves * self.jitter
        return moves.to(center.dtype) if center.is_floating_point() else moves.round().to(center.dtype)


THREE_PLANES = Sampling()
"""A plane of each view through the center, as published."""

FLAT = Sampling(("axial",))
"""The one plane of a volume ``(B, C, H, W, 1)``."""


def read_inputs(
    config: PlaneFormat,
    image: Tensor | PlaneSource,
    mask: Mask,
    center: Tensor,
    modalities: tuple[str, ...] | None = None,
) -> RatingInput:
    """The first step: check that image and mask belong together.

    Args:
        config: how the surrogate takes planes.
        image: intensities ``(B, C, X, Y, Z)``.
        mask: the segmentations.
        center: ``(B, 3)`` voxel coordinates to look at. Its gradient is dropped where the surrogate says so.
        modalities: the image's channel order; the task's if None.

    Raises:
        ValueError: if a shape is not as said, modalities are not the surrogate's, or image and mask differ in size.
    """
    names = config.task.modalities if modalities is None else modalities
    if len(image.shape) != 5 or image.shape[1] != len(names):
        raise ValueError(
            f"expected an image (B, {len(names)}, X, Y, Z) with channels {tuple(names)}, got {tuple(image.shape)}"
        )
    size = mask.shape
    if image.shape[:1] + image.shape[2:] != size[:1] + size[2:]:
        raise ValueError(
            f"image and segmentation must have the same batch and voxels, got {tuple(image.shape)} and {tuple(size)}"
        )
    channels = config.channels(modalities)
    return RatingInput(image, mask, center if config.center_gradient else center.detach(), channels)


def cut_planes(config: PlaneFormat, inputs: RatingInput, sampling: Sampling = THREE_PLANES) -> Tensor:
    """The second step: all planes as the network takes them, computed where the image lies.

    Returns:
        ``(B, V, P, C, H, W)``, floating point: scaled modalities in the surrogate's order, then the encoded mask.

    Raises:
        ValueError: if a plane does not fit the field of view.
    """
    moves = sampling.moves(inputs.center)
    views = []
    for i, view in enumerate(sampling.views):
        positions = inputs.center[:, VIEW_AXIS[view], None] + moves[:, i]
        planes = presented_planes(config, inputs.image, inputs.mask, positions, view, inputs.channels)
        views.append(join_planes(config, *planes))
    return torch.stack(views, 1)


def voxels_with_gradient(config: PlaneFormat, inputs: RatingInput, sampling: Sampling = THREE_PLANES) -> Box | None:
    """Rows and columns of what `cut_planes` gives that come from voxels, outside of which no gradient is needed.

    The padding of a soft mask is 0, a constant. A hard mask and scans are padded with voxels of their own, which take
    the padding's gradient: None then, for it is needed everywhere. Scans do not count where neither they nor the place
    where they are cut have a gradient.
    """
    scans_have = inputs.center.requires_grad or (isinstance(inputs.image, Tensor) and inputs.image.requires_grad)
    if scans_have or not inputs.center.is_floating_point():
        return None
    sizes = [in_plane(inputs.image.shape[2:], view) for view in sampling.views]
    return place_of(tuple(map(max, zip(*sizes, strict=True))), config.field_of_view)


def rate_planes(
    rater: Callable[..., Tensor],
    planes: Tensor,
    checkpointing: bool = False,
    ceiling: Tensor | None = None,
    inside: Box | None = None,
) -> Tensor:
    """The third step: stars of each view, as many planes at a time as are fastest.

    Args:
        rater: gives planes ``(N, C, H, W)`` stars ``(N,)``: a surrogate, guarded or not, or one in another engine.
        planes: ``(B, V, P, C, H, W)`` on the rater's device.
        checkpointing: whether to recompute activations in the backward pass, plane by plane, instead of keeping them.
        ceiling: ``(B,)``, largest share of its stars that each mask keeps (`dqe_loss.surrogate.survey.ceiling_of`).
        inside: see `voxels_with_gradient`; None asks for the gradient of whole planes.

    Returns:
        ``(B, V)``, mean over the planes of a view, float32 (float64 if the rater is).
    """
    views, count = planes.shape[1:3]
    flat = rearrange(planes, "b v p c h w -> (b v p) c h w")
    size = 1 if checkpointing else CPU_BATCH if flat.device.type == "cpu" else flat.shape[0]
    call = partial(checkpoint, rater, use_reentrant=False) if checkpointing else rater
    options: dict[str, Any] = {} if inside is None else {"inside": inside}
    shares = None if ceiling is None else torch.split(ceiling.repeat_interleave(views * count), size)
    stars = []
    for i, chunk in enumerate(torch.split(flat, size)):
        stars.append(call(chunk, **options) if shares is None else call(chunk, ceiling=shares[i], **options))
    return rearrange(at_least_float32(torch.cat(stars)), "(b v p) -> b v p", v=views, p=count).mean(-1)

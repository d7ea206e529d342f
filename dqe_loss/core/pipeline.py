"""The one path from volumes to stars: image and mask -> planes -> network input -> ratings (contract C4).

Loss, metric and command line all rate through this file, so that what is optimized is what is reported.
"""

from typing import Any

import torch
from einops import rearrange
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from dqe_loss.core.centers import image_centers
from dqe_loss.core.checks import cannot_wait, check_probabilities
from dqe_loss.core.dtypes import at_least_float32
from dqe_loss.core.intensity import MODALITIES, modality_index
from dqe_loss.core.labels import REGIONS
from dqe_loss.core.labels import label_scheme as find_scheme
from dqe_loss.core.mask import LabelMask, Mask, RegionMask, center_of_mask
from dqe_loss.core.planes import CPU_BATCH, Rater, network_input
from dqe_loss.core.slicing import VIEW_AXIS, VIEWS, PlaneSource, check_views
from dqe_loss.surrogate.network import Surrogate
from dqe_loss.surrogate.survey import PLANES, ceiling_of, survey


def rate_segmentation(
    surrogate: Surrogate,
    image: Tensor,
    segmentation: Tensor,
    *,
    slicing: str = "hard",
    label_scheme: str = "brats",
    center: Tensor | None = None,
    look: tuple[str, ...] = ("mask",),
    views: tuple[str, ...] = VIEWS,
    planes: int = 1,
    jitter: float = 0.0,
    generator: torch.Generator | None = None,
    modalities: tuple[str, ...] = MODALITIES,
    thorough: bool = False,
    survey_planes: int = PLANES,
) -> Tensor:
    """Rate segmentations as the surrogate would.

    With ``slicing="hard"`` the ratings are those of the published package to 1e-4; ``"soft"`` is differentiable with
    respect to the mask and to where its center lies.

    Args:
        surrogate: the frozen network.
        image: intensities ``(B, 4, X, Y, Z)`` of any real dtype, raw or z-scores, skull-stripped, 1 mm, as BraTS arrays
            lie.
        segmentation: label map ``(B, 1, X, Y, Z)`` of any real dtype (its values are not checked here, see
            `dqe_loss.check_labels`), or regions ``(B, 3, X, Y, Z)`` in the order TC, WT, ET, boolean or in [0, 1].
        slicing: ``"hard"`` (center truncated to a voxel) or ``"soft"`` (fractional center, interpolated planes).
        label_scheme: scheme of a label map.
        center: ``(B, 3)`` voxel coordinates to look at, instead of ``look``.
        look: where to look (`dqe_loss.core.centers`): one or more of ``"mask"`` (the segmentation's own center, as
            published), ``"flair"`` (where FLAIR is brightest) and ``"brain"``; of several, each view's lowest stars
            count.
        views: which views to rate.
        planes: parallel planes per view, over which the rating is averaged; see ``jitter``.
        jitter: standard deviation in voxels by which planes are moved along their axis: every plane but the first,
            which keeps to the center; the only one if ``planes`` is 1.
        generator: CPU generator that draws the moves.
        modalities: the image's channel order.
        thorough: whether to ask the surrogate's second reader all over the head (`dqe_loss.surrogate.survey`), too, so
            that errors far from the rated planes count. Their gradient is not followed.
        survey_planes: planes a view that it is asked in.

    Returns:
        Stars ``(B, V)``, one column per view, float32 (float64 if the surrogate is). Not clamped to the scale
        without a second reader, see `Surrogate.forward`.

    Raises:
        ValueError: if shapes, names or options are not as said, regions hold NaN or values outside [0, 1], or
            ``thorough`` is asked of a surrogate without a second reader.
    """
    if slicing not in ("hard", "soft"):
        raise ValueError(f"slicing must be 'hard' or 'soft', got {slicing!r}")
    if segmentation.ndim != 5 or segmentation.shape[1] not in (1, 3):
        raise ValueError(
            "expected a label map (B, 1, X, Y, Z) or regions (B, 3, X, Y, Z), "
            f"got a segmentation of shape {tuple(segmentation.shape)}"
        )
    if segmentation.shape[1] == len(REGIONS) and not cannot_wait(segmentation):
        check_probabilities(segmentation, "the segmentation", "pass torch.sigmoid(logits)")
    find_scheme(label_scheme)
    mask: Mask = (
        LabelMask(segmentation, label_scheme)
        if segmentation.shape[1] == 1
        else RegionMask(segmentation, hard=slicing == "hard")
    )
    centers = [center] if center is not None else look_at(image, mask, look, slicing == "hard", modalities)
    ceiling = None
    if thorough:
        check_volumes(image, mask, modalities)
        check_devices(surrogate, image=image, segmentation=segmentation)
        found = survey(surrogate, image, mask, planes=survey_planes, modalities=modalities)
        ceiling = ceiling_of(surrogate, found)
    stars = [
        rate_mask(
            surrogate,
            image,
            mask,
            center,
            views=views,
            planes=planes,
            jitter=jitter,
            generator=generator,
            modalities=modalities,
            ceiling=ceiling,
        )
        for center in centers
    ]
    return torch.stack(stars).amin(0)


def look_at(
    image: Tensor, mask: Mask, look: tuple[str, ...], hard: bool, modalities: tuple[str, ...] = MODALITIES
) -> list[Tensor]:
    """Centers ``(B, 3)`` to rate through, one for each place of ``look``; see `rate_segmentation`.

    Raises:
        ValueError: if a place is unknown.
    """
    found = image_centers(image, look, modalities)
    centers = [center_of_mask(mask, hard=hard) if name == "mask" else found[name] for name in look]
    return centers if hard else [at_least_float32(center) for center in centers]


def rate_mask(
    surrogate: Rater,
    image: Tensor,
    mask: Mask,
    center: Tensor,
    *,
    views: tuple[str, ...] = VIEWS,
    planes: int = 1,
    jitter: float = 0.0,
    generator: torch.Generator | None = None,
    modalities: tuple[str, ...] = MODALITIES,
    checkpointing: bool = False,
    ceiling: Tensor | None = None,
) -> Tensor:
    """Rate any `Mask` through a given center; `rate_segmentation` says what the arguments mean.

    Args:
        surrogate: the frozen network, guarded or not.
        image: intensities ``(B, 4, X, Y, Z)``.
        mask: the segmentation, of the image's size.
        center: ``(B, 3)`` voxel coordinates: integers give whole planes, fractions interpolated ones.
        views: which views to rate.
        planes: parallel planes per view.
        jitter: standard deviation of their moves in voxels.
        generator: CPU generator that draws the moves.
        modalities: the image's channel order.
        checkpointing: whether to recompute activations in the backward pass, plane by plane, instead of keeping them.
        ceiling: ``(B,)``, largest share of its stars that each mask keeps (`dqe_loss.surrogate.survey.ceiling_of`).

    Returns:
        Stars ``(B, V)``.

    Raises:
        ValueError: if shapes, names or options are not as said.
    """
    check_devices(surrogate, image=image, segmentation=center)
    inputs = mask_inputs(
        surrogate,
        image,
        mask,
        center,
        views=views,
        planes=planes,
        jitter=jitter,
        generator=generator,
        modalities=modalities,
    )
    return rate_inputs(surrogate, inputs, checkpointing, ceiling)


def mask_inputs(
    surrogate: Rater,
    image: Tensor | PlaneSource,
    mask: Mask,
    center: Tensor,
    *,
    views: tuple[str, ...] = VIEWS,
    planes: int = 1,
    jitter: float = 0.0,
    generator: torch.Generator | None = None,
    modalities: tuple[str, ...] = MODALITIES,
) -> Tensor:
    """The first half of `rate_mask`: all planes as the network takes them, computed where the image lies.

    The network is not asked: it may lie on another device, and be busy there.

    Returns:
        ``(B, V, P, C, H, W)``, floating point.

    Raises:
        ValueError: if shapes, names or options are not as said.
    """
    check_views(views)
    check_volumes(image, mask, modalities)
    if not surrogate.config.center_gradient:
        center = center.detach()
    channels = modality_index(modalities, surrogate.config.modalities)
    moves = draw_moves(len(views), planes, jitter, center, generator)
    inputs = [
        network_input(surrogate, image, mask, center[:, VIEW_AXIS[view], None] + moves[:, i], view, channels)
        for i, view in enumerate(views)
    ]
    return torch.stack(inputs, 1)


def check_volumes(image: Tensor | PlaneSource, mask: Mask, modalities: tuple[str, ...]) -> None:
    """Check that an image is one, and that a mask has its size.

    Raises:
        ValueError: saying what was expected, and what came.
    """
    if len(image.shape) != 5 or image.shape[1] != len(MODALITIES):
        raise ValueError(f"expected an image (B, 4, X, Y, Z) with channels {modalities}, got {tuple(image.shape)}")
    if image.shape[:1] + image.shape[2:] != mask.shape[:1] + mask.shape[2:]:
        raise ValueError(
            f"image and segmentation must have the same batch and voxels, got {tuple(image.shape)} and "
            f"{tuple(mask.shape)}"
        )


def rate_inputs(rater: Rater, inputs: Tensor, checkpointing: bool = False, ceiling: Tensor | None = None) -> Tensor:
    """The second half of `rate_mask`: planes ``(B, V, P, C, H, W)`` on the rater's device to stars ``(B, V)``."""
    views, planes = inputs.shape[1:3]
    if ceiling is not None:
        ceiling = ceiling.repeat_interleave(views * planes)
    stars = _rate(rater, rearrange(inputs, "b v p c h w -> (b v p) c h w"), checkpointing, ceiling)
    return rearrange(stars, "(b v p) -> b v p", v=views, p=planes).mean(-1)


def check_devices(surrogate: Rater, **tensors: Tensor) -> None:
    """Check that all lies where the surrogate lies: losses without weights need no moving, but this one does.

    Raises:
        TypeError: if something is no tensor.
        ValueError: naming what lies where.
    """
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):
            raise TypeError(f"the {name} must be a torch tensor, got {type(tensor).__name__}; use torch.from_numpy")
        if tensor.device != surrogate.device:
            raise ValueError(
                f"the {name} is on {tensor.device}, the surrogate on {surrogate.device}; move the loss with "
                f"criterion.to({str(tensor.device)!r}), or the {name} to the surrogate's device"
            )


def check_moves(planes: int, jitter: float) -> None:
    """Check how many planes are rated, and how far they are moved.

    Raises:
        ValueError: if more than one plane is asked for without jitter, which would rate one plane several times.
    """
    if planes < 1 or jitter < 0 or (planes > 1 and jitter == 0):
        raise ValueError(
            f"planes={planes}, jitter={jitter}: expected planes >= 1 and jitter >= 0, and jitter > 0 with planes > 1 "
            "(otherwise the same plane would be rated again)"
        )


def draw_moves(
    views: int, planes: int, jitter: float, center: Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """How far each plane is moved from the center, ``(B, V, P)`` in voxels; whole voxels for an integer center.

    Raises:
        ValueError: see `check_moves`.
    """
    check_moves(planes, jitter)
    shape = (center.shape[0], views, planes)
    if jitter == 0:
        return center.new_zeros(shape)
    if torch.compiler.is_compiling():  # a generator cannot be traced: compiled code draws from the global one
        moves = torch.randn(shape, device=center.device)
    else:
        moves = torch.randn(shape, generator=generator).to(center.device, non_blocking=True)
    if planes > 1:
        moves = torch.cat((torch.zeros_like(moves[..., :1]), moves[..., 1:]), -1)
    moves = moves * jitter
    return moves.to(center.dtype) if center.is_floating_point() else moves.round().to(center.dtype)


def _rate(rater: Rater, planes: Tensor, checkpointing: bool, ceiling: Tensor | None) -> Tensor:
    size = 1 if checkpointing else CPU_BATCH if planes.device.type == "cpu" else planes.shape[0]
    chunks = torch.split(planes, size)
    options: list[dict[str, Any]] = (
        [{}] * len(chunks) if ceiling is None else [{"ceiling": part} for part in torch.split(ceiling, size)]
    )
    stars = [
        checkpoint(rater, chunk, use_reentrant=False, **more) if checkpointing else rater(chunk, **more)
        for chunk, more in zip(chunks, options, strict=True)
    ]
    return at_least_float32(torch.cat(stars))

"""The whole volume: what a refiner says of a mask in many planes, spread over the head.

Three planes through a center show nothing of what was marked, or missed, elsewhere. A survey asks the
refiner (`dqe_loss.surrogate.refiner`) in parallel planes of each view, and pools its sums over all of them to one
agreement for the exam, by the formula of a single plane. No plane keeps a larger share of its stars than that is worth.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from dqe_loss.core.center_of_mass import mass_profiles
from dqe_loss.core.intensity import air_of, has_offset
from dqe_loss.core.mask import Mask
from dqe_loss.core.pipeline import CPU_BATCH
from dqe_loss.core.planes import join_planes, presented_regions, presented_scans, split_planes
from dqe_loss.core.slicing import VIEW_AXIS, PlaneSource
from dqe_loss.core.tensors import at_least_float32
from dqe_loss.surrogate.agreement import Overlap, agreement_of, gate_of, overlap
from dqe_loss.surrogate.config import SurrogateConfig
from dqe_loss.surrogate.rater import Rater
from dqe_loss.surrogate.refiner import RefinerConfig

PLANES = 12
"""Planes a view: some 12 mm apart, so that what is smaller than a lesion alone can lie between them."""

STEP = 2
"""Every second voxel along each axis says where the head is to a voxel or two, in an eighth of the time."""

SMALLEST_SHARE = 0.01
"""Share of the fullest plane's head that makes a plane part of it: less are crumbs, or the tip of a brain."""


class Survey(NamedTuple):
    """What came out.

    Attributes:
        agreement: ``(B,)`` in [0, 1], of mask and refiner over all planes.
        regions: ``(B, R)``, the same for each region; NaN where neither has it.
        planes: how many were looked at, an exam.
    """

    agreement: Tensor
    regions: Tensor
    planes: int


class SurveyScans(NamedTuple):
    """An image's planes, cut once for all of its masks: with the default 33 MB an exam.

    Attributes:
        scans: ``(B, V P, 4, H, W)`` in [0, 1], view by view.
        positions: ``(B, 3, P)`` int64, where they lie along X, Y and Z.
    """

    scans: Tensor
    positions: Tensor


class SurveyPlanes(NamedTuple):
    """All that the refiner is shown.

    Attributes:
        scans: ``(B, V P, 4, H, W)`` in [0, 1], shared by all masks of an image.
        regions: ``(B, V P, 3, H, W)`` of the mask's type; boolean they are 6 MB a mask.
    """

    scans: Tensor
    regions: Tensor


def survey(
    surrogate: Rater, image: Tensor, mask: Mask, *, planes: int = PLANES, modalities: tuple[str, ...] | None = None
) -> Survey:
    """Ask the refiner all over the head, without gradient.

    Args:
        surrogate: the frozen network, with a refiner.
        image: intensities ``(B, 4, X, Y, Z)``.
        mask: the segmentations, of the image's size.
        planes: planes a view, 1 or more.
        modalities: the image's channel order.

    Raises:
        ValueError: the surrogate has no refiner, or an option is not as said.
    """
    refiner_of(surrogate)
    with torch.no_grad():
        cut = survey_scans(surrogate.config, image, planes=planes, modalities=modalities)
        return survey_planes(surrogate, show(surrogate.config, cut, mask))


def survey_scans(
    config: SurrogateConfig,
    image: Tensor | PlaneSource,
    *,
    planes: int = PLANES,
    modalities: tuple[str, ...] | None = None,
) -> SurveyScans:
    """The part of a survey that no mask is needed for; `survey` says what the arguments mean."""
    positions = survey_positions(image, planes)
    channels = config.channels(modalities)
    views = [
        presented_scans(config, image, positions[:, VIEW_AXIS[view]], view, channels) for view in config.task.views
    ]
    return SurveyScans(torch.cat(views, 1), positions)


def show(config: SurrogateConfig, cut: SurveyScans, mask: Mask) -> SurveyPlanes:
    """A mask ``(B, ...)`` beside the scans of its image."""
    regions = [presented_regions(config, mask, cut.positions[:, VIEW_AXIS[view]], view) for view in config.task.views]
    return SurveyPlanes(cut.scans, torch.cat(regions, 1))


def survey_planes(surrogate: Rater, planes: SurveyPlanes) -> Survey:
    """The part of a survey that needs the network; planes may lie on another device.

    Raises:
        ValueError: the surrogate has no refiner.
    """
    refiner_of(surrogate)
    exams, count = planes.scans.shape[:2]
    chunks = zip(*(torch.split(one.flatten(0, 1), CPU_BATCH) for one in planes), strict=True)
    sums = []
    with torch.no_grad():
        for scans, regions in chunks:
            shown = join_planes(surrogate.config, scans.to(surrogate.device), regions.to(surrogate.device))
            refined = surrogate.refine(shown)
            assert refined is not None  # there is a refiner where there is a configuration of one
            sums.append(overlap(split_planes(surrogate.config, shown)[1].to(refined.regions), refined.regions))
        pooled = Overlap(*(torch.cat(parts).view(exams, count, -1).sum(1) for parts in zip(*sums, strict=True)))
        dice = 2 * pooled.both / pooled.total
    return Survey(agreement_of(pooled), dice, count)


def ceiling_of(surrogate: Rater, found: Survey) -> Tensor:
    """The largest share of its stars that a plane of each surveyed mask keeps, ``(B,)`` in [0, 1]."""
    config = refiner_of(surrogate)
    return gate_of(found.agreement, config.survey_full_marks, config.exponent)


def is_surveyed(config: SurrogateConfig, thorough: bool) -> bool:
    """Whether commands and metrics that are asked to be thorough can be: a surrogate alone has nobody to ask."""
    return thorough and config.refiner is not None


def refiner_of(surrogate: Rater) -> RefinerConfig:
    """The refiner's configuration.

    Raises:
        ValueError: there is no refiner.
    """
    if surrogate.config.refiner is None:
        raise ValueError(
            "a survey of the whole volume asks a refiner, and this surrogate has none; load a checkpoint with "
            "one, such as 'hardened', or rate with thorough=False"
        )
    return surrogate.config.refiner


def survey_positions(image: Tensor | PlaneSource, planes: int = PLANES) -> Tensor:
    """Where the planes lie: in the middle of equal parts of the head's extent along each axis.

    The head is what is not air in every modality: 0, or the lowest value of z-scores
    (`dqe_loss.core.intensity.air_of`).

    Args:
        image: intensities ``(B, 4, X, Y, Z)``, raw or z-scores.
        planes: planes a view.

    Returns:
        ``(B, 3, P)`` int64 voxel coordinates along X, Y and Z; over the whole volume where there is no head.

    Raises:
        ValueError: if ``planes`` is below 1.
    """
    if planes < 1:
        raise ValueError(f"a survey needs 1 plane a view or more, got planes={planes}")
    thin = image[..., ::STEP, ::STEP, ::STEP] if isinstance(image, Tensor) else image.thin(STEP)
    values = at_least_float32(thin).nan_to_num(0, 0, 0).flatten(2)[:, :, None]
    air = torch.where(has_offset(values), air_of(values), torch.zeros_like(values[..., :1]))
    head = (values != air).any(1).view(thin.shape[:1] + thin.shape[2:])
    middles = 2 * torch.arange(planes, device=thin.device) + 1
    positions = []
    for profile, size in zip(mass_profiles(head), image.shape[2:], strict=True):
        inside = (profile > SMALLEST_SHARE * profile.amax(1, keepdim=True)).int()
        first, after = inside.argmax(1), profile.shape[1] - inside.flip(1).argmax(1)
        position = STEP * first[:, None] + STEP * (after - first)[:, None] * middles // (2 * planes)
        positions.append(position.clamp(max=size - 1))
    return torch.stack(positions, 1)

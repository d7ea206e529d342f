"""Stars of whole segmentations: one path for what a user asks for, and for what the loss, metrics and commands do."""

from collections.abc import Sequence

import torch
from torch import Tensor

from dqe_loss.core.centers import image_centers
from dqe_loss.core.checks import check_image, check_probabilities, tell
from dqe_loss.core.labels import SchemeLike, are_tissues
from dqe_loss.core.labels import label_scheme as find_scheme
from dqe_loss.core.mask import LabelMask, Mask, RegionMask, center_of_mask
from dqe_loss.core.nesting import fitting_order, misplaced
from dqe_loss.core.pipeline import (
    FLAT,
    THREE_PLANES,
    Sampling,
    cut_planes,
    rate_planes,
    read_inputs,
    voxels_with_gradient,
)
from dqe_loss.core.slicing import PlaneSource, in_plane
from dqe_loss.core.tensors import at_least_float32, cannot_wait, is_flat, plain, thicken
from dqe_loss.surrogate.config import SurrogateConfig
from dqe_loss.surrogate.network import Surrogate
from dqe_loss.surrogate.rater import Rater
from dqe_loss.surrogate.survey import PLANES, Survey, ceiling_of, survey
from dqe_loss.task import GLIOMA, LabelScheme, Task


def rate_segmentation(
    surrogate: Surrogate,
    image: Tensor,
    segmentation: Tensor,
    *,
    slicing: str = "hard",
    label_scheme: SchemeLike | None = None,
    center: Tensor | tuple[str, ...] = ("mask",),
    views: tuple[str, ...] | None = None,
    planes: int = 1,
    jitter: float = 0.0,
    generator: torch.Generator | None = None,
    modalities: tuple[str, ...] | None = None,
    thorough: bool = False,
    survey_planes: int = PLANES,
) -> Tensor:
    """Rate segmentations as the surrogate would.

    With ``slicing="hard"`` the ratings are those of the published package to 1e-4; ``"soft"`` is differentiable with
    respect to the mask and to where its center lies. Planes by themselves, an image ``(B, 4, H, W)`` and a segmentation
    of the same height and width, are rated as they are: what says where planes lie has no effect.

    Args:
        surrogate: the frozen network.
        image: intensities ``(B, C, X, Y, Z)`` of any real dtype, raw or z-scores; of the built-in task skull-stripped,
            1 mm, as BraTS arrays lie.
        segmentation: label map ``(B, 1, X, Y, Z)`` of any real dtype (its values are not checked here, see
            `dqe_loss.check_labels`), or regions ``(B, R, X, Y, Z)`` in the task's order, boolean or in [0, 1].
            Of a task with one region, integers are labels, all else is the region.
        slicing: ``"hard"`` (center truncated to a voxel) or ``"soft"`` (fractional center, interpolated planes).
        label_scheme: scheme of a label map; the default of the surrogate's task if None.
        center: where the planes lie: ``(B, 3)`` voxel coordinates, or one or more of ``"mask"`` (the segmentation's own
            center, as published), ``"brain"``, and the task's bright modality (`dqe_loss.core.centers.places_of`); of
            several, each view's lowest stars count.
        views: which views to rate; the task's if None.
        planes: parallel planes per view, over which the rating is averaged; see ``jitter``.
        jitter: standard deviation in voxels by which planes are moved along their axis: every plane but the first,
            which keeps to the center; the only one if ``planes`` is 1.
        generator: CPU generator that draws the moves.
        modalities: the image's channel order; the task's if None.
        thorough: whether to ask the surrogate's refiner all over the head (`dqe_loss.surrogate.survey`), too, so
            that errors far from the rated planes count. Their gradient is not followed.
        survey_planes: planes a view that it is asked in.

    Returns:
        Stars ``(B, V)``, one column per view, of planes ``(B, 1)``; float32 (float64 if the surrogate is). Not clamped
        to the scale without a refiner, see `Surrogate.forward`.

    Raises:
        ValueError: if shapes, names or options are not as said, regions hold NaN or values outside [0, 1], or
            ``thorough`` is asked of a surrogate without a refiner, or of planes.

    Warns:
        UserWarning: the image has an empty modality, or one twice; regions lie in each other in another order than the
            task's alone; the segmentation is too small.
    """
    if is_flat(image, segmentation):
        if thorough or planes > 1 or jitter > 0:
            raise ValueError("planes (B, C, H, W) are rated as they are: thorough, planes and jitter need volumes")
        image, segmentation, views, center = thicken(image), thicken(segmentation), FLAT.views, ("mask",)
    if slicing not in ("hard", "soft"):
        raise ValueError(f"slicing must be 'hard' or 'soft', got {slicing!r}")
    task = surrogate.config.task
    regions = len(task.regions)
    if segmentation.ndim != 5 or segmentation.shape[1] not in (1, regions):
        raise ValueError(
            f"expected a label map (B, 1, X, Y, Z) or regions (B, {regions}, X, Y, Z), "
            f"got a segmentation of shape {tuple(segmentation.shape)}"
        )
    scheme, labeled = find_scheme(label_scheme, task), is_label_map(segmentation, regions)
    if not labeled and not cannot_wait(segmentation):
        _check_regions(segmentation, scheme, task)
    sampling = Sampling(task.views if views is None else views, planes, jitter, generator)
    check_devices(surrogate, image=image, segmentation=segmentation)
    sides = in_plane(segmentation.shape[2:], *sampling.views)
    if min(sides) < task.smallest_crop:
        tell(
            f"segmentations of {tuple(segmentation.shape[2:])} voxels are smaller than {task.smallest_crop} along an "
            "axis, too small for stars to mean much: rate whole ones. A loss takes patches with origin=; planes are "
            "(B, C, H, W), without an axis of 1"
        )
    if not cannot_wait(image):
        check_image(image, task.modalities if modalities is None else modalities, task.spacing, segmentation)
    image, segmentation = plain(image), plain(segmentation)  # or stars are of a class of MONAI's
    if isinstance(center, Tensor):
        _check_center(center, segmentation.shape)
    mask: Mask = (
        LabelMask(segmentation, scheme)
        if labeled
        else RegionMask(segmentation, slicing == "hard", region_order=task.regions, scheme=scheme)
    )
    centers = (
        [center]
        if isinstance(center, Tensor)
        else named_centers(image, mask, center, slicing == "hard", modalities, task)
    )
    places = cut_places(surrogate.config, image, mask, centers, sampling, modalities)
    seen = survey(surrogate, image, mask, planes=survey_planes, modalities=modalities) if thorough else None
    return rate_places(surrogate, places, seen).amin(0)


def _check_regions(segmentation: Tensor, scheme: LabelScheme, task: Task) -> None:
    """Check that channels hold regions.

    Raises:
        ValueError: if they hold NaN, logits, or background and tissues.

    Warns:
        UserWarning: if the regions lie in each other in another order alone.
    """
    check_probabilities(segmentation, "the segmentation", "pass torch.sigmoid(logits)")
    if are_tissues(segmentation, task.regions, scheme):
        raise ValueError(
            f"expected the regions {', '.join(task.regions)}, but the channels add up to 1 in each voxel, as those of "
            "background and tissues do: pass a label map, or dqe_loss.regions_from_tissues(segmentation, scheme)"
        )
    fitting = fitting_order(segmentation, task.regions, scheme)
    if fitting is not None and fitting != task.regions:
        told = misplaced("the segmentation", task.regions, scheme)
        tell(f"{told}; they fit the order {', '.join(fitting)}: reorder them")


def _check_center(center: Tensor, shape: Sequence[int]) -> None:
    """Check that centers lie in a segmentation ``(B, C, X, Y, Z)``.

    Raises:
        ValueError: if not.
    """
    expected = f"expected centers ({shape[0]}, 3), voxel coordinates inside {tuple(shape[2:])}"
    if center.shape != (shape[0], 3):
        raise ValueError(f"{expected}, got shape {tuple(center.shape)}")
    if not cannot_wait(center) and not bool(((center >= 0) & (center < center.new_tensor(shape[2:]))).all()):
        raise ValueError(f"{expected}, got {center.tolist()}")


def cut_places(
    config: SurrogateConfig,
    image: Tensor | PlaneSource,
    mask: Mask,
    centers: Sequence[Tensor],
    sampling: Sampling,
    modalities: tuple[str, ...] | None = None,
) -> list[Tensor]:
    """Planes ``(B, V, P, C, H, W)`` through each of several centers; see `dqe_loss.core.pipeline`."""
    return [cut_planes(config, read_inputs(config, image, mask, one, modalities), sampling) for one in centers]


def rate_places(rater: Rater, places: Sequence[Tensor], seen: Survey | None = None) -> Tensor:
    """Stars ``(L, B, V)`` of planes through several places, under the ceiling of a survey: a view's lowest count."""
    ceiling = None if seen is None else ceiling_of(rater, seen)
    return torch.stack([rate_planes(rater, place.to(rater.device), ceiling=ceiling) for place in places])


def named_centers(
    image: Tensor,
    mask: Mask,
    names: tuple[str, ...],
    hard: bool,
    modalities: tuple[str, ...] | None = None,
    task: Task = GLIOMA,
) -> list[Tensor]:
    """Centers ``(B, 3)`` to rate through, one for each name; see `rate_segmentation`.

    Raises:
        ValueError: if a name is unknown.
    """
    found = image_centers(image, names, modalities, task)
    own = {"mask": center_of_mask(mask, hard=hard, regions=task.centers)} if "mask" in names else {}
    centers = [(own | found)[name] for name in names]
    return centers if hard else [at_least_float32(center) for center in centers]


def is_label_map(segmentation: Tensor, regions: int) -> bool:
    """Whether a segmentation of one channel, or of as many as there are regions, is a label map.

    Of one region, both have one channel: integers are labels then, and boolean values and probabilities the region.
    """
    if regions == 1:
        return not segmentation.is_floating_point() and segmentation.dtype != torch.bool
    return segmentation.shape[1] == 1


def rate_mask(
    rater: Rater,
    image: Tensor,
    mask: Mask,
    center: Tensor,
    sampling: Sampling = THREE_PLANES,
    *,
    modalities: tuple[str, ...] | None = None,
    checkpointing: bool = False,
    ceiling: Tensor | None = None,
    rated: Tensor | None = None,
) -> Tensor:
    """Rate any `Mask` through a given center: the three steps of `dqe_loss.core.pipeline` in a row.

    Args:
        rater: the frozen network, guarded or not.
        image: intensities ``(B, C, X, Y, Z)``.
        mask: the segmentation, of the image's size.
        center: ``(B, 3)`` voxel coordinates: integers give whole planes, fractions interpolated ones.
        sampling: which planes are cut around it.
        modalities: the image's channel order; the task's if None.
        checkpointing: whether to recompute activations in the backward pass, plane by plane, instead of keeping them.
        ceiling: ``(B,)``, largest share of its stars that each mask keeps (`dqe_loss.surrogate.survey.ceiling_of`).
        rated: which masks are asked for, boolean ``(B,)``, one at least; all if None. The others cost no time on a CPU,
            where they get 0 stars; an accelerator, which would have to be waited for, rates all.

    Returns:
        Stars ``(B, V)``.

    Raises:
        ValueError: if shapes, names or devices are not as said.
    """
    check_devices(rater, image=image, segmentation=center)
    inputs = read_inputs(rater.config, image, mask, center, modalities)
    planes = cut_planes(rater.config, inputs, sampling)
    inside = voxels_with_gradient(rater.config, inputs, sampling)
    if rated is None or planes.device.type != "cpu" or cannot_wait(planes) or bool(rated.all()):
        return rate_planes(rater, planes, checkpointing, ceiling, inside)
    which = rated.nonzero()[:, 0]
    stars = rate_planes(rater, planes[which], checkpointing, None if ceiling is None else ceiling[which], inside)
    return stars.new_zeros((len(planes), stars.shape[1])).index_copy(0, which, stars)


def check_devices(rater: Rater, **tensors: Tensor) -> None:
    """Check that all lies where the surrogate lies: losses without weights need no moving, but this one does.

    Raises:
        TypeError: if something is no tensor.
        ValueError: naming what lies where.
    """
    device = rater.device
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):
            cure = "torch.stack" if isinstance(tensor, list | tuple) else "torch.from_numpy"
            raise TypeError(f"the {name} must be a torch tensor, got {type(tensor).__name__}; use {cure}")
        if tensor.device != device:
            raise ValueError(
                f"the {name} is on {tensor.device}, the surrogate on {device}; move the loss with "
                f"criterion.to({str(tensor.device)!r}), or the {name} to the surrogate's device"
            )

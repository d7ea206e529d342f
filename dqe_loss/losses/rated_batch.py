"""A batch, read: the masks of prediction and target with the guard between them, and which exams can be rated."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dqe_loss.core.layout import Layout
from dqe_loss.core.mask import Mask, VolumeMask
from dqe_loss.core.patch import PatchMask, crop, origins_beside, read_origins
from dqe_loss.core.pipeline import FLAT
from dqe_loss.core.slicing import in_plane
from dqe_loss.core.tensors import shape_of
from dqe_loss.losses.gradients import GradientLog
from dqe_loss.losses.guards import GuardedMask
from dqe_loss.losses.prediction import read_prediction
from dqe_loss.losses.target import read_target
from dqe_loss.task import Task


@dataclass(frozen=True)
class RatedBatch:
    """A batch to be rated.

    Attributes:
        image: intensities ``(B, C, X, Y, Z)``.
        predicted: what is rated.
        target: what it is compared with, if there is a target.
        views: those that are rated.
        in_place: whether the prediction is a patch inside the full-size target.
        flat: whether it is planes, ``(B, C, H, W, 1)``.
    """

    image: Tensor
    predicted: Mask
    target: VolumeMask | None
    views: tuple[str, ...]
    in_place: bool = False
    flat: bool = False

    @property
    def sides(self) -> tuple[int, ...]:
        """What is rated, in voxels along each axis that lies in a rated plane."""
        return tuple(in_plane(self.predicted.shape[2:], *self.views))


def read_batch(
    input: Tensor,
    target: Tensor | None,
    image: Tensor,
    origin: Any,
    *,
    activation: str | None,
    layout: Layout,
    hard: bool,
    guarded: GradientLog | None,
    check: bool,
    flat: bool,
) -> RatedBatch:
    """Read prediction and target as masks, with the guard between them.

    Args:
        input: prediction, see `read_prediction`.
        target: target, see `read_target`; full-size if there is an origin.
        image: intensities ``(B, C, X, Y, Z)``, full-size if there is an origin.
        origin: first voxel of the patch that ``input`` is, or None if it is no patch.
        activation: see `read_prediction`.
        layout: what channels and labels are in both.
        hard: whether mass is counted on binarized masks.
        guarded: guard the prediction's gradient by the target, where there is one, and note here what it kept.
        check: whether to look at the values of both, for which an accelerator must be waited for.
        flat: whether both are planes, one voxel thick.

    Returns:
        The masks.

    Raises:
        ValueError: if a shape or a label is not as said.
    """
    predicted = read_prediction(input, activation, layout, hard=hard, check=check)
    views = FLAT.views if flat else layout.views
    if target is None:
        if origin is None:
            return RatedBatch(image, predicted, None, views, flat=flat)
        origins = read_origins(origin, input.shape[0])
        empty = input.new_zeros((), dtype=torch.uint8).expand(input.shape[0], 1, *image.shape[2:])
        within, around = (
            read_target(mask, layout, hard=hard) for mask in (crop(empty, origins, input.shape[2:]), empty)
        )
        patch = PatchMask(predicted, within, around, origins_beside(origins, input))
        return RatedBatch(image, patch, None, views, in_place=True)
    local = target
    if origin is not None:
        origins = read_origins(origin, input.shape[0])
        local = crop(target, origins, input.shape[2:])
    elif target.shape[:1] + target.shape[-3:] != input.shape[:1] + input.shape[2:]:
        raise ValueError(
            f"prediction and target must have the same batch and voxels, got {tuple(input.shape)} and "
            f"{shape_of(target)}"
            + ("" if flat else "; where a patch of a full-size target is predicted, say so by origin=")
        )
    reference = read_target(local, layout, hard=hard, tissues=predicted.tissues, check=check)
    mask: Mask = predicted if guarded is None else GuardedMask(predicted, reference, guarded)
    if origin is None:
        return RatedBatch(image, mask, reference, views, flat=flat)
    around = read_target(target, layout, hard=hard, tissues=predicted.tissues, check=check)
    patch = PatchMask(mask, reference, around, origins_beside(origins, input))
    return RatedBatch(image, patch, around, views, in_place=True)


def can_be_rated(batch: RatedBatch, task: Task, smallest: int, device: torch.device, refuse: bool = False) -> Tensor:
    """Which exams are neither too small nor without a tumor in their target.

    Args:
        batch: the batch.
        task: what is rated.
        smallest: smallest side in voxels of a crop, or of a plane, that is rated without its surroundings.
        device: where the answer is needed.
        refuse: whether an exam that is not so is an error.

    Returns:
        Boolean ``(B,)``.

    Raises:
        ValueError: if there is such an exam, and it is refused.
    """
    large = is_large_enough(batch, smallest)
    rated = torch.full(batch.predicted.shape[:1], large, device=device)
    if batch.target is not None:
        rated = rated & is_occupied(batch.target, task)
    if refuse and not rated.all():
        fault = f"holds no {task.subject} in its target" if large else f"is smaller than {smallest}"
        place = "" if batch.flat else "rate it in its place with origin=, or "
        raise ValueError(
            f"a {'plane' if batch.flat else 'crop'} of {batch.sides} voxels {fault}: {place}let "
            "DQELoss(on_small='skip' or 'pad') deal with it"
        )
    return rated


def is_large_enough(batch: RatedBatch, smallest: int) -> bool:
    """Whether what is rated has the size to be, or lies in its place."""
    return batch.in_place or min(batch.sides) >= smallest


def is_occupied(target: VolumeMask, task: Task) -> Tensor:
    """Which targets hold anything, boolean ``(B,)``."""
    return torch.stack([(target.volume(region) > 0).flatten(1).any(1) for region in task.covering]).any(0)


def told_of_small(batch: RatedBatch, smallest: int) -> str:
    """What is said once where everything is too small, so that a loss of 0 surprises nobody."""
    cure = (
        "Train on larger ones"
        if batch.flat
        else "Give it the full-size target and image with origin=, train on larger ones"
    )
    return (
        f"{'planes' if batch.flat else 'crops'} of {batch.sides} voxels are smaller than {smallest} along an axis: "
        f"DQELoss skips every one of them, and its value is 0. {cure}, or say DQELoss(on_small='pad')"
    )

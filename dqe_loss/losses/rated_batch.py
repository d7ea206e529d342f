"""Prediction and target of a batch, read as the masks that are rated, with the guard between them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dqe_loss.core.layout import Layout
from dqe_loss.core.mask import Mask, VolumeMask
from dqe_loss.core.patch import PatchMask, crop, origins_beside, read_origins
from dqe_loss.core.tensors import shape_of
from dqe_loss.losses.gradients import GradientLog
from dqe_loss.losses.guards import GuardedMask
from dqe_loss.losses.prediction import read_prediction
from dqe_loss.losses.target import read_target


@dataclass(frozen=True)
class RatedBatch:
    """A batch to be rated.

    Attributes:
        predicted: what is rated.
        target: what it is compared with, if there is a target.
        in_place: whether the prediction is a patch inside the full-size target.
        flat: whether it is planes, ``(B, C, H, W, 1)``.
    """

    predicted: Mask
    target: VolumeMask | None
    in_place: bool = False
    flat: bool = False

    @property
    def sides(self) -> tuple[int, ...]:
        """What is rated, in voxels along each of its axes."""
        return tuple(self.predicted.shape[2:4] if self.flat else self.predicted.shape[2:])


def read_batch(
    input: Tensor,
    target: Tensor | None,
    origin: Any,
    *,
    activation: str | None,
    size: Sequence[int],
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
        origin: first voxel of the patch that ``input`` is, or None if it is no patch.
        activation: see `read_prediction`.
        size: voxels of the full-size image, in which a patch without a target lies.
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
    if target is None:
        if origin is None:
            return RatedBatch(predicted, None, flat=flat)
        origins = read_origins(origin, input.shape[0])
        empty = input.new_zeros((), dtype=torch.uint8).expand(input.shape[0], 1, *size)
        within, around = (
            read_target(mask, layout, hard=hard) for mask in (crop(empty, origins, input.shape[2:]), empty)
        )
        return RatedBatch(PatchMask(predicted, within, around, origins_beside(origins, input)), None, in_place=True)
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
        return RatedBatch(mask, reference, flat=flat)
    around = read_target(target, layout, hard=hard, tissues=predicted.tissues, check=check)
    return RatedBatch(PatchMask(mask, reference, around, origins_beside(origins, input)), around, in_place=True)

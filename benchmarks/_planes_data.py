"""Planes of exams for a 2D network: which planes, how they are scaled, which come in which training step."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from _references import load_reference_exam
from torch import Tensor

from dqe_loss import VIEWS
from dqe_loss.audit.audited_exam import AuditedExam
from dqe_loss.core.slicing import VIEW_AXIS


@dataclass(frozen=True)
class Planes:
    """Planes of one view; all of one size, so that they make batches.

    Attributes:
        image: raw intensities ``(N, 4, H, W)`` in the stored type.
        scaled: the same for the network: mean 0 and deviation 1 within the brain, plane by plane and modality by
            modality, and 0 around it.
        regions: boolean reference ``(N, 3, H, W)``.
    """

    image: Tensor
    scaled: Tensor
    regions: Tensor


@dataclass(frozen=True)
class Split:
    """A data set: exams (see `load_reference_exam`) to train on, and one to test on.

    Attributes:
        name: what to call it.
        train: sources of the exams to train on.
        test: source of the unseen exam.
        references: names of segmentations that count as the reference.
    """

    name: str
    train: tuple[str, ...]
    test: str
    references: tuple[str, ...]


@lru_cache(maxsize=4)
def training_planes(split: Split, every: int) -> dict[str, Planes]:
    """Every n-th plane through the tumor of all training exams, view by view."""
    exams = [_planes(load_reference_exam(source, split.references), every) for source in split.train]
    return {
        view: Planes(
            *(torch.cat([getattr(planes[view], part) for planes in exams]) for part in ("image", "scaled", "regions"))
        )
        for view in VIEWS
    }


@lru_cache(maxsize=4)
def test_planes(split: Split, every: int) -> dict[str, Planes]:
    """Every n-th plane through the tumor of the unseen exam, view by view."""
    return _planes(load_reference_exam(split.test, split.references), every)


def _planes(exam: AuditedExam, every: int) -> dict[str, Planes]:
    planes, reference = {}, exam.regions[0]
    for view in VIEWS:
        axis = VIEW_AXIS[view]
        image, regions = exam.image[0].movedim(1 + axis, 0), reference.movedim(1 + axis, 0)
        tumor = regions[:, 1].flatten(1).any(1).nonzero()[:, 0]
        chosen = tumor[every // 2 :: every]
        raw = image[chosen].contiguous()
        planes[view] = Planes(raw, _standardize(raw.float()), regions[chosen].contiguous())
    return planes


def _standardize(planes: Tensor) -> Tensor:
    brain = planes > 0
    voxels = brain.sum((2, 3), keepdim=True).clamp(min=1)
    mean = (planes * brain).sum((2, 3), keepdim=True) / voxels
    deviation = ((planes - mean).square() * brain).sum((2, 3), keepdim=True).div(voxels).sqrt()
    return (planes - mean) / deviation.clamp(min=1e-3) * brain


def draw_batch(planes: dict[str, Planes], step: int, size: int, generator: torch.Generator) -> Planes:
    """Random planes for one step, all of one view; the views take turns."""
    view = planes[VIEWS[step % len(VIEWS)]]
    chosen = torch.randint(len(view.image), (size,), generator=generator)
    return Planes(view.image[chosen], view.scaled[chosen], view.regions[chosen])

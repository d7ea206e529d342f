"""Which exams of a batch can be rated sensibly: those large enough, with something in their target."""

import torch
from torch import Tensor

from dqe_loss.core.mask import VolumeMask
from dqe_loss.losses.rated_batch import RatedBatch
from dqe_loss.task import Task


def can_be_rated(case: RatedBatch, task: Task, smallest: int, device: torch.device, refuse: bool = False) -> Tensor:
    """Which exams are neither too small nor without a tumor in their target.

    Args:
        case: the batch.
        task: what is rated.
        smallest: smallest side in voxels of a crop, or of a plane, that is rated without its surroundings.
        device: where the answer is needed.
        refuse: whether an exam that is not so is an error.

    Returns:
        Boolean ``(B,)``.

    Raises:
        ValueError: if there is such an exam, and it is refused.
    """
    large = is_large_enough(case, smallest)
    rated = torch.full(case.predicted.shape[:1], large, device=device)
    if case.target is not None:
        rated = rated & is_occupied(case.target, task)
    if refuse and not rated.all():
        fault = f"holds no {task.subject} in its target" if large else f"is smaller than {smallest}"
        place = "" if case.flat else "rate it in its place with origin=, or "
        raise ValueError(
            f"a {'plane' if case.flat else 'crop'} of {case.sides} voxels {fault}: {place}let DQELoss(on_small='skip' "
            "or 'pad') deal with it"
        )
    return rated


def is_large_enough(case: RatedBatch, smallest: int) -> bool:
    """Whether what is rated has the size to be, or lies in its place."""
    return case.in_place or min(case.sides) >= smallest


def is_occupied(target: VolumeMask, task: Task) -> Tensor:
    """Which targets hold anything, boolean ``(B,)``."""
    return torch.stack([(target.volume(region) > 0).flatten(1).any(1) for region in task.covering]).any(0)


def told_of_small(case: RatedBatch, smallest: int) -> str:
    """What is said once where everything is too small, so that a loss of 0 surprises nobody."""
    cure = (
        "Train on larger ones"
        if case.flat
        else "Give it the full-size target and image with origin=, train on larger ones"
    )
    return (
        f"{'planes' if case.flat else 'crops'} of {case.sides} voxels are smaller than {smallest} along an axis: "
        f"DQELoss skips every one of them, and its value is 0. {cure}, or say DQELoss(on_small='pad')"
    )

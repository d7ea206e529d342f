"""The attack: Adam on the logits of a mask, with stars as the only goal; audit and benchmarks share it."""

from collections.abc import Callable

import torch
from torch import Tensor

from dqe_loss.audit.free_mask import free_mask
from dqe_loss.core.boxes import Box
from dqe_loss.core.mask import center_of_mask
from dqe_loss.core.pipeline import Sampling
from dqe_loss.surrogate.rater import Rater
from dqe_loss.surrogate.rating import rate_mask

LEARNING_RATE = 0.3
"""Adam's."""

Objective = Callable[[Tensor], Tensor]
"""What an attack makes small: logits to a scalar."""


def attack(
    objective: Objective,
    logits: Tensor,
    steps: int,
    *,
    learning_rate: float = LEARNING_RATE,
    watch: Callable[[int, Tensor], None] | None = None,
) -> tuple[Tensor, list[float]]:
    """Minimize an objective over a mask's logits.

    Args:
        objective: such as that of `negative_stars`, or a `dqe_loss.DQELoss`.
        logits: where to start; they are left as they are.
        steps: number of steps.
        learning_rate: Adam's.
        watch: told of the number of steps that are done and the logits then, from 0 to ``steps``.

    Returns:
        The logits after the attack, and the objective's value that each step saw.
    """
    logits = logits.clone().requires_grad_()
    optimizer = torch.optim.Adam([logits], lr=learning_rate, fused=True)
    seen = []
    for step in range(steps + 1):
        if watch is not None:
            watch(step, logits.detach())
        if step == steps:
            break
        # Not torch.autograd.grad: its gradient has strides of its own, with which fused Adam would mix voxels up.
        optimizer.zero_grad(set_to_none=True)
        value = objective(logits)
        torch.autograd.backward(value)
        optimizer.step()
        seen.append(value.item())
    return logits.detach(), seen


def negative_stars(
    rater: Rater, image: Tensor, box: Box, shape: torch.Size, *, jitter: float = 0.0, seed: int = 0
) -> Objective:
    """Mean stars times -1, not clamped, of the free logits of a box, in the planes through the mask's own center.

    Args:
        rater: the network under attack, guarded or not.
        image: raw ``(1, C, X, Y, Z)``.
        box: where the logits lie.
        shape: of the whole mask, ``(1, R, X, Y, Z)``.
        jitter: standard deviation in voxels by which the rated planes move from call to call.
        seed: of the jitter.
    """
    task = rater.config.task
    sampling = Sampling(task.views, jitter=jitter, generator=torch.Generator().manual_seed(seed))

    def objective(logits: Tensor) -> Tensor:
        mask = free_mask(logits, box, shape, task)
        center = center_of_mask(mask, hard=False, regions=task.centers)
        return -rate_mask(rater, image, mask, center, sampling).mean()

    return objective

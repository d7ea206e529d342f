"""What a refiner is taught by: the loss, the attacks that it must withstand, and the course of the rate."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dqe_loss.harden.config import HardenConfig
from dqe_loss.surrogate.agreement import SMOOTHING
from dqe_loss.surrogate.refiner import Refiner

VOXEL_WEIGHT = 2.0
"""Weight of the cross entropy, beside Dice."""
WARM_UP = 0.1
"""Share of the steps in which the learning rate rises; then it falls to 0 as a cosine."""
ATTACK_SURE = 0.6
"""Probability from which on an attack moves a voxel: less than any refiner needs to be sure, to be on the safe side."""


@torch.no_grad()
def please_refiner(refiner: Refiner, scans: Tensor, masks: Tensor, rounds: int) -> Tensor:
    """Masks as an optimizer of the stars would leave them.

    Stars move a voxel only where the refiner contradicts it, and until it no longer does. What Adam reaches in a
    hundred steps, a few rounds of giving in to the refiner reach at once.

    Args:
        refiner: the refiner under attack, in evaluation mode.
        scans: ``(N, C, H, W)``.
        masks: ``(N, R, H, W)``, where the attack starts.
        rounds: how often the refiner looks anew.

    Returns:
        Masks of the same shape.
    """
    for _ in range(rounds):
        estimate = refiner(scans, masks).sigmoid()
        moved = (estimate > ATTACK_SURE) | (estimate < 1 - ATTACK_SURE)
        masks = torch.where(moved, 0.05 + 0.9 * (estimate > 0.5).float(), masks)
    return masks


def attack_rounds(config: HardenConfig, step: int) -> int:
    """Rounds by which half of a step's masks are attacked: 0 in every second step; their limit grows to the end."""
    begin = config.attack_from * config.steps
    if step % 2 == 0 or step < begin:
        return 0
    share = (step - begin) / max(config.steps - begin, 1)
    most = 1 + round(share * (config.attack_rounds - 1))
    return 1 + int(np.random.default_rng((config.seed, step)).integers(most))


def teaching_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Dice by plane and region, and cross entropy by voxel: a scalar."""
    dice = smooth_dice(logits.sigmoid(), truth)
    return 1 - dice.mean() + VOXEL_WEIGHT * F.binary_cross_entropy_with_logits(logits, truth)


def learning_rate(config: HardenConfig, step: int) -> float:
    """The rate of a step: up linearly, down as a cosine."""
    share = (step + 1) / config.steps
    if share <= WARM_UP:
        return config.learning_rate * share / WARM_UP
    return float(config.learning_rate * (1 + np.cos(np.pi * (share - WARM_UP) / (1 - WARM_UP))) / 2)


def mean_dice(masks: Tensor, truth: Tensor) -> float:
    """Mean over planes and regions of Dice, cut at one half; regions of few voxels count as half right."""
    return float(smooth_dice((masks > 0.5).float(), truth).mean())


def smooth_dice(masks: Tensor, truth: Tensor, smoothing: float = SMOOTHING) -> Tensor:
    """Dice ``(N, R)`` of planes ``(N, R, H, W)``, probabilities or 0 and 1; without smoothing NaN where both are empty.

    Unlike `dqe_loss.metrics.overlap.region_dice` it has a gradient, and stays on the device.
    """
    both, total = (masks * truth).sum((-2, -1)), (masks + truth).sum((-2, -1))
    return (2 * both + smoothing) / (total + smoothing)

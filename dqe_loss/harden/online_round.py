"""A round between two epochs: a refiner is taught on the planes that the loss has looked at, and judged by others."""

import copy

import numpy as np
import torch

from dqe_loss.harden.config import HardenConfig
from dqe_loss.harden.objective import attack_rounds, learning_rate
from dqe_loss.harden.shown import ShownPlanes, draw_shown, judge_shown
from dqe_loss.harden.step import teach
from dqe_loss.losses.steps import uncounted
from dqe_loss.surrogate.refiner import Refiner
from dqe_loss.train.saved_state import Row


def teach_round(refiner: Refiner, shown: ShownPlanes, config: HardenConfig) -> Row:
    """Teach a refiner, in place; a round that leaves it worse on the planes that were held back is undone.

    Args:
        refiner: the refiner, frozen before and after.
        shown: the planes, one or more.
        config: steps, batch, course of rate and attacks, and the seed of this round.

    Returns:
        What `dqe_loss.harden.online.OnlineHardening.epoch_end` tells of a round, from ``planes`` on.
    """
    weight, task = next(refiner.parameters()), shown.task
    taught, judged = shown.split()
    weights = copy.deepcopy(refiner.state_dict())
    before = judge_shown(refiner, judged, task)
    optimizer = torch.optim.AdamW(refiner.parameters(), weight_decay=config.weight_decay)
    rows = []
    refiner.requires_grad_(True)
    try:
        with uncounted(), torch.enable_grad(), torch.autocast(weight.device.type, enabled=False):
            for step in range(config.steps):
                drawn = draw_shown(taught, task, config.batch, config.predictions_share, (config.seed, step))
                scans, masks, truth = (tensor.to(weight.device, weight.dtype) for tensor in drawn)
                rounds, rate = attack_rounds(config, step), learning_rate(config, step)
                # A few planes of a few exams are no statistics to normalize by.
                rows.append(teach(refiner, optimizer, (scans, masks, truth), rounds, rate, statistics=False))
    finally:
        refiner.requires_grad_(False)
        refiner.zero_grad()
    after = judge_shown(refiner, judged, task)
    kept = after.distance <= before.distance
    if not kept:
        refiner.load_state_dict(weights)
    names = sorted({name for row in rows for name in row})
    return {
        "planes": len(shown.kept),
        **{name: float(np.mean([row[name] for row in rows if name in row])) for name in names},
        "network": before.network,
        "judge_error_before": before.error,
        "judge_error": after.error,
        "right_before": before.right,
        "right": after.right,
        "kept": float(kept),
    }

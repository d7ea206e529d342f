"""Batches of planes and masks, made by processes beside the training; a batch depends on seed and step alone."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from dqe_loss.command_line import available_cores
from dqe_loss.harden.config import HardenConfig
from dqe_loss.harden.masks import as_regions, draw_mask
from dqe_loss.harden.scenes import draw_scene
from dqe_loss.harden.taught_exams import TaughtExam
from dqe_loss.processes import ignore_signals

SHARE_OF_CORES = 0.25
"""Share of the cores that make batches where the network computes on the others: a batch takes a fifth of a step."""

Batch = tuple[Tensor, Tensor, Tensor]
"""Scans ``(N, C, H, W)``, masks and true regions ``(N, R, H, W)``."""


def draw_batch(exams: Sequence[TaughtExam], config: HardenConfig, step: int) -> Batch:
    """The planes of a step."""
    scans, masks, truths = [], [], []
    for place in range(config.batch):
        rng = np.random.default_rng((config.seed, step, place))
        scene = draw_scene(exams, rng)
        scans.append(scene.scans)
        masks.append(draw_mask(scene, exams, rng, config.predictions_share))
        truths.append(scene.truth)
    return torch.stack(scans), torch.stack(masks), as_regions(torch.stack(truths), exams[0].task)


@dataclass(frozen=True)
class StepBatches(Dataset[Batch]):
    """The batch of each step.

    Attributes:
        exams: what is taught on.
        config: the hardening.
    """

    exams: Sequence[TaughtExam]
    config: HardenConfig

    def __getitem__(self, step: int) -> Batch:
        """Draw a step's batch on one thread: sums would depend on their number in the last bit."""
        with threads(1):
            return draw_batch(self.exams, self.config, step)


def batches_from(
    exams: Sequence[TaughtExam], config: HardenConfig, first: int, device: torch.device
) -> Iterator[Batch]:
    """The batches of the steps from the first one on, in their order; the worker processes end with the iterator."""
    loader = DataLoader(
        StepBatches(exams, config),
        batch_size=None,
        sampler=range(first, config.steps),
        num_workers=worker_count(config, device),
        worker_init_fn=ignore_signals,
        pin_memory=device.type == "cuda",
    )
    return iter(loader)


def worker_count(config: HardenConfig, device: torch.device) -> int:
    """Processes that make batches: as configured, or what keeps the network busy and no core idle."""
    if config.workers is not None:
        return config.workers
    cores = available_cores()
    if device.type != "cpu":
        return cores - 1
    return max(round(SHARE_OF_CORES * cores), 1) if cores > 1 else 0


def network_threads(config: HardenConfig, device: torch.device) -> int:
    """Threads of the network: on a CPU the cores that make no batches, and never more than PyTorch was given."""
    if device.type != "cpu":
        return torch.get_num_threads()
    return max(min(torch.get_num_threads(), available_cores() - worker_count(config, device)), 1)


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Let PyTorch compute on so many threads within the context."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)

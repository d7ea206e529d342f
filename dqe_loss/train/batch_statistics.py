"""Batch statistics of a step, the same wherever its parts were computed.

A step's planes go through the network in several forward passes, in one process or in many. Batch normalization
counts over one pass; its running statistics would then depend on which process saw which pass last. Here they move
once a step, toward the average over all passes of all processes.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def averaged_batch_statistics(network: nn.Module) -> Iterator[None]:
    """Within it the passes of one step run; afterward the running statistics have moved once.

    Args:
        network: in training mode; its batch normalizations keep their momentum.
    """
    norms = [m for m in network.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    momenta = [0.1 if norm.momentum is None else norm.momentum for norm in norms]
    before = [[buffer.clone() for buffer in _statistics(norm)] for norm in norms]
    counted = [_count(norm).clone() for norm in norms]
    for norm in norms:
        # Without momentum PyTorch keeps the plain average since num_batches_tracked was 0.
        norm.momentum = None
        _count(norm).zero_()
    yield
    _average_over_processes([buffer for norm in norms for buffer in _statistics(norm)])
    for norm, momentum, old, count in zip(norms, momenta, before, counted, strict=True):
        for buffer, value in zip(_statistics(norm), old, strict=True):
            buffer.copy_(value.lerp(buffer, momentum))
        norm.momentum = momentum
        _count(norm).copy_(count + 1)


def _statistics(norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        raise ValueError(f"{norm} keeps no running statistics")
    return mean, variance


def _count(norm: _BatchNorm) -> Tensor:
    count = norm.num_batches_tracked
    if count is None:
        raise ValueError(f"{norm} keeps no running statistics")
    return count


def _average_over_processes(buffers: list[Tensor]) -> None:
    """One message for all buffers: a hundred small ones would cost more than the step's gradient."""
    if not buffers or not distributed.is_initialized():
        return
    flat = torch.cat([buffer.flatten() for buffer in buffers])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    for buffer, part in zip(buffers, torch.split(flat, [buffer.numel() for buffer in buffers]), strict=True):
        buffer.copy_(part.view_as(buffer))

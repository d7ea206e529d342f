"""Gradients of a step, the same wherever its parts were computed.

A step's gradient is the mean over several passes, in one process or in many. Added up in single precision it would
depend on their order; Ranger21 scales every tensor's gradient to one size, so that rounding becomes a step. Sums of a
few single-precision numbers in double precision are all but exact, in any order. PyTorch's DistributedDataParallel
adds in single precision, which is why it is not used; these networks are small.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import distributed, nn


@contextmanager
def summed_gradients(network: nn.Module, passes: int) -> Iterator[Callable[[], None]]:
    """Within it the passes of one step run; afterward the parameters hold the mean gradient over all of them.

    Args:
        network: whose parameters are trained.
        passes: how many passes there are, in all processes together.

    Yields:
        What is to be called after each backward pass.
    """
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    first = parameters[0]
    double = torch.float32 if first.device.type == "mps" else torch.float64  # which Apple's GPUs do not have
    total = torch.zeros(sum(map(torch.numel, parameters)), dtype=double, device=first.device)

    def add() -> None:
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        total.add_(torch.cat([gradient.flatten() for gradient in gradients]))
        torch._foreach_zero_(gradients)

    yield add
    if distributed.is_initialized():
        distributed.all_reduce(total)
    total /= passes
    for parameter, part in zip(parameters, torch.split(total, [p.numel() for p in parameters]), strict=True):
        if parameter.grad is not None:
            # Into the gradient's own memory, which is laid out as the parameter's.
            parameter.grad.copy_(part.view_as(parameter))

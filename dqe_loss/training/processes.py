"""The processes of a training: one, or those that torchrun started."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

import torch
from torch import distributed

from dqe_loss.command import check_device


@dataclass(frozen=True)
class Processes:
    """Where this process stands.

    Attributes:
        rank: its number; process 0 writes and talks.
        world: how many there are.
        device: where it computes.
    """

    rank: int
    world: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this is process 0."""
        return self.rank == 0

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.world > 1:
            distributed.barrier()

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        if self.world == 1:
            return flag
        flags = torch.tensor(float(flag), device=self.device)
        distributed.all_reduce(flags, distributed.ReduceOp.MAX)
        return bool(flags)

    def total(self, value: float) -> float:
        """Sum of a value over all processes."""
        if self.world == 1:
            return value
        values = torch.tensor(value, dtype=torch.float64, device=self.device)
        distributed.all_reduce(values)
        return float(values)


@contextmanager
def processes(device: str) -> Iterator[Processes]:
    """Join the processes that torchrun (or any launcher that sets its variables) started; alone without one.

    Args:
        device: ``"auto"`` (a GPU where there is one), ``"cpu"``, ``"cuda"``, ``"cuda:1"``.

    Yields:
        Where this process stands; with several processes and GPUs each takes that of its local rank.

    Raises:
        ValueError: if the device is not there.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world > 1 and device == "cuda":
        device = f"cuda:{os.environ['LOCAL_RANK']}"
    check_device(device)
    if world == 1:
        yield Processes(0, 1, torch.device(device))
        return
    if device.startswith("cuda"):
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield Processes(distributed.get_rank(), world, torch.device(device))
    finally:
        distributed.destroy_process_group()


class StopRequest:
    """Whether SIGTERM (a cluster's end of time) or SIGINT (Ctrl-C) has come; a second Ctrl-C interrupts at once."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __bool__(self) -> bool:
        """Whether a signal has come."""
        return self.signal is not None

    def _receive(self, number: int, _: FrameType | None) -> None:
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = number

    @contextmanager
    def listening(self) -> Iterator["StopRequest"]:
        """Listen to both signals within the context."""
        before = {number: signal.signal(number, self._receive) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def ignore_signals(_: int) -> None:
    """In a worker process: leave signals that reach the whole group to the training process, which saves and ends."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)

"""The processes of one job: one, or those that torchrun or another launcher started."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

import torch
from torch import distributed

from dqe_loss.command_line import check_device


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


def launched() -> tuple[int, int]:
    """Which of how many processes this one is, by the launcher's variables alone: nobody waits for anybody.

    torchrun (and whoever sets RANK and WORLD_SIZE, such as a job array's script) or SLURM's srun; alone without them.
    SLURM_NTASKS would not do: it is there in a batch script, too, which is one process whatever the number of tasks.

    Returns:
        Rank and number of processes.

    Raises:
        ValueError: if the variables do not fit each other.
    """
    for rank_name, world_name in (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS")):
        if world_name in os.environ:
            given = os.environ.get(rank_name, ""), os.environ[world_name]
            if not all(value.isdecimal() for value in given) or int(given[0]) >= int(given[1]):
                raise ValueError(
                    f"{rank_name} is {given[0]!r} and {world_name} {given[1]!r}; expected whole numbers, the first "
                    "from 0 to below the second"
                )
            return int(given[0]), int(given[1])
    return 0, 1


def own_device(device: str) -> str:
    """The device of this process: ``"cuda"`` is that of its local rank, if it sees several."""
    local = os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID", ""))
    if device == "cuda" and local.isdecimal() and torch.cuda.device_count() > 1:
        return f"cuda:{int(local) % torch.cuda.device_count()}"
    return device


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

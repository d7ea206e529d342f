"""Planes a second of each stage of a training: read from the cache, augment, step of the network; and end to end.

Run: ``python benchmarks/training_throughput.py``, on a GPU with ``--batch 80 --micro-batch 80 --workers 16``. The
planes are those of phantoms with their reference masks (the time of a step does not depend on what a mask shows).
Reading and augmenting are measured in one thread, as in a worker; end to end is the training's own loop, with its
workers. The paper trained at about 33 planes a second (500 epochs of about 480 planes in about two hours on a Quadro
P5000).
"""

import os
import statistics
import tempfile
import time
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import tyro
from _options import ResultFile, resolved
from _report import machine, markdown_table, spread, timed, write_json

from dqe_loss.data.augmentation.augment import augment
from dqe_loss.data.phantom.files import phantom_paths, write_phantom
from dqe_loss.options import TrainingDevice
from dqe_loss.processes import Processes, StopRequest
from dqe_loss.surrogate.checkpoint import assemble
from dqe_loss.surrogate.network import build_network
from dqe_loss.train.config import PRESETS, TrainConfig
from dqe_loss.train.dataset import RatedPlane
from dqe_loss.train.plane_cache import PlaneCache, read_planes
from dqe_loss.train.trainer import Trainer

PAPER = 33.0
"""Planes a second."""


@dataclass(frozen=True)
class TrainingThroughputOptions:
    """Measure the throughput of a training.

    Attributes:
        preset: Which training.
        phantoms: Exams; three planes each.
        batch: Planes per step.
        micro_batch: Planes per forward pass.
        workers: Processes that read and augment, end to end.
        steps: Measured steps; one more goes first.
    """

    preset: str = "paper"
    phantoms: int = 8
    batch: int = 20
    micro_batch: int = 10
    workers: int = 2
    steps: int = 5
    device: TrainingDevice = "auto"
    json: ResultFile = Path("benchmarks/results/training_throughput.json")


def main() -> None:
    """Measure, print the table, write the JSON."""
    arguments = tyro.cli(TrainingThroughputOptions, description=__doc__)
    where = Processes(0, 1, torch.device(resolved(arguments.device)))
    sizes = {name: getattr(arguments, name) for name in ("batch", "micro_batch", "workers")}
    config = replace(PRESETS[arguments.preset][1], **sizes)
    with tempfile.TemporaryDirectory() as folder:
        planes = phantom_planes(Path(folder), arguments.phantoms, config)
        # A pass over the exams must hold some steps; what is repeated is read from the page cache either way.
        planes = planes * (1 + arguments.batch * (arguments.steps + 1) // len(planes))
        seconds = {
            "read": measure_read(planes),
            "augment": measure_augment(planes, config),
            "step": measure_step(planes, config, where, arguments.steps),
            "end to end": measure_training(planes, config, where, Path(folder), arguments.steps),
        }
    rows = [
        {
            "stage": stage,
            "ms a plane": spread([1000 * value for value in values]),
            "planes/s": 1 / statistics.median(values),
            "paper's 33 planes/s": f"{1 / statistics.median(values) / PAPER:.2g} x",
        }
        for stage, values in seconds.items()
    ]
    print(markdown_table(rows))
    payload = {"machine": machine(), "arguments": vars(arguments), "seconds_per_plane": seconds, "table": rows}
    write_json(arguments.json, payload)


def phantom_planes(folder: Path, count: int, config: TrainConfig) -> list[RatedPlane]:
    """Cached planes of phantoms, with stars that mean nothing."""
    task, cache, planes = config.settled, PlaneCache(folder / "planes", config.surrogate()), []
    cache.folder.mkdir(exist_ok=True)
    for seed in range(count):
        write_phantom(seed, folder, task)
        paths = phantom_paths(seed, folder, task)
        entry = cache.find(paths) or cache.add([paths])[0]
        planes += [RatedPlane(paths.name, str(paths.segmentations[0]), view, entry, 5.0) for view in task.views]
    return planes


def measure_read(planes: list[RatedPlane]) -> list[float]:
    """Seconds a plane from the cache, the operating system's page cache being warm."""
    return [timed(lambda plane=plane: read_planes(plane.entry, plane.view)[0].sum())() for plane in planes[:100]][5:]


def measure_augment(planes: list[RatedPlane], config: TrainConfig) -> list[float]:
    """Seconds a plane in one thread; the mean over draws of 20, for most planes meet few transforms."""
    torch.set_num_threads(1)
    means = []
    for start in range(0, 120, 20):
        drawn = [(index, *read_planes(planes[index].entry, planes[index].view)) for index in range(start, start + 20)]
        seconds = [
            timed(lambda i=index, s=scans, r=regions: augment(s, r, config.augmentation, seed=(0, 0, i)))()
            for index, scans, regions in drawn
        ]
        means.append(float(np.mean(seconds)))
    torch.set_num_threads(os.cpu_count() or 1)
    return means[1:]


def measure_step(planes: list[RatedPlane], config: TrainConfig, where: Processes, steps: int) -> list[float]:
    """Seconds a plane of forward, backward and optimizer, the planes lying on the device."""
    trainer = make_trainer(planes, config, where, Path("unused"))
    dataset = trainer.loader.dataset
    items = [dataset[0, index] for index in range(config.micro_batch)]
    part = tuple(torch.stack(column).to(where.device) for column in zip(*items, strict=True))
    trainer.network.train()

    def step() -> None:
        trainer._step(iter([part] * trainer.batches.per_step), trainer.progress)

    measure = timed(step, where.device)
    return [measure() / config.batch for _ in range(steps + 1)][1:]


def measure_training(
    planes: list[RatedPlane], config: TrainConfig, where: Processes, folder: Path, steps: int
) -> list[float]:
    """Seconds a plane of the training itself, from one step to the next; the first, in which workers start, apart."""
    trainer = make_trainer(planes[: config.batch * (steps + 1)], config, where, folder / "state.pt")
    ends: list[float] = []

    class Clock(StopRequest):
        """Notes when each step ends, and stops after the last."""

        def __bool__(self) -> bool:
            ends.append(time.perf_counter())
            return len(ends) > steps

    trainer.run({}, Clock())
    return [(after - before) / config.batch for before, after in pairwise(ends)]


def make_trainer(planes: list[RatedPlane], config: TrainConfig, where: Processes, state: Path) -> Trainer:
    """The trainer of the command, without its files."""
    network = build_network(config.surrogate())
    surrogate = assemble(config.surrogate(), network.state_dict()).to(where.device)
    network = network.to(where.device, memory_format=torch.channels_last)
    return Trainer(config, surrogate, network, planes, [], where, state, lambda *_: None)


if __name__ == "__main__":
    main()

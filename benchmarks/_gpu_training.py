"""Part `training` of `gpu.py`: planes a second of the paper's training, by itself and end to end."""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from _gpu_part import FOLDER, GpuPart, kernels, wait_for
from _gpu_stand_in import WITHOUT_SIMPLEITK
from training_throughput import make_trainer, measure_augment, measure_step, measure_training, phantom_planes

from dqe_loss.command_line import available_cores
from dqe_loss.processes import Processes
from dqe_loss.task import BLOBS
from dqe_loss.train.config import PRESETS, TrainConfig

PAPER = 33.0
"""Planes a second (arXiv 2205.10355: 500 epochs of about 480 planes in about two hours)."""
PLANES_OF_A_RUN = 500 * 480
GOAL = 20


def training(part: GpuPart) -> None:
    """One pass of 80 planes and the paper's four of 20, then with the workers that read and augment."""
    if WITHOUT_SIMPLEITK:
        part.note(augmentation="without motion: SimpleITK is not installed here")
    part.detail(shared_memory_gib=shutil.disk_usage("/dev/shm").total / 2**30 if Path("/dev/shm").exists() else None)
    config, where = configured(part), Processes(0, 1, torch.device(part.device))
    folder = part.out / FOLDER
    wait_for(part, folder)
    planes = phantom_planes(folder, 1 if part.smoke else 2, config)  # made by `prepare`: they are only found
    steps = 1 if part.smoke else 40
    planes = planes * (1 + config.batch * (steps + 1) // len(planes))

    def network(micro: int) -> None:
        one = replace(config, micro_batch=micro)
        seconds = measure_step(planes, one, where, 1 if part.smoke else 6)
        part.detail(**{f"step, micro-batch {micro}, seconds a plane": seconds})
        part.note(**_rates(f"network alone, micro-batch {micro}", seconds, statistics.median))

    def end_to_end(micro: int) -> None:
        one = replace(config, micro_batch=micro)
        seconds = measure_training(planes, one, where, folder, steps)
        part.detail(**{f"end to end, micro-batch {micro}, seconds a plane": seconds})
        settled = seconds[len(seconds) // 4 :]  # without what the workers had made ahead
        part.note(**_rates(f"end to end, micro-batch {micro}, {config.workers} workers", settled, statistics.mean))

    def augmentation() -> None:
        seconds = measure_augment(planes, config)
        part.note(**{"augmentation, planes/s a core": 1 / statistics.median(seconds)})

    def profile() -> None:
        trainer = make_trainer(planes, config, where, folder / "unused")
        items = [trainer.loader.dataset[0, index] for index in range(config.micro_batch)]
        inputs, stars = (torch.stack(column).to(where.device) for column in zip(*items, strict=True))
        trainer.network.train()

        def run() -> None:
            trainer._step(iter([(inputs, stars)] * trainer.batches.per_step), trainer.progress)

        part.detail(kernels=kernels(run))

    sizes = (config.batch,) if part.smoke else (config.micro_batch, config.batch)
    for micro in sizes:
        part.attempt(f"network, {micro}", network, micro)
    for micro in sizes[::-1]:
        part.attempt(f"end to end, {micro}", end_to_end, micro, needs=0 if part.smoke else 8)
    if not part.smoke:
        part.attempt("kernels", profile, needs=5)
        part.attempt("augmentation", augmentation, needs=6)


def configured(part: GpuPart) -> TrainConfig:
    """The preset 'paper', as the machine can run it; a smoke test's planes are of blobs."""
    config = PRESETS["paper"][1]
    if WITHOUT_SIMPLEITK:
        config = replace(config, augmentation=replace(config.augmentation, motion_probability=0.0))
    if part.smoke:
        return replace(config, task=BLOBS.name, batch=2, micro_batch=2, workers=0)
    return replace(config, workers=max(available_cores() - 1, 1))


def _rates(name: str, seconds: list[float], middle: Callable[[list[float]], float]) -> dict[str, float]:
    rate = 1 / middle(seconds)
    return {
        f"{name}, planes/s": rate,
        f"{name}, times the paper (goal {GOAL})": rate / PAPER,
        f"{name}, minutes of 500 epochs of 480 planes": PLANES_OF_A_RUN / rate / 60,
    }

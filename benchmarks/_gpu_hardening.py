"""Part `hardening` of `gpu.py`: steps and planes a second of teaching a refiner."""

from __future__ import annotations

import itertools
import statistics
import time
from dataclasses import replace
from functools import partial

import torch
from _gpu_part import GpuPart, kernels
from _gpu_prepare import task_of, taught_exams
from _report import timed

from dqe_loss.harden.batches import batches_from, draw_batch, threads, worker_count
from dqe_loss.harden.config import HardenConfig
from dqe_loss.harden.objective import attack_rounds
from dqe_loss.harden.teacher import Teacher
from dqe_loss.surrogate.refiner import Refiner


def hardening(part: GpuPart) -> None:
    """Batches by themselves, the network's steps by themselves, and both together."""
    device = torch.device(part.device)
    config = HardenConfig(batch=2, features=(4,) * 6, workers=0) if part.smoke else HardenConfig()
    exams, task = taught_exams(part), task_of(part)
    plain, attacked = (
        next(step for step in range(config.steps - 1, 0, -1) if bool(attack_rounds(config, step)) is wanted)
        for wanted in (False, True)
    )

    def teacher(of: HardenConfig) -> Teacher:
        torch.manual_seed(0)
        refiner = Refiner(of.refiner(), task).to(device)
        return Teacher(of, refiner, exams, (), device, part.out / "unused", lambda _: None, task)

    def batches() -> None:
        with threads(1):
            seconds = [timed(partial(draw_batch, exams, config, s))() for s in range(1 if part.smoke else 8)]
        part.detail(batch_seconds=seconds)
        part.note(**{f"a batch of {config.batch}, one core, ms": 1e3 * statistics.median(seconds)})

    def network(size: int) -> None:
        of = replace(config, batch=size)
        repeats = -(-size // config.batch)
        scans, masks, truth = (
            tensor.repeat(repeats, 1, 1, 1)[:size].to(device) for tensor in draw_batch(exams, config, 0)
        )
        batch = scans, masks, truth
        taught = teacher(of)
        for name, step in (("plain", plain), ("attacked", attacked)):
            run = timed(partial(taught._step, batch, step), device)
            seconds = [run() for _ in range(2 if part.smoke else 12)][1 if part.smoke else 3 :]
            median = statistics.median(seconds)
            part.note(
                **{
                    f"network step, batch {size}, {name}, ms": 1e3 * median,
                    f"network step, batch {size}, {name}, planes/s": size / median,
                }
            )
        part.detail(**{f"kernels, batch {size}": kernels(lambda: taught._step(batch, plain))})

    def together() -> None:
        taught, count = teacher(config), 2 if part.smoke else 150
        first = config.steps // 2
        steps = iter(batches_from(exams, config, first, device))
        if not part.smoke:  # workers start, and make some ahead
            for step, batch in enumerate(itertools.islice(steps, 40), start=first):
                taught._step(batch, step)
        start, done = time.perf_counter(), 0
        for step, batch in enumerate(itertools.islice(steps, count), start=first + 40):
            taught._step(batch, step)
            done += 1
            if part.left < 4:
                break
        if device.type == "cuda":
            torch.cuda.synchronize()
        rate = done / (time.perf_counter() - start)
        workers = worker_count(config, device)
        part.note(
            **{
                f"end to end, {workers} workers, steps/s": rate,
                f"end to end, {workers} workers, planes/s": rate * config.batch,
                f"minutes of {config.steps} steps": config.steps / rate / 60,
            }
        )

    part.attempt("batches", batches)
    for size in (config.batch,) if part.smoke else (config.batch, 48):
        part.attempt(f"network, batch {size}", network, size)
    part.attempt("together", together, needs=0 if part.smoke else 8)

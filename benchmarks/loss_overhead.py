"""Time and peak memory that DQELoss adds to a training step: DiceLoss alone beside DiceLoss + 0.1 * DQELoss.

Run: ``python benchmarks/loss_overhead.py`` (``--size 96`` on a CPU, 128 in bf16 on a GPU). The network is
MONAI's SegResNet (16 filters, 4 channels in, 3 out). A step's own jitter can exceed what the loss adds, so
the criteria are also timed alone, forward and backward from the same logits, and set against the step's
time. Targets: 6 % of a step on a CPU, 5 % on a GPU, 1 GiB more for a full-size exam.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch

import numpy as np
import torch
import tyro
from _graph import captured
from _options import AutoDevice, ResultFile, Threads, resolved
from _report import interleave, machine, markdown_table, spread, timed, write_json
from monai.losses import DiceLoss
from monai.networks.nets import SegResNet
from torch import Tensor, nn

from dqe_loss import (
    VIEWS,
    DQELoss,
    extract_planes,
    load_surrogate,
    pad_planes,
    regions_from_labels,
    scale_planes,
    soft_center_of_mass,
)
from dqe_loss.core.slicing import VIEW_AXIS
from dqe_loss.data.exam_files import find_exam
from dqe_loss.data.exams import Exam, read_exam
from dqe_loss.data.phantom import make_phantom
from dqe_loss.options import CheckpointName
from dqe_loss.surrogate import network as surrogate_network
from dqe_loss.surrogate.checkpoint import DEFAULT_CHECKPOINT

DICE, PLUS, LEAN = "DiceLoss", "DiceLoss + DQELoss", "DiceLoss + DQELoss(checkpointing=True)"
PLACED, ALONE = "DiceLoss + DQELoss, origin=", "DQELoss"
SELDOM, LIBRARY = "DiceLoss + DQELoss(every=2)", "DiceLoss + DQELoss, network as MONAI runs it"
TARGET_SHARE = {"cpu": 0.06, "cuda": 0.05}
TARGET_GIB = 1.0
SHARE = "share of the step, %"
Variant = Literal["eager", "compiled", "criterion compiled", "graph"]
Part = Literal["step", "memory", "breakdown"]


@dataclass(frozen=True)
class LossOverheadOptions:
    """Options of the command line."""

    size: int | None = None
    """Edge of the crop in voxels: 96 on a CPU, 128 on a GPU."""
    checkpoint: CheckpointName = DEFAULT_CHECKPOINT
    exam: Path | None = None
    """Folder of an exam, its first segmentation the target; the phantom if not given."""
    device: AutoDevice = "auto"
    weight: float = 0.1
    """Weight of the DQE term."""
    repeats: int | None = None
    """Measured rounds of training steps: 3 on a CPU, 20 on a GPU."""
    criterion_repeats: int = 9
    """Measured rounds of the criteria alone and of the breakdown."""
    variants: tuple[Variant, ...] = ("eager",)
    """compiled: torch.compile of network and criterion, or of the criterion alone; graph: the whole step captured in a
    CUDA graph."""
    bf16: bool | None = None
    """Autocast to bfloat16; on by default on a GPU only."""
    parts: tuple[Part, ...] = ("memory", "step", "breakdown")
    """What to measure."""
    clock: Literal["wall", "processor"] = "wall"
    """processor: time that this process computed, for a CPU that others use, too; best with one thread."""
    threads: Threads = None
    json: ResultFile = Path("benchmarks/results/loss_overhead.json")

    def resolved(self) -> LossOverheadOptions:
        """The same with the defaults of the device filled in."""
        device = resolved(self.device)
        gpu = device == "cuda"
        return replace(
            self,
            device=device,
            size=self.size or (128 if gpu else 96),
            repeats=self.repeats or (20 if gpu else 3),
            bf16=gpu if self.bf16 is None else self.bf16,
            threads=self.threads or torch.get_num_threads(),
        )


@dataclass(frozen=True)
class Batch:
    """An exam or crop of it, on the device: raw image (1, 4, X, Y, Z), regions TC, WT, ET (1, 3, X, Y, Z)."""

    image: Tensor
    target: Tensor
    whole: Batch | None = None
    """Of a crop: the exam that it comes from."""
    origin: tuple[int, ...] = (0, 0, 0)
    """Of a crop: its first voxel in the exam."""

    @property
    def network_input(self) -> Tensor:
        """The image as a network wants it, each channel z-scored."""
        image = self.image.float()
        return (image - image.mean((2, 3, 4), keepdim=True)) / image.std((2, 3, 4), keepdim=True)


def main(settings: LossOverheadOptions) -> None:
    """Measures, prints the tables and writes the JSON."""
    settings = settings.resolved()
    torch.set_num_threads(settings.threads or 1)
    payload: dict[str, Any] = {"settings": asdict(settings), "machine": machine()}
    with tempfile.TemporaryDirectory() as scratch:
        crop, whole = _save_batches(settings, Path(scratch))
        if "memory" in settings.parts:  # first: the children must not inherit a large parent
            payload["memory"] = _memory_table(settings, crop, whole)
            print(f"Peak memory of one training step (target: {TARGET_GIB} GiB more for the full exam)\n")
            print(markdown_table(payload["memory"]), "\n")
        if "step" in settings.parts:
            batch = replace(_load(crop, settings), whole=_load(whole, settings))
            payload |= _step_tables(settings, batch)
        if "breakdown" in settings.parts:
            stages = {
                name: _breakdown(settings, _load(file, settings))
                for name, file in ((f"crop {settings.size}^3", crop), ("full exam", whole))
            }
            rows = [
                {"stage": stage}
                | {f"ms, {name} (range)": spread([1e3 * s for s in stages[name][stage]]) for name in stages}
                for stage in next(iter(stages.values()))
            ]
            payload["breakdown_seconds"] = stages
            print(markdown_table(rows), "\n")
    print(payload["machine"])
    write_json(settings.json, payload)


def _criterion(case: str, settings: LossOverheadOptions) -> Callable[[Tensor, Batch], Tensor]:
    dice = DiceLoss(sigmoid=True)
    if case == DICE:
        return lambda logits, batch: dice(logits, batch.target)
    # "pad": a crop too small for training's default is to cost what a rated one costs
    cap = None if case == ALONE else 0.3
    every = 2 if case == SELDOM else 1
    term = DQELoss(settings.checkpoint, max_gradient_ratio=cap, checkpointing=case == LEAN, on_small="pad", every=every)
    term = term.to(settings.device)
    criterion = term if case == ALONE else dice + settings.weight * term
    if case == LIBRARY:
        return lambda logits, batch: _by_library(lambda: criterion(logits, batch.target, image=batch.image))

    def run(logits: Tensor, batch: Batch) -> Tensor:
        if case == PLACED:
            exam = batch.whole or batch
            return criterion(logits, exam.target, image=exam.image, origin=batch.origin)
        value = criterion(logits, batch.target, image=batch.image)
        if case == SELDOM:  # each call counts as a step
            criterion.steps_done += 1
        return value

    return run


def _by_library(run: Callable[[], Tensor]) -> Tensor:
    """A call without `dqe_loss.surrogate.frozen`, as on a GPU."""
    with patch.object(surrogate_network, "may_run_by_hand", lambda _: False):
        return run()


def _step(
    settings: LossOverheadOptions, case: str, batch: Batch, network: nn.Module, variant: Variant = "eager"
) -> Callable[[], object]:
    """One training step: forward, loss, backward, optimizer."""
    gpu = settings.device == "cuda"
    criterion = _criterion(case, settings)
    if variant in ("compiled", "criterion compiled"):
        criterion = torch.compile(criterion)
    if variant == "compiled":
        network = torch.compile(network)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, capturable=gpu)
    inputs = batch.network_input

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(
            settings.device, torch.bfloat16, enabled=bool(settings.bf16), cache_enabled=variant != "graph"
        ):
            loss = criterion(network(inputs), batch)
        loss.backward()
        optimizer.step()

    return captured(step, optimizer.zero_grad) if variant == "graph" else step


def _segresnet(device: str) -> nn.Module:
    torch.manual_seed(0)
    network: nn.Module = SegResNet(spatial_dims=3, init_filters=16, in_channels=4, out_channels=3)
    return network.to(device)


class _Weights(nn.Module):
    """A network that needs no memory of its own; even a 1x1x1 convolution's backward pass outweighs the loss."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3, 1, 1, 1))

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs[:, :3] * self.weight


def _step_tables(settings: LossOverheadOptions, batch: Batch) -> dict[str, Any]:
    """Measures and prints steps per variant, then the criteria alone; gives the JSON's part of it."""
    rows: list[dict[str, Any]] = []
    seconds: dict[str, dict[str, list[float]]] = {}
    for variant in settings.variants:
        try:
            runs = {c: _step(settings, c, batch, _segresnet(settings.device), variant) for c in (DICE, PLUS)}
            timings = {c: _timed(run, settings) for c, run in runs.items()}
            seconds[variant] = interleave(timings, settings.repeats or 1)
        except Exception as error:  # a missing compiler or a capture that breaks is a result, not a crash
            why = f"failed: {type(error).__name__}: {error}".splitlines()[0]
            rows.append({"measured": f"step, {variant}", "criterion": PLUS, "s (range)": why})
            continue
        rows += _added_rows(f"step, {variant}", seconds[variant], min(seconds[variant][DICE]))
    steps = [min(measured[DICE]) for measured in seconds.values()]
    step = min(steps) if steps else float("nan")
    alone = interleave(_criteria_alone(settings, batch), settings.criterion_repeats)
    rows += _added_rows("criterion forward and backward alone", alone, step)
    # on a GPU the host queues the criterion's kernels while the network still runs: there only steps can tell
    decisive = [row[SHARE] for row in rows if row["criterion"] == PLUS and SHARE in row]
    share = decisive[-1] if settings.device == "cpu" else min(decisive[:-1], default=float("nan"))
    target = 100 * TARGET_SHARE[settings.device]
    met = "met" if share <= target else "missed"
    verdict = f"{share:.1f} % of a {settings.size}^3 step; target {target:.0f} %: {met}"
    print(markdown_table(rows), "", verdict, "", sep="\n")
    return {"step": rows, "step_seconds": seconds, "criterion_seconds": alone, "verdict": verdict}


def _added_rows(measured: str, seconds: dict[str, list[float]], step: float) -> list[dict[str, Any]]:
    """One row per criterion: its time, what it adds to DiceLoss in the same round, and its share by the least times."""
    rows = []
    for case, values in seconds.items():
        row: dict[str, Any] = {"measured": measured, "criterion": case, "s (range)": spread(values)}
        if case != DICE:
            added = [value - dice for value, dice in zip(values, seconds[DICE], strict=True)]
            row |= {"added, s (range)": spread(added), SHARE: 100 * (min(values) - min(seconds[DICE])) / step}
        rows.append(row)
    return rows


def _criteria_alone(settings: LossOverheadOptions, batch: Batch) -> dict[str, Callable[[], float]]:
    """Forward and backward of each criterion from the same logits: 4 in the target, -4 outside, and noise."""
    noise = torch.randn(batch.target.shape, generator=torch.Generator().manual_seed(0)).to(settings.device)
    logits = 8 * batch.target.float() - 4 + noise
    logits = (logits.bfloat16() if settings.bf16 else logits).requires_grad_()

    def run(case: str) -> Callable[[], float]:
        criterion = _criterion(case, settings)

        def once() -> None:
            with torch.autocast(settings.device, torch.bfloat16, enabled=bool(settings.bf16)):
                loss = criterion(logits, batch)
            torch.autograd.grad(loss, logits)

        if case == SELDOM:  # a step with the term and one without it
            both = _timed(lambda: [once(), once()], settings)
            return lambda: both() / 2
        return _timed(once, settings)

    return {case: run(case) for case in (DICE, PLUS, LIBRARY, SELDOM, PLACED)}


def _timed(run: Callable[[], object], settings: LossOverheadOptions) -> Callable[[], float]:
    clock = time.process_time if settings.clock == "processor" else time.perf_counter
    return timed(run, torch.device(settings.device), clock)


def _breakdown(settings: LossOverheadOptions, batch: Batch) -> dict[str, list[float]]:
    """Seconds of the DQE term's parts, from the public functions, and of the whole term."""
    surrogate = load_surrogate(settings.checkpoint).to(settings.device)
    loss = DQELoss(surrogate, on_small="pad", max_gradient_ratio=None).to(settings.device)
    logits = (8 * batch.target.float() - 4).requires_grad_()
    probabilities = logits.detach().sigmoid()
    center = soft_center_of_mass(probabilities)

    def planes(volume: Tensor) -> list[Tensor]:
        return [extract_planes(volume, center[:, VIEW_AXIS[view], None], view)[:, 0] for view in VIEWS]

    images, masks = planes(batch.image), planes(probabilities)
    scaled = [pad_planes(scale_planes(image)) for image in images]
    inputs = torch.cat([torch.cat((image, pad_planes(mask)), 1) for image, mask in zip(scaled, masks, strict=True)])
    inputs.requires_grad_()
    kept: dict[str, Tensor] = {}

    def stars() -> None:
        kept["stars"] = surrogate(inputs).sum()

    def value() -> None:
        kept["value"] = loss(logits, batch.target, image=batch.image)

    stages: dict[str, Callable[[], object]] = {
        "activation": lambda: logits.detach().sigmoid(),
        "center": lambda: soft_center_of_mass(probabilities),
        "planes of image": lambda: planes(batch.image),
        "planes of regions": lambda: planes(probabilities),
        "scaling and padding": lambda: [pad_planes(scale_planes(image)) for image in images],
        "network forward": stars,
        "network backward": lambda: torch.autograd.grad(kept["stars"], inputs),
        "DQELoss forward": value,
        "DQELoss backward": lambda: torch.autograd.grad(kept["value"], logits),
    }
    return interleave({name: _timed(run, settings) for name, run in stages.items()}, settings.criterion_repeats)


def _memory_table(settings: LossOverheadOptions, crop: Path, whole: Path) -> list[dict[str, Any]]:
    """Peak of one step per criterion; the full exam with almost no network, so that the loss shows."""
    rows: list[dict[str, Any]] = []
    for name, file, network, cases in (
        (f"SegResNet, crop {settings.size}^3", crop, "segresnet", (DICE, PLUS, LEAN)),
        ("one weight per channel, full exam", whole, "weights", (DICE, ALONE, PLUS, LEAN)),
    ):
        # One process for each: what a step leaves behind must not count in the next.
        with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
            peaks = {case: pool.apply(_peak, (settings, case, file, network)) for case in cases}
        for case, peak in peaks.items():
            row: dict[str, Any] = {"network": name, "criterion": case}
            for measure, gib in peak.items():
                added = gib - peaks[DICE][measure] if case != DICE else None
                row |= {f"{measure}, GiB": gib, f"{measure}, added": added}
            rows.append(row)
    return rows


def _peak(settings: LossOverheadOptions, case: str, file: Path, network: str) -> dict[str, float]:
    """Runs in a process of its own: peak of one training step by the system's account and by the tensors'."""
    torch.set_num_threads(settings.threads or 1)
    batch = _load(file, settings)
    model = _Weights().to(settings.device) if network == "weights" else _segresnet(settings.device)
    step = _step(settings, case, batch, model)
    if settings.device == "cuda":
        step()
        torch.cuda.reset_peak_memory_stats()
        step()
        return {"CUDA tensors": torch.cuda.max_memory_allocated() / 2**30}
    _forget_resident_peak()
    step()
    resident = _resident_peak()
    # 10 s a step of the large network: once is enough
    return {"resident": resident} | ({"tensors": _tensor_peak(step)} if network == "weights" else {})


def _forget_resident_peak() -> None:
    """Starts the account of peak memory anew, so that loading the data does not hide the step (Linux only)."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _resident_peak() -> float:
    """Largest resident memory of this process, in GiB."""
    status = Path("/proc/self/status")
    if status.exists():  # on Linux ru_maxrss also counts the parent before exec, VmHWM does not
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)


def _tensor_peak(step: Callable[[], object]) -> float:
    """Largest sum of tensors that a step adds to those before it, in GiB, from the allocator's own events."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # the profiler's notes; errors go through the pool, not stderr
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        step()
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    alive = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        alive += event.nbytes()
        peak = max(peak, alive)
    return peak / 2**30


def _save_batches(settings: LossOverheadOptions, scratch: Path) -> tuple[Path, Path]:
    """Writes crop and whole exam as arrays, so that a fresh process need not make or decompress them."""
    exam = _first_mask(settings.exam) if settings.exam else make_phantom()
    labels = next(iter(exam.segmentations.values()))
    edge = settings.size or 96
    center = [int(c) for c in np.argwhere(labels > 0).mean(0)]
    starts = [min(max(c - edge // 2, 0), n - edge) for c, n in zip(center, labels.shape, strict=True)]
    box = tuple(slice(start, start + edge) for start in starts)
    files = scratch / "crop.npz", scratch / "whole.npz"
    for file, part in zip(files, (box, (slice(None),) * 3), strict=True):
        origin = [side.start or 0 for side in part]
        np.savez(file, image=exam.image[(slice(None), *part)], labels=labels[part], origin=origin)
    return files


def _first_mask(folder: Path) -> Exam:
    paths = find_exam(folder)
    return read_exam(replace(paths, segmentations=paths.segmentations[:1]))


def _load(file: Path, settings: LossOverheadOptions) -> Batch:
    with np.load(file) as stored:
        image = torch.from_numpy(stored["image"])[None].to(settings.device)
        labels = torch.from_numpy(stored["labels"])[None, None].to(settings.device)
        return Batch(image, regions_from_labels(labels), origin=tuple(stored["origin"].tolist()))


if __name__ == "__main__":
    main(tyro.cli(LossOverheadOptions, description=__doc__))

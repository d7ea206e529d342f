"""Parts `loss` and `loss_compiled` of `gpu.py`: what DQELoss adds to a training step, in time and memory."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import loss_overhead
import torch
from _gpu_inference import CHECKPOINTS, before, phantom, set_tf32, small_surrogate
from _gpu_part import GpuPart, kernels
from _report import interleave, timed
from loss_overhead import (
    DICE,
    PLUS,
    Batch,
    LossOverheadOptions,
    Variant,
    _breakdown,
    _criteria_alone,
    _load,
    _save_batches,
    _segresnet,
    _step,
    _Weights,
)
from monai.networks.nets import DynUNet
from torch import nn

from dqe_loss import load_surrogate

__all__ = ["before", "loss", "loss_compiled"]

BURST = 4
"""Steps between two looks at the clock: in a training, the host runs ahead of the GPU."""
GOAL = "goal 5 %"


def loss(part: GpuPart) -> None:
    """Eager steps of both networks, then SegResNet's captured in a CUDA graph, then the criterion by itself."""
    settings, batch = _data(part)
    twice = replace(batch, image=batch.image.repeat(2, 1, 1, 1, 1), target=batch.target.repeat(2, 1, 1, 1, 1))
    networks = {"SegResNet, batch 1": (_network(part), batch), "nnU-Net 3d_fullres, batch 2": (_nnunet, twice)}
    networks["SegResNet, batch 2"] = (_segresnet, twice)
    part.detail(
        nnunet="MONAI's DynUNet with nnU-Net's default plan (32 to 320 channels, six levels, instance norm), "
        "without deep supervision"
    )
    for name, (network, data) in list(networks.items())[: 1 if part.smoke else None]:
        part.attempt(name, _steps, part, name, network, data, settings, "eager")
        torch.cuda.empty_cache()
    if not part.smoke:
        part.attempt("CUDA graph", _steps, part, "SegResNet, batch 1, CUDA graph", _segresnet, batch, settings, "graph")
    part.attempt("criterion", _alone, part, settings, batch, needs=0 if part.smoke else 8)


def loss_compiled(part: GpuPart) -> None:
    """The same steps with a compiled criterion, warm, and how long the first took; a CPU only traces."""
    settings, batch = _data(part)
    if part.smoke:
        torch.compile = lambda run, **_: run  # type: ignore[assignment]  # a compiler is nothing that a smoke test can wait for
    for label in list(CHECKPOINTS)[: 1 if part.smoke else None]:
        name, how = "SegResNet, batch 1, criterion compiled", "criterion compiled"
        needs = 0 if part.smoke else 25
        part.attempt(label, _steps, part, name, _network(part), batch, settings, how, (label,), needs=needs)


def _data(part: GpuPart) -> tuple[LossOverheadOptions, Batch]:
    set_tf32(True)
    torch.backends.cudnn.benchmark = True  # as nnU-Net has it
    size = 32 if part.smoke else 128
    device: Any = part.device
    settings = LossOverheadOptions(
        size=size, device=device, bf16=not part.smoke, criterion_repeats=1 if part.smoke else 7
    )
    settings = settings.resolved()
    loss_overhead.make_phantom = partial(phantom, part.smoke)  # type: ignore[attr-defined]  # drawn before the part's turn
    with tempfile.TemporaryDirectory() as scratch:
        crop, _ = _save_batches(settings, Path(scratch))
        return settings, _load(crop, settings)


def _network(part: GpuPart) -> Callable[[str], nn.Module]:
    """SegResNet; a smoke test has almost no network, for the time a step takes."""
    return (lambda device: _Weights().to(device)) if part.smoke else _segresnet


def _nnunet(device: str) -> nn.Module:
    """The network that nnU-Net plans for BraTS at 128^3."""
    torch.manual_seed(0)
    strides = [1, 2, 2, 2, 2, 2]
    network: nn.Module = DynUNet(
        spatial_dims=3,
        in_channels=4,
        out_channels=3,
        kernel_size=[3] * 6,
        strides=strides,
        upsample_kernel_size=strides[1:],
        filters=[32, 64, 128, 256, 320, 320],
    )
    return network.to(device)


def _steps(
    part: GpuPart,
    name: str,
    network: Callable[[str], nn.Module],
    batch: Batch,
    settings: LossOverheadOptions,
    variant: Variant,
    checkpoints: tuple[str, ...] = tuple(CHECKPOINTS),
) -> None:
    """Steps with DiceLoss alone and with each checkpoint beside it, in turn."""
    device = torch.device(part.device)
    cases: dict[str, Callable[[], float]] = {}
    peaks: dict[str, float] = {}
    for label in (DICE, *checkpoints):
        case = DICE if label == DICE else PLUS
        own = settings if label == DICE else _rated_by(part, settings, label)
        # Dice alone is compiled to nothing that matters: it stays eager beside a compiled sum
        how: Variant = "eager" if label == DICE and variant == "criterion compiled" else variant
        before = torch.cuda.memory_allocated() if device.type == "cuda" else 0
        start = time.perf_counter()
        step = _step(own, case, batch, network(part.device), how)
        for _ in range(1 if part.smoke else 3):
            step()
        if device.type == "cuda":
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        part.detail(**{f"{name}, {label}, first steps, s": time.perf_counter() - start})
        step()
        if device.type == "cuda":
            peaks[label] = (torch.cuda.max_memory_allocated() - before) / 2**30
        cases[label] = _burst(step, device, 1 if part.smoke else BURST)
        part.write()
    seconds = interleave(cases, 1 if part.smoke else 8)
    part.detail(**{f"{name}, seconds a step": seconds})
    figures: dict[str, Any] = {f"{name}, {DICE}, ms": 1e3 * statistics.median(seconds[DICE])}
    if peaks and variant != "graph":  # a graph's memory is its pool's
        figures[f"{name}, {DICE}, peak GiB"] = peaks[DICE]
    for label in checkpoints:
        added = statistics.median(mine - dice for mine, dice in zip(seconds[label], seconds[DICE], strict=True))
        figures[f"{name}, {label} adds, ms"] = 1e3 * added
        figures[f"{name}, {label} adds, % ({GOAL})"] = 100 * added / statistics.median(seconds[DICE])
        if peaks and variant != "graph":
            figures[f"{name}, {label} adds, GiB"] = peaks[label] - peaks[DICE]
    part.note(**figures)


def _rated_by(part: GpuPart, settings: LossOverheadOptions, label: str) -> LossOverheadOptions:
    """The settings with a checkpoint; in a smoke test with a small field of view."""
    checkpoint: Any = CHECKPOINTS[label]
    if part.smoke:
        checkpoint = small_surrogate(load_surrogate(checkpoint))
    return replace(settings, checkpoint=checkpoint)


def _burst(step: Callable[[], object], device: torch.device, count: int) -> Callable[[], float]:
    def steps() -> None:
        for _ in range(count):
            step()

    measure = timed(steps, device)
    return lambda: measure() / count


def _alone(part: GpuPart, settings: LossOverheadOptions, batch: Batch) -> None:
    """Forward and backward of the criteria, the stages of the term, and the kernels of both."""
    for label in CHECKPOINTS:
        own = _rated_by(part, settings, label)
        runs = _criteria_alone(own, batch)
        seconds = interleave({case: runs[case] for case in (DICE, PLUS)}, own.criterion_repeats)
        part.note(
            **{f"{case}, {label}, forward and backward, ms": 1e3 * statistics.median(s) for case, s in seconds.items()}
        )
        part.detail(**{f"kernels, {label}": kernels(runs[PLUS], 20)})
        if not part.smoke:
            stages = _breakdown(own, batch)
            part.detail(**{f"stages, {label}, ms": {key: 1e3 * statistics.median(s) for key, s in stages.items()}})

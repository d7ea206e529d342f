"""Parts `inference` and `inference_compiled` of `gpu.py`: exams a second from tensors that lie on the card."""

from __future__ import annotations

import json
import statistics
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from _gpu_part import GpuPart, kernels
from _report import interleave, timed
from _upstream import upstream
from inference_throughput import Bench, _only_mask, _prepared

from dqe_loss import MODALITIES, Surrogate, load_surrogate
from dqe_loss.core.mask import LabelMask, center_of_mask
from dqe_loss.data.exams import Exam
from dqe_loss.data.phantom import make_blob, make_phantom
from dqe_loss.surrogate.checkpoint import assemble, weights_of

CHECKPOINTS = {"published": "brainlesion", "hardened": "hardened"}
BATCH = 64
VARIANTS = {  # TensorFloat-32, and a variant of inference_throughput.py
    "float32": (False, "float32"),
    "float32, TF32": (True, "float32"),
    "bf16": (True, "bf16"),
    "fp16": (True, "fp16"),
    "bf16, CUDA graph": (True, "bf16 graph"),
    "fp16, CUDA graph": (True, "fp16 graph"),
}
TINY = 64
"""Field of view of a smoke test, in which its exam of 48 voxels a side lies."""


def inference(part: GpuPart) -> None:
    """Upstream's own ``predict``, then both checkpoints in all precisions, eager and captured."""
    warnings.filterwarnings("ignore", "This DataLoader will create 8 worker processes")  # upstream's, each call
    part.attempt("upstream", _upstream, part)
    beds = {name: bench(part, checkpoint) for name, checkpoint in CHECKPOINTS.items()}
    for name, bed in beds.items():
        part.attempt(name, _variants, part, name, bed)
    for name, bed in beds.items():
        part.attempt(f"stages, {name}", _stages, part, name, bed)
    for size in () if part.smoke else (8, 16, 128):
        part.attempt(f"batch {size}", _one, part, "published", beds["published"], size, "bf16", needs=8)


def inference_compiled(part: GpuPart) -> None:
    """The same compiled; a CPU only traces."""
    if part.smoke:
        torch.compile = lambda run, **_: run  # type: ignore[assignment]  # a compiler is nothing that a smoke test can wait for
    for name, checkpoint in CHECKPOINTS.items():
        bed = bench(part, checkpoint)
        size = 2 if part.smoke else BATCH
        part.attempt(name, _one, part, name, bed, size, "bf16 compiled", needs=0 if part.smoke else 20)


@cache
def phantom(smoke: bool) -> Exam:
    """The phantom, drawn once: it takes 2 s; a smoke test has a blob, the same in all scans."""
    if not smoke:
        return make_phantom()
    blob = make_blob()
    return replace(blob, image=blob.image.repeat(len(MODALITIES), axis=0))


before = phantom
"""What may be done before a part's turn."""


def bench(part: GpuPart, checkpoint: str) -> Bench:
    """The phantom and a checkpoint on the card; a smoke test's has a small field of view."""
    exam, surrogate = phantom(part.smoke), load_surrogate(checkpoint)
    if part.smoke:
        surrogate = small_surrogate(surrogate)
    nowhere = Path()  # files are not measured here
    return Bench(surrogate.to(part.device), torch.device(part.device), nowhere, nowhere, exam)  # type: ignore[arg-type]


def small_surrogate(surrogate: Surrogate, side: int = TINY) -> Surrogate:
    """The same network with a small field of view."""
    return assemble(replace(surrogate.config, field_of_view=(side, side)), weights_of(surrogate))


def set_tf32(on: bool) -> None:
    """TensorFloat-32 in convolutions and products."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = on


def _upstream(part: GpuPart) -> None:
    device = torch.device(part.device)
    try:
        model = upstream(device)
    except ModuleNotFoundError as error:
        part.note(upstream=f"left out: {error.name} is not installed here")
        return
    bed = bench(part, "brainlesion")
    # upstream takes no integer arrays, and pads to BraTS's own size
    images = dict(zip(MODALITIES, bed.exam.image.astype(np.float32), strict=True))
    mask = _only_mask(bed.exam)
    run = timed(lambda: model.predict(**images, segmentation=mask), device)
    seconds = [run() for _ in range(2 if part.smoke else 7)][1:]
    part.detail(upstream_seconds=seconds)
    part.note(**{"upstream, arrays, exams/s": 1 / statistics.median(seconds)})


def _variants(part: GpuPart, name: str, bed: Bench) -> None:
    size = 2 if part.smoke else BATCH
    image, labels = bed._tensors(size)
    expected = bed._rate_tensors(image[:1], labels[:1])
    cases: dict[str, Callable[[], float]] = {}
    for variant, (tf32, kind) in VARIANTS.items():
        if part.smoke and kind != "float32":
            continue

        def prepare(variant: str = variant, tf32: bool = tf32, kind: str = kind) -> None:
            set_tf32(tf32)
            run = _prepared(bed._rate_tensors, image, labels, kind)
            measure = timed(run, bed.device)

            def once() -> float:
                set_tf32(tf32)
                return measure()

            cases[variant] = once
            stars = run()
            if isinstance(stars, torch.Tensor):
                moved = float((stars[:1] - expected).abs().max())
                part.detail(**{f"{name}, {variant}, stars moved at most": moved})

        part.attempt(f"{name}, {variant}", prepare)
    set_tf32(False)
    seconds = interleave(cases, 1 if part.smoke else 5)
    part.detail(**{f"{name}, batch {size}, seconds": seconds})
    _note_rates(part, name, {case: size / statistics.median(s) for case, s in seconds.items()})


def _one(part: GpuPart, name: str, bed: Bench, size: int, kind: str) -> None:
    set_tf32(True)
    image, labels = bed._tensors(size)
    run = timed(_prepared(bed._rate_tensors, image, labels, kind), bed.device)
    seconds = [run() for _ in range(2 if part.smoke else 6)][1:]
    part.detail(**{f"{name}, batch {size}, {kind}, seconds": seconds})
    _note_rates(part, name, {f"batch {size}, {kind}": size / statistics.median(seconds)})


def _note_rates(part: GpuPart, name: str, rates: dict[str, float]) -> None:
    base = _upstream_rate(part)
    for case, value in rates.items():
        part.note(**{f"{name}, {case}, exams/s": value})
    if base and name == "published":
        best = max(value for key, value in part.summary.items() if key.startswith(f"{name}, ") and "exams/s" in key)
        part.note(**{f"{name}, best, times upstream (goal 500)": best / base, f"{name}, best (goal 1000)": best})


def _upstream_rate(part: GpuPart) -> float | None:
    """What the part `inference` found."""
    file = part.out / "parts" / "inference.json"
    found = json.loads(file.read_text())["summary"] if file.exists() else {}
    rate: float | None = found.get("upstream, arrays, exams/s")
    return rate


def _stages(part: GpuPart, name: str, bed: Bench) -> None:
    """What a batch's time is spent on, in bf16."""
    set_tf32(True)
    size = 2 if part.smoke else BATCH
    image, labels = bed._tensors(size)
    mask = LabelMask(labels, "brats")
    planes = bed._network_input(image, labels)

    def network() -> None:
        with torch.autocast(part.device, torch.bfloat16, enabled=not part.smoke):
            bed._network(planes)

    def both() -> None:
        bed._network_input(image, labels)
        network()

    stages: dict[str, Callable[[], object]] = {
        "center of mass": lambda: center_of_mask(mask, hard=True),
        "network input": lambda: bed._network_input(image, labels),
        "network": network,
    }
    seconds = interleave({key: timed(run, bed.device) for key, run in stages.items()}, 1 if part.smoke else 5)
    part.note(**{f"{name}, {key}, ms an exam": 1e3 * statistics.median(s) / size for key, s in seconds.items()})
    part.detail(**{f"{name}, kernels": kernels(both)})

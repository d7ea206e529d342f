"""Part `rate` of `gpu.py`: `rate_segmentation` with and without a look all over the head."""

from __future__ import annotations

import statistics
from functools import partial

import torch
from _gpu_inference import before, bench
from _gpu_part import GpuPart, kernels
from _report import interleave, timed
from inference_throughput import Bench

from dqe_loss import rate_segmentation

__all__ = ["before", "rate"]

BATCHES = (1, 8)


def rate(part: GpuPart) -> None:
    """Exams a second by the default checkpoint."""
    bed = bench(part, "hardened")
    for size in BATCHES[: 1 if part.smoke else None]:
        part.attempt(f"batch {size}", _rate, part, bed, size)


def _rate(part: GpuPart, bed: Bench, size: int) -> None:
    image, labels = bed._tensors(size)

    def run(thorough: bool) -> None:
        with torch.no_grad():
            rate_segmentation(bed.surrogate, image, labels, thorough=thorough)

    cases = {f"thorough={thorough}": timed(partial(run, thorough), bed.device) for thorough in (False, True)}
    seconds = interleave(cases, 1 if part.smoke else 10, 0 if part.smoke else 2)
    part.detail(**{f"seconds, batch {size}": seconds})
    part.note(**{f"exams/s, batch {size}, {case}": size / statistics.median(s) for case, s in seconds.items()})
    part.detail(**{f"kernels, batch {size}": kernels(partial(run, True))})

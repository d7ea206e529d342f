"""Part `rate` of `gpu.py`: `rate_segmentation` with and without a look all over the head."""

from __future__ import annotations

import statistics

import torch
from _gpu_inference import before, bench
from _gpu_part import Part, kernels
from _report import interleave, timed

from dqe_loss import rate_segmentation

__all__ = ["before", "rate"]

BATCHES = (1, 8)


def rate(part: Part) -> None:
    """Exams a second by the default checkpoint."""
    bed = bench(part, "hardened")
    for size in BATCHES[: 1 if part.smoke else None]:
        image, labels = bed._tensors(size)

        def run(thorough: bool, image: torch.Tensor = image, labels: torch.Tensor = labels) -> None:
            with torch.no_grad():
                rate_segmentation(bed.surrogate, image, labels, thorough=thorough)

        def measure(size: int = size, run: object = run) -> None:
            cases = {f"thorough={thorough}": timed(lambda t=thorough: run(t), bed.device) for thorough in (False, True)}
            seconds = interleave(cases, 1 if part.smoke else 10, 0 if part.smoke else 2)
            part.detail(**{f"seconds, batch {size}": seconds})
            part.note(**{f"exams/s, batch {size}, {case}": size / statistics.median(s) for case, s in seconds.items()})

        part.attempt(f"batch {size}", measure)
        part.attempt(
            f"kernels {size}", lambda run=run, size=size: part.detail(**{f"kernels {size}": kernels(lambda: run(True))})
        )

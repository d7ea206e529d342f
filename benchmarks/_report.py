"""What every benchmark shares: the machine in words, interleaved measuring, a Markdown table, safe JSON."""

from __future__ import annotations

import math
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import monai
import numpy
import torch
from _results import markdown_table, write_json

__all__ = ["interleave", "machine", "markdown_table", "spread", "timed", "write_json"]


def machine() -> dict[str, Any]:
    """Describes where the figures were measured; a load above the cores in use means that it was busy.

    Returns:
        A JSON-ready mapping: processor, cores this process may use, torch's threads, memory in GiB,
        one-minute load average, operating system, versions, GPU (``None`` without one).
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else math.nan
    return {
        "processor": _processor(),
        "cores": cores,
        "torch_threads": torch.get_num_threads(),
        "memory_gib": round(memory / 2**30, 1),
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "system": platform.platform(),
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "monai": monai.__version__,
        "numpy": numpy.__version__,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def timed(
    run: Callable[[], object], device: torch.device | None = None, clock: Callable[[], float] = time.perf_counter
) -> Callable[[], float]:
    """Wraps a call so that it returns its time in seconds (wall time), the GPU's queue emptied before and after."""

    def measure() -> float:
        synchronize = device is not None and device.type == "cuda"
        if synchronize:
            torch.cuda.synchronize(device)
        start = clock()
        run()
        if synchronize:
            torch.cuda.synchronize(device)
        return clock() - start

    return measure


def interleave(cases: Mapping[str, Callable[[], float]], repeats: int, warmup: int = 1) -> dict[str, list[float]]:
    """Runs the cases A B C, A B C, ..., so that a slow minute of the machine strikes all of them alike.

    Args:
        cases: Name to a call that returns what it measured (see `timed`).
        repeats: Measured rounds.
        warmup: Rounds thrown away first.

    Returns:
        Name to its `repeats` measurements, in order.
    """
    rounds = [{name: run() for name, run in cases.items()} for _ in range(warmup + repeats)][warmup:]
    return {name: [measured[name] for measured in rounds] for name in cases}


def spread(values: Sequence[float], digits: int = 3) -> str:
    """Median with the range behind it, ``"0.41 (0.40-0.45)"``."""
    low, middle, high = (f"{value:.{digits}g}" for value in (min(values), statistics.median(values), max(values)))
    return f"{middle} ({low}-{high})"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()

"""One part of `gpu.py` inside its process: where it notes what it found, and what fails alone."""

from __future__ import annotations

import importlib
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from _results import write_json

FOLDER = "planes"
"""Of the planes that `prepare` makes, in the folder of the run."""
READY = "ready"
"""Empty file that says that a folder is complete."""
FAILED = "FAILED"
"""File that says that `prepare` has failed, and where."""

MODULES = {
    "tests": "_gpu_tests",
    "inference": "_gpu_inference",
    "loss": "_gpu_loss",
    "training": "_gpu_training",
    "hardening": "_gpu_hardening",
    "rate": "_gpu_rate",
    "loss_compiled": "_gpu_loss",
    "inference_compiled": "_gpu_inference",
    "prepare": "_gpu_prepare",
}
"""Module of each part; in it the function of the part's name."""


@dataclass
class GpuPart:
    """What a part is given, and where it notes what it found.

    Attributes:
        out: folder of all results.
        name: the part's.
        smoke: everything tiny, on the CPU.
        ends: when it must have ended, by ``time.monotonic``.
        summary: the figures for the table.
        details: all else.
        failures: the last lines of what failed.
        card: the GPU.
        took: seconds of each piece.
    """

    out: Path
    name: str
    smoke: bool
    ends: float
    summary: dict[str, Any] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    card: dict[str, Any] | None = None
    took: dict[str, float] = field(default_factory=dict)

    @property
    def device(self) -> str:
        """Where it computes."""
        return "cpu" if self.smoke else "cuda"

    @property
    def left(self) -> float:
        """Seconds left."""
        return self.ends - time.monotonic()

    def note(self, **figures: Any) -> None:
        """Adds figures to the table, and writes all that is known."""
        self.summary |= figures
        self.write()

    def detail(self, **figures: Any) -> None:
        """Adds figures that the table does not show, and writes all that is known."""
        self.details |= figures
        self.write()

    def attempt(self, what: str, work: Callable[..., object], *arguments: object, needs: float = 0) -> bool:
        """Runs a piece of the part; what fails is noted, and the rest goes on.

        Args:
            what: its name.
            work: the piece.
            arguments: what it is called with.
            needs: seconds below which it is left out.

        Returns:
            Whether it was done.
        """
        if self.left < needs:
            self.failures[what] = f"left out: {self.left:.0f} s left, {needs:.0f} needed"
            self.write()
            return False
        start = time.monotonic()
        try:
            work(*arguments)
        except Exception as error:
            lines = traceback.format_exc().strip().splitlines()
            self.failures[what] = "\n".join([*lines[-14:], f"{type(error).__name__}: {str(error)[:300]}"])
            print(f"{what} failed\n" + "\n".join(lines), file=sys.stderr)
            self.write()
            return False
        finally:
            self.took[what] = time.monotonic() - start
            print(f"{what}: {self.took[what]:.1f} s, {self.left:.0f} s left", flush=True)
        self.write()
        return True

    def write(self) -> None:
        """Writes all that is known."""
        payload = {"summary": self.summary, "details": self.details, "failures": self.failures, "took": self.took}
        if self.card is not None:
            payload["card"] = self.card
        write_json(self.out / "parts" / f"{self.name}.json", payload)


def run_part(name: str, out: Path, smoke: bool) -> int:
    """Imports, does what may be done ``before`` its turn, waits for that, and runs; 1 if a piece of it failed."""
    try:
        return _run_part(name, out, smoke)
    except BaseException as error:
        if name == "prepare":  # others wait for what it makes
            (out / FAILED).write_text(f"{type(error).__name__}: {error}")
        raise


def _run_part(name: str, out: Path, smoke: bool) -> int:
    module = importlib.import_module(MODULES[name])
    getattr(module, "before", lambda smoke: None)(smoke)
    limit = sys.stdin.readline()
    if not limit:  # the command has ended
        return 1
    part = GpuPart(out.resolve(), name, smoke, time.monotonic() + float(limit))
    if name not in ("prepare", "tests"):
        import torch

        if smoke:
            torch.set_num_threads(1)
        elif not torch.cuda.is_available():
            part.failures["device"] = "expected a CUDA device, found none; --smoke runs everything tiny on the CPU"
            part.write()
            print(part.failures["device"], file=sys.stderr)
            return 1
        else:
            part.card = card()
    getattr(module, name)(part)
    part.write()
    return int(bool(part.failures))


def card() -> dict[str, Any]:
    """The GPU and what drives it."""
    import torch

    found = torch.cuda.get_device_properties(0)
    return {
        "name": found.name,
        "capability": ".".join(map(str, torch.cuda.get_device_capability(0))),
        "memory_gib": found.total_memory / 2**30,
        "torch": torch.__version__,
        "cuda": str(torch.version.cuda),
        "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
    }


def kernels(run: Callable[[], object], most: int = 14) -> list[dict[str, Any]]:
    """What a call spends the GPU's time on: its longest kernels in ms, and in the first row all of them and the host.

    On a CPU nothing is recorded; where the profiler does not work, that is said.
    """
    import torch

    if not torch.cuda.is_available():
        return []
    run()
    torch.cuda.synchronize()
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    try:
        with torch.profiler.profile(activities=activities) as profile:
            start = time.perf_counter()
            run()
            issued = time.perf_counter() - start
            torch.cuda.synchronize()
    except RuntimeError as error:
        return [{"kernel": f"the profiler failed: {error}"[:200]}]
    events = [event for event in profile.key_averages() if str(event.device_type).endswith("CUDA")]
    events.sort(key=lambda event: event.self_device_time_total, reverse=True)
    total = sum(event.self_device_time_total for event in events) / 1e3
    calls = sum(event.count for event in events)
    rows = [{"kernel": "all", "ms": total, "calls": calls, "host_ms": 1e3 * issued}]
    return rows + [
        {"kernel": event.key[:90], "ms": event.self_device_time_total / 1e3, "calls": event.count}
        for event in events[:most]
    ]


def wait_for(part: GpuPart, folder: Path) -> None:
    """Until a folder is complete.

    Raises:
        RuntimeError: if `prepare` has failed.
        TimeoutError: with 10 s left of the part's time, it was not.
    """
    while not (folder / READY).exists():
        for failed in (folder.parent / FAILED, folder / FAILED):
            if failed.exists():
                raise RuntimeError(f"prepare failed ({failed.read_text()}); see parts/prepare.txt")
        if part.left < 10:
            raise TimeoutError(f"{folder.name} was not prepared in time; see parts/prepare.txt")
        time.sleep(0.2)

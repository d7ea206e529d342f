"""All that is measured and tested on a GPU, by one command and within eight minutes.

Run: ``python benchmarks/gpu.py --out FOLDER`` on a machine with a CUDA device; ``--smoke`` runs everything tiny on the
CPU. Each part runs in a process of its own with its own time limit, and writes ``FOLDER/parts/NAME.json`` as soon as it
knows something: what fails, or takes too long, costs no other part. In the end there are one table and
``FOLDER/gpu.json``. Exit code: 0, or 1 if a part failed. While a part runs, the next one starts and imports, and waits
for its turn; ``prepare`` runs beside the others, on the cores alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

ROOT = Path(__file__).resolve().parents[1]
CHECKPOINT = ROOT / "dqe_loss/surrogate/weights/hardened.safetensors"
"""The default weights, whose hash is stored: figures are of them."""
LIMITS = {
    "tests": 80,
    "inference": 70,
    "loss": 90,
    "training": 45,
    "hardening": 35,
    "rate": 20,
    "loss_compiled": 120,
    "inference_compiled": 120,
}
"""Seconds that each part may take, the most important first; what compiles comes last, and takes what is left."""
BESIDE = "prepare"
"""Draws what `training` and `hardening` need, beside the parts before them."""
LEAST = 12.0
"""Seconds below which a part is not started."""
GRACE = 5.0
"""Seconds kept for the table."""
TAIL = 30
"""Lines of a failed part's output that are kept."""


@dataclass(frozen=True)
class GpuOptions:
    """Options of the command line."""

    out: Path
    """Folder of the results: made if need be, results of the same parts are overwritten."""
    limit_s: float = 480
    """Seconds that all of it may take."""
    smoke: bool = False
    """Everything tiny on the CPU: shows that the command works."""
    only: tuple[str, ...] = ()
    """Parts to run; all of them if not given."""
    part: str | None = None
    """Used by the command itself: run one part, once its seconds come on standard input."""


def main(settings: GpuOptions) -> int:
    """Runs all parts, or one."""
    if settings.part is not None:
        from _gpu_part import run_part

        return run_part(settings.part, settings.out, settings.smoke)
    if unknown := set(settings.only) - set(LIMITS):
        raise SystemExit(f"expected --only of {', '.join(LIMITS)}; got {', '.join(sorted(unknown))}")
    start = time.monotonic()
    ends = start + settings.limit_s - GRACE
    (settings.out / "parts").mkdir(parents=True, exist_ok=True)
    names = [name for name in LIMITS if name in (settings.only or LIMITS)]
    for name in (*names, BESIDE):
        (settings.out / "parts" / f"{name}.json").unlink(missing_ok=True)
    for told in (settings.out / "FAILED", *settings.out.glob("*/FAILED"), *settings.out.glob("*/ready")):
        told.unlink(missing_ok=True)  # of an earlier run
    beside = Child(BESIDE, settings) if set(names) & {"training", "hardening"} else None
    results: dict[str, dict[str, Any]] = {}
    waiting: Child | None = Child(names[0], settings)
    try:
        if beside is not None:
            beside.go(settings.limit_s)
        for i, name in enumerate(names):
            child, waiting = waiting, Child(names[i + 1], settings) if i + 1 < len(names) else None
            assert child is not None
            if (left := ends - time.monotonic()) < LEAST:
                child.end()
                results[name] = {"status": "not started: no time left"}
            else:
                limit = left if settings.smoke else min(LIMITS[name], left)
                child.go(limit)
                print(f"{name} ...", flush=True)
                results[name] = child.finish(limit)
                print(f"{name}: {results[name]['status']}, {results[name]['seconds']:.0f} s", flush=True)
            _write(settings, results, start)
        if beside is not None:
            results[BESIDE] = beside.finish(max(ends - time.monotonic(), 0.1))
    finally:  # also on Ctrl-C
        for child in (waiting, beside):
            if child is not None:
                child.end()
    _write(settings, results, start)
    print(f"\n{(settings.out / 'table.md').read_text()}")
    return int(any(result["status"] != "ok" for result in results.values()))


class Child:
    """A part in its own process group, which ends with it, whatever it started."""

    def __init__(self, name: str, settings: GpuOptions) -> None:
        self.name, self.file = name, settings.out / "parts" / f"{name}.json"
        self.output = settings.out / "parts" / f"{name}.txt"
        command = [sys.executable, "-u", __file__, "--part", name, "--out", str(settings.out)]
        command += ["--smoke"] * settings.smoke
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
        if settings.smoke:
            environment |= {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS")}
            environment["CUDA_VISIBLE_DEVICES"] = ""
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=output, stderr=output, env=environment, start_new_session=True
            )
        self.started = time.monotonic()

    def go(self, limit: float) -> None:
        """Lets it begin, and tells it how many seconds it has."""
        assert self.process.stdin is not None
        self.started = time.monotonic()
        try:
            self.process.stdin.write(f"{limit}\n".encode())
            self.process.stdin.close()
        except OSError:  # it failed already, and `finish` tells
            pass

    def finish(self, limit: float) -> dict[str, Any]:
        """Waits for its end, or makes one; what it noted until then is its result."""
        try:
            code = self.process.wait(limit)
            status = "ok" if code == 0 else f"failed (exit code {code})"
        except subprocess.TimeoutExpired:
            status = f"timed out after {limit:.0f} s"
        seconds = time.monotonic() - self.started
        self.end()
        noted = json.loads(self.file.read_text()) if self.file.exists() else {}
        if status != "ok":
            noted["output"] = self.output.read_text(errors="replace").splitlines()[-TAIL:]
        return {"status": status, "seconds": seconds, **noted}

    def end(self) -> None:
        """Ends it with all that it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def _write(settings: GpuOptions, results: dict[str, dict[str, Any]], start: float) -> None:
    from importlib.metadata import PackageNotFoundError, version

    from _results import write_json

    def found(package: str) -> str | None:
        try:
            return version(package)
        except PackageNotFoundError:
            return None

    packages = ("torch", "monai", "numpy", "triton", "deep-quality-estimation", "torchio", "batchgenerators")
    payload = {
        "date": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "commit": _commit(),
        "checkpoint_sha256": hashlib.sha256(CHECKPOINT.read_bytes()).hexdigest(),
        "smoke": settings.smoke,
        "seconds": time.monotonic() - start,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {package: found(package) for package in packages},
        "card": next((result["card"] for result in results.values() if "card" in result), None),
        "parts": results,
    }
    write_json(settings.out / "gpu.json", payload)
    (settings.out / "table.md").write_text(_table(payload))


def _commit() -> str | None:
    """Of what was measured, with ``-dirty`` where files differ; None where git does not know."""
    git = ["git", "-C", str(ROOT), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _table(payload: dict[str, Any]) -> str:
    from _results import markdown_table

    rows = []
    for name, result in payload["parts"].items():
        rows.append((name, "status", f"{result['status']}, {result.get('seconds', 0):.0f} s"))
        rows += [(name, key, value) for key, value in _flat(result.get("summary", {}))]
        rows += [(name, f"failed: {key}", str(why).splitlines()[-1]) for key, why in result.get("failures", {}).items()]
        rows += [(name, "output", line) for line in result.get("output", [])[-3:]]
    cells = [[cell.replace("|", "/") for cell in row] for row in rows]
    table = markdown_table([dict(zip(("part", "figure", "value"), row, strict=True)) for row in cells])
    card = ", ".join(f"{key} {value}" for key, value in (payload["card"] or {"card": "none"}).items())
    return f"{card}; {payload['cores']} cores; {payload['date']}; {payload['seconds']:.0f} s\n\n{table}\n"


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Name and text of each figure, those of nested mappings behind their mapping's name."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}, ")
        else:
            yield f"{prefix}{name}", f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    raise SystemExit(main(tyro.cli(GpuOptions, description=__doc__)))

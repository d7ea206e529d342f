"""Time of importing all public names of dqe_loss beside ``import monai.losses``, in fresh interpreters, interleaved.

Run: ``python benchmarks/import_time.py``. Target: at most 0.3 s more than monai.losses.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import tyro
from _options import ResultFile
from _report import interleave, machine, markdown_table, spread, write_json

MODULES = ("torch", "monai.losses", "dqe_loss")
TARGET_SECONDS = 0.3
# dqe_loss imports its public names when they are first used: all of them count here.
ALL_NAMES = "from dqe_loss import *"
TIMER = "import time; start = time.perf_counter(); {}; print(time.perf_counter() - start)"
# both in one process: what -X importtime lists after the marker is what dqe_loss adds to monai.losses
TRACE = "import sys, monai.losses; print('MARKER', file=sys.stderr, flush=True); from dqe_loss import *"


@dataclass(frozen=True)
class ImportTimeOptions:
    """Options of the command line."""

    repeats: int = 7
    """Measured rounds; one more goes first, to fill the disk cache."""
    json: ResultFile = Path("benchmarks/results/import_time.json")


def main(settings: ImportTimeOptions) -> None:
    """Measures, prints the tables and writes the JSON."""
    seconds = interleave({module: _importer(module) for module in MODULES}, settings.repeats)
    medians = {module: statistics.median(values) for module, values in seconds.items()}
    beside = {module: median - medians["monai.losses"] for module, median in medians.items()}
    rows = [
        {"import": module, "s, median (range)": spread(values), "minus monai.losses": beside[module]}
        for module, values in seconds.items()
    ]
    added = _added_by_package()
    print(markdown_table(rows))
    print(f"\ndqe_loss minus monai.losses: {beside['dqe_loss']:+.2f} s; target: at most +{TARGET_SECONDS} s\n")
    print(markdown_table([{"imported by dqe_loss only": name, "s": value} for name, value in added.items()]))
    payload = {"settings": asdict(settings), "machine": machine(), "seconds": seconds}
    write_json(
        settings.json,
        {**payload, "extra_seconds": beside["dqe_loss"], "target_seconds": TARGET_SECONDS, "added_by_package": added},
    )


def _importer(module: str) -> Callable[[], float]:
    return lambda: float(_run("-c", TIMER.format(ALL_NAMES if module == "dqe_loss" else f"import {module}")).stdout)


def _added_by_package() -> dict[str, float]:
    """Seconds by top-level package of all modules that dqe_loss imports and monai.losses does not."""
    trace = _run("-X", "importtime", "-c", TRACE).stderr.split("MARKER", 1)[1]
    seconds: defaultdict[str, float] = defaultdict(float)
    for line in trace.splitlines():
        if line.startswith("import time:") and line.count("|") == 2:
            own, _, name = line.removeprefix("import time:").split("|")
            seconds[name.strip().split(".")[0]] += int(own) * 1e-6
    return dict(sorted(seconds.items(), key=lambda item: -item[1])[:8])


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], check=True, capture_output=True, text=True)


if __name__ == "__main__":
    main(tyro.cli(ImportTimeOptions, description=__doc__))

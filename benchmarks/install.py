"""How long an install takes, and how much it puts on the disk: each extra in a virtual environment of its own.

Run: ``python benchmarks/install.py``. Each environment is a copy of one that holds PyTorch alone, which is told apart,
for it is most of both. Times are of this machine and its network, with what pip has downloaded before left unused. pip
is asked for PyTorch as it is configured: where PyPI's CUDA build is not meant, point PIP_EXTRA_INDEX_URL to the CPU's.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import tyro
from _options import ResultFile
from _report import machine, markdown_table, write_json

ROOT = Path(__file__).resolve().parents[1]
TORCH = "torch==2.13.0"
NO_EXTRA = "none"


@dataclass(frozen=True)
class InstallOptions:
    """Options of the command line."""

    extras: tuple[str, ...] = (NO_EXTRA, "rate", "rate,report", "train", "collect")
    """Extras, each installed into an environment of its own; several of one environment with commas."""
    json: ResultFile = Path("benchmarks/results/install.json")


def main(settings: InstallOptions) -> None:
    """Measures, prints the table and writes the JSON."""
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        alone = Path(scratch) / "alone"
        subprocess.run([sys.executable, "-m", "venv", alone], check=True)
        torch_seconds = _install(alone, TORCH)
        for extra in settings.extras:
            folder = Path(shutil.copytree(alone, Path(scratch) / "with", symlinks=True))
            what = str(ROOT) if extra == NO_EXTRA else f"{ROOT}[{extra}]"
            seconds = _install(folder, "-c", str(ROOT / "constraints.txt"), what)
            packages = len(list(folder.rglob("*.dist-info")))
            rows.append({"extra": extra, "s": seconds, "MB": _size(folder) - _size(alone), "packages": packages})
            print(rows[-1], flush=True)
            shutil.rmtree(folder)
        build = next(alone.rglob("torch-*.dist-info")).name.split("-")[1].removesuffix(".dist")
        payload = {"torch": build, "torch_seconds": torch_seconds, "torch_megabytes": _size(alone), "rows": rows}
    print(markdown_table(rows))
    write_json(settings.json, {"settings": asdict(settings), "machine": machine(), **payload})


def _install(folder: Path, *what: str) -> float:
    """Install, and return the seconds it took."""
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    start = time.perf_counter()
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-cache-dir", *what], check=True)
    return time.perf_counter() - start


def _size(folder: Path) -> float:
    """Sizes of all files, as they are told and not as the disk rounds them, without pip's bytecode."""
    files = (file for file in folder.rglob("*") if file.is_file() and not file.is_symlink() and file.suffix != ".pyc")
    return sum(file.stat().st_size for file in files) / 1e6


if __name__ == "__main__":
    main(tyro.cli(InstallOptions, description=__doc__))

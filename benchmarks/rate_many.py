"""Rate many exams with `python -m dqe_loss.rate`: kill -9 in the middle, memory, cost by stage.

Run: ``python benchmarks/rate_many.py``. A data set of full-size exams is made on the fly: the images of a few phantoms,
and masks of them that were moved or lost parts, linked into many exams. The command is killed with kill -9
when half of the exams are done and started again; then each exam must be there once, and a sample of them is rated one
at a time to compare the numbers. A second data set, of one mask an exam, shows whether memory grows.
Seconds by stage are CPU seconds of one thread, which other jobs on the machine disturb less than wall time.
"""

from __future__ import annotations

import gzip
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import nibabel
import numpy as np
import torch
import tyro
from _options import ResultFile
from _report import machine, markdown_table, timed, write_json

from dqe_loss import MODALITIES, VIEWS, Surrogate, load_surrogate
from dqe_loss.data.discovery.cohort import FoundExam, find_tree
from dqe_loss.data.exams import Exam, open_exam, read_exam
from dqe_loss.data.phantom import make_phantom
from dqe_loss.data.tables.rated import read_rated
from dqe_loss.rate.rate_exam import rate_exam
from dqe_loss.rate.table_rows import prepare_rows, rate_prepared


@dataclass(frozen=True)
class RateManyOptions:
    """Options of the command line."""

    exams: int = 200
    """Exams of the run that is killed."""
    masks: int = 2
    """Masks of each."""
    phantoms: int = 2
    """Different images."""
    variants: int = 10
    """Different masks of each image, times `masks`."""
    memory_exams: int = 500
    """Exams, of one mask each, of the run whose memory is watched; 0 leaves it out."""
    check: int = 40
    """Exams that are rated again one at a time."""
    workers: int = 2
    """Threads that read ahead."""
    engine: Literal["torch", "openvino"] = "torch"
    """What runs the network in the command."""
    json: ResultFile = Path("benchmarks/results/rate_many.json")


def main(settings: RateManyOptions) -> None:
    """Measures, prints the tables and writes the JSON."""
    torch.set_num_threads(1)
    payload: dict[str, Any] = {"settings": asdict(settings), "machine": machine()}
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        for seed in range(settings.phantoms):
            _write_files(make_phantom(seed), root / "files" / str(seed), settings)
        surrogate = load_surrogate()
        _link_exams(root / "killed", settings.exams, settings.masks, settings)
        payload["stages"] = _stages(find_tree(root / "killed")[0], surrogate, root)
        print(markdown_table(payload["stages"]), "", sep="\n", flush=True)
        payload["killed"] = _killed_run(root, settings)
        payload["difference"] = _largest_difference(root, settings, surrogate)
        print(json.dumps(payload["killed"], indent=2))
        print(f"largest difference from one at a time, {settings.check} exams: {payload['difference']:.1e}", flush=True)
        write_json(settings.json, payload)
        if settings.memory_exams:
            _link_exams(root / "memory", settings.memory_exams, 1, settings)
            payload["memory"] = _memory_run(root, settings)
            print(json.dumps({key: value for key, value in payload["memory"].items() if key != "mib"}, indent=2))
            write_json(settings.json, payload)


def _write_files(phantom: Exam, folder: Path, settings: RateManyOptions) -> None:
    """Images as gz and plain, and masks as gz: ``VARIANT_INDEX.nii.gz``, the later ones without every fourth slice."""
    folder.mkdir(parents=True)
    for name, voxels in zip(MODALITIES, phantom.image, strict=True):
        plain = nibabel.Nifti1Image(voxels, phantom.affine).to_bytes()
        (folder / f"{name}.nii.gz").write_bytes(gzip.compress(plain, 6))
        (folder / f"{name}.nii").write_bytes(plain)
    for variant in range(settings.variants):
        for index in range(settings.masks):
            moved = np.roll(phantom.segmentations["reference"], (2 * variant - settings.variants, 4 * index), (0, 1))
            if index:
                moved[..., variant % 4 :: 4] = 0
            plain = nibabel.Nifti1Image(moved, phantom.affine).to_bytes()
            (folder / f"{variant}_{index}.nii.gz").write_bytes(gzip.compress(plain, 1))


def _link_exams(root: Path, count: int, masks: int, settings: RateManyOptions) -> None:
    for number in range(count):
        source = root.parent / "files" / str(number % settings.phantoms)
        folder = root / f"site-{number % 5}" / f"case-{number:04}"
        (folder / "failed").mkdir(parents=True)
        for name in MODALITIES:
            os.link(source / f"{name}.nii.gz", folder / f"{name}.nii.gz")
        for index in range(masks):
            name = "seg-0.nii.gz" if index == 0 else f"failed/seg-{index}.nii.gz"
            os.link(source / f"{number // settings.phantoms % settings.variants}_{index}.nii.gz", folder / name)


def _command(root: Path, name: str, settings: RateManyOptions) -> list[str]:
    arguments = ["--data", root / name, "--out", root / f"{name}.csv", "--workers", settings.workers]
    arguments += ["--engine", settings.engine]
    return [sys.executable, "-m", "dqe_loss.rate", *map(str, arguments)]


def _journal(root: Path, name: str) -> list[str]:
    path = root / f"{name}.csv.journal" / "rank-0.jsonl"
    return [json.loads(line)["exam"] for line in path.read_bytes().split(b"\n")[:-1]] if path.exists() else []


def _killed_run(root: Path, settings: RateManyOptions) -> dict[str, Any]:
    """Kill, start again, and count."""
    start = time.perf_counter()
    process = subprocess.Popen(_command(root, "killed", settings), stderr=subprocess.DEVNULL)
    while len(_journal(root, "killed")) < settings.exams // 2:
        if process.poll() is not None:
            raise RuntimeError("the command ended before it was killed")
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    first, half = time.perf_counter() - start, _journal(root, "killed")
    again = subprocess.run(_command(root, "killed", settings), capture_output=True, text=True, check=False)
    done, table = _journal(root, "killed"), read_rated(root / "killed.csv")
    return {
        "exams when killed": len(half),
        "seconds until then": round(first, 1),
        "second run's exit code": again.returncode,
        "second run said": again.stdout.splitlines()[0],
        "exams rated in all": len(done),
        "of them different": len(set(done)),
        "first run's were kept": done[: len(half)] == half,
        "rows of the table": len(table),
        "different segmentations": len(table[["exam", "segmentation"]].drop_duplicates()),
        "rows with an error": int((table["error"] != "").sum()),
        "stars, lowest and highest": [float(table["mean"].min()), float(table["mean"].max())],
    }


def _largest_difference(root: Path, settings: RateManyOptions, surrogate: Surrogate) -> float:
    table = read_rated(root / "killed.csv").set_index(["exam", "segmentation"])
    cases = find_tree(root / "killed")
    largest = 0.0
    for case in cases[:: max(len(cases) // settings.check, 1)][: settings.check]:
        for name, file in case.masks.items():
            alone = FoundExam(case.name, case.images, {name: file})
            (stars,) = rate_exam(read_exam(alone.paths), surrogate).values()
            row = table.loc[(case.name, name)]
            largest = max(largest, *(abs(float(row[view]) - stars[view]) for view in VIEWS))
    return largest


def _memory_run(root: Path, settings: RateManyOptions) -> dict[str, Any]:
    """Resident memory at each exam."""
    process = subprocess.Popen(_command(root, "memory", settings), stderr=subprocess.DEVNULL)
    path, samples = root / "memory.csv.journal" / "rank-0.jsonl", []
    start = time.perf_counter()
    while process.poll() is None:
        done = path.read_bytes().count(b"\n") if path.exists() else 0
        status = Path(f"/proc/{process.pid}/status").read_text()
        resident = [int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS")]
        if done and resident:
            samples.append((done, round(resident[0])))
        time.sleep(0.2)
    tenths = np.array_split(np.array(samples), 10)
    return {
        "exams": samples[-1][0],
        "seconds": round(time.perf_counter() - start, 1),
        "MiB, highest": max(mib for _, mib in samples),
        "MiB, median of each tenth of the run": [int(np.median(tenth[:, 1])) for tenth in tenths],
        "mib": samples[:: max(len(samples) // 500, 1)],
    }


def _stages(case: FoundExam, surrogate: Surrogate, root: Path) -> list[dict[str, Any]]:
    """CPU seconds of one thread for each stage of an exam with one mask."""
    name, file = next(iter(case.masks.items()))
    alone = FoundExam(case.name, case.images, {name: file})
    plain = root / "plain" / "seg.nii"
    plain.parent.mkdir()
    plain.write_bytes(gzip.decompress(file.read_bytes()))
    folder = root / "files" / "0"
    flat = FoundExam(case.name, {key: folder / f"{key}.nii" for key in MODALITIES}, {name: plain})
    packed = [*alone.images.values(), file]
    content = [path.read_bytes() for path in packed]
    (prepared,) = prepare_rows(alone, surrogate, "brats")
    opened = {"gz": _cpu(lambda: open_exam(alone.paths)), "plain": _cpu(lambda: open_exam(flat.paths))}
    whole = {
        "gz": _cpu(lambda: prepare_rows(alone, surrogate, "brats")),
        "plain": _cpu(lambda: prepare_rows(flat, surrogate, "brats")),
    }
    rows = {
        "read 5 gz files from the page cache": _cpu(lambda: [path.read_bytes() for path in packed]),
        "inflate them with zlib, for comparison": _cpu(lambda: [gzip.decompress(data) for data in content]),
        "open, inflate, decode, check: gz files": opened["gz"],
        "the same: plain files": opened["plain"],
        "center, planes, volumes, warnings: gz files": whole["gz"] - opened["gz"],
        "the same: plain files, whose planes are read only now": whole["plain"] - opened["plain"],
        "network, 3 planes, PyTorch": _cpu(lambda: rate_prepared(prepared, surrogate)),
    }
    sizes = sum(path.stat().st_size for path in packed) / 1e6, sum(p.stat().st_size for p in flat.images.values()) / 1e6
    print(f"one exam: {sizes[0]:.1f} MB of gz files, {sizes[1] + plain.stat().st_size / 1e6:.1f} MB plain")
    return [{"stage": stage, "CPU seconds": seconds} for stage, seconds in rows.items()]


def _cpu(run: Callable[[], object], repeats: int = 5) -> float:
    """Median CPU time of this process, all threads."""
    measure = timed(run, clock=time.process_time)
    return statistics.median([measure() for _ in range(repeats)])


if __name__ == "__main__":
    main(tyro.cli(RateManyOptions, description=__doc__))

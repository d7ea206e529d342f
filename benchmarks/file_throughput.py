"""From files to stars, stage by stage: upstream's ``predict`` beside dqe_loss, for gz and for uncompressed files.

Run: ``python benchmarks/file_throughput.py`` (the phantom) or ``... --exam FOLDER``. Every round measures every case
once. Two clocks: seconds on the wall, and seconds of processor time, those of child processes included (upstream
starts eight for each exam); where other jobs share the cores, the latter still say what a case costs. The targets are 5
times upstream's exams a second from gz files and 20 times from uncompressed ones, network aside. The extras ``fast``
and ``engine`` are used where they are installed.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import nibabel
import torch
import tyro
from _options import ExamFolder, ResultFile
from _report import interleave, machine, markdown_table, spread, write_json
from _upstream import arguments, exam_files, upstream, upstream_network

from dqe_loss import VIEWS, load_surrogate
from dqe_loss.core.mask import LabelMask, center_of_mask
from dqe_loss.core.slicing import VIEW_AXIS
from dqe_loss.data import nifti
from dqe_loss.data.exam_files import ExamPaths
from dqe_loss.data.exams import open_exam
from dqe_loss.rate.rate_exam import prepare_planes, rate_exam, rate_prepared_planes
from dqe_loss.rate.read_ahead import read_ahead
from dqe_loss.surrogate.rater import Rater

TARGETS = {"gz": 5.0, "plain": 20.0}
STAGES = ("read, inflate", "decode, check", "center", "planes", "scale, pad", "worker processes", "network")
Seconds = tuple[float, float]
"""On the wall, and of the processor."""
Stages = dict[str, dict[str, list[float]]]
"""Implementation to stage to milliseconds of the processor, round by round."""


@dataclass(frozen=True)
class FileThroughputOptions:
    """Options of the command line."""

    exam: ExamFolder = None
    repeats: int = 5
    """Measured rounds."""
    ahead: int = 8
    """Exams of the cases that read ahead."""
    memory: int = 100
    """Exams whose planes are prepared to see whether memory grows."""
    json: ResultFile = Path("benchmarks/results/file_throughput.json")


def main(settings: FileThroughputOptions) -> None:
    """Measures, prints the tables and writes the JSON."""
    warnings.filterwarnings("ignore", "This DataLoader will create 8 worker processes")  # upstream's, each call
    raters: dict[str, Rater] = {"torch": load_surrogate("brainlesion")}
    try:
        from dqe_loss.surrogate.openvino import OpenVINORater

        raters["openvino"] = OpenVINORater(load_surrogate("brainlesion"))
    except ImportError:
        print("openvino is not installed: rated by torch alone")
    with tempfile.TemporaryDirectory() as scratch:
        files = dict(zip(("gz", "plain"), exam_files(settings.exam, Path(scratch)), strict=True))
        cases: dict[str, Callable[[], object]] = {}
        for kind, paths in files.items():
            cases |= _upstream_cases(kind, paths) | _own_cases(kind, paths, raters, settings.ahead)
        seconds = interleave({name: clocked(run) for name, run in cases.items()}, settings.repeats)
        surveys = _survey_rows(files["gz"], settings.repeats)
        difference = _difference(files["gz"], raters)
        resident = _resident(list(files.values()), raters["torch"], settings.memory)
    stages = {kind: _stages(seconds, kind, raters) for kind in files}
    rows = [_row(kind, stage, stages[kind]) for kind in files for stage in (*STAGES, "all but the network", "all")]
    totals = _totals(seconds, files, raters, settings.ahead)
    print(markdown_table(rows), "", markdown_table(totals), "", markdown_table(surveys), "", sep="\n")
    verdicts = [_verdict(kind, stages[kind]) for kind in files]
    growth = resident[-1] - resident[0]
    print(*verdicts, f"largest difference of stars from upstream: {difference}", sep="\n")
    print(f"resident memory after {settings.memory} exams: {growth:+.0f} MB", machine(), sep="\n")
    payload = {"settings": asdict(settings), "machine": machine(), "isal": nifti.igzip is not None, "rows": rows}
    payload |= {"surveys": surveys, "totals": totals, "verdicts": verdicts, "stars_difference": difference}
    write_json(settings.json, payload | {"resident_mb": resident, "wall_and_processor_seconds": seconds})


def clocked(run: Callable[[], object]) -> Callable[[], Any]:
    """Wraps a call so that it returns both its times."""

    def measure() -> Seconds:
        wall, processor = time.perf_counter(), _processor_time()
        run()
        return time.perf_counter() - wall, _processor_time() - processor

    return measure


def _processor_time() -> float:
    """Of this process, finely, and of its children, in hundredths of a second."""
    return time.process_time() + sum(os.times()[2:4])


def _upstream_cases(kind: str, paths: ExamPaths) -> dict[str, Callable[[], object]]:
    from deep_quality_estimation.center_of_mass import compute_center_of_mass, get_center_of_mass_slices

    named, device = arguments(paths), torch.device("cpu")
    _, dataset, network = upstream_network(paths, device)
    read = [*named.values(), named["segmentation"]]  # it reads this one twice
    volumes = [nibabel.load(path).get_fdata() for path in named.values()]
    center = compute_center_of_mass(volumes[-1])
    stages = {
        "read, inflate": lambda: [nibabel.load(path).dataobj.get_unscaled() for path in read],
        "read, decode": lambda: [nibabel.load(path).get_fdata() for path in read],
        "center": lambda: compute_center_of_mass(volumes[-1]),
        "planes": lambda: [get_center_of_mass_slices(volume, center) for volume in volumes],
        "scale, pad": lambda: [dataset[view] for view in range(len(VIEWS))],
        "network": network,
        "all": partial(upstream(device).predict, **named),
    }
    return {f"upstream, {kind}, {stage}": run for stage, run in stages.items()}


def _own_cases(kind: str, paths: ExamPaths, raters: dict[str, Rater], ahead: int) -> dict[str, Callable[[], object]]:
    files = list(arguments(paths).values())
    exam, rater = open_exam(paths), raters["torch"]
    mask = LabelMask(torch.from_numpy(next(iter(exam.segmentations.values())))[None, None], "brats")
    center = center_of_mask(mask, hard=True)
    at = {view: center[:, VIEW_AXIS[view], None] for view in VIEWS}
    planes = prepare_planes(exam, rater)

    def many(rater: Rater) -> None:
        for _, ready in read_ahead([paths] * ahead, lambda p: prepare_planes(open_exam(p), rater), workers=2):
            rate_prepared_planes(ready, rater)

    cases: dict[str, Callable[[], object]] = {
        "read, inflate": lambda: [nifti.open_volume(path) for path in files],
        "read, decode": lambda: open_exam(paths),
        "center": lambda: center_of_mask(mask, hard=True),
        "planes": lambda: [(exam.image.take(at[view], view), mask.take(at[view], view)) for view in VIEWS],
        "prepare": lambda: prepare_planes(exam, rater),
    }
    for name, one in raters.items():
        cases[f"network, {name}"] = lambda one=one: rate_prepared_planes(planes, one)
        cases[f"all, {name}"] = lambda one=one: rate_exam(paths, one)
        cases[f"ahead, {name}"] = lambda one=one: many(one)
    return {f"dqe_loss, {kind}, {case}": run for case, run in cases.items()}


def _stages(seconds: dict[str, list[Seconds]], kind: str, raters: dict[str, Rater]) -> Stages:
    """Milliseconds of the processor by stage, round by round; what is not measured by itself is a difference."""

    def of(who: str, case: str) -> list[float]:
        return [1e3 * processor for _, processor in seconds[f"{who}, {kind}, {case}"]]

    def less(whole: list[float], *parts: list[float]) -> list[float]:
        return [a - sum(b) for a, *b in zip(whole, *parts, strict=True)]

    theirs = {stage: of("upstream", stage) for stage in ("read, inflate", "center", "planes", "scale, pad", "network")}
    theirs["decode, check"] = less(of("upstream", "read, decode"), theirs["read, inflate"])
    theirs["worker processes"] = less(of("upstream", "all"), *theirs.values())
    theirs["all"] = of("upstream", "all")
    theirs["all but the network"] = less(theirs["all"], theirs["network"])
    ours = {stage: of("dqe_loss", stage) for stage in ("read, inflate", "center", "planes")}
    ours["scale, pad"] = less(of("dqe_loss", "prepare"), ours["center"], ours["planes"])
    ours["decode, check"] = less(of("dqe_loss", "read, decode"), ours["read, inflate"])
    ours["all but the network"] = [sum(parts) for parts in zip(*ours.values(), strict=True)]
    ours["network"], ours["all"] = of("dqe_loss", "network, torch"), of("dqe_loss", "all, torch")
    found = {"upstream": theirs, "dqe_loss": ours}
    if "openvino" in raters:
        engine = {"network": of("dqe_loss", "network, openvino"), "all": of("dqe_loss", "all, openvino")}
        found["dqe_loss, openvino"] = engine
    return found


def _row(kind: str, stage: str, stages: Stages) -> dict[str, Any]:
    row: dict[str, Any] = {"files": kind, "stage, ms of processor an exam": stage}
    row |= {who: statistics.median(found[stage]) if stage in found else None for who, found in stages.items()}
    if stage in stages["dqe_loss"]:
        pairs = zip(stages["upstream"][stage], stages["dqe_loss"][stage], strict=True)
        # A difference of two cases, such as decoding, can be below what is measured.
        ratios = [theirs / ours for theirs, ours in pairs if ours > 0]
        row["ratio (range)"] = spread(ratios) if ratios else None
    return row


def _totals(
    seconds: dict[str, list[Seconds]], files: dict[str, ExamPaths], raters: dict[str, Rater], ahead: int
) -> list[dict[str, Any]]:
    """Exams a second on the wall, one after the other and with threads that read ahead."""
    rows = []
    for kind in files:
        theirs = [wall for wall, _ in seconds[f"upstream, {kind}, all"]]
        rows.append({"files": kind, "by": "upstream", "exams/s": statistics.median([1 / wall for wall in theirs])})
        cases = {f"dqe_loss, {name}": (f"all, {name}", 1) for name in raters}
        cases |= {f"dqe_loss, {name}, read ahead": (f"ahead, {name}", ahead) for name in raters}
        for by, (case, exams) in cases.items():
            rates = [exams / wall for wall, _ in seconds[f"dqe_loss, {kind}, {case}"]]
            ratios = spread([rate * wall for rate, wall in zip(rates, theirs, strict=True)])
            rows.append({"files": kind, "by": by, "exams/s": statistics.median(rates), "ratio (range)": ratios})
    return rows


def _verdict(kind: str, stages: Stages) -> str:
    without, whole = (
        statistics.median(
            [theirs / ours for theirs, ours in zip(stages["upstream"][stage], stages["dqe_loss"][stage], strict=True)]
        )
        for stage in ("all but the network", "all")
    )
    met = "met" if without >= TARGETS[kind] else "missed"
    return (
        f"{kind}: {without:.1f} times less processor time than upstream without the network "
        f"(target {TARGETS[kind]:.0f}: {met}), {whole:.1f} times with it"
    )


def _survey_rows(paths: ExamPaths, repeats: int) -> list[dict[str, Any]]:
    """Milliseconds an exam, by the default checkpoint, with its refiner asked all over the head and without."""
    surrogate = load_surrogate()
    cases = {
        f"thorough {word}": lambda on=on: rate_exam(paths, surrogate, thorough=on)
        for word, on in (("off", False), ("on", True))
    }
    seconds = interleave({name: clocked(run) for name, run in cases.items()}, repeats)
    rows = []
    for name, pairs in seconds.items():
        wall, processor = ([1e3 * value for value in values] for values in zip(*pairs, strict=True))
        rows.append({"default checkpoint, gz": name, "ms on the wall": spread(wall), "of processor": spread(processor)})
    return rows


def _difference(paths: ExamPaths, raters: dict[str, Rater]) -> dict[str, float]:
    """Largest difference of a view's stars from upstream."""
    _, theirs = upstream(torch.device("cpu")).predict(**arguments(paths))
    found = {}
    for name, rater in raters.items():
        stars = next(iter(rate_exam(paths, rater).values()))
        found[name] = max(abs(stars[view] - theirs[view.upper()]) for view in VIEWS)
    return found


def _resident(files: list[ExamPaths], rater: Rater, exams: int) -> list[float]:
    """Resident memory in MB after each tenth of many exams, of gz and plain files in turn."""
    resident = []
    paths = [replace(files[i % len(files)], name=str(i)) for i in range(exams)]
    for i, (_, _planes) in enumerate(read_ahead(paths, lambda p: prepare_planes(open_exam(p), rater), workers=2)):
        if (i + 1) % max(exams // 10, 1) == 0:
            resident.append(int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6)
    return resident


if __name__ == "__main__":
    main(tyro.cli(FileThroughputOptions, description=__doc__))

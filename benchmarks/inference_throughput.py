"""Exams per second: upstream's ``predict`` beside dqe_loss, from files, arrays and tensors in batches.

Run: ``python benchmarks/inference_throughput.py`` (the phantom) or ``... --exam FOLDER``. Every round
measures every case once, so that both implementations see the same machine. On a CPU the targets are 2.5
times upstream from gz files and 4 times from arrays; on a GPU 500 times for tensors that are already there.
The paper's own figures (Quadro P5000; arXiv 2205.10355) stand beside them: 4 exams/s with extraction of the
planes, 25 without.
"""

from __future__ import annotations

import statistics
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
import tyro
from _graph import captured
from _options import AutoDevice, ExamFolder, ResultFile, Threads, resolved
from _report import interleave, machine, markdown_table, spread, timed, write_json
from _upstream import arguments, exam_files, upstream, upstream_network

from dqe_loss import MODALITIES, VIEWS, Surrogate, extract_planes, load_surrogate, rate_segmentation, scale_planes
from dqe_loss.core.mask import LabelMask, center_of_mask
from dqe_loss.core.pipeline import cut_planes, read_inputs
from dqe_loss.core.slicing import VIEW_AXIS
from dqe_loss.data.exam_files import ExamPaths
from dqe_loss.data.exams import Exam, read_exam
from dqe_loss.rate.rate_exam import rate_exam

PAPER = {"with extraction": 4.0, "planes ready": 25.0}
TARGETS = {"gz files": 2.5, "arrays": 4.0}
GPU_TARGET = 500.0
Variant = Literal["float32", "bf16", "bf16 compiled", "bf16 graph"]
ALL_VARIANTS: tuple[Variant, ...] = get_args(Variant)
Rate = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Load = Callable[[], object]


@dataclass(frozen=True)
class InferenceThroughputOptions:
    """Options of the command line."""

    exam: ExamFolder = None
    device: AutoDevice = "auto"
    repeats: int = 7
    """Measured rounds."""
    batch: int | None = None
    """Exams in the batch of resident tensors: 4 on a CPU, 16 on a GPU."""
    variants: tuple[Variant, ...] | None = None
    """How the batch is run: float32 on a CPU, all of them on a GPU."""
    threads: Threads = None
    json: ResultFile = Path("benchmarks/results/inference_throughput.json")


def main(settings: InferenceThroughputOptions) -> None:
    """Measures, prints the tables and writes the JSON."""
    torch.set_num_threads(settings.threads or torch.get_num_threads())
    warnings.filterwarnings("ignore", "This DataLoader will create 8 worker processes")  # upstream's, each call
    device = torch.device(resolved(settings.device))
    on_gpu = device.type == "cuda"
    surrogate = load_surrogate("brainlesion").to(device)
    with tempfile.TemporaryDirectory() as scratch:
        gz, plain = exam_files(settings.exam, Path(scratch))
        bench = Bench(surrogate, device, gz, plain, read_exam(gz))
        batch = settings.batch or (16 if on_gpu else 4)
        variants = settings.variants or (ALL_VARIANTS if on_gpu else ALL_VARIANTS[:1])
        cases, exams, failures = bench.cases(batch, variants)
        seconds = interleave({name: timed(run, device) for name, run in cases.items()}, settings.repeats)
        stages = interleave({name: timed(run, device) for name, run in bench.stages().items()}, settings.repeats)
        difference = bench.difference()
    rows = _rows(seconds, exams) + [{"case": name, "exams/s": f"failed: {why}"} for name, why in failures.items()]
    rows += [{"case": f"paper, {name} (Quadro P5000)", "exams/s": value} for name, value in PAPER.items()]
    profile = [{"stage": name, "ms per exam (range)": spread([1e3 * s for s in stages[name]])} for name in stages]
    verdicts = _verdicts(seconds, exams, on_gpu)
    print(markdown_table(rows), "", markdown_table(profile), "", sep="\n")
    print(*verdicts, f"largest difference of stars from upstream: {difference:.1e}", machine(), sep="\n")
    payload = {"settings": asdict(settings), "machine": machine(), "batch": batch, "verdicts": verdicts}
    payload |= {"seconds_per_call": seconds, "exams_per_call": exams, "failures": failures, "paper": PAPER}
    write_json(settings.json, payload | {"stage_seconds": stages, "stars_difference": difference})


@dataclass(frozen=True)
class Bench:
    """One exam in every form, and both implementations."""

    surrogate: Surrogate
    device: torch.device
    gz: ExamPaths
    plain: ExamPaths
    exam: Exam

    def cases(
        self, batch: int, variants: tuple[Variant, ...]
    ) -> tuple[dict[str, Load], dict[str, int], dict[str, str]]:
        """Calls to time, exams that each rates, and the reasons of the variants that would not start."""
        model, mask = upstream(self.device), _only_mask(self.exam)
        # upstream fails on integer arrays; both get float32
        exam = replace(self.exam, image=self.exam.image.astype(np.float32))
        images = dict(zip(MODALITIES, exam.image, strict=True))
        cases: dict[str, Load] = {
            "upstream, gz files": lambda: model.predict(**arguments(self.gz)),
            "dqe_loss, gz files": lambda: rate_exam(self.gz, self.surrogate),
            "upstream, plain files": lambda: model.predict(**arguments(self.plain)),
            "dqe_loss, plain files": lambda: rate_exam(self.plain, self.surrogate),
            "upstream, arrays": lambda: model.predict(**images, segmentation=mask),
            "dqe_loss, arrays": lambda: self._rate_exam(exam),
        }
        exams, failures = dict.fromkeys(cases, 1), {}
        image, labels = self._tensors(batch)
        planes = self._network_input(image[:1], labels[:1])
        cases["dqe_loss, planes ready"] = lambda: self._network(planes)
        for variant in variants:
            name = f"dqe_loss, tensors, batch {batch}, {variant}"
            try:
                cases[name] = _prepared(self._rate_tensors, image, labels, variant)
            except Exception as error:  # a missing compiler or a capture that breaks is a result, not a crash
                failures[name] = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
        return cases, exams | {name: batch if "batch" in name else 1 for name in cases}, failures

    def stages(self) -> dict[str, Load]:
        """The steps of one rating by themselves, and upstream's for comparison."""
        image, labels = self._tensors(1)
        mask = LabelMask(labels, "brats")
        center = center_of_mask(mask, hard=True)
        raw = [extract_planes(image, center[:, VIEW_AXIS[view], None], view).float() for view in VIEWS]
        planes = self._network_input(image, labels)
        return {
            "read gz": lambda: read_exam(self.gz),
            "read plain": lambda: read_exam(self.plain),
            "center of mass": lambda: center_of_mask(mask, hard=True),
            "network input (center of mass, planes, scaling, padding)": lambda: self._network_input(image, labels),
            "of this, scaling": lambda: [scale_planes(plane) for plane in raw],
            "network": lambda: self._network(planes),
            "whole rating from tensors": lambda: self._rate_tensors(image, labels),
            **_upstream_stages(self.gz, self.device),
        }

    def difference(self) -> float:
        """Largest difference of a view's stars between the two implementations."""
        _, theirs = upstream(self.device).predict(**arguments(self.gz))
        ours = self._rate_exam(read_exam(self.gz))[0].tolist()
        return max(abs(float(stars - theirs[view.upper()])) for view, stars in zip(VIEWS, ours, strict=True))

    def _tensors(self, batch: int) -> tuple[torch.Tensor, torch.Tensor]:
        image, labels = self._on_device(self.exam)
        if batch == 1:
            return image, labels
        copies = (batch, 1, 1, 1, 1)  # real copies: the caches must not see one exam again and again
        return image.repeat(copies), labels.repeat(copies)

    def _on_device(self, exam: Exam) -> tuple[torch.Tensor, torch.Tensor]:
        image, labels = torch.from_numpy(exam.image)[None], torch.from_numpy(_only_mask(exam))[None, None]
        return image.to(self.device), labels.to(self.device)

    def _rate_tensors(self, image: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return rate_segmentation(self.surrogate, image, labels)

    def _rate_exam(self, exam: Exam) -> torch.Tensor:
        return self._rate_tensors(*self._on_device(exam)).cpu()

    def _network_input(self, image: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        mask = LabelMask(labels, "brats")
        inputs = read_inputs(self.surrogate.config, image, mask, center_of_mask(mask, hard=True))
        return cut_planes(self.surrogate.config, inputs).flatten(0, 2)

    def _network(self, planes: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return self.surrogate(planes)


def _only_mask(exam: Exam) -> np.ndarray:
    return next(iter(exam.segmentations.values()))


def _prepared(rate: Rate, image: torch.Tensor, labels: torch.Tensor, variant: str) -> Load:
    """Compiles or captures a batch and runs it once, so that what fails, fails here.

    Args:
        rate: rates a batch.
        image: the batch's images.
        labels: its label maps.
        variant: float32, bf16 or fp16, and behind it nothing, compiled or graph.
    """
    device, (precision, *how) = image.device.type, variant.split()
    dtype = torch.float16 if precision == "fp16" else torch.bfloat16

    def run(image: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        # the cache of cast weights lives for one autocast block; inside a captured graph it must be off
        with torch.autocast(device, dtype, enabled=precision != "float32", cache_enabled=False):
            return rate(image, labels)

    if how == ["compiled"]:
        compiled = torch.compile(run)
        compiled(image, labels)
        return lambda: compiled(image, labels)
    run(image, labels)
    return captured(lambda: run(image, labels)) if how == ["graph"] else lambda: run(image, labels)


def _upstream_stages(paths: ExamPaths, device: torch.device) -> dict[str, Load]:
    handler, dataset, network = upstream_network(paths, device)
    return {
        "upstream: read gz, center, planes": handler._compute_slices,
        "upstream: scale, pad (no worker processes)": lambda: [dataset[view] for view in range(len(VIEWS))],
        "upstream: network": network,
    }


def _rows(seconds: dict[str, list[float]], exams: dict[str, int]) -> list[dict[str, Any]]:
    rows = []
    for name, values in seconds.items():
        source = name.split(", ")[1]
        base = seconds[f"upstream, {source}" if f"upstream, {source}" in seconds else "upstream, arrays"]
        rates = [exams[name] / value for value in values]
        ratios = [ours * theirs for ours, theirs in zip(rates, base, strict=True)]
        rows.append({"case": name, "exams/s": statistics.median(rates), "range": f"{min(rates):.3g}-{max(rates):.3g}"})
        rows[-1]["times upstream (range)"] = spread(ratios)
    return rows


def _verdicts(seconds: dict[str, list[float]], exams: dict[str, int], on_gpu: bool) -> list[str]:
    per_exam = {name: statistics.median(values) / exams[name] for name, values in seconds.items()}
    lines = []
    for source, target in TARGETS.items():
        ratio = per_exam[f"upstream, {source}"] / per_exam[f"dqe_loss, {source}"]
        lines.append(f"{source}: {ratio:.2f} times upstream; target on a CPU {target}: {_met(ratio, target)}")
    if on_gpu:
        best = min(value for name, value in per_exam.items() if "batch" in name)
        ratio, target = per_exam["upstream, arrays"] / best, GPU_TARGET
        lines.append(f"resident tensors: {ratio:.0f} times upstream; target {target:.0f}: {_met(ratio, target)}")
    return lines


def _met(value: float, target: float) -> str:
    return "met" if value >= target else "missed"


if __name__ == "__main__":
    main(tyro.cli(InferenceThroughputOptions, description=__doc__))

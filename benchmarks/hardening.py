"""Cross-validate hardened refiners by source: teach, measure, attack, and pool what is there into one table.

Run: ``python benchmarks/hardening.py --exams FOLDERS --reference NAMES``. Each group of exams (``--groups``) is judged
by a refiner that saw none of it; the refiner that ships is taught on all exams, and judged on phantoms. What is
finished is kept under ``--out`` by the checkpoint's fingerprint, and a run that was stopped goes on from there. Two
processes can share the work with ``--only-group``; ``--stages pool`` then makes the table of all that is there.
"""

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
import tyro
from _hardening_attacks import GUARDS, attacked, pairs
from _hardening_groups import GROUPS, PHANTOMS, Group, split_groups
from _hardening_measures import measure_masks, measure_refiner, planes_of
from _hardening_pool import Pooled, pool
from _hardening_record import ATTACKS, COST, MASKS, READER, measured, measured_path
from _hardening_ship import measure_coverage, ship, write_gated
from _hardening_table import write_results
from _report import interleave, machine, timed

from dqe_loss import Surrogate, load_surrogate
from dqe_loss.audit.audited_exam import AuditedExam, ExamSource, read_audited_exam
from dqe_loss.audit.stars_and_dice import AuditSettings
from dqe_loss.core.mask import RegionMask
from dqe_loss.harden.config import HardenConfig
from dqe_loss.harden.hardening import harden
from dqe_loss.surrogate.checkpoint import fingerprint
from dqe_loss.surrogate.survey import PLANES

CHECKPOINT = "surrogate.safetensors"
Read = Callable[[], AuditedExam]
"""Reads an exam, once."""
GATED = "gated.safetensors"
"""A group's refiner with the gate that ships, for what is measured with it by other commands."""
STAGES = ("teach", "measure", "attack", "cost", "pool", "gate", "ship")
"""In their order; each takes what the ones before left in ``--out``, and says what it misses."""


@dataclass(frozen=True)
class HardeningOptions:
    """Options of the command line."""

    exams: tuple[Path, ...]
    """Folders of exams with BraTS file names, each with a reference."""
    reference: tuple[str, ...]
    """Names, ends or patterns of the references, see `dqe_loss.data.exam_files.match_reference`."""
    out: Path = Path("runs/hardening")
    """Folder for the trainings, and for what they measured."""
    results: Path = Path("benchmarks/results/hardening")
    """Folder for the JSON file and the tables."""
    groups: tuple[str, ...] = GROUPS
    """Groups of exams that are judged together, each NAME=PATTERN[,PATTERN] by the exams' names."""
    only_group: tuple[str, ...] = ()
    """Do these groups only ("phantoms" is the refiner that ships); pooling always takes what is there of all."""
    stages: tuple[str, ...] = STAGES
    """What to do: teach, measure, attack, cost, pool; gate, which writes each group's refiner with the gate that ships
    to OUT/GROUP/gated.safetensors; and ship, which writes the checkpoint for --weights."""
    weights: Path = Path("runs/hardening/hardened.safetensors")
    """File for the checkpoint that ships; its card is written beside it."""
    phantoms: int = 8
    """Phantoms to judge that no refiner saw."""
    attack_steps: int = 100
    """Steps of each attack."""
    guards: tuple[str, ...] = GUARDS
    """The loss's guards to attack with, on, off or both; each costs the same again."""
    seed: int = 0
    """Of the masks that are judged."""
    threads: int = 1
    """Threads of a process."""
    full_marks: float | None = None
    """Agreement from which on a mask keeps all of its stars, to make the table with; None takes the refiners' own."""
    survey_full_marks: float | None = None
    """The same of the survey's agreement; None takes the default."""
    exponent: float | None = None
    """The same of the agreement below it."""
    checkpoint: str = ""
    """Judge this checkpoint for every group instead of teaching: it may have seen the exams. To try things out."""
    harden: HardenConfig = field(default_factory=HardenConfig)
    """How each refiner is taught; its exams, reference and out are set for each group."""


def main(options: HardeningOptions) -> None:
    """Do what is missing of the stages.

    Raises:
        ValueError: an option is not as said, or a stage needs what another has not left yet.
        SystemExit: a signal stopped a teaching; its state is saved.
    """
    groups = _check(options)
    torch.set_num_threads(options.threads)
    chosen = [group for group in groups if not options.only_group or group.name in options.only_group]
    work = [stage for stage in options.stages if stage in ("measure", "attack", "cost")]
    for group in chosen:
        if "teach" in options.stages and not options.checkpoint:
            teach(options, group)
        if work:
            judge(options, group, load_surrogate(_checkpoint(options, group)), work)
    if "pool" in options.stages:
        print(pool_all(options, groups))
    if "gate" in options.stages:
        gate = pooled_with_gate(options, groups).gate
        for group in chosen:
            write_gated(Path(_checkpoint(options, group)), gate, options.out / group.refiner / GATED)
    if "ship" in options.stages:
        every = next(group for group in groups if group.name == PHANTOMS)
        ship(hardening(options, every), pooled_with_gate(options, groups), options.weights)
        print(f"to ship: {options.weights}")


def pool_all(options: HardeningOptions, groups: list[Group]) -> str:
    """Write the tables of all that is there; returns them in Markdown."""
    pooled = pooled_with_gate(options, groups)
    return write_results(options.results, pooled, machine(), measure_coverage(pooled))


def pooled_with_gate(options: HardeningOptions, groups: list[Group]) -> Pooled:
    """All that is there, with the gate that the options ask for."""
    pooled = pool(options.out, groups)
    given = {name: getattr(options, name) for name in ("full_marks", "survey_full_marks", "exponent")}
    chosen = {name: value for name, value in given.items() if value is not None}
    return replace(pooled, gate=replace(pooled.gate, **chosen))


def hardening(options: HardeningOptions, group: Group) -> HardenConfig:
    """How a group's refiner is taught.

    No exam is held out while it is taught, so that nothing of the judged group chooses anything. All refiners share one
    cache of prepared exams.
    """
    folder = options.out / group.refiner
    return replace(
        options.harden,
        exams=group.taught,
        reference=options.reference,
        out=folder,
        cache=options.harden.cache or options.out / "cache",
        held_out=(),
        resume=(folder / "state.pt").is_file(),
    )


def teach(options: HardeningOptions, group: Group) -> None:
    """Harden on all exams but a group's, or go on with it; a checkpoint that is there is kept."""
    config = hardening(options, group)
    if (config.out / CHECKPOINT).is_file():
        return
    started = time.time()
    if code := harden(config):
        raise SystemExit(code)
    print(f"{group.refiner}: taught in {(time.time() - started) / 60:.0f} minutes", flush=True)


def judge(options: HardeningOptions, group: Group, surrogate: Surrogate, stages: list[str]) -> None:
    """Measure and attack a group's exams with a refiner that saw none of them, and time it."""
    published = load_surrogate("brainlesion")
    for source in group.sources:
        read = cache(partial(read_audited_exam, source, group.strangers))  # once, and only if something is missing
        started = time.time()
        if "measure" in stages:
            _measure(options, group, source, read, surrogate, published)
        if "attack" in stages:
            _attack(options, group, source, read, surrogate)
        if "cost" in stages and source is group.sources[0]:
            path = measured_path(options.out, COST, source.name, group.refiner)
            measured(path, _key(options, surrogate), partial(_cost, surrogate, read))
        print(f"{group.name}, {source.name}: {time.time() - started:.0f} s", flush=True)


def _measure(
    options: HardeningOptions, group: Group, source: ExamSource, read: Read, surrogate: Surrogate, published: Surrogate
) -> None:
    path = measured_path(options.out, MASKS, source.name)
    key = {"published": fingerprint(published), "seed": options.seed, "survey": PLANES}
    measured(path, key, lambda: measure_masks(published, read(), source, options.seed))
    path = measured_path(options.out, READER, source.name, group.refiner)
    measured(path, _key(options, surrogate), lambda: measure_refiner(surrogate, read(), source, options.seed))


def _attack(options: HardeningOptions, group: Group, source: ExamSource, read: Read, surrogate: Surrogate) -> None:
    settings = AuditSettings(seed=options.seed, attack_steps=options.attack_steps)
    key = _key(options, surrogate) | {"attack_steps": options.attack_steps}
    for start, guard in pairs(options.guards):
        path = measured_path(options.out, f"{ATTACKS}/{start}_{guard}", source.name, group.refiner)
        measured(path, key, lambda start=start, guard=guard: attacked(surrogate, read(), start, guard, settings))


def _key(options: HardeningOptions, surrogate: Surrogate) -> dict[str, Any]:
    return {"checkpoint": fingerprint(surrogate), "seed": options.seed, "survey": PLANES}


def _cost(surrogate: Surrogate, read: Read, repeats: int = 15) -> dict[str, Any]:
    """Milliseconds of processor time of the refiner and of the network for three planes on one core.

    The wall clock would count the other work of a busy machine. That work still makes everything slower, and nothing
    faster, so that the fastest of several is kept, too.
    """
    exam, threads = read(), torch.get_num_threads()
    planes = planes_of(surrogate, exam.image, RegionMask(exam.regions, hard=True))
    torch.set_num_threads(1)
    with torch.no_grad():
        refined = surrogate.refine(planes)
        cases = {"refiner": lambda: surrogate.refine(planes), "network": lambda: surrogate(planes, refined)}
        clocked = {name: timed(run, clock=time.process_time) for name, run in cases.items()}
        found = interleave(clocked, repeats, warmup=3)
    torch.set_num_threads(threads)
    return {
        name: {"fastest_ms": 1000 * min(times), "median_ms": 1000 * statistics.median(times)}
        for name, times in found.items()
    } | {"load_average": os.getloadavg()[0]}


def _checkpoint(options: HardeningOptions, group: Group) -> str:
    if options.checkpoint:
        return options.checkpoint
    path = options.out / group.refiner / CHECKPOINT
    if not path.is_file():
        raise ValueError(f"expected the refiner {path}, found none; run --stages teach --only-group {group.name} first")
    return str(path)


def _check(options: HardeningOptions) -> list[Group]:
    """The groups.

    Raises:
        ValueError: naming an option, its value and what it may be.
    """
    groups = split_groups(
        options.exams, options.reference, options.groups, options.phantoms, options.harden.label_scheme
    )
    names = tuple(group.name for group in groups)
    allowed = {"stages": STAGES, "guards": GUARDS, "only_group": names}
    for option, choices in allowed.items():
        if unknown := set(getattr(options, option)) - set(choices):
            raise ValueError(f"--{option.replace('_', '-')} may be {', '.join(choices)}, got {', '.join(unknown)}")
    return groups


if __name__ == "__main__":
    main(tyro.cli(HardeningOptions, description=__doc__))

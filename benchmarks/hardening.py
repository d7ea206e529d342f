"""Train, judge and write the hardened checkpoint: leave-one-exam-out first, then all exams, in one resumable call.

Run: ``python benchmarks/hardening.py --exams A B C --reference NAME [NAME ...]``. Each exam is judged by a second
reader that never saw it, next to the published weights; then the checkpoint that ships is taught on all of them, and
audited on phantoms. What is finished is kept under ``--out``, and a run that was stopped goes on from there. On two CPU
cores about two hours.
"""

import json
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import tyro
from _hardening_measures import measure_checkpoint
from _hardening_table import table
from _report import machine, write_json

from dqe_loss import load_surrogate
from dqe_loss.checkpoint import fingerprint
from dqe_loss.evaluation.audit.case import find_sources, phantom_sources, read_case
from dqe_loss.evaluation.audit.measure import Settings as AuditSettings
from dqe_loss.evaluation.audit.parts import PARTS
from dqe_loss.evaluation.audit.run import Plan, run_audit, summary_text
from dqe_loss.training.hardening.config import HardenConfig
from dqe_loss.training.hardening.run import harden

CHECKPOINT = "surrogate.safetensors"


@dataclass(frozen=True)
class Options:
    """Options of the command line."""

    exams: tuple[Path, ...]
    """Folders of exams with BraTS file names, each with a reference."""
    reference: tuple[str, ...]
    """Names, ends or patterns of the references, see `dqe_loss.data.exams.match_reference`."""
    out: Path = Path("runs/hardening")
    """Folder for the trainings, and for what they measured."""
    results: Path = Path("benchmarks/results/hardening")
    """Folder for the JSON file and the table."""
    attack_steps: int = 100
    """Steps of each attack."""
    ship: bool = True
    """Whether to teach on all exams in the end."""
    audited: int = 1
    """Phantoms on which the shipped and the published checkpoint are audited in the end."""
    harden: HardenConfig = field(default_factory=HardenConfig)
    """How each second reader is taught."""


def main(options: Options) -> None:
    """Teach and measure what is missing, and write the table."""
    torch.set_num_threads(2)
    published = load_surrogate("brainlesion")
    measured: dict[str, dict[str, Any]] = {}
    for exam in options.exams:
        others = tuple(other for other in options.exams if other != exam)
        path = _teach(options, others, f"without_{exam.resolve().name}")
        hardened = load_surrogate(path)
        sources = find_sources(options.exams, options.reference, options.harden.label_scheme)
        source = next(source for source in sources if source.name == exam.resolve().name)
        case = None
        rows = {}
        for name, surrogate in (("published", published), ("hardened", hardened)):
            kept = options.out / f"measured_{source.name}_{name}.json"
            key = {"checkpoint": fingerprint(surrogate), "attack_steps": options.attack_steps}
            former = json.loads(kept.read_text()) if kept.is_file() else {}
            if former.get("key") != key:
                case = case or read_case(source, sources)
                former = {"key": key, **measure_checkpoint(surrogate, case, source, options.attack_steps)}
                write_json(kept, former)
            rows[name] = former
        measured[source.name] = rows
        print(table(measured), flush=True)
    if options.ship:
        shipped = _teach(options, options.exams, "all")
        print(f"to ship: {shipped}")
        for name, checkpoint in (("hardened", str(shipped)), ("brainlesion", "brainlesion")):
            _audit(options, name, checkpoint)
    write_json(options.results / "hardening.json", {"machine": machine(), "exams": measured})
    (options.results / "table.md").write_text(table(measured) + "\n")


def _teach(options: Options, exams: tuple[Path, ...], name: str) -> Path:
    """Harden on some exams, or go on with it; returns the checkpoint.

    Raises:
        SystemExit: a signal stopped it.
    """
    folder = options.out / name
    path = folder / CHECKPOINT
    if not path.is_file():
        resume = (folder / "state.pt").is_file()
        config = replace(
            options.harden,
            exams=exams,
            reference=options.reference,
            out=folder,
            resume=resume,
            cache=options.harden.cache or options.out / "exams",  # one for all: each exam is prepared once
        )
        started = time.time()
        code = harden(config)
        if code:
            raise SystemExit(code)
        print(f"{name}: {(time.time() - started) / 60:.0f} minutes", flush=True)
    return path


def _audit(options: Options, name: str, checkpoint: str) -> None:
    """An audit's page on phantoms that no reader was taught on; what it holds already is kept."""
    settings = AuditSettings(attack_steps=options.attack_steps)
    plan = Plan(checkpoint, phantom_sources(options.audited), tuple(PARTS), settings)
    print(summary_text(run_audit(plan, load_surrogate(checkpoint), options.out / f"audit_{name}")), flush=True)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))

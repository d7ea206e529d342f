"""A whole hardening: from exams with references to a checkpoint with its model card."""

import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from typing import Any

import pandas as pd
import torch
import yaml

from dqe_loss.checkpoint import load_surrogate, save_surrogate
from dqe_loss.data.corruption import as_brats23
from dqe_loss.data.corruption_shapes import Labels
from dqe_loss.data.exams import read_exam
from dqe_loss.data.label_sets import LabelSurvey
from dqe_loss.evaluation.audit.case import Source, find_sources, phantom_sources, read_case
from dqe_loss.evaluation.collect import find_all_segmentations
from dqe_loss.files import check_output_folder, encode, write_together
from dqe_loss.processes import Processes, StopRequest, processes
from dqe_loss.second_reader import ReaderConfig, SecondReader
from dqe_loss.surrogate import Surrogate, build_network
from dqe_loss.training.config import plain_values
from dqe_loss.training.hardening.card import describe_exams, hardened_card
from dqe_loss.training.hardening.config import HardenConfig
from dqe_loss.training.hardening.exams import TaughtExam, prepare_exam
from dqe_loss.training.hardening.teacher import Teacher
from dqe_loss.training.record import RunFolder
from dqe_loss.training.state import Progress

FIRST_PHANTOM = 5000
"""Seed of the first phantom: far from those of simulations and audits."""
PHANTOM_ERRORS = 4
"""A phantom gets wrong masks for one in so many of a real exam's: it is seen less often."""
# A continuation may run elsewhere, be watched and trusted otherwise; all else makes it another hardening.
_FREE = ("exams", "out", "resume", "device", "save_every", "confidence", "full_marks", "exponent")


def harden(config: HardenConfig) -> int:
    """Teach a second reader, and write it with the surrogate that it guards into the run's folder.

    Args:
        config: the hardening.

    Returns:
        0, or 128 + signal if a signal ended it; the state is saved then.

    Raises:
        ValueError: if the configuration or an exam does not fit; before any teaching.
        OSError: if the folder cannot be written; the last saved state stays.
    """
    folder = RunFolder(config.out)
    sources = _check(config, folder)
    with processes(config.device) as where:
        if where.world > 1:
            raise ValueError("a hardening runs in one process; start it without torchrun")
        start = load_surrogate(config.checkpoint)
        survey = LabelSurvey(config.label_scheme)
        exams = [_prepare(source, sources, start, config, survey) for source in sources]
        taught = describe_exams(exams)
        print(f"{taught}; on {where.device}", flush=True)
        write_together({folder.config: yaml.safe_dump(plain_values(asdict(config)), sort_keys=False).encode()})
        surrogate = hardened_surrogate(start, config, taught)
        stopped = _teach(config, surrogate, exams, folder, where)
    if stopped is not None:
        print(f"stopped by signal {stopped}; the state is saved, go on with --resume", file=sys.stderr)
        return 128 + stopped
    card = hardened_card(config.out.name, start.config, surrogate.config, taught, config.steps, config.batch)
    save_surrogate(surrogate.to("cpu"), folder.last, card=card, half=True)
    write_together({folder.last.with_suffix(".md"): encode(card)})
    print(f"{folder.last}: {config.steps} steps")
    return 0


def hardened_surrogate(start: Surrogate, config: HardenConfig, taught: str) -> Surrogate:
    """The surrogate to be taught: a frozen copy of its start, beside a second reader that knows nothing yet.

    Args:
        start: what to harden.
        config: the hardening; its seed draws the reader's weights.
        taught: what the reader will be taught on, in words.

    Raises:
        ValueError: if the start is hardened already, or has planes that a reader cannot take.
    """
    if start.config.reader is not None:
        raise ValueError(f"{config.checkpoint} has a second reader already; harden the surrogate that it came from")
    if start.config.normalization != "percentile":
        raise ValueError(f"hardening takes planes scaled by percentiles, got {start.config.normalization!r}")
    reader = ReaderConfig(confidence=config.confidence, full_marks=config.full_marks, exponent=config.exponent)
    origin = start.config.data or "its data is not known"
    surrogate_config = replace(
        start.config,
        kind_of_ratings="hybrid",
        normalization="head_mean",
        reader=reader,
        center_gradient=False,
        dice_map=None,  # what the stars meant without the reader
        data=f"{start.config.kind_of_ratings} ratings: {origin}; a second reader, taught on {taught}",
        seed=config.seed,
        versions=start.config.versions | {name: version(name) for name in ("dqe_loss", "torch", "monai", "numpy")},
    )
    torch.manual_seed(config.seed)
    build_network(surrogate_config)  # draws what comes before the reader, whose weights by a seed are to stay
    surrogate = Surrogate(surrogate_config, SecondReader(reader, len(surrogate_config.modalities)))
    surrogate.network.load_state_dict(start.network.state_dict())
    return surrogate


def _check(config: HardenConfig, folder: RunFolder) -> list[Source]:
    """Find all exams, and refuse what cannot work before any is read."""
    if bool(config.exams) != bool(config.reference):
        given, missing = ("--exams", "--reference") if config.exams else ("--reference", "--exams")
        raise ValueError(f"{given} needs {missing}: a second reader learns from the reference of that name")
    if not config.exams and not config.phantoms:
        raise ValueError("expected exams to teach on; give --exams and --reference, or --phantoms")
    sources = find_sources(config.exams, config.reference, config.label_scheme)
    if folder.state.exists() and not config.resume:
        raise ValueError(f"{folder.path} holds a run already; go on with --resume, or give another --out")
    check_output_folder(folder.path)
    folder.path.mkdir(parents=True, exist_ok=True)
    return sources + phantom_sources(config.phantoms, first=FIRST_PHANTOM)


def _prepare(
    source: Source, sources: Sequence[Source], start: Surrogate, config: HardenConfig, survey: LabelSurvey
) -> TaughtExam:
    synthetic = source.paths is None
    case = read_case(source, sources)
    survey.add(case.name, case.present)
    exam = prepare_exam(
        case,
        config.out / "exams",
        errors=max(config.errors // PHANTOM_ERRORS, 1) if synthetic else config.errors,
        natural=_natural(source, config) if config.natural else (),
        synthetic=synthetic,
        seed=config.seed,
    )
    print(f"{source.name}: {len(exam.stock)} masks besides the reference", flush=True)
    return exam


def _natural(source: Source, config: HardenConfig) -> list[Labels]:
    """All segmentations of an exam but its reference, in the scheme ``"brats23"``."""
    if source.paths is None:
        return []
    # By its whole name: what the user gave may fit a mask in a folder below, too.
    (reference,) = source.paths.segmentations
    found = find_all_segmentations(reference.parent, [reference.name])
    others = replace(found.paths, segmentations=found.paths.segmentations[1:])
    exam = read_exam(others, label_scheme=config.label_scheme)
    return [as_brats23(labels, config.label_scheme) for labels in exam.segmentations.values()]


def _teach(
    config: HardenConfig, surrogate: Surrogate, exams: Sequence[TaughtExam], folder: RunFolder, where: Processes
) -> int | None:
    """Teach the surrogate's reader; returns the signal that stopped it, if any did."""

    def report(progress: Progress) -> None:
        log = pd.DataFrame(progress.rows).to_csv(index=False, lineterminator="\n")
        write_together({folder.log: log.encode()})

    reader = surrogate.to(where.device).reader
    if reader is None:
        raise ValueError("expected a surrogate with a second reader, got one without")
    reader.requires_grad_(True)
    teacher = Teacher(config, reader, exams, where.device, folder.state, report)
    with StopRequest().listening() as stop:
        done = teacher.run(_fingerprint(config, exams), stop)
    reader.requires_grad_(False)
    reader.eval()
    return None if done else stop.signal


def _fingerprint(config: HardenConfig, exams: Sequence[TaughtExam]) -> Mapping[str, Any]:
    digest = hashlib.sha256()
    for exam in exams:
        digest.update(exam.folder.name.encode())
    options = {name: str(value) for name, value in asdict(config).items() if name not in _FREE}
    return {**options, "taught exams": digest.hexdigest()[:16]}

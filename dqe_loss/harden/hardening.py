"""A whole hardening: from exams with references to a checkpoint with its model card."""

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import torch
import yaml

from dqe_loss.data.label_sets import LabelSurvey
from dqe_loss.harden.batches import network_threads, worker_count
from dqe_loss.harden.card import Lesson, describe_exams, hardened_card
from dqe_loss.harden.config import HardenConfig
from dqe_loss.harden.sources import find_predictions, find_taught, prepare_exams
from dqe_loss.harden.start import as_the_refiner, check_start, hardened_surrogate, load_start, refiner_of
from dqe_loss.harden.taught_exams import TaughtExam
from dqe_loss.harden.teacher import Teacher
from dqe_loss.outputs import check_output_folder, encode, write_together
from dqe_loss.processes import StopRequest, processes
from dqe_loss.surrogate.checkpoint import save_surrogate
from dqe_loss.task import GLIOMA, Task
from dqe_loss.tasks.reading import error_values
from dqe_loss.train.config import plain_values
from dqe_loss.train.run_folder import RunFolder

# A continuation may run elsewhere, be watched and trusted otherwise; all else makes it another hardening. Exams count
# by their content.
_FREE = (
    "task",
    "add_predictions",
    "exams",
    "reference",
    "held_out",
    "out",
    "cache",
    "resume",
    "device",
    "workers",
    "save_every",
    "confidence",
    "full_marks",
    "survey_full_marks",
    "exponent",
)


def harden(config: HardenConfig) -> int:
    """Teach a refiner, and write it with the surrogate that it guards into the run's folder.

    Args:
        config: the hardening.

    Returns:
        0, or 128 + signal if a signal ended it; the state is saved then.

    Raises:
        ValueError: if the configuration or an exam does not fit; before any teaching.
        OSError: if the folder cannot be written; the last saved state stays.
    """
    folder = RunFolder(config.out)
    start = load_start(config)
    check_start(start, config)
    task = start.config.task
    config = replace(config, label_scheme=task.scheme(config.label_scheme).name, checkpoint=config.start)
    config = as_the_refiner(config, start)
    sources, left_out = find_taught(config, task, start.config.field_of_view)
    predictions = find_predictions(config, [*sources, *left_out])
    check_output_folder(config.prepared, "--cache")
    folder.begin(config.resume)
    with processes(config.device) as where:
        if where.world > 1:
            raise ValueError("a hardening runs in one process; start it without torchrun")
        survey = LabelSurvey(task.scheme(config.label_scheme))
        exams, held_out = (prepare_exams(config, found, survey, task, predictions) for found in (sources, left_out))
        taught = describe_exams(exams)
        print(f"{taught}; {len(held_out)} held out; {_who_computes(config, where.device)}", flush=True)
        write_together({folder.config: yaml.safe_dump(plain_values(asdict(config)), sort_keys=False).encode()})
        surrogate = hardened_surrogate(start, config, taught).to(where.device)
        teacher = Teacher(
            config, refiner_of(surrogate), exams, held_out, where.device, folder.state, folder.write_log, task
        )
        teacher.refiner.requires_grad_(True)
        with StopRequest().listening() as stop:
            done = teacher.run(_fingerprint(config, task, exams, held_out), stop)
    if not done:
        print(f"stopped by signal {stop.signal}; the state is saved, --resume continues from it", file=sys.stderr)
        return 128 + (stop.signal or 0)
    lesson = Lesson(config, exams, held_out, teacher.conclude())
    teacher.refiner.requires_grad_(False).eval()
    card = hardened_card(config.out.name, start.config, surrogate.config, lesson)
    save_surrogate(surrogate.to("cpu"), folder.last, card=card, half=True)
    write_together({folder.last.with_suffix(".md"): encode(card)})
    print(f"{folder.last}: step {lesson.step} of {config.steps}")
    return 0


def _who_computes(config: HardenConfig, device: torch.device) -> str:
    threads = f" ({network_threads(config, device)} threads)" if device.type == "cpu" else ""
    return f"on {device}{threads}, {worker_count(config, device)} processes making batches"


def _fingerprint(
    config: HardenConfig, task: Task, exams: Sequence[TaughtExam], held_out: Sequence[TaughtExam]
) -> Mapping[str, Any]:
    free = _FREE if config.add_predictions else (*_FREE, "predictions_share")
    options = {name: str(value) for name, value in asdict(config).items() if name not in free}
    if task != GLIOMA:
        options["task"] = json.dumps(error_values(task, task.canonical))
    return {**options, "taught exams": _digest(exams), "held-out exams": _digest(held_out)}


def _digest(exams: Sequence[TaughtExam]) -> str:
    """Names of prepared exams tell their content."""
    return hashlib.sha256("".join(exam.folder.name for exam in exams).encode()).hexdigest()[:16]

"""A whole hardening: from exams with references to a checkpoint with its model card."""

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from typing import Any

import torch
import yaml

from dqe_loss.data.label_sets import LabelSurvey
from dqe_loss.harden.batches import network_threads, worker_count
from dqe_loss.harden.card import Lesson, describe_exams, hardened_card
from dqe_loss.harden.config import HardenConfig
from dqe_loss.harden.sources import find_predictions, find_taught, prepare_exams
from dqe_loss.harden.taught_exams import TaughtExam
from dqe_loss.harden.teacher import Teacher
from dqe_loss.outputs import check_output_folder, encode, write_together
from dqe_loss.processes import StopRequest, processes
from dqe_loss.surrogate.checkpoint import load_surrogate, save_surrogate
from dqe_loss.surrogate.config import NO_NETWORK, SurrogateConfig
from dqe_loss.surrogate.network import Surrogate, build_network
from dqe_loss.surrogate.refiner import Refiner
from dqe_loss.task import GLIOMA, Task, find_task
from dqe_loss.tasks.reading import check_task, error_values
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
    sources, left_out = find_taught(config, task)
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
            config, _refiner(surrogate), exams, held_out, where.device, folder.state, folder.write_log, task
        )
        teacher.refiner.requires_grad_(True)
        with StopRequest().listening() as stop:
            done = teacher.run(_fingerprint(config, task, exams, held_out), stop)
    if not done:
        print(f"stopped by signal {stop.signal}; the state is saved, go on with --resume", file=sys.stderr)
        return 128 + (stop.signal or 0)
    lesson = Lesson(config, exams, held_out, teacher.conclude())
    teacher.refiner.requires_grad_(False).eval()
    card = hardened_card(config.out.name, start.config, surrogate.config, lesson)
    save_surrogate(surrogate.to("cpu"), folder.last, card=card, half=True)
    write_together({folder.last.with_suffix(".md"): encode(card)})
    print(f"{folder.last}: step {lesson.step} of {config.steps}")
    return 0


def load_start(config: HardenConfig) -> Surrogate:
    """The surrogate to harden, or one that gives the most stars where there is none.

    Raises:
        ValueError: if it is of another task than the one that was named, or there is no such task or checkpoint.
    """
    named = None if config.task is None else find_task(config.task)
    if config.start == NO_NETWORK:
        task = named or GLIOMA
        return Surrogate(
            SurrogateConfig(
                architecture=NO_NETWORK,
                task=task,
                modalities=task.modalities,
                stars=task.stars,
                field_of_view=task.field_of_view,
                normalization="head_mean" if task.window is None else "window",
                kind_of_ratings="metric",
                data="no ratings: every mask begins with the most stars",
            )
        )
    start = load_surrogate(config.start)
    if named is not None:
        check_task(named, start.config.task, config.start, "give another --task, or another --checkpoint")
    return start


def check_start(start: Surrogate, config: HardenConfig) -> None:
    """Refuse a surrogate that cannot be hardened.

    Raises:
        ValueError: it is hardened already and no predictions are added, or has planes that a refiner cannot take.
    """
    if start.config.refiner is not None and not config.add_predictions:
        raise ValueError(
            f"{config.start} has a refiner already; harden the surrogate that it came from, or teach this one on with "
            "a network's masks, --add-predictions FOLDER"
        )
    taught_by = ("head_mean", "window") if start.config.refiner else ("percentile", "head_mean", "window")
    if start.config.normalization not in taught_by:
        raise ValueError(
            f"{config.start} scales planes by {start.config.normalization!r}, and what a refiner sees is "
            "scaled by 'head_mean', which only stands in for 'percentile'; harden a surrogate trained with either"
        )


def as_the_refiner(config: HardenConfig, start: Surrogate) -> HardenConfig:
    """The hardening with the build and the marks of the refiner that goes on, if there is one.

    Raises:
        ValueError: if others were asked for.
    """
    if start.config.refiner is None:
        return config
    there, defaults = asdict(start.config.refiner), HardenConfig()
    for name, value in there.items():
        if getattr(config, name) not in (getattr(defaults, name), value):
            raise ValueError(
                f"{name} is {getattr(config, name)!r}, and the refiner of {config.start} has {value!r}, which it "
                "keeps; leave the option out"
            )
    return replace(config, **there)


def hardened_surrogate(start: Surrogate, config: HardenConfig, taught: str) -> Surrogate:
    """The surrogate to be taught: a frozen copy of its start, beside a refiner that knows nothing yet, or goes on.

    Args:
        start: what to harden.
        config: the hardening; its seed draws the refiner's weights.
        taught: what the refiner will be taught on, in words.

    Raises:
        ValueError: if the start cannot be hardened, see `check_start`.
    """
    check_start(start, config)
    goes_on = start.config.refiner is not None
    refiner = start.config.refiner or config.refiner()
    origin = start.config.data or "its data is not known"
    told = "" if start.config.architecture == NO_NETWORK or goes_on else f"{start.config.kind_of_ratings} ratings: "
    surrogate_config = replace(
        start.config,
        kind_of_ratings="metric" if start.config.architecture == NO_NETWORK else "hybrid",
        normalization="head_mean" if start.config.task.window is None else "window",
        refiner=refiner,
        center_gradient=False,
        dice_map=None,  # what the stars meant without the refiner
        data=f"{told}{origin}; {'then' if goes_on else 'a refiner,'} taught on {taught}",
        seed=config.seed,
        versions=start.config.versions | {name: version(name) for name in ("dqe_loss", "torch", "monai", "numpy")},
    )
    torch.manual_seed(config.seed)
    build_network(surrogate_config)  # draws what comes before the refiner, whose weights by a seed are to stay
    surrogate = Surrogate(surrogate_config, Refiner(refiner, surrogate_config.task))
    surrogate.network.load_state_dict(start.network.state_dict())
    if goes_on:
        _refiner(surrogate).load_state_dict(_refiner(start).state_dict())
    return surrogate


def _who_computes(config: HardenConfig, device: torch.device) -> str:
    threads = f" ({network_threads(config, device)} threads)" if device.type == "cpu" else ""
    return f"on {device}{threads}, {worker_count(config, device)} processes making batches"


def _refiner(surrogate: Surrogate) -> Refiner:
    if surrogate.refiner is None:
        raise ValueError("expected a surrogate with a refiner, got one without")
    return surrogate.refiner


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

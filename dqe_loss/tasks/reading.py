"""Tasks as plain values: read from YAML or JSON, found by name, written into checkpoints."""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from dqe_loss.tasks.blobs import BLOBS
from dqe_loss.tasks.definition import Task
from dqe_loss.tasks.glioma import GLIOMA
from dqe_loss.tasks.label_scheme import LabelScheme
from dqe_loss.tasks.problems import TaskError
from dqe_loss.tasks.shorthand import expand

BUILT_IN = {task.name: task for task in (GLIOMA, BLOBS)}
"""Tasks that come with the package, by name."""

_FIRST_FIELDS = ("name", "modalities", "regions", "tissues", "centers", "whole", "field_of_view")
"""What checkpoints have said of a task since there were tasks; of a built-in one they say no more."""

_OF_ERRORS = ("spacing", "error_size", "stars", "lesion", "spurious", "taken_for")
"""What decides wrong masks and what they are worth, beside that."""


def find_task(named: str | Path | None) -> Task:
    """A task by the name of a built-in one, or by its file; glioma if nothing is named.

    Raises:
        ValueError: there is no such task, or the file does not describe one.
        OSError: the file cannot be read.
    """
    if named is None:
        return GLIOMA
    if str(named) in BUILT_IN:
        return BUILT_IN[str(named)]
    path = Path(named)
    if path.suffix.lower() not in (".yaml", ".yml", ".json"):
        raise ValueError(
            f"--task {named}: expected {', '.join(BUILT_IN)}, or a .yaml or .json file that describes a task"
        )
    return read_task(path)


def read_task(path: str | Path) -> Task:
    """Read a task from a YAML or JSON file.

    Args:
        path: the file; ``docs/how-to/your-own-task.md`` shows one.

    Raises:
        ValueError: if there is no such file, or it does not describe a task; a `TaskError` names every problem.
        ImportError: if a YAML file is read without PyYAML.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: expected a file that describes a task, found nothing there; check the path")
    try:
        values = json.loads(path.read_bytes()) if path.suffix.lower() == ".json" else _read_yaml(path)
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: cannot be read ({error}); expected YAML or JSON") from error
    if not isinstance(values, Mapping):
        raise ValueError(f"{path}: expected fields and their values, found {type(values).__name__}")
    try:
        return task_from_dict(values)
    except TaskError as error:
        raise TaskError(*(f"{path}: {problem}" for problem in error.problems)) from error


def _read_yaml(path: Path) -> Any:
    try:
        import yaml
    except ModuleNotFoundError as error:
        raise ImportError('YAML files need yaml; run: pip install "dqe_loss[train]", or write JSON') from error
    try:
        return yaml.safe_load(path.read_bytes())
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: cannot be read as YAML ({' '.join(str(error).split())})") from error


def task_from_dict(values: Mapping[str, Any]) -> Task:
    """A task from plain values, as a file or a checkpoint has them.

    Beside the fields of `Task`, ``labels`` may stand for a single label scheme (tissue to label or labels), and
    ``regions`` may map each region to its tissues, or be left out: then each label is one. Without ``tissues``, those
    of the labels that a region names count.

    Raises:
        TaskError: naming every problem.
    """
    given = dict(values)
    built_in = BUILT_IN.get(str(given.get("name")))
    if built_in is not None and all(_plain(getattr(built_in, k, None)) == _plain(v) for k, v in given.items()):
        return built_in
    known = [one.name for one in fields(Task)]
    if unknown := sorted(set(map(str, given)) - {*known, "labels"}):
        raise TaskError(f"unknown fields {', '.join(unknown)}; expected {', '.join([*known, 'labels'])}")
    if {"labels", "schemes"} <= given.keys():
        raise TaskError("expected labels (one scheme) or schemes (several), found both; leave one out")
    given = expand(given)
    if missing := [name for name in ("name", "modalities", "regions", "tissues") if not given.get(name)]:
        what = "labels" if missing == ["tissues"] else ", ".join(missing)
        raise TaskError(f"lacks {what}; a task needs name, modalities, regions and labels")
    filled: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in given.items()}
    return Task(**filled)


def task_to_dict(task: Task) -> dict[str, Any]:
    """A task as JSON-ready values; of a built-in one what tells it, which earlier versions read, too."""
    values: dict[str, Any] = _plain(asdict(task))
    return {name: values[name] for name in _FIRST_FIELDS} if task == BUILT_IN.get(task.name) else values


def decisive_values(task: Task) -> dict[str, Any]:
    """What of a task decides which stars a mask gets."""
    names = (*_FIRST_FIELDS, "parts", "views", "window")
    return {name: _plain(getattr(task, name)) for name in names}


def label_values(scheme: LabelScheme) -> dict[str, list[int]]:
    """A scheme's labels as JSON has them: its name stays the same where a task's file is edited."""
    return {tissue: list(labels) for tissue, labels in scheme.labels.items()}


def error_values(task: Task, scheme: LabelScheme) -> dict[str, Any]:
    """What of a task decides its wrong masks and their stars: `decisive_values`, the labels, and what makes errors."""
    more = {name: _plain(getattr(task, name)) for name in _OF_ERRORS}
    return {**decisive_values(task), **more, "labels": label_values(scheme)}


def check_task(given: Task, expected: Task, what: str, cure: str) -> None:
    """Refuse data of another task, by name, or of one with another scale of stars or other voxels.

    Args:
        given: the task of the data, or the one that was said.
        expected: that of a checkpoint or a run.
        what: what is of the expected task, such as ``"checkpoint x.safetensors"``.
        cure: what to do.

    Raises:
        ValueError: naming both tasks, or what differs between two of one name.
    """
    if given.name != expected.name:
        raise ValueError(f"{what} is of the task {expected.name!r}, and not of {given.name!r}; {cure}")
    mine, theirs = (
        {
            **decisive_values(task),
            "volumes": not task.planar,
            "stars": _plain(task.stars),
            "spacing": _plain(task.spacing),
        }
        for task in (given, expected)
    )
    if differing := [name for name in mine if mine[name] != theirs[name]]:
        name = differing[0]
        raise ValueError(
            f"{what} knows another task {expected.name!r}: {name} there is {theirs[name]}, here {mine[name]}; {cure}"
        )


def settle_task(named: str | Path | None, of_checkpoint: Task, checkpoint: str) -> Task:
    """The task of a command that was given a checkpoint: the checkpoint's, or the one that was named if it is the same.

    The named one may differ in what decides no stars: label schemes, files, colors.

    Raises:
        ValueError: if the checkpoint is of another task, naming both.
    """
    if named is None:
        return of_checkpoint
    given = find_task(named)
    check_task(given, of_checkpoint, checkpoint, "leave --task out, or give a checkpoint of that task")
    return given


def _plain(value: Any) -> Any:
    """A value as JSON has it: lists for tuples."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value

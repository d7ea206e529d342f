"""What a task's file may say in short, brought to the fields of `Task`: labels, regions with their tissues, files."""

from collections.abc import Mapping
from dataclasses import fields
from numbers import Integral
from typing import Any

from dqe_loss.tasks.definition import FileNames, SchemeLabels, Task
from dqe_loss.tasks.forms import form_problems, got
from dqe_loss.tasks.problems import TaskError, unknown_tissues


def expand(values: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a task as `Task` takes them, of the right form; what follows from labels and regions is filled in.

    Args:
        values: fields and their values, as a file or a checkpoint has them.

    Raises:
        TaskError: naming every value of another form.
    """
    given, problems = dict(values), list[str]()
    if "labels" in given:
        given["schemes"] = {"labels": _scheme("labels", given.pop("labels"), problems)}
    elif isinstance(given.get("schemes"), Mapping):
        given["schemes"] = {n: _scheme(f"schemes: {n}", one, problems) for n, one in given["schemes"].items()}
    if "files" in given:
        given["files"] = _files(given["files"], problems)
    labeled = _first_labels(given.get("schemes"))
    tissues = given.get("tissues", labeled)
    if isinstance(given.get("regions"), Mapping):
        given["parts"] = _parts(given["regions"], tissues, problems)
        given["regions"] = tuple(given["parts"])
    elif "regions" in given and not isinstance(given["regions"], list | tuple):
        problems.append(
            "regions must map each region to its tissues, as in {whole: [left, right]}, or be a list of tissues, "
            f"{got(given.pop('regions'))}"
        )
    elif "regions" not in given and labeled:
        given["regions"] = labeled
    if isinstance(given.get("parts"), Mapping) and "regions" in values and not isinstance(values["regions"], Mapping):
        given["parts"] = _parts(given["parts"], tissues, problems)
    problems += form_problems(given, Task)
    if problems:
        raise TaskError(*dict.fromkeys(problems))
    if "tissues" not in given and labeled:
        parts = given.get("parts", {})
        used = {tissue for name in given.get("regions", ()) for tissue in parts.get(name, (name,))}
        given["tissues"] = tuple(tissue for tissue in labeled if tissue in used)
    return given


def _scheme(where: str, values: Any, problems: list[str]) -> Any:
    """A label scheme: each tissue with its label, or these and what else is said of it."""
    if isinstance(values, SchemeLabels):
        return values
    if not isinstance(values, Mapping):
        problems.append(f"{where} must map each tissue to its label, as in {{left: 1, right: 2}}, {got(values)}")
        return SchemeLabels({})
    nested = isinstance(values.get("labels"), Mapping)
    labels = values["labels"] if nested else values
    more = {key: value for key, value in values.items() if key != "labels"} if nested else {}
    if unknown := sorted(set(map(str, more)) - {"either", "note"}):
        problems.append(f"{where}: unknown fields {', '.join(unknown)}; expected labels, either, note")
        return SchemeLabels({})
    found = {}
    for name, label in labels.items():
        numbers = tuple(label) if isinstance(label, list | tuple) else (label,)
        if not numbers or not all(isinstance(one, Integral) and not isinstance(one, bool) for one in numbers):
            problems.append(
                f"{where}: {name} must be a whole number from 1 to 255, or several, as in [1, 2], {got(label)}"
            )
            numbers = ()
        if not isinstance(name, str):
            problems.append(
                f'{where} must map each tissue to its label, {got(name)} as a tissue; write "{name}" in quotes'
            )
        found[str(name)] = numbers
    return SchemeLabels(found, **more)


def _first_labels(schemes: Any) -> tuple[str, ...]:
    """The tissues that the first scheme has labels of; none where there is no scheme."""
    first = next(iter(schemes.values()), None) if isinstance(schemes, Mapping) else None
    return tuple(first.labels) if isinstance(first, SchemeLabels) else ()


def _parts(values: Mapping[Any, Any], tissues: Any, problems: list[str]) -> dict[Any, Any]:
    """The tissues of each region."""
    known = tuple(one for one in tissues if isinstance(one, str)) if isinstance(tissues, list | tuple) else ()
    found = {}
    for region, own in values.items():
        named = tuple(own) if isinstance(own, list | tuple) else (own,)
        if wrong := [one for one in named if not isinstance(one, str) or (known and one not in known)]:
            problems.append(unknown_tissues(region, wrong, known))
        found[region] = tuple(one for one in named if isinstance(one, str))
    return found


def _files(values: Any, problems: list[str]) -> Any:
    if isinstance(values, FileNames):
        return values
    if not isinstance(values, Mapping):
        problems.append(f"files must say images, reference, endings, words or channels, {got(values)}")
        return FileNames()
    if unknown := sorted(set(map(str, values)) - {one.name for one in fields(FileNames)}):
        problems.append(f"files: unknown fields {', '.join(unknown)}; expected images, reference, endings, channels")
        return FileNames()
    endings = values.get("endings", {})
    if isinstance(endings, Mapping):
        endings = {name: (one,) if isinstance(one, str) else _listed(one) for name, one in endings.items()}
    return FileNames(**{name: _listed(one) for name, one in (dict(values) | {"endings": endings}).items()})


def _listed(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value

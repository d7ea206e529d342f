"""What an nnU-Net data set's ``dataset.json`` says of its labels, held against a task's label scheme."""

import json
from pathlib import Path

from dqe_loss.task import GLIOMA, Task
from dqe_loss.tasks import glioma_labels
from dqe_loss.tasks.from_nnunet import identifier, named_labels


def settle_scheme(folder: Path, said: str | None, task: Task = GLIOMA) -> str:
    """The label scheme of a data set of nnU-Net.

    Args:
        folder: of the data set.
        said: the scheme that was asked for; None, or the default, counts as nothing said.
        task: what is segmented.

    Returns:
        What was said; if nothing was, what ``dataset.json`` describes or the task's default.

    Raises:
        ValueError: the file contradicts the scheme, or (of gliomas) nothing was said and the file does not tell it.
    """
    if glioma_labels.has_glioma_labels(task):
        return glioma_labels.settle_scheme(folder, said or task.default_scheme)
    scheme, path = task.scheme(said), folder / "dataset.json"
    named = refuse_other_labels(folder, task)
    folded = {identifier(task.title(name)): name for name in scheme.labels}
    folded |= {identifier(name): name for name in scheme.labels}
    for name, labels in named.items():
        known = folded.get(identifier(name))
        if known in scheme.tissues and set(labels) != set(scheme.labels[known]):
            raise ValueError(
                f"{path}: {name} has the label {' and '.join(map(str, labels))}, but label scheme {scheme.name!r} of "
                f"the task {task.name!r} has {scheme}; say another --label-scheme, or correct the file"
            )
    return scheme.name


def refuse_other_labels(folder: Path, task: Task) -> dict[str, tuple[int, ...]]:
    """Refuse a data set whose ``dataset.json`` names labels, but none of the task.

    Args:
        folder: of the data set.
        task: what is segmented.

    Returns:
        Name to numbers of each label there; nothing where there is no such file, or it is not understood.

    Raises:
        ValueError: naming what is there, and what the task has.
    """
    path = folder / "dataset.json"
    try:
        named = named_labels(json.loads(path.read_bytes())["labels"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}  # what is not understood says nothing
    labeled = dict.fromkeys(name for scheme in task.schemes.values() for name in scheme.labels)
    known = {identifier(word) for name in (*labeled, *task.regions) for word in (name, task.title(name))}
    if named and not known & {identifier(name) for name in named}:
        raise ValueError(
            f"{path}: its labels {', '.join(named)} are none of the task {task.name!r}, which has "
            f"{', '.join(labeled)}; give data of that task, or say in the task's file how they are called here, as in "
            f"titles: {{{next(iter(labeled))}: {next(iter(named))}}}"
        )
    return named

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
    try:
        named = named_labels(json.loads(path.read_bytes())["labels"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return scheme.name  # what is not understood says nothing
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

"""Which label scheme fits a label map; the schemes themselves belong to a task (`dqe_loss.task.Task.schemes`)."""

import warnings

import torch
from torch import Tensor

from dqe_loss.core.tensors import as_signed
from dqe_loss.task import GLIOMA, LabelScheme, Task

SchemeLike = str | LabelScheme
"""A label scheme, or the name of one of the built-in task's."""

LABEL_SCHEMES = GLIOMA.label_schemes
"""Label schemes of the built-in task by name; `dqe_loss.GLIOMA` says which data set has which."""


def label_scheme(scheme: SchemeLike | None, task: Task = GLIOMA) -> LabelScheme:
    """Look a scheme up by name; one that is a scheme already is returned as it is, and the task's default for None.

    Raises:
        ValueError: if the task has no scheme of that name.
    """
    return scheme if isinstance(scheme, LabelScheme) else task.scheme(scheme)


def describe_schemes(task: Task = GLIOMA) -> str:
    """All schemes of a task with their labels, in words."""
    return "; ".join(f"{name}: {scheme}" for name, scheme in task.label_schemes.items())


def check_labels(labels: Tensor, scheme: SchemeLike = GLIOMA.default_scheme) -> None:
    """Check that a label map holds nothing but the scheme's labels.

    Args:
        labels: label map of any shape and real dtype; a batch ``(B, 1, X, Y, Z)`` is checked exam by exam.
        scheme: the label scheme.

    Raises:
        ValueError: if a value is not a label of the scheme, or if the map holds two labels of a tissue for which the
            scheme allows either.

    Warns:
        UserWarning: one exam of a batch has one label for such a tissue, another exam the other.
    """
    known, labels = label_scheme(scheme), as_signed(labels)
    largest = max(known.values)
    fractional = labels.is_floating_point() and bool((labels != labels.round()).any())  # true of NaN, too
    low, high = (0, 0) if fractional else (bound.item() for bound in labels.aminmax())
    # One pass says most: only the scheme's gaps and its second label of a tissue need another look.
    between = [value for value in range(1, int(min(high, largest)) + 1) if value not in known.values]
    if fractional or low < 0 or high > largest or any(bool((labels == value).any()) for value in between):
        present = torch.unique(labels).tolist()
        raise ValueError(
            f"label scheme {known.name!r} has the labels {', '.join(map(str, known.values))}, but the label map also "
            f"holds {[value for value in present if value not in known.values][:5]}; {_advice(set(present), known)}"
        )
    if not known.either or high < max(known.alternatives):
        return
    exams = labels.flatten(1) if labels.ndim == 5 else labels.flatten()[None]
    found = torch.stack([(exams == value).any(1) for value in known.alternatives])
    if (found.sum(0) > 1).any():
        raise ValueError(
            f"the label map holds both {' and '.join(map(str, known.alternatives))}, and {known.name!r} takes either "
            f"as {known.either_title}, not both; {_advice(set(known.values), known)}"
        )
    if found.any(1).sum() > 1:
        first, second = (known.alternatives[int(place)] for place in found.any(1).nonzero()[:2, 0])
        # The same words each time: Python shows a warning once.
        warnings.warn(
            f"one exam of a batch holds {first}, another {second}, and label_scheme={known.name!r} takes both as "
            f"{known.either_title}: {known.note}",
            stacklevel=2,
        )


def _advice(present: set[float], given: LabelScheme) -> str:
    """Which schemes fit the values that occur, those that give another tissue to a label apart; or what each takes."""
    ignored = "voxels to ignore, such as nnU-Net's last label or 255, count as background: set them to 0"
    family = given.family or {given.name: given}
    fitting = {
        name: scheme
        for name, scheme in family.items()
        if present <= set(scheme.values) and not (scheme.either and present >= set(scheme.alternatives))
    }
    if not fitting:
        described = "; ".join(f"{name}: {scheme}" for name, scheme in family.items())
        return f"they fit no scheme of this library ({described}); {ignored}"
    alike = [f"{n} ({scheme})" for n, scheme in fitting.items() if _agree(scheme, given)]
    unlike = [f"{n} ({scheme})" for n, scheme in fitting.items() if not _agree(scheme, given)]
    told = [f"the values fit {', '.join(alike)}"] if alike else []
    if unlike:
        other = f"with other tissues than in {given.name}, {', '.join(unlike)}"
        told.append(f"{'or, ' if alike else 'the values fit, '}{other}")
    return "; ".join([*told, ignored])


def _agree(one: LabelScheme, other: LabelScheme) -> bool:
    """Whether each label that two schemes share is the same tissue in both."""
    return not any(
        set(labels) & set(others)
        for name, labels in one.labels.items()
        for another, others in other.labels.items()
        if name != another
    )

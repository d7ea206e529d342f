"""Graded segmentation errors: by name, with a severity, chained, reproducible by seed.

What raters and metrics are asked about are wrong masks, and of those there are never enough. The errors here are
those that segmentation networks make, and those that attacks on a rating find (contract C7's table: a shifted, a
mirrored mask, the whole brain labeled).
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from dqe_loss.core.labels import SchemeLike, label_scheme
from dqe_loss.data.corruption.content import blobs, drop, holes, other, swap, whole_brain
from dqe_loss.data.corruption.label_maps import Context, Labels
from dqe_loss.data.corruption.shapes import dilate, erode, mirror, scatter, shift, shrink, smooth, split
from dqe_loss.task import GLIOMA, Task

Corruption = Callable[[Labels, float, np.random.Generator, Context], Labels]
"""A label map, a severity in (0, 1], a generator and a context -> a new label map."""

Step = tuple[str, float]
"""Name and severity."""

CORRUPTIONS: dict[str, Corruption] = {
    "shift": shift,
    "mirror": mirror,
    "dilate": dilate,
    "erode": erode,
    "smooth": smooth,
    "split": split,
    "blobs": blobs,
    "drop": drop,
    "swap": swap,
    "holes": holes,
    "noise": scatter,
    "other": other,
    "whole_brain": whole_brain,
    "empty": shrink,
}
"""Segmentation errors by name."""


def corrupt(
    labels: Labels,
    steps: Sequence[Step],
    *,
    rng: np.random.Generator,
    brain: NDArray[np.bool_],
    other: Labels | None = None,
    task: Task = GLIOMA,
) -> Labels:
    """Make segmentation errors, one after the other.

    Args:
        labels: label map uint8 (X, Y, Z) in the task's canonical scheme (its tissues as 1, 2, ...), LPS.
        steps: names in `CORRUPTIONS`, each with a severity in [0, 1]: 0 is the identity, 0.1 hardly seen, 1 a failure.
        rng: source of randomness; the same state gives the same errors.
        brain: where there is brain, bool (X, Y, Z).
        other: another exam's label map of the same shape and scheme, for the error ``"other"``.
        task: what is segmented: says its tissues and regions, the size of voxels and of errors.

    Returns:
        A new label map of the same kind. What is segmented stays inside the volume.

    Raises:
        ValueError: if an array, a name or a severity is not as said.

    Example:
        >>> labels = np.zeros((20, 20, 20), np.uint8)
        >>> labels[5:10, 5:10, 5:10] = 2
        >>> worse = corrupt(labels, [("shift", 0.1), ("empty", 0.5)], rng=np.random.default_rng(0), brain=labels == 0)
        >>> int((labels > 0).sum()), int((worse > 0).sum())
        (125, 27)
    """
    _check_labels(labels, "label map", task)
    if other is not None:
        _check_labels(other, "other label map", task)
    if brain.dtype != np.bool_ or brain.shape != labels.shape or (other is not None and other.shape != labels.shape):
        raise ValueError(
            f"expected a brain mask of type bool and an other label map, each of the label map's shape {labels.shape}; "
            f"got {brain.dtype} {brain.shape} and {'none' if other is None else other.shape}"
        )
    if not brain.any():
        raise ValueError("expected a brain mask with brain in it, got an empty one; take image[0] > 0, say")
    for name, severity in steps:
        if name not in CORRUPTIONS:
            raise ValueError(f"unknown corruption {name!r}; expected one of {', '.join(CORRUPTIONS)}")
        if not 0 <= severity <= 1:
            raise ValueError(f"the severity of {name!r} must be in [0, 1], got {severity}")
    context = Context(brain, other, task)
    result: Labels = labels.copy()
    for name, severity in steps:
        if severity > 0:
            result = CORRUPTIONS[name](result, float(severity), rng, context)
    return result


def as_canonical(labels: Labels, scheme: SchemeLike) -> Labels:
    """Rewrite a label map uint8 of any shape in the scheme of the corruptions: the task's tissues as 1, 2, ...

    What is in no region, such as a resection cavity, becomes background.
    """
    known = label_scheme(scheme)
    table = np.zeros(256, np.uint8)
    for label, tissue in enumerate(known.tissues, 1):
        table[list(known.labels[tissue])] = label
    return table[labels]


def describe_steps(steps: Sequence[Step]) -> str:
    """Write steps down in one word, e.g. ``"shift:0.50+dilate:0.30"``; ``"none"`` if there are none."""
    return "+".join(f"{name}:{severity:.2f}" for name, severity in steps) or "none"


def _check_labels(labels: Labels, what: str, task: Task) -> None:
    if labels.dtype != np.uint8 or labels.ndim != 3 or (labels.size and labels.max() > len(task.tissues)):
        known = ", ".join(map(str, range(len(task.tissues) + 1)))
        raise ValueError(
            f"expected a {what} uint8 (X, Y, Z) with the labels {known} ({task.canonical}), got {labels.dtype} "
            f"{labels.shape} up to {labels.max() if labels.size else 'nothing'}; map it to that scheme first"
        )

"""Tumors that take up no contrast agent, made of those that do: few exams have one, and they are read differently."""

import numpy as np
import torch
from torch import Tensor

from dqe_loss.harden.scanner import dilute
from dqe_loss.harden.smoothing import blur, grow
from dqe_loss.task import Task

UNENHANCED = 0.2
"""How often a tumor is made one that does not enhance."""
LOCAL = 0.5
"""How often contrast is taken from the tumor alone, so that vessels and dura stay bright."""
MOVED = 0.5
"""How often the border of such a tumor's core is moved: no scan shows it, and experts draw it in various places."""
WIDTHS = (5, 9, 13, 17)
"""Sides of the squares, in voxels, by which a core is grown or shrunk."""
GROWN = 0.7
"""How often it is grown: cores that do not enhance are large."""


def unenhance(scans: Tensor, truth: Tensor, rng: np.random.Generator, task: Task) -> tuple[Tensor, Tensor]:
    """A plane as it might be if its tumor took up no contrast agent.

    Args:
        scans: ``(C, H, W)`` in [0, 1].
        truth: labels ``(H, W)`` in the task's canonical scheme.
        rng: of all that is random.
        task: with `contrast` and `unenhanced`.

    Returns:
        Scans and labels of the same shapes; those given stay as they are.
    """
    scans = scans.clone()
    tumor = (truth > 0)[None].float()
    # A soft seam, as where a lesion is put into another plane.
    dilute(scans, blur(grow(tumor, 5), 5)[0] if rng.random() < LOCAL else 1.0, task)
    truth = unenhanced_labels(truth, task)
    return scans, _move_core(truth, rng, task) if rng.random() < MOVED else truth


def unenhanced_labels(labels: Tensor, task: Task) -> Tensor:
    """Canonical labels, uint8 of any shape, as `Task.unenhanced` has them."""
    names = ("", *task.tissues)
    lookup = [names.index(task.unenhanced.get(name, name)) for name in names]
    return torch.tensor(lookup, dtype=torch.uint8)[labels.long()]


def _move_core(truth: Tensor, rng: np.random.Generator, task: Task) -> Tensor:
    """Grow or shrink the core within the tumor; the first tissue that is none takes or makes room."""
    cores = set(task.unenhanced.values())
    rest = [label for label, name in enumerate(task.tissues, 1) if name not in cores | set(task.unenhanced)]
    if not rest:
        return truth
    label = 1 + task.tissues.index(sorted(cores)[0])
    core, width = (truth == label)[None].float(), int(rng.choice(WIDTHS))
    moved = grow(core, width) if rng.random() < GROWN else 1 - grow(1 - core, width)
    changed = torch.where(moved[0] > 0.5, label, torch.where(truth == label, rest[0], truth))
    return (changed * (truth > 0)).to(torch.uint8)

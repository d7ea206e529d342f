"""What a training step tells of the term, and its mean over the steps of an epoch and over processes."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import distributed

FIGURES = ("stars", "target_stars", "gradient_ratio", "guard_kept", "rated")
"""What is known after a step; not a number where it was not measured.

``stars`` are those of the predictions that were rated, ``target_stars`` those of the targets, while the term warms up,
``gradient_ratio`` is the term's gradient norm over the other losses', before the cap, ``guard_kept`` the share of its
gradient that the guard kept, ``rated`` the share of patches that could be rated.
"""

PATCHES = "patches"
"""Beside the figures: of how many patches a step was."""


def mean_figures(steps: Sequence[Mapping[str, Any]], gather: bool) -> dict[str, float]:
    """Each figure's mean over patches: ``rated`` over all, the others over those that were rated.

    Processes share a batch, and one of them may have more patches of it, or none that can be rated. So a process's
    figure counts by the patches behind it.

    Args:
        steps: for each step the `FIGURES` and `PATCHES`.
        gather: whether to take in the steps of all processes of the group, which all have to call this.

    Returns:
        The means, the same in all processes; not a number where nothing was measured.
    """
    measured = torch.zeros(len(FIGURES), 2, dtype=torch.float64)
    for step in steps:
        patches = step[PATCHES]
        for i, name in enumerate(FIGURES):
            if not math.isnan(step[name]):
                weight = patches if name == "rated" else patches * step["rated"]
                measured[i] += torch.tensor((weight * step[name], weight), dtype=torch.float64)
    if gather:
        parts: list[torch.Tensor] = [measured] * distributed.get_world_size()
        distributed.all_gather_object(parts, measured)
        measured = torch.stack(parts).sum(0)
    return {
        name: total / weight if weight else math.nan
        for name, (total, weight) in zip(FIGURES, measured.tolist(), strict=True)
    }

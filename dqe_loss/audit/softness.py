"""Part 5, soft masks: a loss sees probabilities, though surrogates have mostly seen binary masks."""

import math

import torch
from scipy import ndimage
from torch import Tensor

from dqe_loss.audit.audited_exam import AuditedExam
from dqe_loss.audit.stars_and_dice import AuditSettings, Measured, Numbers, Tick, mean_stars
from dqe_loss.core.boxes import array_box
from dqe_loss.surrogate.network import Surrogate

SOFTENINGS = (0.5, 1.0, 1.5, 2.0, 3.0)
"""Standard deviation in voxels of a blur of the reference: unsure at the outline."""
TEMPERATURES = (1.0, 2.0, 3.0, 4.0, 6.0)
"""Divisor of logits of +-6: unsure everywhere, .998 at 1, .88 at 3, .73 at 6."""
LEAKS = (0.01, 0.02, 0.05, 0.1, 0.2)
"""Probability of every region where the reference has none."""
MILD = {"softening": 1.0, "temperature": 3.0, "leak": 0.1}
"""Up to here a soft mask is what a trained network puts out, and its stars should be the binary mask's. Leak: the
bound within which contract C5 keeps the center."""
SURE = 6.0


def soften(case: AuditedExam, sigma: float) -> Tensor:
    """The reference, blurred: probabilities ``(1, R, X, Y, Z)``."""
    soft = case.regions.float()
    box = array_box(case.labels, math.ceil(3 * sigma) + 1)
    if box is None:
        return soft
    for region in soft[0]:
        inside = region[box].cpu().numpy()
        blurred = ndimage.gaussian_filter(inside, sigma, mode="nearest", truncate=3)
        region[box] = torch.from_numpy(blurred).to(soft.device)
    return soft


def soft_mask(case: AuditedExam, kind: str, level: float) -> Tensor:
    """The reference as a soft mask ``(1, R, X, Y, Z)`` of a kind named in `MILD`."""
    if kind == "softening":
        return soften(case, level)
    regions = case.regions.float()
    if kind == "temperature":
        return (SURE / level * (2 * regions - 1)).sigmoid()
    return regions.clamp(min=level)


def count_soft(settings: AuditSettings) -> int:
    """How many ratings it takes, about."""
    return len(SOFTENINGS) + len(TEMPERATURES) + len(LEAKS) + 1


def measure_soft(case: AuditedExam, surrogate: Surrogate, settings: AuditSettings, tick: Tick) -> Measured:
    """Rate soft versions of the reference, as the loss does.

    Returns:
        ``binary`` (stars of the reference itself), and under ``kinds`` for each of `MILD` a list of ``level``,
        ``stars`` and ``mild``.
    """
    binary = mean_stars(surrogate, case.image, case.regions)
    tick(1)
    kinds: dict[str, list[Numbers]] = {}
    for kind, levels in (("softening", SOFTENINGS), ("temperature", TEMPERATURES), ("leak", LEAKS)):
        kinds[kind] = []
        for level in levels:
            stars = mean_stars(surrogate, case.image, soft_mask(case, kind, level), slicing="soft")
            kinds[kind].append({"level": level, "stars": stars, "mild": level <= MILD[kind]})
            tick(1)
    return Measured({"binary": binary, "kinds": kinds})

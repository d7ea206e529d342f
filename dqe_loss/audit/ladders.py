"""Part 2, ladders: one error that grows step by step, and stars that should fall with it."""

from collections.abc import Sequence

import numpy as np
import torch
from scipy import stats

from dqe_loss.audit.audited_exam import AuditedExam
from dqe_loss.audit.stars_and_dice import (
    OWN_OR_REFERENCE,
    AuditSettings,
    Measured,
    Numbers,
    Tick,
    mean,
    mean_stars,
    plane_dice,
)
from dqe_loss.core.center_of_mass import hard_center_of_mass
from dqe_loss.data.corruption import CORRUPTIONS, corrupt
from dqe_loss.surrogate.network import Surrogate

SEVERITIES = tuple(step / 8 for step in range(1, 9))
"""Eight rungs above the reference itself, which is the rung of severity 0."""


def spearman(x: Sequence[float], y: Sequence[float]) -> float:
    """Spearman's rank correlation; 0 where one of the two is constant, for then it says nothing about the other.

    Example:
        >>> spearman([0, 1, 2, 3], [6.0, 5.0, 4.5, 2.0]), spearman([0, 1, 2, 3], [4.0, 4.0, 4.0, 4.0])
        (-1.0, 0.0)
    """
    if len(set(x)) < 2 or len(set(y)) < 2:
        return 0.0
    return round(float(stats.spearmanr(x, y).statistic), 12)


def largest_rise(values: Sequence[float]) -> float:
    """The most by which a later value exceeds an earlier one; 0 if none does.

    Example:
        >>> largest_rise([5.0, 3.0, 4.0, 2.0, 4.5, 1.0])  # from 2 to 4.5
        2.5
    """
    lowest = np.minimum.accumulate(np.asarray(values, float))
    return float((np.asarray(values, float) - lowest).max())


def count_ladders(settings: AuditSettings) -> int:
    """How many ratings it takes, about."""
    return 2 * len(CORRUPTIONS) * len(SEVERITIES) + 1


def measure_ladders(case: AuditedExam, surrogate: Surrogate, settings: AuditSettings, tick: Tick) -> Measured:
    """Rate each corruption at eight severities, through the mask's own center and through the reference's.

    All rungs of a ladder share their randomness: it is the same error, of another size.

    Returns:
        ``severities`` (0 first) and, under ``ladders``, for each corruption and center: ``stars`` and ``dice`` (mean
        of the regions in the rated planes) at each severity, ``spearman`` of severity and stars, ``visible`` (that of
        severity and Dice, -1 where each rung is worse than the one before) and ``rise``, the largest.
    """
    regions = case.regions
    center = hard_center_of_mass(regions, case.task)
    first = mean_stars(surrogate, case.image, regions)
    tick(1)
    severities = (0.0, *SEVERITIES)
    ladders: Numbers = {}
    for name in CORRUPTIONS:
        if name == "other" and case.other is None:
            continue
        stars, dice = {c: [first] for c in OWN_OR_REFERENCE}, {c: [1.0] for c in OWN_OR_REFERENCE}
        for severity in SEVERITIES:
            rng = case.rng(settings.seed, name)
            labels = corrupt(
                case.labels, [(name, severity)], rng=rng, brain=case.brain, other=case.other, task=case.task
            )
            mask = case.as_regions(labels)
            own = hard_center_of_mass(mask, case.task)
            for which, at in zip(OWN_OR_REFERENCE, (own, center), strict=True):
                if which == "reference" and torch.equal(own, center):  # the very same planes
                    stars[which].append(stars["own"][-1])
                    dice[which].append(dice["own"][-1])
                else:
                    stars[which].append(mean_stars(surrogate, case.image, mask, at))
                    dice[which].append(mean(plane_dice(mask, regions, at, case.task)))
                tick(1)
        ladders[name] = {which: _summary(severities, stars[which], dice[which]) for which in OWN_OR_REFERENCE}
    return Measured({"severities": list(severities), "ladders": ladders})


def _summary(severities: Sequence[float], stars: list[float], dice: list[float]) -> Numbers:
    return {
        "stars": stars,
        "dice": dice,
        "spearman": spearman(severities, stars),
        "visible": spearman(severities, dice),
        "rise": largest_rise(stars),
    }

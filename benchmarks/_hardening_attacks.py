"""Attacks without a target on the stars of an exam, with the loss's guard on and off."""

from collections.abc import Sequence
from typing import Any

from dqe_loss import Surrogate
from dqe_loss.audit.attack import attack, negative_stars
from dqe_loss.audit.audited_exam import AuditedExam
from dqe_loss.audit.exploitation import observe, start_logits
from dqe_loss.audit.free_mask import free_box, whole_mask
from dqe_loss.audit.stars_and_dice import AuditSettings
from dqe_loss.losses.guards import GuardedSurrogate
from dqe_loss.task import GLIOMA

STARTS = ("reference", "shifted")
"""Of those of `dqe_loss.audit.exploitation.STARTS`: a right mask, and one that is 15 voxels off."""
GUARDS = ("on", "off")


def attacked(
    surrogate: Surrogate, case: AuditedExam, start: str, guard: str, settings: AuditSettings
) -> dict[str, Any]:
    """Stars and Dice before and after an attack, with planes at the mask's own center.

    Returns:
        ``before`` and ``after`` (see `dqe_loss.audit.exploitation.observe`) and ``stars`` of each step.
    """
    box, shape = free_box(case.image, case.regions, GLIOMA), case.regions.shape
    first = start_logits(case, start, settings.seed)[box].contiguous()
    rater = GuardedSurrogate(surrogate) if guard == "on" else surrogate
    last, missing = attack(negative_stars(rater, case.image, box, shape), first, settings.attack_steps)
    before, after = (observe(case, surrogate, whole_mask(logits, box, shape)) for logits in (first, last))
    return {"before": before, "after": after, "stars": [-value for value in missing]}


def pairs(guards: Sequence[str]) -> list[tuple[str, str]]:
    """All starts with each guard, the default guard first: what is shown even if time runs out."""
    return [(start, guard) for guard in guards for start in STARTS]

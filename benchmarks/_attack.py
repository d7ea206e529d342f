"""One attack: Adam on the logits against the surrogate alone."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _attack_record import observe, rated_planes
from _cells import Result, Tick, last_surrogate
from _references import exam_name, load_reference_exam
from torch import Tensor

from dqe_loss import DQELoss, Surrogate, soft_center_of_mass
from dqe_loss.audit.absurd import shifted
from dqe_loss.audit.attack import attack as minimize
from dqe_loss.audit.audited_exam import AuditedExam
from dqe_loss.audit.free_mask import CONFIDENCE, as_logits, free_box, whole_mask
from dqe_loss.core.boxes import Box
from dqe_loss.task import GLIOMA

OF_REFINER = ("refiner", "both")
"""Defenses that only a checkpoint with a refiner has: the refiner's guard alone, and beside the target's, as the loss
has it by default."""
DEFENSES = ("none", "jitter", "straight-through", "guard", "guard+jitter", "unclamped", *OF_REFINER)
"""What stands between the surrogate and the mask; "guard" is the target's, without a refiner's. All but "unclamped" are
`DQELoss`, whose ``relu(6 - rating)`` ends the attack at six stars; that one is the bare ``6 - rating`` without any
defense."""

STARTS = ("reference", "shift", "noise", "empty")
RECORD_EVERY = 10
VOLUME_EVERY = 20


@dataclass(frozen=True)
class AttackSettings:
    """What every attack depends on.

    Attributes:
        learning_rate: Adam's.
        center: whose center the rated planes go through, ``"prediction"`` or ``"target"``.
        jitter: standard deviation in voxels for the defenses that move the planes.
        shift: voxels by which the start "shift" moves the reference along X, toward the middle of the volume.
        crop: whether only the logits in the brain's bounding box are free, with background around it, which halves
            the cost of a step; otherwise those of the whole volume.
        seed: of the noise and of the jitter.
        checkpoint: surrogate to attack.
        device: where to run.
    """

    learning_rate: float = 0.3
    center: str = "prediction"
    jitter: float = 3.0
    shift: int = 15
    crop: bool = True
    seed: int = 0
    checkpoint: str = "brainlesion"
    device: str = "cpu"


@dataclass(frozen=True)
class Attack:
    """One cell of the experiment.

    Attributes:
        source: exam, see `_references.load_reference_exam`.
        references: names of the segmentation that is the reference.
        start: one of `STARTS`.
        defense: one of `DEFENSES`.
        steps: how many steps.
        marks: steps at which to record all there is, besides the first and the last.
        planes: ``.npz`` file for the rated planes before and after, or None.
        settings: the rest.
    """

    source: str
    references: tuple[str, ...]
    start: str
    defense: str
    steps: int
    marks: tuple[int, ...]
    planes: Path | None
    settings: AttackSettings

    @property
    def name(self) -> str:
        """Exam, start, defense and the number of steps."""
        return f"{exam_name(self.source)}/{self.start}/{self.defense}/{self.steps}"


def run_attack(attack: Attack, tick: Tick) -> Result:
    """Run one attack.

    Args:
        attack: what to do.
        tick: called after each step.

    Returns:
        ``history`` (a record of `observe` every ten steps), ``seconds``, and the attack's names.
    """
    settings, began = attack.settings, time.monotonic()
    exam = load_reference_exam(attack.source, attack.references, settings.device)
    surrogate = last_surrogate(settings.checkpoint).to(settings.device)
    regions = exam.regions
    box = free_box(exam.image, regions, GLIOMA) if settings.crop else (slice(None),) * 5
    start = first_logits(exam, attack.start, settings)[box].contiguous()
    history: list[dict[str, Any]] = []
    planes: dict[str, np.ndarray] = {}

    def note(step: int, logits: Tensor) -> None:
        end = step in (0, attack.steps)
        full = end or step in attack.marks
        if full or step % RECORD_EVERY == 0:
            soft = whole_mask(logits, box, regions.shape)
            center = soft_center_of_mass(regions if settings.center == "target" else soft)
            volume = full or step % VOLUME_EVERY == 0
            history.append({"step": step} | observe(soft, exam, surrogate, center, volume=volume, binarized=full))
            if end and attack.planes is not None:
                planes.update(rated_planes(soft, exam, center, "after" if step else "before"))
        if step:
            tick(1)

    objective = _objective(attack, surrogate, exam, box)
    minimize(objective, start, attack.steps, learning_rate=settings.learning_rate, watch=note)
    if attack.planes is not None:
        attack.planes.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(attack.planes, **planes)  # type: ignore[arg-type]
    return {
        "exam": exam.name,
        "start": attack.start,
        "defense": attack.defense,
        "steps": attack.steps,
        "seconds": round(time.monotonic() - began, 1),
        "history": history,
    }


def first_logits(exam: AuditedExam, start: str, settings: AttackSettings) -> Tensor:
    """Logits ``(1, 3, X, Y, Z)`` to start from, one of `STARTS`."""
    if start == "noise":
        generator = torch.Generator().manual_seed(settings.seed)
        noise = torch.randn((1, 3, *exam.labels.shape), generator=generator)
        return (CONFIDENCE * noise).to(exam.image.device)
    labels = {"reference": exam.labels, "shift": shifted(exam.labels, settings.shift), "empty": 0 * exam.labels}
    return as_logits(exam.as_regions(labels[start]))


def has_target_guard(defense: str) -> bool:
    """Whether a voxel may only move toward the reference."""
    return defense.startswith("guard") or defense == "both"


def _objective(attack: Attack, surrogate: Surrogate, exam: AuditedExam, box: Box) -> Callable[[Tensor], Tensor]:
    """The loss to minimize, of the free logits."""
    settings, defense = attack.settings, attack.defense
    straight = defense == "straight-through"
    loss = DQELoss(
        surrogate,
        guard="target" if has_target_guard(defense) else None,
        refiner_guard=defense in OF_REFINER,
        max_gradient_ratio=None,  # it stands alone
        jitter=settings.jitter if defense.endswith("jitter") else 0.0,
        center=settings.center,
        sigmoid=False if straight else None,
        softmax=False if straight else None,
        seed=settings.seed,
    )
    target = exam.regions
    origin = [side.start for side in box[2:]] if settings.crop else None

    def objective(logits: Tensor) -> Tensor:
        if defense == "unclamped" and surrogate.config.refiner is None:  # with one, stars end at 6 by themselves
            return 6 - loss.rate(logits, image=exam.image, target=target, origin=origin).mean()
        prediction = logits
        if straight:
            soft = logits.sigmoid()
            prediction = (soft > 0.5).float() + soft - soft.detach()
        value: Tensor = loss(prediction, target, image=exam.image, origin=origin)
        return value

    return objective

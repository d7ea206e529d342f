"""One attack: Adam on the logits against the surrogate alone, and what becomes of the rating and of the mask."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _cells import Result, Tick
from _references import ReferenceExam, exam_name, load_reference_exam
from torch import Tensor

from dqe_loss import VIEWS, DQELoss, Surrogate, extract_planes, load_surrogate, rate_segmentation, soft_center_of_mass

DEFENSES = ("none", "jitter", "straight-through", "guard", "guard+jitter", "unclamped")
"""What stands between the surrogate and the mask. All but the last are `DQELoss`, whose ``relu(6 - rating)`` ends
the attack at six stars; "unclamped" is the bare ``6 - rating`` without any defense."""

STARTS = ("reference", "shift", "noise", "empty")
CONFIDENCE = 3.0
"""Logits of the starts: probabilities of 0.95 and 0.05, as a trained network's."""

RECORD_EVERY = 10
VOLUME_EVERY = 20


@dataclass(frozen=True)
class Settings:
    """What every attack depends on.

    Attributes:
        learning_rate: Adam's.
        center: whose center the rated planes go through, ``"prediction"`` or ``"target"``.
        jitter: standard deviation in voxels for the defenses that move the planes.
        shift: voxels by which the start "shift" moves the reference along X, toward the middle of the volume.
        seed: of the noise and of the jitter.
        checkpoint: surrogate to attack.
        device: where to run.
    """

    learning_rate: float = 0.3
    center: str = "prediction"
    jitter: float = 3.0
    shift: int = 15
    seed: int = 0
    checkpoint: str = "brainlesion"
    device: str = "cpu"

    def plain(self) -> dict[str, Any]:
        """The settings as JSON-ready values."""
        return asdict(self)


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
    settings: Settings

    @property
    def name(self) -> str:
        """Exam, start and defense, and the number of steps."""
        return f"{exam_name(self.source)}/{self.start}/{self.defense}/{self.steps}"


def run_attack(attack: Attack, tick: Tick) -> Result:
    """Run one attack.

    Args:
        attack: what to do.
        tick: called after each step.

    Returns:
        ``history`` (one record of `_observe` every ten steps), ``seconds``, and the attack's names.
    """
    settings, began = attack.settings, time.monotonic()
    device = torch.device(settings.device)
    exam = load_reference_exam(attack.source, attack.references)
    exam = ReferenceExam(exam.name, exam.image.to(device), exam.regions.to(device))
    surrogate = _load_surrogate(settings.checkpoint, settings.device)
    logits = start_logits(exam.regions, attack.start, settings).requires_grad_()
    objective = _objective(attack, surrogate, exam)
    optimizer = torch.optim.Adam([logits], lr=settings.learning_rate, fused=True)
    history, planes = [], {}
    for step in range(attack.steps + 1):
        whole = step in (0, attack.steps, *attack.marks)
        if whole or step % RECORD_EVERY == 0:
            history.append({"step": step} | _observe(logits.detach(), exam, surrogate, settings, step, whole))
        if step in (0, attack.steps) and attack.planes is not None:
            planes["before" if step == 0 else "after"] = _rated_planes(logits.detach(), exam, settings)
        if step == attack.steps:
            break
        optimizer.zero_grad(set_to_none=True)
        objective(logits).backward()
        optimizer.step()
        tick(1)
    if attack.planes is not None:
        _save_planes(attack.planes, planes)
    return {"exam": exam.name, "start": attack.start, "defense": attack.defense, "steps": attack.steps,
            "seconds": round(time.monotonic() - began, 1), "history": history}


def start_logits(regions: Tensor, start: str, settings: Settings) -> Tensor:
    """Logits to start from.

    Args:
        regions: boolean reference ``(1, 3, X, Y, Z)``.
        start: one of `STARTS`.
        settings: shift and seed.

    Returns:
        ``(1, 3, X, Y, Z)`` float32, contiguous.
    """
    if start == "noise":
        generator = torch.Generator().manual_seed(settings.seed)
        return (CONFIDENCE * torch.randn(regions.shape, generator=generator)).to(regions.device)
    if start == "empty":
        return torch.full(regions.shape, -CONFIDENCE, device=regions.device)
    if start == "shift":
        tumor = regions[0, 1].any(2).any(1).nonzero().float().mean()
        toward_middle = 1 if tumor < regions.shape[2] / 2 else -1
        regions = regions.roll(toward_middle * settings.shift, 2)
    return CONFIDENCE * (2 * regions.float() - 1)


@lru_cache(maxsize=1)
def _load_surrogate(checkpoint: str, device: str) -> Surrogate:
    return load_surrogate(checkpoint).to(device)


def _objective(attack: Attack, surrogate: Surrogate, exam: ReferenceExam) -> Callable[[Tensor], Tensor]:
    """The loss to minimize, of the logits."""
    settings, defense = attack.settings, attack.defense
    straight = defense == "straight-through"
    loss = DQELoss(
        surrogate,
        guard="target" if defense.startswith("guard") else None,
        jitter=settings.jitter if defense.endswith("jitter") else 0.0,
        center="target" if settings.center == "target" else "prediction",
        sigmoid=False if straight else None,
        softmax=False if straight else None,
        seed=settings.seed,
    )

    def objective(logits: Tensor) -> Tensor:
        if defense == "unclamped":
            return 6 - loss.rate(logits, image=exam.image, target=exam.regions).mean()
        prediction = logits
        if straight:
            soft = logits.sigmoid()
            prediction = (soft > 0.5).float() + soft - soft.detach()
        value: Tensor = loss(prediction, exam.regions, image=exam.image)
        return value

    return objective


def _center(probabilities: Tensor, exam: ReferenceExam, settings: Settings) -> Tensor:
    return soft_center_of_mass(exam.regions if settings.center == "target" else probabilities)


@torch.no_grad()
def _observe(
    logits: Tensor, exam: ReferenceExam, surrogate: Surrogate, settings: Settings, step: int, whole: bool
) -> dict[str, Any]:
    """Stars and Dice (TC, WT, ET) at one step.

    "planes" are those that the prediction's center selects at this step, "reference_planes" those through the
    reference's; both pooled over the three views and binarized at 0.5. "volume" is the 3D Dice, every 20 steps.
    "binarized_stars" is what hard slicing, and so the published package, gives the binarized mask.
    """
    probabilities = logits.sigmoid()
    center = _center(probabilities, exam, settings)
    stars = rate_segmentation(surrogate, exam.image, probabilities, slicing="soft", center=center)
    record: dict[str, Any] = {
        "stars": float(stars.mean()),
        "views": stars[0].tolist(),
        "center": center[0].tolist(),
        "planes": _plane_dice(probabilities, exam.regions, center),
        "reference_planes": _plane_dice(probabilities, exam.regions, soft_center_of_mass(exam.regions)),
    }
    if whole or step % VOLUME_EVERY == 0:
        record["volume"] = _dice(probabilities[0] > 0.5, exam.regions[0])
    if whole:
        binary = probabilities > 0.5
        record["binarized_stars"] = float(rate_segmentation(surrogate, exam.image, binary, slicing="hard").mean())
    return record


def _plane_dice(probabilities: Tensor, regions: Tensor, center: Tensor) -> list[float]:
    """Dice of TC, WT, ET over the three planes through a center together."""
    flat = []
    for volume in (probabilities, regions):
        planes = [extract_planes(volume, center[:, axis, None], view)[0, 0].flatten(1) > 0.5
                  for view, axis in zip(VIEWS, (2, 1, 0), strict=True)]
        flat.append(torch.cat(planes, 1))
    return _dice(flat[0], flat[1])


def _dice(prediction: Tensor, reference: Tensor) -> list[float]:
    """Dice of each region ``(3, ...)``; 1 where both are empty."""
    prediction, reference = prediction.flatten(1), reference.flatten(1)
    both = (prediction & reference).sum(1)
    total = prediction.sum(1) + reference.sum(1)
    dice: list[float] = torch.where(total > 0, 2 * both / total, 1.0).tolist()
    return dice


@torch.no_grad()
def _rated_planes(logits: Tensor, exam: ReferenceExam, settings: Settings) -> dict[str, np.ndarray]:
    """Image (T1c) and probabilities in the three rated planes, name to array."""
    probabilities = logits.sigmoid()
    center = _center(probabilities, exam, settings)
    planes = {}
    for view, axis in zip(VIEWS, (2, 1, 0), strict=True):
        for name, volume in (("image", exam.image[:, :1]), ("mask", probabilities), ("reference", exam.regions)):
            plane = extract_planes(volume, center[:, axis, None], view)[0, 0]
            planes[f"{view}_{name}"] = plane.half().cpu().numpy()
    return planes


def _save_planes(path: Path, planes: dict[str, dict[str, np.ndarray]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {f"{when}_{name}": array for when, part in planes.items() for name, array in part.items()}
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]

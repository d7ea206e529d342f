"""Part 6, invariance: changes that do not change how good a mask is, and must not change its stars."""

from collections.abc import Iterator

import torch
from torch import Tensor

from dqe_loss.audit.audited_exam import AuditedExam
from dqe_loss.audit.stars_and_dice import AuditSettings, Measured, Tick, mean_stars
from dqe_loss.core.boxes import box_around
from dqe_loss.core.center_of_mass import hard_center_of_mass
from dqe_loss.surrogate.network import Surrogate
from dqe_loss.task import Task

SCALES = (0.5, 2.0)
GAINS = (1.1, 0.9)
"""Factors of the modalities in turn: contrast differs between scanners."""
CROP = 128
STRICT = ("scaled", "moved")
"""First words of the changes that a scaling of one's own and a whole-voxel grid should hardly notice."""


def changed_exams(image: Tensor, regions: Tensor, task: Task) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Changed copies of an exam.

    Args:
        image: raw ``(1, C, X, Y, Z)``.
        regions: boolean ``(1, R, X, Y, Z)``.
        task: what is segmented: intensities with a unit are not scaled, organs not mirrored.

    Yields:
        Name, image, regions: intensities scaled together and by modality, z-scores by modality (0 outside the
        brain), image and mask moved by a voxel each way, mirrored left to right, cropped to `CROP` voxels around the
        center.
    """
    values = image.float()
    if task.window is None:
        for scale in SCALES:
            yield f"scaled by {scale:g}", scale * values, regions
        gains = values.new_tensor([GAINS[i % 2] for i in range(values.shape[1])])
        yield "contrast of modalities changed by 10 %", values * gains.view(1, -1, 1, 1, 1), regions
        yield "z-scored modalities", z_scores(values), regions
    for axis, name in enumerate("XYZ"):
        for step in (-1, 1) if values.shape[2 + axis] > 1 else ():
            yield f"moved along {name} by {step:+d} voxel", values.roll(step, 2 + axis), regions.roll(step, 2 + axis)
    if task.lesion:
        yield "mirrored left to right", values.flip(2), regions.flip(2)
    around = box_around(hard_center_of_mass(regions, task)[0].tolist(), CROP, regions.shape[2:])
    box = (slice(None), slice(None), *around)
    yield f"cropped to {CROP} voxels", values[box], regions[box]


def z_scores(image: Tensor) -> Tensor:
    """Each modality ``(1, C, X, Y, Z)`` with mean 0 and standard deviation 1 over its brain, 0 around it."""
    result = torch.zeros_like(image)
    for source, target in zip(image[0], result[0], strict=True):
        brain = source != 0
        inside = source[brain]
        if inside.numel() > 1:
            target[brain] = (inside - inside.mean()) / inside.std().clamp(min=1e-6)
    return result


def count_invariance(settings: AuditSettings) -> int:
    """How many ratings it takes, about."""
    return 13


def measure_invariance(case: AuditedExam, surrogate: Surrogate, settings: AuditSettings, tick: Tick) -> Measured:
    """Rate the reference on changed copies of its exam.

    Returns:
        ``unchanged`` (stars), and under ``changes`` for each ``stars`` and ``strict``.
    """
    regions = case.regions
    unchanged = mean_stars(surrogate, case.image, regions, thorough=settings.thorough)
    tick(1)
    changes = {}
    for name, image, mask in changed_exams(case.image, regions, case.task):
        stars = mean_stars(surrogate, image, mask, thorough=settings.thorough)
        changes[name] = {"stars": stars, "strict": name.startswith(STRICT)}
        tick(1)
    return Measured({"unchanged": unchanged, "changes": changes})

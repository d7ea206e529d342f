"""Part 1, absurd masks: what nobody would call a segmentation of this exam, and the stars that it gets."""

import numpy as np

from dqe_loss.audit.audited_exam import AuditedExam
from dqe_loss.audit.stars_and_dice import AuditSettings, Measured, Tick, axial_panel, mean, mean_stars, plane_dice
from dqe_loss.core.center_of_mass import hard_center_of_mass
from dqe_loss.data.corruption import corrupt
from dqe_loss.data.corruption.label_maps import Labels
from dqe_loss.metrics.overlap import region_dice
from dqe_loss.surrogate.network import Surrogate

SHIFTS = (5, 10, 15, 20, 30, 40)
"""Voxels by which the reference is moved along X, away from the nearer side; fewer of a task with smaller errors."""
PANELS_IN_A_ROW = 5


def absurd_masks(case: AuditedExam, rng: np.random.Generator) -> dict[str, Labels]:
    """Masks that are wrong beyond discussion, and the reference moved further and further.

    Args:
        case: the exam.
        rng: source of the random labels.

    Returns:
        Name to label map in the task's canonical scheme. Another exam's mask is left out where there is none.
    """
    brain, task = case.brain.astype(np.uint8), case.task
    whole = {f"{task.around} as {task.title(tissue)}": brain * np.uint8(i) for i, tissue in enumerate(task.tissues, 1)}
    masks = {
        "empty": np.zeros_like(case.labels),
        **whole,
        "random labels": brain * rng.integers(0, 1 + len(task.tissues), brain.shape, dtype=np.uint8),
        "mirrored": corrupt(case.labels, [("mirror", 1.0)], rng=rng, brain=case.brain, task=task),
    }
    if case.other is not None:
        masks["another exam's mask"] = case.other
    shifts = dict.fromkeys(max(round(voxels * task.error_size), 1) for voxels in SHIFTS)
    return masks | {f"shifted by {voxels} voxels": shifted(case.labels, voxels) for voxels in shifts}


def shifted(labels: Labels, voxels: int) -> Labels:
    """Move a mask along X, away from the nearer side of the volume; what leaves it is lost."""
    size = labels.shape[0]
    place = np.flatnonzero(labels.any((1, 2)))
    voxels = min(voxels, size)
    result = np.zeros_like(labels)
    if place.size and place.mean() < (size - 1) / 2:
        result[voxels:] = labels[: size - voxels]
    else:
        result[: size - voxels] = labels[voxels:]
    return result


def count_absurd(settings: AuditSettings) -> int:
    """How many ratings it takes, about."""
    return 2 * (7 + len(SHIFTS)) + 1


def measure_absurd(case: AuditedExam, surrogate: Surrogate, settings: AuditSettings, tick: Tick) -> Measured:
    """Rate the absurd masks through their own center and through the reference's.

    Returns:
        ``reference`` (its stars), and under ``masks`` for each ``own`` and ``reference`` (stars through either center),
        ``dice`` (mean of the regions in the planes through the reference's center) and ``volume_dice``.
    """
    regions = case.regions
    center = hard_center_of_mass(regions, case.task)
    stars = mean_stars(surrogate, case.image, regions, thorough=settings.thorough)
    tick(1)
    panels = [axial_panel(case, regions, center, "reference", f"{stars:.2f}")]
    found = {}
    for name, labels in absurd_masks(case, case.rng(settings.seed, "absurd")).items():
        mask = case.as_regions(labels)
        own = mean_stars(surrogate, case.image, mask, thorough=settings.thorough)
        there = mean_stars(surrogate, case.image, mask, center, thorough=settings.thorough)
        tick(2)
        found[name] = {
            "own": own,
            "reference": there,
            "dice": mean(plane_dice(mask, regions, center, case.task)),
            "volume_dice": mean(region_dice(mask, regions)[0].tolist()),
        }
        panels.append(axial_panel(case, mask, center, name, f"{there:.2f} (own center {own:.2f})"))
    rows = [panels[i : i + PANELS_IN_A_ROW] for i in range(0, len(panels), PANELS_IN_A_ROW)]
    return Measured({"reference": stars, "masks": found}, rows)

"""Planes to teach on: a plane of an exam, warped, sometimes with another lesion put in, and seen by another scanner."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dqe_loss.core.slicing import VIEW_AXIS, in_plane
from dqe_loss.data.corruption.label_maps import Labels
from dqe_loss.harden.scanner import rescan
from dqe_loss.harden.smoothing import blur, grow
from dqe_loss.harden.taught_exams import TaughtExam, label_plane, scaled_plane
from dqe_loss.harden.unenhanced import UNENHANCED, unenhance, unenhanced_labels
from dqe_loss.surrogate.refiner import SMALLEST_PLANE
from dqe_loss.task import GLIOMA, Task


def taught_side(task: Task) -> int:
    """Side in voxels of the taught planes, cut out of the field of view: most of it, at less than half the cost."""
    return max(SMALLEST_PLANE, -(-min(task.field_of_view) * 2 // 3 // 32) * 32)


SIZE = taught_side(GLIOMA)
"""That of the built-in task."""
SYNTHETIC_SHARE = 0.25
"""How often a plane is a phantom's, where there are others."""
TUMOR_SHARE = 0.85
"""How often a plane is chosen among those with a label."""
TRANSPLANT = 0.3
"""How often a lesion is put into another plane."""
ROTATION, ZOOM = 25.0, 0.25
"""Largest turn in degrees, and largest logarithm of a change of size, of the plane."""


@dataclass(frozen=True)
class Scene:
    """One plane.

    Attributes:
        scans: ``(C, S, S)`` in [0, 1], S being the `taught_side`.
        truth: its labels ``(S, S)``.
        exam: where it is from.
        view: the view.
        index: the plane.
        grid: how it was cut out, for masks of the same plane.
        unenhanced: whether contrast was taken from its tumor, see `dqe_loss.harden.unenhanced`.
    """

    scans: Tensor
    truth: Tensor
    exam: TaughtExam
    view: str
    index: int
    grid: Tensor
    unenhanced: bool = False

    def cut(self, volume: Labels) -> Tensor:
        """Labels ``(S, S)`` of another mask of the exam, in this plane."""
        labels = warp_labels(label_plane(volume, self.view, self.index), self.grid)
        return unenhanced_labels(labels, self.exam.task) if self.unenhanced else labels


def draw_scene(exams: Sequence[TaughtExam], rng: np.random.Generator) -> Scene:
    """Draw a plane; all that is random comes from the generator."""
    exam, view, index = draw_plane(exams, rng)
    labels = label_plane(exam.reference, view, index)
    scans = scaled_plane(exam, view, index)
    grid = draw_grid(labels, scans, rng, exam.task, view)
    scans, truth = warp_scans(scans, grid), warp_labels(labels, grid)
    if truth.any() and exam.task.lesion and rng.random() < TRANSPLANT:
        scans, truth = _transplant(scans, truth, exams, rng)
    unenhanced = bool(exam.task.unenhanced) and bool(truth.any()) and rng.random() < UNENHANCED
    if unenhanced:
        scans, truth = unenhance(scans, truth, rng, exam.task)
    return Scene(rescan(scans, rng, exam.task), truth, exam, view, index, grid, unenhanced)


def draw_plane(exams: Sequence[TaughtExam], rng: np.random.Generator) -> tuple[TaughtExam, str, int]:
    """An exam, a view, and a plane of it."""
    real = [exam for exam in exams if not exam.synthetic]
    synthetic = [exam for exam in exams if exam.synthetic]
    pool = synthetic if synthetic and (not real or rng.random() < SYNTHETIC_SHARE) else real
    exam = pool[int(rng.integers(len(pool)))]
    view = exam.task.views[int(rng.integers(len(exam.task.views)))]
    axis = VIEW_AXIS[view]
    with_tumor = exam.planes_with_tumor(view)
    if len(with_tumor) and rng.random() < TUMOR_SHARE:
        return exam, view, int(with_tumor[int(rng.integers(len(with_tumor)))])
    return exam, view, int(rng.integers(exam.reference.shape[axis]))


def draw_grid(labels: Tensor, scans: Tensor, rng: np.random.Generator, task: Task, view: str | None = None) -> Tensor:
    """A sampling grid ``(1, S, S, 2)``: turned, scaled, mirrored, and cut out around some place in the brain.

    An organ is turned by no more than patients are, and not mirrored. A lesion is turned by quarters, too, but not
    where voxels are longer than wide in the plane (in some view, if it is not named): it would be stretched as no scan
    is.
    """
    side = taught_side(task)
    height, width = labels.shape
    inside = (labels > 0 if labels.any() and rng.random() < 0.7 else scans.amax(0) > 0).nonzero()
    middle = np.array([height, width]) / 2
    place = inside[int(rng.integers(len(inside)))].numpy() if len(inside) else middle
    # Between a place in the mask and the middle, so that the window holds much brain and the mask lies anywhere.
    center = place + rng.random() * (middle - place)
    tilt = rng.uniform(-ROTATION, ROTATION)
    sides = in_plane(task.spacing, view) if view else task.spacing
    quarters = rng.integers(4) if task.lesion and len(set(sides)) == 1 else 0
    angle = np.deg2rad(tilt + 90 * quarters)
    zoom = np.exp(rng.uniform(-ZOOM, ZOOM))
    turn = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    if task.lesion:
        turn[:, 0] *= rng.choice((-1, 1))
    steps = np.arange(side) - (side - 1) / 2
    grid = np.empty((1, side, side, 2), np.float32)
    for axis, size in ((0, height), (1, width)):
        rows = (2 * (center[axis] + turn[axis, 0] * steps) + 1) / size - 1
        grid[0, ..., 1 - axis] = rows[:, None] + 2 * turn[axis, 1] * steps / size
    return torch.from_numpy(grid)


def warp_scans(scans: Tensor, grid: Tensor) -> Tensor:
    """Sample ``(C, H, W)``, linearly."""
    return F.grid_sample(scans[None], grid, "bilinear", align_corners=False)[0]


def warp_labels(labels: Tensor, grid: Tensor) -> Tensor:
    """Sample labels ``(H, W)``, by the nearest."""
    return F.grid_sample(labels[None, None].float(), grid, "nearest", align_corners=False)[0, 0].to(torch.uint8)


def _transplant(
    scans: Tensor, truth: Tensor, exams: Sequence[TaughtExam], rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Put the lesion into a free place of another plane, where there is brain for it."""
    exam, view, index = draw_plane(exams, rng)
    labels, host = label_plane(exam.reference, view, index), scaled_plane(exam, view, index)
    grid = draw_grid(labels, host, rng, exam.task, view)
    host, there = warp_scans(host, grid), warp_labels(labels, grid)
    reach = truth.shape[-1] // 4
    move = tuple(int(v) for v in rng.integers(-reach, reach + 1, 2))
    moved, donor = torch.roll(truth, move, (0, 1)), torch.roll(scans, move, (1, 2))
    tumor, brain, inside = moved > 0, host.amax(0) > 0, donor.amax(0) > 0
    if (tumor & brain).sum() < 0.9 * tumor.sum() or not inside.any():
        return scans, truth
    # A soft seam of some voxels: a sharp one would give the lesion away.
    share = blur(grow(tumor[None].float(), 5), 5) * inside
    merged = torch.where(tumor, moved, torch.where(share[0] > 0.5, torch.zeros_like(there), there))
    return (share * donor + (1 - share) * host) * brain, merged * brain.to(torch.uint8)

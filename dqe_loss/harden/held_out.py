"""How well a refiner does on exams that it is not taught on: the same planes and masks each time."""

import zlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dqe_loss.core.center_of_mass import hard_center_of_mass
from dqe_loss.core.labels import regions_from_labels
from dqe_loss.core.slicing import VIEW_AXIS, pad_planes
from dqe_loss.data.corruption.label_maps import Labels
from dqe_loss.harden.masks import as_regions, task_of_plane
from dqe_loss.harden.objective import please_refiner, smooth_dice
from dqe_loss.harden.taught_exams import TaughtExam, label_plane, scaled_plane
from dqe_loss.surrogate.agreement import agreement
from dqe_loss.surrogate.refiner import Refiner
from dqe_loss.task import Task
from dqe_loss.train.saved_state import Row

WRONG_MASKS = 4
"""Masks of an exam's stock that a plane is judged with."""
SHIFT = (11, -11)
"""mm by which the reference is moved, of a task with errors of size 1: 15 mm in all."""
ROUNDS = 4
"""Rounds of an attack: after these the masks hardly change."""
DISTANCE = "held_out_distance"
"""The figure by which the best state is chosen, the lower the better."""


@dataclass(frozen=True)
class JudgedPlane:
    """A plane of a held-out exam, and the masks that are judged on it.

    Attributes:
        exam: the exam's name.
        rated: whether the plane is one that a rating would look at: through the mask's center.
        scans: ``(C, H, W)`` in [0, 1].
        masks: labels ``(M, H, W)``: the reference, wrong ones of the stock, what networks predicted if that was added,
            the reference moved, and nothing.
    """

    exam: str
    rated: bool
    scans: Tensor
    masks: Tensor


def judged_planes(exams: Sequence[TaughtExam]) -> list[JudgedPlane]:
    """Nine planes of each exam: in each view one through the center, one with a label, and any one.

    They and their masks depend on the exam alone.
    """
    planes = []
    for exam in exams:
        rng = np.random.default_rng(zlib.crc32(exam.name.encode()))
        reference = torch.from_numpy(np.array(exam.reference))
        task = exam.task
        (center,) = hard_center_of_mass(regions_from_labels(reference[None, None], task.canonical), task).tolist()
        for view in task.views:
            axis = VIEW_AXIS[view]
            indices = [center[axis], rng.choice(exam.planes_with_tumor(view)), rng.integers(reference.shape[axis])]
            for place, index in enumerate(int(i) for i in indices):
                masks = _masks(exam, view, index, rng)
                size = _field(masks, task)
                scans = pad_planes(scaled_plane(exam, view, index), size, 0)
                planes.append(JudgedPlane(exam.name, place == 0, scans, pad_planes(masks, size, 0)))
    return planes


def _masks(exam: TaughtExam, view: str, index: int, rng: np.random.Generator) -> Tensor:
    stock: Labels = exam.stock
    reference = label_plane(exam.reference, view, index)
    chosen = rng.choice(len(stock), min(WRONG_MASKS, len(stock)), replace=False)
    wrong = [label_plane(stock[int(i)], view, index) for i in chosen]
    if exam.predicted:
        wrong += [label_plane(mask, view, index) for mask in exam.predictions]
    voxel = task_of_plane(exam.task, view).spacing[:2]
    moved = tuple(round(mm * exam.task.error_size / size) for mm, size in zip(SHIFT, voxel, strict=True))
    return torch.stack([reference, *wrong, torch.roll(reference, moved, (0, 1)), torch.zeros_like(reference)])


def _field(planes: Tensor, task: Task) -> tuple[int, int]:
    """What to pad to: the field of view, or an even size where a plane is larger."""
    height, width = (
        max(field, size + size % 2) for field, size in zip(task.field_of_view, planes.shape[-2:], strict=True)
    )
    return height, width


@torch.no_grad()
def judge(refiner: Refiner, planes: Sequence[JudgedPlane], device: torch.device, task: Task) -> Row:
    """What the log says of a refiner.

    Args:
        refiner: the refiner, on the device; left in evaluation mode.
        planes: of one exam at least, from `judged_planes`.
        device: where to compute.
        task: what is segmented.

    Returns:
        ``held_out_right``: mean agreement with the references, by plane; ``held_out_lowest``: the lowest exam's, in
        the planes that are rated; ``held_out_r`` and ``held_out_error``: Pearson's r and mean absolute difference of
        the refiner's agreement with a mask and the reference's, over all masks (r is 0 where either is constant);
        ``held_out_blind``: Dice of what it draws where it is given no mask; ``held_out_attacked``: Dice that an attack
        leaves of the reference, in the planes that are rated. Dice is the mean over regions that either mask has.
        ``held_out_distance``: how far right, r, error and attacked are from a perfect refiner's, summed; each of the
        four is a way to fail that the others do not see.
    """
    refiner.eval()
    given, true, right, blind, left = [], [], [], [], []
    by_exam = defaultdict(list)
    for plane in planes:
        masks = as_regions(plane.masks.to(device), task)
        truth = masks[:1]
        scans = plane.scans.to(device)[None]
        refined = (refiner(scans.expand(len(masks), -1, -1, -1), masks).sigmoid() > 0.5).float()
        agreed = agreement(masks, refined).cpu()
        given.append(agreed)
        true.append(agreement(masks, truth.expand_as(masks)).cpu())
        right.append(agreed[0])
        blind.append(smooth_dice(refined[-1:], truth, 0).cpu())
        if plane.rated:
            by_exam[plane.exam].append(float(agreed[0]))
            left.append(smooth_dice((please_refiner(refiner, scans, truth, ROUNDS) > 0.5).float(), truth, 0).cpu())
    agreed, wanted = torch.cat(given), torch.cat(true)
    row = {
        "held_out_right": float(torch.stack(right).mean()),
        "held_out_lowest": min(float(np.mean(values)) for values in by_exam.values()),
        "held_out_r": _pearson(agreed, wanted),
        "held_out_error": float((agreed - wanted).abs().mean()),
        "held_out_blind": float(torch.cat(blind).nanmean()),
        "held_out_attacked": float(torch.cat(left).nanmean()),
    }
    shares = [row[f"held_out_{name}"] for name in ("right", "r", "attacked")]
    return row | {DISTANCE: sum(1 - share for share in shares) + row["held_out_error"]}


def _pearson(first: Tensor, second: Tensor) -> float:
    """Pearson's r; 0 where either is constant, but for rounding."""
    if min(first.std(), second.std()) < 1e-4:
        return 0.0
    return float(torch.corrcoef(torch.stack((first, second)))[0, 1])

"""What the refiner is shown: masks of a plane from right to absurd, hard and soft."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dqe_loss.core.labels import regions_from_labels
from dqe_loss.core.slicing import VIEW_AXIS, in_plane
from dqe_loss.data.corruption import corrupt
from dqe_loss.harden.scenes import Scene, draw_grid, draw_plane, warp_labels
from dqe_loss.harden.smoothing import blur, grow
from dqe_loss.harden.taught_exams import TaughtExam, draw_errors, label_plane
from dqe_loss.task import Task

SOFTENED = 0.5
"""Share of masks that are given as probabilities."""
LARGEST_MOVE = 3 / 16
"""Of a plane's side: 30 of 160 voxels."""


def draw_mask(
    scene: Scene, exams: Sequence[TaughtExam], rng: np.random.Generator, predictions_share: float = 0.0
) -> Tensor:
    """Draw a mask for a plane, regions ``(R, S, S)`` in [0, 1].

    Args:
        scene: the plane.
        exams: all that is taught on.
        rng: of all that is random.
        predictions_share: how often it is a network's, where the exam has predictions.
    """
    if scene.exam.predicted and rng.random() < predictions_share:
        labels = _predicted(scene, rng)
    else:
        labels = _draw(KINDS, scene, exams, rng)
    return _maybe_soft(labels, scene, rng)


def draw_mask_in_plane(scene: Scene, rng: np.random.Generator) -> Tensor:
    """Draw a mask of a kind that needs no more than the plane and its truth, regions ``(R, S, S)`` in [0, 1]."""
    return _maybe_soft(_draw(IN_PLANE, scene, (), rng), scene, rng)


def _draw(
    kinds: "Mapping[str, tuple[float, Kind]]", scene: Scene, exams: Sequence[TaughtExam], rng: np.random.Generator
) -> Tensor:
    names = list(kinds)
    weights = np.array([kinds[name][0] for name in names])
    name = names[int(rng.choice(len(names), p=weights / weights.sum()))]
    return kinds[name][1](scene, exams, rng)


def _maybe_soft(labels: Tensor, scene: Scene, rng: np.random.Generator) -> Tensor:
    regions = as_regions(labels, scene.exam.task)
    return _soften(regions, rng) if rng.random() < SOFTENED else regions


def as_regions(labels: Tensor, task: Task) -> Tensor:
    """Labels ``(..., H, W)`` in a task's canonical scheme as float regions ``(..., R, H, W)``."""
    planes = labels.reshape(1, 1, -1, *labels.shape[-2:])
    regions = regions_from_labels(planes, task.canonical)[0].transpose(0, 1).float()
    return regions.reshape(*labels.shape[:-2], len(task.regions), *labels.shape[-2:])


def _right(scene: Scene, exams: Sequence[TaughtExam], rng: np.random.Generator) -> Tensor:
    return scene.truth


def _wrong(scene: Scene, exams: Sequence[TaughtExam], rng: np.random.Generator) -> Tensor:
    """One of the stock, in the same plane; where the scene is another exam's in part, its error is one of place too."""
    stock = scene.exam.stock
    volume = stock[int(rng.integers(len(stock)))]
    return scene.cut(volume)


def _predicted(scene: Scene, rng: np.random.Generator) -> Tensor:
    """What a network that is to be judged made of the same plane."""
    volume = scene.exam.predictions[int(rng.integers(scene.exam.predicted))]
    return scene.cut(volume)


def _corrupted(scene: Scene, exams: Sequence[TaughtExam], rng: np.random.Generator) -> Tensor:
    """The truth with errors made in the plane itself: more of them than any stock holds."""
    brain = (scene.scans.amax(0) > 0)[..., None].numpy()
    if not brain.any():
        return scene.truth
    task = task_of_plane(scene.exam.task, scene.view)
    plane = corrupt(scene.truth[..., None].numpy(), draw_errors(rng), rng=rng, brain=brain, task=task)
    return torch.from_numpy(plane[..., 0])


def task_of_plane(task: Task, view: str) -> Task:
    """A task as a volume ``(H, W, 1)`` has it that is one plane of a view: the size of voxels along these axes."""
    height, width = in_plane(task.spacing, view)
    spacing = (height, width, task.spacing[VIEW_AXIS[view]])
    return task if spacing == tuple(task.spacing) else replace(task, spacing=spacing)


def _displaced(scene: Scene, exams: Sequence[TaughtExam], rng: np.random.Generator) -> Tensor:
    """The truth moved within the plane, or some planes away."""
    if rng.random() < 0.5:
        return _moved(scene, exams, rng)
    last = scene.exam.reference.shape[VIEW_AXIS[scene.view]] - 1
    index = int(np.clip(scene.index + rng.integers(-12, 13), 0, last))
    return replace(scene, index=index).cut(scene.exam.reference)


def _moved(scene: Scene, exams: Sequence[TaughtExam], rng: np.random.Generator) -> Tensor:
    """The truth moved within the plane."""
    reach = int(rng.integers(2, round(LARGEST_MOVE * scene.truth.shape[-1])))
    move = tuple(int(v) for v in rng.integers(-reach, reach + 1, 2))
    return torch.roll(scene.truth, move, (0, 1))


def _altered(scene: Scene, exams: Sequence[TaughtExam], rng: np.random.Generator) -> Tensor:
    """The truth with a tissue lost, taken for another, or grown or shrunk in part or all of the plane."""
    labels, task = scene.truth.clone(), scene.exam.task
    choice, tissues = rng.random(), len(task.tissues)
    if choice < 0.3:
        labels[labels == int(rng.integers(1, tissues + 1))] = int(rng.integers(0, tissues + 1))
        return labels
    width = int(rng.choice((3, 5, 7, 9)))
    regions, side = as_regions(labels, task), labels.shape[-1]
    if choice < 0.75:
        changed = grow(regions, width) if rng.random() < 0.5 else 1 - grow(1 - regions, width)
    else:
        changed = torch.where(_smooth_noise(rng, 8, side) > 0, grow(regions, width), 1 - grow(1 - regions, width))
    if rng.random() < 0.5:
        return as_labels(changed, task)
    keep = _smooth_noise(rng, 5, side) > float(rng.normal(0, 1))
    return as_labels(torch.where(keep, regions, changed), task)


def _foreign(scene: Scene, exams: Sequence[TaughtExam], rng: np.random.Generator) -> Tensor:
    """The mask of another plane."""
    exam, view, index = draw_plane(exams, rng)
    choice = int(rng.integers(len(exam.stock) + 1))
    labels = label_plane(exam.stock[choice - 1] if choice else exam.reference, view, index)
    mask = warp_labels(labels, draw_grid(labels, labels[None].float(), rng, exam.task, view))
    return torch.where(mask > 0, mask, scene.truth) if rng.random() < 0.3 else mask


def _absurd(scene: Scene, exams: Sequence[TaughtExam], rng: np.random.Generator) -> Tensor:
    """All of the brain, labels at random, or what is bright in some scan."""
    brain = scene.scans.amax(0) > 0
    choice = rng.random()
    labels = torch.zeros_like(scene.truth)
    tissues, side = len(scene.exam.task.tissues), scene.truth.shape[-1]
    if choice < 0.23:
        labels[brain] = int(rng.integers(1, tissues + 1))
        return labels
    if choice < 0.38:
        drawn = torch.from_numpy(rng.integers(0, tissues + 1, (side, side), dtype=np.uint8))
        return torch.where(brain, drawn, labels)
    for tissue in rng.permutation(np.arange(1, tissues + 1))[: int(rng.integers(1, tissues + 1))]:
        scan = scene.scans[int(rng.integers(len(scene.scans)))]
        values = scan[brain]
        if len(values):
            limit = torch.quantile(values, float(rng.uniform(0.6, 0.98)))
            labels[brain & (scan > limit)] = int(tissue)
    return torch.where((_smooth_noise(rng, 6, side) > 0) | bool(rng.random() < 0.5), labels, torch.zeros_like(labels))


def _nothing(scene: Scene, exams: Sequence[TaughtExam], rng: np.random.Generator) -> Tensor:
    """An empty mask: what the refiner draws then comes from the scans alone."""
    return torch.zeros_like(scene.truth)


Kind = Callable[[Scene, Sequence[TaughtExam], np.random.Generator], Tensor]
KINDS: dict[str, tuple[float, Kind]] = {
    "right": (0.1275, _right),
    "wrong": (0.147, _wrong),
    "corrupted": (0.1765, _corrupted),
    "displaced": (0.108, _displaced),
    "altered": (0.1765, _altered),
    "foreign": (0.059, _foreign),
    "absurd": (0.059, _absurd),
    "nothing": (0.1465, _nothing),
}
"""Kinds of masks, and how often each is drawn."""
IN_PLANE: dict[str, tuple[float, Kind]] = {
    **{name: KINDS[name] for name in ("right", "corrupted", "altered", "absurd", "nothing")},
    "displaced": (KINDS["displaced"][0], _moved),
}
"""Those that look at nothing but the plane."""


def _soften(regions: Tensor, rng: np.random.Generator) -> Tensor:
    """Probabilities as networks give them, from sure to unsure, with leaks and grain."""
    logits = 2 * regions - 1
    if rng.random() < 0.5:
        width = int(rng.choice((3, 5, 7)))
        logits = blur(logits, width)
    if rng.random() < 0.3:
        logits = logits + float(rng.uniform(0, 1.5)) * torch.from_numpy(
            rng.standard_normal(regions.shape, dtype=np.float32)
        )
    logits = float(rng.uniform(1, 6)) * logits - float(rng.uniform(0, 1))
    return logits.sigmoid()


def _smooth_noise(rng: np.random.Generator, cells: int, side: int) -> Tensor:
    coarse = torch.from_numpy(rng.standard_normal((1, 1, cells, cells), dtype=np.float32))
    return F.interpolate(coarse, (side, side), mode="bicubic", align_corners=False)[0, 0]


def as_labels(regions: Tensor, task: Task) -> Tensor:
    """Regions that may overlap in any way as labels, inner ones over outer ones."""
    labels = torch.zeros(regions.shape[1:], dtype=torch.uint8)
    for names, label in task.layers:
        labels[(regions[[task.regions.index(name) for name in names]] > 0.5).all(0)] = label
    return labels

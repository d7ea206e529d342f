"""Maps of where an error might be, and what share of them falls on the true one, for one exam."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _cells import Result, Tick
from _references import PHANTOM, find_reference
from torch import Tensor
from torch.nn.functional import max_pool2d

from dqe_loss import Surrogate, load_surrogate
from dqe_loss.core.labels import regions_from_labels
from dqe_loss.core.planes import join_planes
from dqe_loss.core.slicing import pad_planes
from dqe_loss.data.corruption import as_canonical, corrupt
from dqe_loss.data.exams import Exam, read_exam
from dqe_loss.data.phantom import make_phantom
from dqe_loss.explain.saliency import Saliency, explain_labels
from dqe_loss.explain.true_error import reference_error, share_on_error
from dqe_loss.surrogate.refiner import RefinedMask, Refiner

SCHEME = "brats23"
OTHERS = "other masks"
"""Kind of the exam's further segmentations, which are no made errors of the reference."""
SMOOTHGRAD = 8
"""Samples of SmoothGrad."""
SCAN_NOISE = 0.05
"""Its standard deviation on scans, which lie in [0, 1]; noise on masks made maps worse (.46 instead of .51)."""
OUTLINE, NEAR = 2, 6
"""Voxels around a region's outline that a map without any network marks; voxels around the tumor that are near it."""


@dataclass(frozen=True)
class SaliencyCell:
    """One exam.

    Attributes:
        source: ``"phantom-SEED"`` or an exam's folder.
        references: names of the segmentation that is the reference.
        kinds: corruptions.
        severity: of each.
        views: which.
        checkpoint: surrogate.
        smoothgrad: whether to compute SmoothGrad.
        patch: edge of the relabeled patches in voxels; 0 for none.
    """

    source: str
    references: tuple[str, ...]
    kinds: tuple[str, ...]
    severity: float
    views: tuple[str, ...]
    checkpoint: str
    smoothgrad: bool
    patch: int


class SmoothGrad(Surrogate):
    """Mean stars over noisy copies of the scans: its gradient is SmoothGrad (Smilkov et al. 2017) of the surrogate."""

    def __init__(self, surrogate: Surrogate) -> None:
        super().__init__(surrogate.config, surrogate.refiner)
        self.surrogate = surrogate

    def forward(self, planes: Tensor, refined: RefinedMask | None = None, *more: Any, **options: Any) -> Tensor:
        """Rate planes ``(1, C, H, W)``; the air stays 0. A refiner sees each copy's own noise."""
        modalities = len(self.config.modalities)
        generator = torch.Generator().manual_seed(0)
        noise = torch.zeros(SMOOTHGRAD, *planes.shape[1:])
        noise[:, :modalities] = SCAN_NOISE * torch.randn(noise[:, :modalities].shape, generator=generator)
        stars: Tensor = self.surrogate(planes + noise * (planes.detach() != 0), None, *more, **options)
        return stars.mean(0, keepdim=True)


def measure_exam(cell: SaliencyCell, tick: Tick) -> Result:
    """One record for each mask, view and reading.

    Args:
        cell: the exam.
        tick: called after each corruption, and after all other masks.

    Returns:
        ``records``, see `_records`.
    """
    exam = load_exam(cell.source)
    name = find_reference(exam.name, list(exam.segmentations), cell.references)
    reference = as_canonical(exam.segmentations[name], "brats")
    image, surrogate = torch.from_numpy(exam.image)[None], load_surrogate(cell.checkpoint)
    torch.manual_seed(0)
    config = surrogate.config
    refiner = None if config.refiner is None else Refiner(config.refiner, config.task)
    networks = {"": surrogate, "random": Surrogate(config, refiner)}
    if cell.smoothgrad:
        networks["smoothgrad"] = SmoothGrad(surrogate)
    records = []
    for kind, mask, labels in masks(cell, exam, name, reference):
        inputs = (torch.from_numpy(labels)[None, None], torch.from_numpy(reference)[None, None])
        explained = {
            which: explain_labels(network, image, inputs[0], label_scheme=SCHEME, views=cell.views, smoothing=0)
            for which, network in networks.items()
        }
        for view in cell.views:
            planes = {which: saliency[view] for which, saliency in explained.items()}
            error = reference_error(planes[""], inputs[1], view, SCHEME)
            if error.any():
                about = {"exam": exam.name, "kind": kind, "mask": mask, "view": view, "stars": planes[""].stars.item()}
                records += [about | record for record in _records(planes, error, surrogate, cell.patch)]
        tick(int(kind != OTHERS))
    tick(1)
    return {"records": records}


def masks(cell: SaliencyCell, exam: Exam, name: str, reference: np.ndarray) -> Iterator[tuple[str, str, np.ndarray]]:
    """Kind, name and label map of every wrong mask."""
    another = as_canonical(load_exam(_another(cell.source)).segmentations["reference"], SCHEME)
    for kind in cell.kinds:
        rng = np.random.default_rng(1)
        brain = (exam.image != 0).any(0)
        yield kind, kind, corrupt(reference, [(kind, cell.severity)], rng=rng, brain=brain, other=another)
    for other, labels in exam.segmentations.items():
        if other != name:
            yield OTHERS, other, as_canonical(labels, "brats")


def _another(source: str) -> str:
    """A phantom whose mask stands for that of another exam."""
    return f"{PHANTOM}-{int(source.removeprefix(f'{PHANTOM}-')) + 1 if source.startswith(PHANTOM) else 0}"


@lru_cache(maxsize=3)
def load_exam(source: str) -> Exam:
    if source.startswith(f"{PHANTOM}-"):
        return make_phantom(int(source.removeprefix(f"{PHANTOM}-")))
    return read_exam(Path(source))


def _records(planes: dict[str, Saliency], error: Tensor, surrogate: Surrogate, patch: int) -> Iterator[dict[str, Any]]:
    """Share of each reading's map on the error of any region, chance, and the gradient's direction."""
    raw = planes[""]
    wrong, inside = error.any(1), raw.inside | error.any(1)
    default = raw.smoothed(2)
    maps = {
        "outline of the mask, no network": _outline(raw.regions),
        "random weights": planes["random"].smoothed(2).mask.sum(1),
        "magnitude of the gradient": raw.region_gradient.abs().sum(1),
        "change, not smoothed": raw.mask.sum(1),
        "change, smoothed 2": default.mask.sum(1),
        "change, smoothed 4": raw.smoothed(4).mask.sum(1),
        "scan, smoothed 2": default.image.sum(1),
    }
    if "smoothgrad" in planes:
        maps[f"change, SmoothGrad {SMOOTHGRAD}"] = planes["smoothgrad"].smoothed(2).mask.sum(1)
    if patch:
        maps[f"change of patches of {patch}"] = _relabel_patches(surrogate, raw, patch)
    near = inside[:, None] & (_grow(raw.regions | error, NEAR) > 0)
    for reading, values in maps.items():
        share, chance = (value.item() for value in share_on_error(values, wrong, inside))
        record: dict[str, Any] = {"reading": reading, "share": share, "chance": chance}
        if reading == "change, smoothed 2":
            record["toward change on the error"] = _direction(default, error & near)
            record["toward change elsewhere"] = _direction(default, ~error & near)
        yield record


def _direction(saliency: Saliency, where: Tensor) -> float:
    """Share of the regions' gradient, by magnitude, that asks for a change of the label."""
    return ((saliency.mask * where).sum() / (saliency.region_gradient.abs() * where).sum()).item()


def _grow(regions: Tensor, radius: int) -> Tensor:
    grown: Tensor = max_pool2d(regions.float(), 2 * radius + 1, stride=1, padding=radius)
    return grown


def _outline(regions: Tensor) -> Tensor:
    """Where some region's outline is near."""
    outer, inner = _grow(regions, OUTLINE), 1 - _grow(~regions, OUTLINE)
    return (outer - inner).amax(1)


@torch.no_grad()
def _relabel_patches(surrogate: Surrogate, saliency: Saliency, size: int) -> Tensor:
    """By how much the stars rise at best if a patch becomes one tissue or none, per voxel, ``(1, H, W)``."""
    field = surrogate.config.field_of_view
    tissues = regions_from_labels(torch.arange(4).reshape(4, 1, 1, 1, 1), SCHEME)[..., 0].float()
    scans = pad_planes(saliency.scans, field)
    gains = torch.zeros_like(saliency.scans[:, 0])
    for top in range(0, gains.shape[1], size):
        for left in range(0, gains.shape[2], size):
            window = (slice(None), slice(top, top + size), slice(left, left + size))
            if not saliency.inside[window].any():
                continue
            relabeled = saliency.regions.float().repeat(4, 1, 1, 1)
            relabeled[:, :, window[1], window[2]] = tissues
            stars = surrogate(join_planes(surrogate.config, scans.expand(4, -1, -1, -1), pad_planes(relabeled, field)))
            gains[window] = (stars.max() - saliency.stars).clamp(min=0) / size**2
    return gains

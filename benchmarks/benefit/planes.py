"""Axial planes of exams, drawn and changed at random: the same in every arm."""

from dataclasses import dataclass

import torch
from exams import Exam
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Planes:
    """Planes in memory.

    Attributes:
        raw: intensities as in the file ``(N, C, S, S)``, padded with 0.
        clean: in units of the volume's mean and spread, padded with 0.
        regions: ``(N, R, S, S)`` in {0, 1}.
        seen: ``clean`` with other intensities, which networks train on.
    """

    raw: Tensor
    clean: Tensor
    regions: Tensor
    seen: Tensor

    def __len__(self) -> int:
        return len(self.raw)

    def __getitem__(self, index: Tensor) -> "Planes":
        return Planes(self.raw[index], self.clean[index], self.regions[index], self.seen[index])


def planes_of(exams: list[Exam], side: int, every: int = 1) -> Planes:
    """Axial planes of some exams.

    Args:
        exams: whose.
        side: voxels of the squares that planes are padded to.
        every: of how many planes one is taken, of those that are not empty; 1 takes all.
    """
    parts = [(_squares(e.image, side), _squares(e.normalized, side), _squares(e.regions.float(), side)) for e in exams]
    if every > 1:
        taken = [raw.flatten(1).any(1).nonzero()[::every, 0] for raw, _, _ in parts]
        parts = [(raw[i], clean[i], regions[i]) for (raw, clean, regions), i in zip(parts, taken, strict=True)]
    raw, clean, regions = (torch.cat(values) for values in zip(*parts, strict=True))
    return Planes(raw, clean, regions, clean)


def _squares(volume: Tensor, side: int) -> Tensor:
    """A volume ``(C, X, Y, Z)`` as planes ``(Z, C, side, side)``, padded with 0 behind."""
    return F.pad(volume.movedim(3, 0), (0, side - volume.shape[2], 0, side - volume.shape[1]))


def draw(planes: Planes, count: int, generator: torch.Generator) -> Planes:
    """Some planes at random, turned, scaled and moved, and their intensities changed in ``seen``.

    A surrogate rates ``raw``, which is turned as well, and whose intensities are as they were.
    """
    chosen = planes[torch.randint(len(planes), (count,), generator=generator)]

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=generator)

    angle, scale = uniform(-0.26, 0.26), uniform(0.87, 1.15)
    rows = torch.stack((angle.cos(), -angle.sin(), angle.sin(), angle.cos()), 1).view(count, 2, 2)
    moved = torch.stack((uniform(-0.12, 0.12), uniform(-0.12, 0.12)), 1)[..., None]
    grid = F.affine_grid(torch.cat((rows * scale[:, None, None], moved), 2), [count, 1, *chosen.raw.shape[2:]], False)
    raw, clean, regions = (
        F.grid_sample(values, grid, align_corners=False) for values in (chosen.raw, chosen.clean, chosen.regions)
    )
    gain, offset, noise = (uniform(*span)[:, None, None, None] for span in ((0.8, 1.25), (-0.2, 0.2), (0, 0.15)))
    seen = gain * clean + offset + noise * torch.randn(clean.shape, generator=generator)
    return Planes(raw, clean, (regions > 0.5).float(), seen)

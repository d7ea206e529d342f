"""A mask whose voxels are free to change: logits in the brain's bounding box, nothing around it.

Only the box is optimized, and it is rated in its place: planes keep their size and the image its percentiles, while a
step costs half of one on whole volumes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from dqe_loss.core.boxes import Box, tensor_box
from dqe_loss.core.center_of_mass import Profiles
from dqe_loss.core.intensity import shows
from dqe_loss.core.mask import Mask, RegionMask
from dqe_loss.core.patch import PatchMask
from dqe_loss.core.slicing import in_plane
from dqe_loss.task import Task

CONFIDENCE = 3.0
"""Logits that a binary mask becomes: probabilities of 0.95 and 0.05, as a trained network's."""


@dataclass(frozen=True)
class Nothing:
    """An empty mask, as a `Mask`.

    Attributes:
        shape: of its volumes, ``(1, R, X, Y, Z)``.
        device: where it is.
    """

    shape: torch.Size
    device: torch.device

    def profiles(self, region: str) -> Profiles:
        """Mass profiles ``(1, X)``, ``(1, Y)`` and ``(1, Z)``: zeros."""
        x, y, z = (torch.zeros(self.shape[0], size, device=self.device) for size in self.shape[2:])
        return x, y, z

    def take(self, index: Tensor, view: str) -> Tensor:
        """Planes of zeros ``(1, P, R, H, W)`` for positions ``(1, P)``."""
        return torch.zeros(*index.shape, self.shape[1], *in_plane(self.shape[2:], view), device=self.device)


def free_box(image: Tensor, regions: Tensor, task: Task) -> Box:
    """Bounding box of the brain (what is not air in an image), and of a reference should it reach out of it.

    Args:
        image: ``(1, C, X, Y, Z)``.
        regions: of the reference, boolean ``(1, R, X, Y, Z)``.
        task: says what is air.
    """
    return tensor_box(shows(image, task).any(1, keepdim=True) | regions.any(1, keepdim=True), leading=2)


def as_logits(regions: Tensor) -> Tensor:
    """Boolean regions of any shape as the logits of a network that is sure of them."""
    return CONFIDENCE * (2 * regions.float() - 1)


def free_mask(logits: Tensor, box: Box, shape: torch.Size, task: Task) -> Mask:
    """The logits of a box as a mask of full size.

    Args:
        logits: ``(1, R, ...)``, of the box's size.
        box: where they lie.
        shape: of the full size, ``(1, R, X, Y, Z)``.
        task: what the regions are.
    """
    x, y, z = (int(side.start) for side in box[2:])
    patch = RegionMask(logits, False, "sigmoid", task.regions, task.canonical)
    return PatchMask(
        patch, Nothing(logits.shape, logits.device), Nothing(shape, logits.device), torch.tensor([[x, y, z]])
    )


@torch.no_grad()
def whole_mask(logits: Tensor, box: Box, shape: torch.Size) -> Tensor:
    """The probabilities of a box, from logits ``(1, R, ...)``, as a volume of full size ``(1, R, X, Y, Z)``."""
    volume = torch.zeros(shape, device=logits.device)
    volume[box] = logits.sigmoid()
    return volume

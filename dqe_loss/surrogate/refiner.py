"""A refiner: a small network that says what the mask of a plane should be.

A rating network that was trained on good masks has no idea of bad ones, and an optimizer finds those that it likes. A
refiner looks at the same plane and the same mask, and says voxel by voxel which regions it would have drawn. It
starts from the given mask and changes what the scans contradict, so that a mask that fits the scans is left alone.
Stars are then worth as much as the two agree (`dqe_loss.surrogate.agreement`). Where a loss has no target, the refined
mask takes its place in the guard (`dqe_loss.losses.guards`).
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from monai.networks.nets import BasicUNet
from monai.networks.nets.basic_unet import UpCat
from torch import Tensor, nn
from torch.nn import functional as F

from dqe_loss.task import GLIOMA, Task

NORMS: dict[str, tuple[str, dict[str, bool]]] = {"instance": ("instance", {"affine": True}), "batch": ("batch", {})}
"""MONAI's name and arguments of each way to normalize activations."""
TRUSTS = ("region", "voxel", "none")
"""How much of the given mask is added to what the U-Net says: see `RefinerConfig`."""
FIRST_TRUST = 2.0
"""Logit that a voxel of the given mask is worth before anything is learned."""
SMALLEST_PLANE = 64
"""Voxels a side: halved five times it leaves two, and a normalization over one voxel leaves nothing."""


@dataclass(frozen=True)
class RefinerConfig:
    """How a refiner is built, and what it has to say.

    Attributes:
        features: channels of the U-Net's five levels, and of its last layer.
        norm: ``"instance"`` (statistics of the plane itself) or ``"batch"`` (those of the teaching: a third cheaper).
        trust: how far the given mask is believed: by one number for each ``"region"``, by a map with a number for each
            ``"voxel"``, or ``"none"``, where the mask is but a part of what is looked at.
        confidence: probability, at least 0.5, from which on the refiner is sure that a voxel belongs to a region, and
            ``1 - confidence`` up to which it is sure that it does not; where it is not sure, no gradient passes.
        full_marks: agreement, in (0, 1], from which on a mask keeps all of its stars: two careful readers do not agree
            on each voxel either.
        survey_full_marks: the same of a survey's agreement (`dqe_loss.surrogate.survey`): in planes at a tumor's ends,
            which no rating looks at, readers agree less.
        exponent: of the agreement below it, at least 1; stars above the lowest are multiplied by the result.
    """

    features: tuple[int, ...] = (24, 32, 64, 96, 128, 24)
    norm: str = "instance"
    trust: str = "region"
    confidence: float = 0.8
    full_marks: float = 0.94
    survey_full_marks: float = 0.84
    exponent: float = 3.0

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            ValueError: naming the field, its value and what it may be.
        """
        if len(self.features) != 6 or min(self.features) < 1:
            raise ValueError(f"features must be six numbers of channels, got {self.features}")
        if self.norm not in NORMS:
            raise ValueError(f"norm must be one of {tuple(NORMS)}, got {self.norm!r}")
        if self.trust not in TRUSTS:
            raise ValueError(f"trust must be one of {TRUSTS}, got {self.trust!r}")
        if not (0.5 <= self.confidence < 1 and 0 < self.full_marks <= 1 and self.exponent >= 1):
            raise ValueError(
                "expected confidence in [0.5, 1), full_marks in (0, 1] and exponent >= 1, got "
                f"{self.confidence}, {self.full_marks} and {self.exponent}"
            )
        if not 0 < self.survey_full_marks <= 1:
            raise ValueError(f"survey_full_marks must be in (0, 1], got {self.survey_full_marks}")


class PlaneUNet(BasicUNet):  # type: ignore[misc]
    """MONAI's U-Net for planes; its own ``forward`` asks TorchScript for types, which `torch.compile` cannot trace."""

    def forward(self, x: Tensor) -> Tensor:
        """Map planes ``(N, C, H, W)`` to planes of as many channels as asked for."""
        x0 = self.conv_0(x)
        x1 = self.down_1(x0)
        x2 = self.down_2(x1)
        x3 = self.down_3(x2)
        x = _join(self.upcat_4, self.down_4(x3), x3)
        for block, skip in ((self.upcat_3, x2), (self.upcat_2, x1), (self.upcat_1, x0)):
            x = _join(block, x, skip)
        result: Tensor = self.final_conv(x)
        return result


def _join(block: UpCat, x: Tensor, skip: Tensor) -> Tensor:
    """Upsample by two, prolong by a row or column where the skip's size is odd, and merge."""
    upper: Tensor = block.upsample(x)
    missing = [skip.shape[-1] - upper.shape[-1], skip.shape[-2] - upper.shape[-2]]
    if any(missing):
        upper = F.pad(upper, (0, missing[0], 0, missing[1]), "replicate")
    merged: Tensor = block.convs(torch.cat((skip, upper), 1))
    return merged


class Refiner(nn.Module):
    """A 2D U-Net from scans and a mask to the mask that it should be.

    It works at half resolution, with the four voxels of each square as channels, which costs a quarter and loses no
    detail. The given mask is added to its output as far as it is trusted, so that what is learned are corrections, and
    a mask that fits the scans is left as it is to the voxel.

    Args:
        config: how it is built.
        task: which scans it sees, and which regions it draws.
    """

    def __init__(self, config: RefinerConfig, task: Task = GLIOMA) -> None:
        super().__init__()
        regions = self.regions = len(task.regions)
        channels = len(task.modalities) + regions
        self.corrections = nn.Sequential(
            nn.PixelUnshuffle(2),
            PlaneUNet(
                spatial_dims=2,
                in_channels=4 * channels,
                out_channels=4 * regions * (2 if config.trust == "voxel" else 1),
                features=config.features,
                norm=NORMS[config.norm],
                act=("LeakyReLU", {"negative_slope": 0.1, "inplace": True}),
                upsample="nontrainable",
            ),
            nn.PixelShuffle(2),
        )
        self.trust: nn.Parameter | None = None
        if config.trust == "region":
            self.trust = nn.Parameter(torch.full((regions, 1, 1), FIRST_TRUST))

    def forward(self, scans: Tensor, regions: Tensor) -> Tensor:
        """Logits of the regions that should be there.

        Args:
            scans: ``(N, C, H, W)`` in [0, 1], H and W even, `SMALLEST_PLANE` or more.
            regions: ``(N, R, H, W)`` in [0, 1], in the task's order.

        Returns:
            ``(N, R, H, W)``.
        """
        planes = torch.cat((scans, regions), 1).contiguous(memory_format=torch.channels_last)
        said: Tensor = self.corrections(planes)
        if self.trust is not None:
            return said + self.trust * (2 * regions - 1)
        if said.shape[1] == self.regions:
            return said
        corrections, trust = said.chunk(2, 1)
        return corrections + F.softplus(trust + FIRST_TRUST) * (2 * regions - 1)


class RefinedMask(NamedTuple):
    """What a refiner makes of a mask, without gradient.

    Attributes:
        regions: ``(N, 3, H, W)``, 0 or 1: the mask that it would have drawn.
        sure: the same shape, boolean: where it is sure of that (see `RefinerConfig.confidence`).
    """

    regions: Tensor
    sure: Tensor


def refine_mask(refiner: Refiner, config: RefinerConfig, scans: Tensor, regions: Tensor) -> RefinedMask:
    """Let the refiner look at a mask ``(N, 3, H, W)`` in [0, 1] on its scans ``(N, 4, H, W)`` in [0, 1]."""
    with torch.no_grad():
        # Its gradient is not followed: a network's own refined mask, optimized, is as easily fooled as a rating.
        estimate = refiner(scans.detach(), regions.detach()).sigmoid()
        sure = (estimate >= config.confidence) | (estimate <= 1 - config.confidence)
        return RefinedMask((estimate > 0.5).to(regions.dtype), sure)

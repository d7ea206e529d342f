"""The segmentation as the rating sees it: something that has mass profiles, and planes.

A rating never needs a whole converted volume, only where the tumor is and a few planes. So a label map is turned
into regions plane by plane, and a patch is put into its full-size surroundings plane by plane (`dqe_loss.patch`).
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from dqe_loss.labels import LABEL_SCHEMES, regions_from_labels
from dqe_loss.slicing import Profiles, center_of_profiles, mass_profiles, sharpen, take_planes


class Mask(Protocol):
    """A batch of segmentations."""

    @property
    def shape(self) -> torch.Size:
        """Shape of the volumes, ``(B, channels, X, Y, Z)``."""

    def core(self) -> Profiles:
        """Mass profiles of the tumor core."""

    def whole(self) -> Profiles:
        """Mass profiles of the whole tumor."""

    def take(self, index: Tensor, view: str) -> Tensor:
        """Region planes ``(B, P, 3, H, W)`` at integer positions ``(B, P)``."""


@dataclass(frozen=True)
class RegionMask:
    """Regions ``(B, 3, X, Y, Z)`` in the order TC, WT, ET: boolean, or probabilities in [0, 1].

    Attributes:
        regions: the regions.
        hard: whether mass is counted on the mask binarized at 0.5, or softly (see `dqe_loss.slicing.sharpen`).
    """

    regions: Tensor
    hard: bool

    @property
    def shape(self) -> torch.Size:
        """Shape of the volumes."""
        return self.regions.shape

    def core(self) -> Profiles:
        """Mass profiles of the tumor core."""
        return self._profiles(0)

    def whole(self) -> Profiles:
        """Mass profiles of the whole tumor."""
        return self._profiles(1)

    def take(self, index: Tensor, view: str) -> Tensor:
        """Region planes at integer positions."""
        return take_planes(self.regions, index, view)

    def _profiles(self, region: int) -> Profiles:
        volume = self.regions[:, region]
        if volume.dtype == torch.bool:
            return mass_profiles(volume)
        return mass_profiles(volume > 0.5 if self.hard else sharpen(volume))


@dataclass(frozen=True)
class LabelMask:
    """A label map ``(B, 1, X, Y, Z)`` that is turned into regions only where it is looked at.

    Attributes:
        labels: the label map, of any real dtype.
        scheme: name of its label scheme.
    """

    labels: Tensor
    scheme: str

    @property
    def shape(self) -> torch.Size:
        """Shape of the volumes."""
        return self.labels.shape

    def core(self) -> Profiles:
        """Mass profiles of the tumor core."""
        scheme = LABEL_SCHEMES[self.scheme]
        core = self.labels[:, 0] == scheme.necrosis
        for value in scheme.enhancing:
            core = core | (self.labels[:, 0] == value)
        return mass_profiles(core)

    def whole(self) -> Profiles:
        """Mass profiles of the whole tumor."""
        return mass_profiles(self.labels[:, 0] > 0)

    def take(self, index: Tensor, view: str) -> Tensor:
        """Region planes at integer positions."""
        planes = take_planes(self.labels, index, view)
        return regions_from_labels(planes.movedim(2, 1), self.scheme).movedim(1, 2)


def center_of_mask(mask: Mask, *, hard: bool) -> Tensor:
    """Center of tumor core, else whole tumor, else volume: ``(B, 3)``, see `dqe_loss.slicing.center_of_profiles`."""
    return center_of_profiles(mask.core(), mask.whole, hard=hard)

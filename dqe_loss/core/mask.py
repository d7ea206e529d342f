"""The segmentation as the rating sees it: something that has mass profiles, and planes.

A rating never needs a whole converted volume, only where the segmentation is and a few planes. So label maps, logits
and softmax outputs are turned into regions plane by plane, and a patch is put into its full-size surroundings plane by
plane (`dqe_loss.core.patch`): full-size copies would cost more than the network.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import pad

from dqe_loss.core.boxes import tensor_box
from dqe_loss.core.center_of_mass import Profiles, center_of_profiles, mass_profiles, sharpen
from dqe_loss.core.labels import (
    SchemeLike,
    region_from_labels,
    regions_from_labels,
    regions_from_tissues,
    reorder_regions,
)
from dqe_loss.core.slicing import take_planes
from dqe_loss.core.tensors import at_least_float32
from dqe_loss.task import GLIOMA, REGIONS, LabelScheme

_GLIOMA_SCHEME = GLIOMA.scheme()


class Mask(Protocol):
    """A batch of segmentations."""

    @property
    def shape(self) -> torch.Size:
        """Shape of the volumes, ``(B, channels, X, Y, Z)``."""

    def profiles(self, region: str) -> Profiles:
        """Mass profiles of a region of the task."""

    def take(self, index: Tensor, view: str) -> Tensor:
        """Region planes ``(B, P, R, H, W)`` at integer positions ``(B, P)``, in the task's order."""


class VolumeMask(Mask, Protocol):
    """A mask that has all voxels of a region at hand."""

    @property
    def hard(self) -> bool:
        """Whether mass is counted on the mask binarized at 0.5, or softly."""

    def volume(self, region: str) -> Tensor:
        """One region ``(B, X, Y, Z)``, boolean or in [0, 1]."""


@dataclass(frozen=True)
class LabelMask:
    """A label map.

    Attributes:
        labels: ``(B, 1, X, Y, Z)`` of any real dtype.
        scheme: its label scheme.
        hard: masses of labels are counts either way.
    """

    labels: Tensor
    scheme: SchemeLike
    hard: bool = True

    @property
    def shape(self) -> torch.Size:
        """Shape of the volumes."""
        return self.labels.shape

    def volume(self, region: str) -> Tensor:
        """One region, boolean."""
        return region_from_labels(self.labels[:, 0], region, self.scheme)

    def profiles(self, region: str) -> Profiles:
        """Mass profiles of a region."""
        # Most of a volume holds no label. Asking an accelerator where they are would stall its stream.
        if self.labels.device.type != "cpu" or self.labels.is_floating_point() or torch.compiler.is_compiling():
            return mass_profiles(self.volume(region))
        box = tensor_box(self.labels, leading=2)
        inside = mass_profiles(LabelMask(self.labels[box], self.scheme).volume(region))
        x, y, z = (
            pad(profile, (part.start, size - part.stop))
            for profile, part, size in zip(inside, box[2:], self.shape[2:], strict=True)
        )
        return x, y, z

    def take(self, index: Tensor, view: str) -> Tensor:
        """Region planes at integer positions, boolean."""
        planes = take_planes(self.labels, index, view)
        return regions_from_labels(planes.movedim(2, 1), self.scheme).movedim(1, 2)


@dataclass(frozen=True)
class RegionMask:
    """Regions or tissues by channel: a prediction before or after its activation, or a reference.

    Attributes:
        values: regions, one channel for each of ``region_order``, or background and tissues ``(B, 1 + T, X, Y, Z)``.
        hard: whether mass is counted on the mask binarized at 0.5, or softly (see
            `dqe_loss.core.center_of_mass.sharpen`).
        activation: ``"none"``, ``"sigmoid"`` or ``"softmax"``.
        region_order: order of region channels; there may be more than are rated.
        scheme: orders tissue channels, and names the rated regions.
        tissues: whether the channels are background and tissues, which exclude each other, and not regions.
    """

    values: Tensor
    hard: bool
    activation: str = "none"
    region_order: tuple[str, ...] = REGIONS
    scheme: LabelScheme = _GLIOMA_SCHEME
    tissues: bool = False

    @property
    def shape(self) -> torch.Size:
        """Shape of the volumes."""
        return self.values.shape

    def volume(self, region: str) -> Tensor:
        """One region, in [0, 1]."""
        return self.region_of(self.channels_of(region), region)

    def profiles(self, region: str) -> Profiles:
        """Mass profiles of a region."""
        return profiles_of(self.volume(region), self.hard)

    def take(self, index: Tensor, view: str) -> Tensor:
        """Region planes at integer positions."""
        return self.regions_of(take_planes(self.values, index, view).movedim(2, 1)).movedim(1, 2)

    def channels_of(self, region: str) -> Tensor:
        """The values that a region depends on: its channel ``(B, X, Y, Z)``, or all tissues ``(B, 1 + T, X, Y, Z)``."""
        return self.values if self.tissues else self.values[:, self.region_order.index(region)]

    def region_of(self, channels: Tensor, region: str) -> Tensor:
        """A region ``(B, X, Y, Z)`` in [0, 1] of what `channels_of` gave for it."""
        if not self.tissues:
            return self.activate(channels)
        return regions_from_tissues(self.activate(channels), self.scheme)[:, self.scheme.regions.index(region)]

    def regions_of(self, values: Tensor) -> Tensor:
        """All rated regions ``(B, R, ...)`` of values ``(B, C, ...)``, in the task's order."""
        if self.tissues:
            return regions_from_tissues(self.activate(values), self.scheme)
        return reorder_regions(self.activate(values), self.region_order, self.scheme.regions)

    def activate(self, values: Tensor) -> Tensor:
        """Probabilities of values: ``(B, C, ...)``, or one region's channel."""
        if self.activation == "none":
            return values
        # Half-precision probabilities are too coarse near 0 and 1 for a center of mass (contract C10).
        values = at_least_float32(values)
        return values.softmax(1) if self.activation == "softmax" else values.sigmoid()


def profiles_of(volume: Tensor, hard: bool) -> Profiles:
    """Mass profiles of a region ``(B, X, Y, Z)``, counted on the mask binarized at 0.5 or softly."""
    if volume.dtype == torch.bool:
        return mass_profiles(volume)
    return mass_profiles(volume > 0.5 if hard else sharpen(volume))


def center_of_mask(mask: Mask, *, hard: bool, regions: tuple[str, ...] = GLIOMA.centers) -> Tensor:
    """Center of the first of some regions that a mask has, else of the volume: ``(B, 3)``; see `center_of_profiles`."""
    return center_of_profiles(mask.profiles, regions, hard=hard)

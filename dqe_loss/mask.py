"""The segmentation as the rating sees it: something that has mass profiles, and planes.

A rating never needs a whole converted volume, only where the tumor is and a few planes. So label maps, logits and
softmax outputs are turned into regions plane by plane, the guard acts plane by plane, and a patch is put into its
full-size surroundings plane by plane (`dqe_loss.patch`): full-size copies would cost more than the network.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import pad

from dqe_loss.balance import GradientLog, guard
from dqe_loss.labels import (
    REGIONS,
    region_from_labels,
    regions_from_labels,
    regions_from_tissues,
    reorder_regions,
    tissues_from_regions,
)
from dqe_loss.slicing import (
    Profiles,
    at_least_float32,
    center_of_profiles,
    mass_profiles,
    sharpen,
    take_planes,
)

TISSUES = 4
"""Channels of a tissue head: background, and three tissues in ascending order of their labels."""


class Mask(Protocol):
    """A batch of segmentations."""

    @property
    def shape(self) -> torch.Size:
        """Shape of the volumes, ``(B, channels, X, Y, Z)``."""

    def profiles(self, region: str) -> Profiles:
        """Mass profiles of a region, named as in `REGIONS`."""

    def take(self, index: Tensor, view: str) -> Tensor:
        """Region planes ``(B, P, 3, H, W)`` at integer positions ``(B, P)``, in the order of `REGIONS`."""


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
        scheme: name of its label scheme.
        hard: masses of labels are counts either way.
    """

    labels: Tensor
    scheme: str
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
        box = label_box(self.labels)
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
        values: ``(B, 3, X, Y, Z)`` regions or ``(B, 4, X, Y, Z)`` background and tissues.
        hard: whether mass is counted on the mask binarized at 0.5, or softly (see `dqe_loss.slicing.sharpen`).
        activation: ``"none"``, ``"sigmoid"`` or ``"softmax"``.
        region_order: order of region channels.
        label_scheme: scheme that orders tissue channels.
        guard: what guards the values' gradient, if anything does.
    """

    values: Tensor
    hard: bool
    activation: str = "none"
    region_order: tuple[str, ...] = REGIONS
    label_scheme: str = "brats"
    guard: "TargetGuard | None" = None

    @property
    def shape(self) -> torch.Size:
        """Shape of the volumes."""
        return self.values.shape

    def volume(self, region: str) -> Tensor:
        """One region, in [0, 1]."""
        if self.values.shape[1] != TISSUES:
            channel = self.values[:, self.region_order.index(region)]
            return self._guarded(channel, lambda guard: guard.target.volume(region))
        tissues = self._guarded(
            self.values, lambda guard: self._channels(torch.stack([guard.target.volume(name) for name in REGIONS], 1))
        )
        return regions_from_tissues(tissues, self.label_scheme)[:, REGIONS.index(region)]

    def profiles(self, region: str) -> Profiles:
        """Mass profiles of a region."""
        return profiles_of(self.volume(region), self.hard)

    def take(self, index: Tensor, view: str) -> Tensor:
        """Region planes at integer positions."""
        planes = take_planes(self.values, index, view).movedim(2, 1)
        planes = self._guarded(planes, lambda guard: self._channels(guard.target.take(index, view).movedim(2, 1)))
        if planes.shape[1] == TISSUES:
            return regions_from_tissues(planes, self.label_scheme).movedim(1, 2)
        return reorder_regions(planes, self.region_order).movedim(1, 2)

    def _guarded(self, values: Tensor, target: Callable[["TargetGuard"], Tensor]) -> Tensor:
        """Probabilities of the values, guarded if there is a guard; the target is given in the same channels.

        The guard acts before the activation: a region's gradient that was guarded behind a softmax would still reach
        the other tissues through it, and could lower the very tissue that the target has.
        """
        if self.guard is not None:
            predicted = self._activate(values.detach()).clamp(0, 1)
            values = guard(values, target(self.guard).to(predicted.dtype) - predicted, self.guard.log)
        return self._activate(values)

    def _channels(self, regions: Tensor) -> Tensor:
        """Regions in the order of `REGIONS` as the channels of the values."""
        if self.values.shape[1] == TISSUES:
            return tissues_from_regions(regions, self.label_scheme)
        return torch.stack([regions[:, REGIONS.index(name)] for name in self.region_order], 1)

    def _activate(self, values: Tensor) -> Tensor:
        if self.activation == "none":
            return values
        # Half-precision probabilities are too coarse near 0 and 1 for a center of mass (contract C10).
        values = at_least_float32(values)
        return values.softmax(1) if self.activation == "softmax" else values.sigmoid()


@dataclass(frozen=True)
class TargetGuard:
    """A guard by a target (contract C7).

    Attributes:
        target: what the guarded mask should be, of the same size.
        log: where the guard notes what it kept.
    """

    target: VolumeMask
    log: GradientLog


def label_box(labels: Tensor) -> tuple[slice, ...]:
    """The smallest box that holds all labels of a batch.

    Args:
        labels: ``(B, 1, X, Y, Z)`` of an integer dtype.

    Returns:
        An index of ``labels``; of one voxel if there is no label.
    """
    # In the order of memory, whole planes are gone through fastest; those without a label are not looked at again.
    order = sorted((2, 3, 4), key=labels.stride, reverse=True)
    ordered = labels.permute(0, 1, *order)
    outer = _filled(ordered.amax((0, 1, 3, 4)))
    projection = ordered[:, :, outer].amax((0, 1, 2))
    box = {0: slice(None), 1: slice(None)}
    box |= dict(zip(order, (outer, _filled(projection.amax(1)), _filled(projection.amax(0))), strict=True))
    return tuple(box[axis] for axis in range(labels.ndim))


def _filled(profile: Tensor) -> slice:
    found = (profile > 0).nonzero()
    return slice(int(found[0]), int(found[-1]) + 1) if len(found) else slice(0, 1)


def profiles_of(volume: Tensor, hard: bool) -> Profiles:
    """Mass profiles of a region ``(B, X, Y, Z)``, counted on the mask binarized at 0.5 or softly."""
    if volume.dtype == torch.bool:
        return mass_profiles(volume)
    return mass_profiles(volume > 0.5 if hard else sharpen(volume))


def center_of_mask(mask: Mask, *, hard: bool) -> Tensor:
    """Center of tumor core, else whole tumor, else volume: ``(B, 3)``, see `dqe_loss.slicing.center_of_profiles`."""
    return center_of_profiles(mask.profiles("TC"), lambda: mask.profiles("WT"), hard=hard)

"""The guards of the loss: whose word a gradient must obey before it may move a voxel (contract C7).

With a target, the gradient may move a voxel only toward it. Where the surrogate has a refiner, it may move a
voxel only to where that refiner is sure that the voxel belongs. Both guards assume descent: what comes back is the
gradient of something that is to shrink, as missing stars are. Masks and surrogates have true gradients (contract C14).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from dqe_loss.core.boxes import Box
from dqe_loss.core.center_of_mass import Profiles
from dqe_loss.core.labels import reorder_regions, tissues_from_regions
from dqe_loss.core.mask import RegionMask, VolumeMask, profiles_of
from dqe_loss.core.planes import split_planes
from dqe_loss.core.slicing import take_planes
from dqe_loss.losses.gradients import GradientLog, guard
from dqe_loss.surrogate.network import Surrogate


@dataclass(frozen=True)
class GuardedMask:
    """A predicted mask whose values may only be moved toward a target, as a `Mask`.

    The guard acts before the activation: a region's gradient that was guarded behind a softmax would still reach the
    other tissues through it, and could lower the very tissue that the target has.

    Attributes:
        predicted: what is guarded.
        target: what it should be, of the same size.
        log: where the guard notes what it kept.
    """

    predicted: RegionMask
    target: VolumeMask
    log: GradientLog

    @property
    def shape(self) -> torch.Size:
        """Shape of the volumes."""
        return self.predicted.shape

    def profiles(self, region: str) -> Profiles:
        """Mass profiles of a region."""
        mask = self.predicted
        if not torch.is_grad_enabled():
            return mask.profiles(region)
        if mask.tissues:
            target = self._as_tissues(torch.stack([self.target.volume(name) for name in mask.scheme.regions], 1))
        else:
            target = self.target.volume(region)
        return profiles_of(mask.region_of(self._guarded(mask.channels_of(region), target), region), mask.hard)

    def take(self, index: Tensor, view: str) -> Tensor:
        """Region planes at integer positions."""
        mask = self.predicted
        planes = take_planes(mask.values, index, view).movedim(2, 1)
        target = self.target.take(index, view).movedim(2, 1)
        if mask.tissues:
            return mask.regions_of(self._guarded(planes, self._as_tissues(target))).movedim(1, 2)
        planes = reorder_regions(planes, mask.region_order, mask.scheme.regions)
        return mask.activate(self._guarded(planes, target)).movedim(1, 2)

    def _as_tissues(self, regions: Tensor) -> Tensor:
        return tissues_from_regions(regions, self.predicted.scheme)

    def _guarded(self, values: Tensor, target: Tensor) -> Tensor:
        predicted = self.predicted.activate(values.detach()).clamp(0, 1)
        return guard(values, target.to(predicted.dtype) - predicted, self.log)


class GuardedSurrogate:
    """A surrogate whose gradient may move a voxel only to where its refiner is sure that it belongs, as a `Rater`.

    The stars are the surrogate's own. Without a refiner it is the surrogate as it is.
    """

    def __init__(self, surrogate: Surrogate) -> None:
        self.surrogate, self.config, self.device = surrogate, surrogate.config, surrogate.device
        self.refine = surrogate.refine

    def __call__(self, planes: Tensor, *, ceiling: Tensor | None = None, inside: Box | None = None) -> Tensor:
        """Stars ``(N,)`` of planes ``(N, C, H, W)``, as `Surrogate.forward` gives them."""
        planes = planes.to(self.surrogate.dtype)
        refined = self.refine(planes)
        if refined is not None:
            scans, regions = split_planes(self.config, planes)
            toward = torch.where(refined.sure, refined.regions - regions.detach(), torch.zeros_like(regions))
            planes = torch.cat((scans, guard(regions, toward)), 1)
        stars: Tensor = self.surrogate(planes, refined, ceiling, inside)
        return stars

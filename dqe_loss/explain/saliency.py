"""Where the rating thinks the error is: the gradient of the stars at the rated planes, read as changes of labels.

A region's gradient says by how much the stars would rise if a voxel joined it. Joining is possible only outside of the
region and leaving only inside, so that the map of a mask is the positive part of the gradient outside and of its
negative inside: *another label here would raise the stars*. For the scan, where any change is possible, it is the
gradient's magnitude: *this voxel matters to the stars*.

The gradient is that of the one path's planes (`dqe_loss.core.planes.presented_planes`), smoothed by a Gaussian before
its sign is read, so that voxels that contradict each other cancel out. ``benchmarks/saliency.py`` compares this with
SmoothGrad, which costs as many passes as it has samples, and with others. Autograd gives it in two lines, so that no
library of attributions is needed: what is ours is the reading.
"""

from dataclasses import dataclass, fields, replace

import torch
from monai.networks.layers import GaussianFilter
from torch import Tensor

from dqe_loss.core.labels import SchemeLike
from dqe_loss.core.labels import label_scheme as find_scheme
from dqe_loss.core.mask import LabelMask
from dqe_loss.core.planes import join_planes, presented_planes
from dqe_loss.core.slicing import VIEW_AXIS, check_views, in_plane, place_of
from dqe_loss.core.tensors import at_least_float32
from dqe_loss.losses.guards import GuardedSurrogate
from dqe_loss.surrogate.lowest import lowest_planes
from dqe_loss.surrogate.network import Surrogate
from dqe_loss.surrogate.rating import check_devices

SMOOTHING = 2.0
"""Default standard deviation of the Gaussian in voxels: the best of 0, 2 and 4 on phantoms."""


@dataclass(frozen=True)
class Saliency:
    """What the stars of one view depend on. All planes are as they are cut, without the surrogate's padding.

    Attributes:
        index: voxel coordinate of the plane along the view's axis, int64 ``(B,)``.
        stars: what it was rated, ``(B,)``.
        scans: the scaled modalities in the surrogate's order, ``(B, C, H, W)`` in [0, 1].
        regions: the rated mask in the task's order, bool ``(B, R, H, W)``.
        scan_gradient: smoothed gradient of the stars, ``(B, C, H, W)``, in stars per unit of scaled intensity.
        region_gradient: the same for the regions, ``(B, R, H, W)``, in stars per voxel that joins the region.
    """

    index: Tensor
    stars: Tensor
    scans: Tensor
    regions: Tensor
    scan_gradient: Tensor
    region_gradient: Tensor

    @property
    def mask(self) -> Tensor:
        """By how much a voxel's change of region would raise the stars (first order), ``(B, R, H, W)``, 0 or above.

        Only where there is brain or a label: no map asks for anything in the air.
        """
        gain = torch.where(self.regions, -self.region_gradient, self.region_gradient).relu()
        return gain * self.inside[:, None]

    @property
    def image(self) -> Tensor:
        """By how much the stars depend on each intensity, ``(B, C, H, W)``, 0 or above."""
        return self.scan_gradient.abs()

    @property
    def inside(self) -> Tensor:
        """Where there is brain or a label, bool ``(B, H, W)``."""
        return (self.scans > 0).any(1) | self.regions.any(1)

    def cpu(self) -> "Saliency":
        """The same in the main memory."""
        return Saliency(*(getattr(self, field.name).cpu() for field in fields(self)))

    def smoothed(self, sigma: float) -> "Saliency":
        """The same with gradients smoothed by a Gaussian of this standard deviation in voxels; itself for 0."""
        if sigma == 0:
            return self
        gaussian = GaussianFilter(2, sigma).to(self.scan_gradient)
        return replace(self, scan_gradient=gaussian(self.scan_gradient), region_gradient=gaussian(self.region_gradient))


def explain_labels(
    surrogate: Surrogate,
    image: Tensor,
    labels: Tensor,
    *,
    label_scheme: SchemeLike | None = None,
    center: Tensor | tuple[str, ...] = ("mask",),
    views: tuple[str, ...] | None = None,
    smoothing: float = SMOOTHING,
    modalities: tuple[str, ...] | None = None,
) -> dict[str, Saliency]:
    """Say what the stars of a segmentation depend on, in the planes that `rate_segmentation` rates.

    Args:
        surrogate: the frozen network.
        image: intensities ``(B, C, X, Y, Z)`` of any real dtype.
        labels: label map ``(B, 1, X, Y, Z)`` of any real dtype.
        label_scheme: its scheme; the default of the surrogate's task if None.
        center: where the planes lie, as `rate_segmentation` takes it, in whole voxels; of several places, each view's
            is the one with its lowest stars.
        views: which views; the task's if None.
        smoothing: standard deviation of the Gaussian in voxels; 0 for none.
        modalities: the image's channel order; the task's if None.

    Returns:
        View to its saliency.

    Raises:
        ValueError: if shapes, names, devices or the smoothing are not as said.
    """
    task = surrogate.config.task
    views, scans = task.views if views is None else views, len(task.modalities)
    check_views(views)
    if image.ndim != 5 or image.shape[1] != scans or labels.shape != image[:, :1].shape:
        raise ValueError(
            f"expected an image (B, {scans}, X, Y, Z) and a label map (B, 1, X, Y, Z) of the same voxels, got "
            f"{tuple(image.shape)} and {tuple(labels.shape)}"
        )
    if not 0 <= smoothing < float("inf"):
        raise ValueError(f"smoothing must be a standard deviation in voxels, 0 or above, got {smoothing}")
    check_devices(surrogate, image=image, segmentation=labels)
    mask = LabelMask(labels, find_scheme(label_scheme, task))
    if not isinstance(center, Tensor):
        center = lowest_planes(surrogate, image, mask, center, modalities).center
    if center.is_floating_point() or tuple(center.shape) != (image.shape[0], 3):
        raise ValueError(f"center must be whole voxels (B, 3), got {tuple(center.shape)} of {center.dtype}")
    channels = surrogate.config.channels(modalities)
    saliency = {}
    for view in views:
        index = center[:, VIEW_AXIS[view]]
        planes = presented_planes(surrogate.config, image, mask, index[:, None], view, channels)
        size = torch.Size(in_plane(labels.shape[2:], view))
        stars, *gradients = _gradients(surrogate, *(one[:, 0] for one in planes))
        shown, regions = (crop_planes(one[:, 0], size) for one in planes)
        raw = Saliency(index, stars, shown, regions.bool(), *(crop_planes(one, size) for one in gradients))
        saliency[view] = raw.smoothed(smoothing)
    return saliency


def crop_planes(planes: Tensor, size: torch.Size) -> Tensor:
    """Undo `dqe_loss.core.slicing.pad_planes`: the middle ``(..., *size)`` of padded planes."""
    rows, columns = place_of(size, planes.shape[-2:])
    return planes[..., rows, columns]


def _gradients(surrogate: Surrogate, scans: Tensor, regions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Stars ``(B,)`` of planes, and their gradients at scans and regions; 0 where the stars do not depend on them.

    The gradients are what the loss would follow, behind the guard of a refiner: on phantoms .86 of a map lies on
    the true error then, and .52 without the guard.
    """
    scans, regions = (at_least_float32(planes).detach().requires_grad_() for planes in (scans, regions))
    with torch.enable_grad():
        missing = -GuardedSurrogate(surrogate)(join_planes(surrogate.config, scans, regions))
        if not missing.requires_grad:  # a surrogate that is the same everywhere
            return -missing, torch.zeros_like(scans), torch.zeros_like(regions)
        of_scans, of_regions = torch.autograd.grad(
            missing.sum(), (scans, regions), allow_unused=True, materialize_grads=True
        )
    return -missing.detach(), -of_scans, -of_regions

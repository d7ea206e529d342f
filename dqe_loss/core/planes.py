"""Planes as a network takes them: cut, scaled, padded, joined with the mask."""

from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from dqe_loss.core.intensity import NORMALIZATIONS, modality_index, scale_planes
from dqe_loss.core.labels import tissue_planes
from dqe_loss.core.mask import Mask
from dqe_loss.core.slicing import VIEW_AXIS, PlaneSource, interpolate_planes, pad_planes, take_planes
from dqe_loss.core.tensors import at_least_float32
from dqe_loss.task import GLIOMA, Task

ENCODINGS = ("regions", "tissue")
"""How the segmentation is presented: binary regions, or one channel of labels."""


@dataclass(frozen=True)
class PlaneFormat:
    """How a network wants its planes: the part of `dqe_loss.SurrogateConfig` that the core needs.

    Attributes:
        encoding: ``"regions"`` (a channel for each) or ``"tissue"`` (one channel: the task's tissues
            as 1, 2, ...).
        modalities: order of the image channels that the network was trained with.
        normalization: how planes are scaled, see `dqe_loss.core.intensity.scale_planes`; a window is the task's.
        percentiles: lower and upper percentile of the former.
        field_of_view: height and width in voxels that planes are padded to.
        center_gradient: whether the stars' gradient reaches where the planes lie, and through it every voxel of the
            region whose center it is. A guarded surrogate has it off: an optimizer would erode one side of it to move
            the planes where stars are higher.
        task: what is rated.
    """

    encoding: str = "regions"
    modalities: tuple[str, ...] = GLIOMA.modalities
    normalization: str = "percentile"
    percentiles: tuple[float, float] = (0.5, 99.5)
    field_of_view: tuple[int, int] = GLIOMA.field_of_view
    center_gradient: bool = True
    task: Task = GLIOMA

    def __post_init__(self) -> None:
        """Check every choice that has a fixed set of values.

        Raises:
            ValueError: naming the field, the value and what it may be.
        """
        for name, allowed in (("encoding", ENCODINGS), ("normalization", NORMALIZATIONS)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {allowed}, got {getattr(self, name)!r}")
        if sorted(self.modalities) != sorted(self.task.modalities):
            raise ValueError(f"modalities must name each of {self.task.modalities} once, got {self.modalities}")
        if self.normalization == "window" and self.task.window is None:
            raise ValueError(f"normalization 'window' needs a task with a window, and {self.task.name!r} has none")

    @property
    def mask_channels(self) -> int:
        """In how many channels the segmentation is presented."""
        return len(self.task.regions) if self.encoding == "regions" else 1

    def channels(self, modalities: tuple[str, ...] | None = None) -> list[int]:
        """Where each of the network's modalities lies in an image.

        Args:
            modalities: the image's channel order; the task's if None.

        Raises:
            ValueError: if they are not the network's, each once.
        """
        return modality_index(self.task.modalities if modalities is None else modalities, self.modalities)


def presented_planes(
    config: PlaneFormat, image: Tensor | PlaneSource, mask: Mask, positions: Tensor, view: str, channels: list[int]
) -> tuple[Tensor, Tensor]:
    """Planes of one view, scaled and padded, image and mask apart: what training caches and augments.

    Args:
        config: says how planes are scaled and padded.
        image: ``(B, C, X, Y, Z)``, in memory or not.
        mask: the segmentation.
        positions: ``(B, P)`` voxel coordinates along the view's axis.
        view: the view.
        channels: where each of the surrogate's modalities lies in the image.

    Returns:
        Scans ``(B, P, C, H, W)`` in [0, 1], and regions ``(B, P, R, H, W)`` in the task's order, of the mask's own
        type (boolean for hard planes of a label map).
    """
    return presented_scans(config, image, positions, view, channels), presented_regions(config, mask, positions, view)


def presented_scans(
    config: PlaneFormat, image: Tensor | PlaneSource, positions: Tensor, view: str, channels: list[int]
) -> Tensor:
    """The first half of `presented_planes`, for several masks of one image.

    Planes are taken first and scaled then, before they are padded: upstream's order, and the percentiles depend on it.
    The arguments are those of `presented_planes`.

    Returns:
        Scans ``(B, P, C, H, W)`` in [0, 1].
    """

    def take(index: Tensor, view: str) -> Tensor:
        # Finite before they are interpolated, or the position's gradient is not; and contiguous, so that sums over a
        # plane come out the same wherever it was taken from.
        return at_least_float32(take_planes(image, index, view)).nan_to_num(0, 0, 0).contiguous()

    scans = interpolate_planes(take, positions, view, image.shape[2 + VIEW_AXIS[view]])
    if channels != sorted(channels):
        scans = torch.stack([scans[:, :, channel] for channel in channels], 2)
    scaled = scale_planes(scans, config.normalization, *config.percentiles, config.task.window)
    return pad_planes(scaled, config.field_of_view, task=config.task)


def presented_regions(config: PlaneFormat, mask: Mask, positions: Tensor, view: str) -> Tensor:
    """The second half of `presented_planes`, whose arguments it has.

    Returns:
        Regions ``(B, P, R, H, W)`` in the task's order, of the mask's own type.
    """
    regions = interpolate_planes(mask.take, positions, view, mask.shape[2 + VIEW_AXIS[view]])
    # A soft mask is padded with zeros, for outside the volume nothing can be predicted: the minimum that upstream
    # pads with would hand the whole padding's gradient to one voxel of each row.
    return pad_planes(regions, config.field_of_view, 0.0 if positions.is_floating_point() else None, config.task)


def join_planes(config: PlaneFormat, scans: Tensor, regions: Tensor) -> Tensor:
    """Scans ``(..., C, H, W)`` and regions ``(..., R, H, W)`` as one input of the network.

    Returns:
        ``(..., C + E, H, W)``, floating point, with E channels of the encoded segmentation.
    """
    encoded = encode_mask(at_least_float32(regions), config.encoding, config.task)
    return torch.cat((scans.to(encoded.dtype), encoded), -3)


def split_planes(config: PlaneFormat, planes: Tensor) -> tuple[Tensor, Tensor]:
    """Undo `join_planes`: scans ``(N, C, H, W)`` and regions ``(N, R, H, W)``, in the encoding ``"regions"``."""
    scans, regions = planes.tensor_split([len(config.modalities)], 1)
    return scans, regions


def encode_mask(regions: Tensor, encoding: str, task: Task = GLIOMA) -> Tensor:
    """Present region planes in a surrogate's encoding, differentiably.

    Args:
        regions: ``(..., R, H, W)`` in the task's order, floating point.
        encoding: ``"regions"`` leaves them; ``"tissue"`` makes one channel of labels, the task's tissues as 1, 2, ...,
            where soft regions give fractional labels.
        task: what the regions are.

    Returns:
        ``(..., R, H, W)`` or ``(..., 1, H, W)``.
    """
    if encoding == "regions":
        return regions
    named = dict(zip(task.regions, regions.unbind(-3), strict=True))
    tissues = tissue_planes(named, task.canonical)
    return reduce(torch.add, [label * tissue for label, tissue in enumerate(tissues.values(), 1)]).unsqueeze(-3)

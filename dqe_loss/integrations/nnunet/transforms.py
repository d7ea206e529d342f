"""The image that is rated, kept aside in nnU-Net's augmentation: turned and mirrored, but not changed otherwise.

Spatial transforms move image and target alike, and so does mirroring, which comes last. What lies between (noise, blur,
brightness, contrast, low resolution, gamma) changes how the image looks, and a surrogate has to see the scan. So a copy
is kept right after the spatial transform, as nnU-Net's ``regression_target``, which mirroring mirrors and nothing else
touches; at the end it is appended to the image's channels, which is how it leaves the workers.
"""

from collections.abc import Sequence
from typing import Any

import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.pseudo2d import Convert2DTo3DTransform
from torch import Tensor

KEPT = "regression_target"
"""Where the copy lies meanwhile."""


class KeepImage(BasicTransform):  # type: ignore[misc]
    """Keep a copy of the image, its outside made one value.

    nnU-Net marks what lies outside of the head, or of the volume, by -1 in the segmentation; interpolation and padding
    leave 0 there, which is no air where z-scores were taken over the whole image.

    Args:
        masked: for each channel whether 0 is the outside's value; else it is the channel's lowest.
    """

    def __init__(self, masked: Sequence[bool]) -> None:
        super().__init__()
        self.masked = tuple(masked)

    def apply(self, data_dict: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Add the copy to a sample with ``image`` ``(C, ...)`` and ``segmentation`` ``(1, ...)``."""
        kept: Tensor = data_dict["image"][: len(self.masked)].clone()
        outside = data_dict["segmentation"][0] < 0
        if outside.any():
            for channel, masked in zip(kept, self.masked, strict=True):
                channel[outside] = 0.0 if masked else channel.min()
        return {**data_dict, KEPT: kept}


class AppendKept(BasicTransform):  # type: ignore[misc]
    """Append the copy to the image: ``(2C, ...)``."""

    def apply(self, data_dict: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Move the copy of a sample into its image."""
        rest = {name: value for name, value in data_dict.items() if name != KEPT}
        return {**rest, "image": torch.cat((data_dict["image"], data_dict[KEPT]))}


def keep_image(transforms: ComposeTransforms, masked: Sequence[bool]) -> ComposeTransforms:
    """nnU-Net's transforms, with the image kept right after the last spatial one, or at first where there is none.

    Args:
        transforms: of training or validation.
        masked: see `KeepImage`.
    """
    steps = list(transforms.transforms)
    spatial = [i for i, step in enumerate(steps) if isinstance(getattr(step, "transform", step), SpatialTransform)]
    place = spatial[-1] + 1 if spatial else 0
    if place < len(steps) and isinstance(steps[place], Convert2DTo3DTransform):  # planes of an anisotropic volume
        place += 1
    return ComposeTransforms([*steps[:place], KeepImage(masked), *steps[place:], AppendKept()])


def split_kept(data: Tensor, channels: int) -> tuple[Tensor, Tensor]:
    """A batch ``(B, 2C, ...)`` as the network's input and the image to rate, each ``(B, C, ...)``."""
    return data[:, :-channels], data[:, -channels:]

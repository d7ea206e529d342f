"""An image in other units, which must not change its masks' stars (contract C2)."""

from collections.abc import Iterator

import torch
from monai.transforms import NormalizeIntensity
from torch import Tensor

from dqe_loss.task import MODALITIES

FACTORS = {"x 4": 4.0, "/ 4": 0.25}
"""By which one modality at a time is multiplied."""
RAW = "raw"
SCORED = ("z-scores of the head", "z-scores of the volume")


def changed_units(image: Tensor) -> Iterator[tuple[str, Tensor]]:
    """The image as it is, with one modality of another gain, and as z-scores of two kinds, one at a time.

    Args:
        image: raw intensities ``(1, 4, X, Y, Z)``, air 0.

    Yields:
        Name and image, float32: ``"raw"``, ``"t1c x 4"`` and so on, and `SCORED`: where the air stays 0 (nnU-Net's and
        MONAI's ``nonzero=True``), and where it becomes negative.
    """
    image = image.float()
    yield RAW, image
    for channel, modality in enumerate(MODALITIES):
        for name, factor in FACTORS.items():
            changed = image.clone()
            changed[:, channel] *= factor
            yield f"{modality} {name}", changed
    for name, nonzero in zip(SCORED, (True, False), strict=True):
        scored = NormalizeIntensity(nonzero=nonzero, channel_wise=True)(image[0].clone())
        yield name, torch.as_tensor(scored)[None]

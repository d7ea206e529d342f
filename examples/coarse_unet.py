"""A small network for the examples."""

import torch.nn.functional as F
from monai.networks.nets import UNet
from torch import Tensor, nn

from dqe_loss import REGIONS


class CoarseUNet(nn.Module):
    """A U-Net that works at about 2 mm, to be fast, and answers at full resolution, as the losses expect."""

    def __init__(self) -> None:
        super().__init__()
        # The first stride is 1: halving at once would lose the thin enhancing rim.
        self.unet = UNet(3, 4, len(REGIONS), (8, 16, 32, 64, 128), (1, 2, 2, 2), act="leakyrelu")

    def forward(self, image: Tensor) -> Tensor:
        """Turn a normalized image (B, 4, X, Y, Z) of any size into logits (B, 3, X, Y, Z)."""
        size = image.shape[2:]
        coarse = [max(16, 8 * round(n / 16)) for n in size]  # three halvings inside the U-Net
        return F.interpolate(self.unet(F.interpolate(image, coarse, mode="area")), size, mode="trilinear")

"""The loss of labels in every arm."""

from torch import Tensor, nn
from torch.nn import functional as F


class RegionLoss(nn.Module):
    """Dice and binary cross entropy of overlapping regions, over a batch together: empty planes are common.

    MONAI's ``DiceCELoss(sigmoid=True)`` is another sum: its cross entropy is a softmax over the channels, and regions
    do not exclude each other.
    """

    def forward(self, logits: Tensor, regions: Tensor, counts: Tensor | None = None) -> Tensor:
        """The loss of logits ``(N, R, H, W)``; ``counts``, boolean of that shape, leaves voxels out."""
        weight = logits.new_ones(()).expand_as(logits) if counts is None else counts.to(logits.dtype)
        entropy = F.binary_cross_entropy_with_logits(logits, regions, weight, reduction="sum")
        p, q = logits.sigmoid() * weight, regions * weight
        dice = (2 * (p * q).sum((0, 2, 3)) + 1) / ((p + q).sum((0, 2, 3)) + 1)
        value: Tensor = entropy / weight.sum().clamp(min=1) + 1 - dice.mean()
        return value

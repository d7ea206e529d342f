"""The task of the federation: a small U-Net that segments axial planes at 2 mm."""

import numpy as np
import torch
from monai.losses import DiceCELoss
from monai.networks.nets import UNet
from numpy.typing import NDArray
from torch import Tensor, nn

from dqe_loss import REGIONS, regions_from_labels
from dqe_loss.metrics.overlap import region_dice

EVERY = 5
"""Millimeters from one plane to the next."""
SIDE = 96
"""Width of a plane in pixels of 2 mm, about the middle of the brain."""
BATCH = 16


def make_network(seed: int) -> UNet:
    """A U-Net of 0.1 million weights, from 4 modalities to logits of the regions TC, WT, ET."""
    torch.manual_seed(seed)
    # Instance normalization keeps no running statistics, so that an average of weights is an average of networks.
    return UNet(2, 4, len(REGIONS), (8, 16, 32, 64), (2, 2, 2), num_res_units=1, norm="instance")


def take_training_planes(
    image: NDArray[np.integer], labels: NDArray[np.uint8]
) -> tuple[NDArray[np.float16], NDArray[np.bool_]]:
    """Every fifth axial plane of the brain, whatever the mask says of it.

    Args:
        image: raw intensities (4, X, Y, Z), 0 outside the brain.
        labels: label map (X, Y, Z), scheme brats23.

    Returns:
        Normalized planes (N, 4, 96, 96), and their regions TC, WT, ET (N, 3, 96, 96).
    """
    brain = (image != 0).any(0)
    middle = [int(np.flatnonzero(brain.any(axis)).mean()) for axis in ((1, 2), (0, 2))]
    mean = image[:, brain].mean(1, dtype=np.float64)[:, None, None, None]
    deviation = image[:, brain].std(1, dtype=np.float64)[:, None, None, None]
    x, y = (slice(max(m - SIDE, 0), max(m - SIDE, 0) + 2 * SIDE) for m in middle)
    at = np.flatnonzero(brain.any((0, 1)))[EVERY::EVERY]
    scaled = np.where(brain[x, y, at], (image[:, x, y, at] - mean) / deviation, 0)
    regions = regions_from_labels(torch.from_numpy(labels[x, y, at])[None, None])[0].numpy()
    return _halve(scaled).astype(np.float16), _halve(regions) >= 0.5


def train(network: nn.Module, images: Tensor, targets: Tensor, *, steps: int, rate: float, seed: int) -> float:
    """Train for some steps, and return their mean loss.

    Args:
        network: what is trained, in place.
        images: planes (N, 4, H, W).
        targets: regions (N, 3, H, W).
        steps: batches of `BATCH` planes, drawn at random.
        rate: Adam's learning rate.
        seed: of the draw.
    """
    criterion = DiceCELoss(sigmoid=True, batch=True)
    optimizer = torch.optim.Adam(network.parameters(), rate)
    generator = torch.Generator().manual_seed(seed)
    network.train()
    losses = []
    for _ in range(steps):
        chosen = torch.randint(len(images), (BATCH,), generator=generator)
        loss = criterion(network(images[chosen].float()), targets[chosen].float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return float(np.mean(losses))


@torch.no_grad()
def dice_of_exam(network: nn.Module, images: Tensor, targets: Tensor) -> NDArray[np.float64]:
    """Dice of TC, WT, ET over all planes of one exam (3,); 1 where there is nothing and nothing is found."""
    network.eval()
    found = torch.cat([network(batch.float()) > 0 for batch in images.split(BATCH)])
    pooled = (masks.movedim(1, 0).flatten(1)[None, ..., None] for masks in (found, targets))
    return region_dice(*pooled)[0].double().numpy()


def _halve(planes: NDArray[np.floating] | NDArray[np.bool_]) -> NDArray[np.float64]:
    """From 1 mm to 2 mm: (C, X, Y, N) to (N, C, X / 2, Y / 2)."""
    channels, x, y, count = planes.shape
    mean: NDArray[np.float64] = planes.reshape(channels, x // 2, 2, y // 2, 2, count).mean((2, 4))
    return np.moveaxis(mean, -1, 0)

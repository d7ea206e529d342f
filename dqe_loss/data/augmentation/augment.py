"""Augmentation of training planes: the paper's list of transforms, by the paper's libraries.

MONAI: Gaussian noise, flips, affine and elastic deformation; batchgenerators: contrast, brightness, gamma, low
resolution, Rician noise; TorchIO: motion, ghosting, spikes, bias field. Geometry acts on image and mask alike,
intensity on the image alone (Kofler et al. 2022, section "Training"). Needs all three libraries.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dqe_loss.core.boxes import tensor_box
from dqe_loss.data.augmentation.config import TRANSFORMS, AugmentationConfig
from dqe_loss.data.augmentation.geometry import move_planes
from dqe_loss.extras import needs_extra

with needs_extra("train"):
    from dqe_loss.data.augmentation.artifacts import bias_field, strike
    from dqe_loss.data.augmentation.contrast_and_noise import add_noise, change_contrast

__all__ = ["TRANSFORMS", "AugmentationConfig", "augment"]

MARGIN = 8
"""Voxels of background around the brain in the box that artifacts are computed in; ours."""
MULTIPLE = 16
"""Its sides are multiples of that where the plane has room: a Fourier transform of 133 voxels takes twice as long."""
BRIGHTEST = 0.005
"""Share of a plane's values above its joint upper percentile: the paper's 99.5."""


def augment(
    scans: Tensor, regions: Tensor, config: AugmentationConfig, seed: int | Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Augment one plane.

    A pure function: a seed gives the same result bit for bit in any process, with any number of workers, and the
    global random states of numpy, torch and Python are left as they were (they are used in between, under a lock,
    because batchgenerators draws from them). Every transform has a random stream of its own, so that changing one
    leaves the others' draws as they were.

    The background, where all four scans are 0, stays exactly 0, whatever the intensity transforms do: artifacts arise
    in the scanner, and the skull is stripped, and air set to 0, afterward. At inference the network never sees
    anything else. (Scans whose background is not 0, such as z-scored ones, have none in this sense: all of the plane
    is treated as brain.) For the same reason the plane's joint 99.5th percentile is put back where it was, as the
    scaling of such a plane would do (so no bright scan drowns in white), and scans end clipped to [0, 1].

    Args:
        scans: ``(4, H, W)`` float32 in [0, 1], scaled and padded as the network takes them.
        regions: ``(3, H, W)`` bool.
        config: probabilities and magnitudes.
        seed: 0 or above, or several such numbers, for example (seed, epoch, index): tell them all apart, and
            use as many for each plane.

    Returns:
        New scans and regions of the same shapes and types, scans in [0, 1]; regions stay nested where they were.

    Raises:
        ValueError: if shapes, types, values or the seed are not as said.
    """
    _check(scans, regions)
    drawn = _draw(config, seed)
    scans, regions = move_planes(scans.clone(), regions.clone(), config, drawn)
    if set(drawn) - {"flip", "affine", "elastic"}:
        brain = scans.amax(0) > 0
        if brain.any():
            rows, columns = _brain_box(brain)
            rank = round(BRIGHTEST * scans.numel())
            part = scans[:, rows, columns]
            part.copy_(_change_intensity(part.contiguous(), rank, config, drawn))
    return scans.clamp_(0, 1), regions


def _change_intensity(
    scans: Tensor, rank: int, config: AugmentationConfig, drawn: dict[str, np.random.Generator]
) -> Tensor:
    """Apply all intensity transforms to the box (4, H, W) around a brain, the rank-th highest value kept."""
    inside = (scans.amax(0) > 0).reshape(-1).nonzero()[:, 0]

    def voxels(planes: Tensor) -> NDArray[np.float32]:
        """Those of the brain alone, (4, N): a quarter of the work, and the statistics of tissue."""
        values: NDArray[np.float32] = planes.reshape(len(planes), -1).index_select(1, inside).numpy()
        return values

    def planes(values: NDArray[np.float32]) -> Tensor:
        empty = torch.zeros_like(scans)
        empty.view(len(scans), -1).index_copy_(1, inside, torch.from_numpy(values))
        return empty

    values = voxels(scans)
    brightest = _ranked(values, rank)
    level = values.mean(1, keepdims=True)
    values /= np.where(level > 0, level, 1)
    if "bias_field" in drawn:
        size = (scans.shape[1], scans.shape[2])
        values *= voxels(bias_field(size, config, drawn["bias_field"])[None])
    values = change_contrast(values, config, drawn)
    if drawn.keys() & {"motion", "ghosting", "spike", "low_resolution"}:
        values = voxels(strike(planes(values), config, drawn))
    values = add_noise(values, config, drawn) * level
    changed = _ranked(values, rank)
    if brightest > 0 and changed > 0:
        values *= brightest / changed
    return planes(values)


def _ranked(values: NDArray[np.float32], rank: int) -> float:
    """The value that so many others exceed; the lowest, if there are not so many."""
    place = max(values.size - 1 - rank, 0)
    return float(np.partition(values, place, axis=None)[place])


def _draw(config: AugmentationConfig, seed: int | Sequence[int]) -> dict[str, np.random.Generator]:
    """Draw which transforms happen, each with a stream of its own."""
    numbers = list(seed) if isinstance(seed, Sequence) else [seed]
    if not numbers or any(isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 0 for n in numbers):
        raise ValueError(f"seed: expected a whole number of 0 or above, or several, got {seed!r}")
    if not config.enabled:
        return {}
    entropy = [int(number) for number in numbers]
    chances = np.random.default_rng(entropy).random(len(TRANSFORMS))
    return {
        name: np.random.default_rng(np.random.SeedSequence(entropy, spawn_key=(index,)))
        for index, name in enumerate(TRANSFORMS)
        if chances[index] < config.probability(name)
    }


def _brain_box(brain: Tensor) -> tuple[slice, slice]:
    """Box around the brain, of a size that Fourier transforms like."""
    slices = []
    for side, size in zip(tensor_box(brain), brain.shape, strict=True):
        length = min(-(-(side.stop - side.start + 2 * MARGIN) // MULTIPLE) * MULTIPLE, size)
        start = min(max((side.start + side.stop - length) // 2, 0), size - length)
        slices.append(slice(start, start + length))
    return slices[0], slices[1]


def _check(scans: Tensor, regions: Tensor) -> None:
    if scans.ndim != 3 or scans.dtype != torch.float32 or regions.dtype != torch.bool:
        raise ValueError(
            "expected a plane's scans (4, H, W) float32 and regions (3, H, W) bool, got "
            f"{tuple(scans.shape)} {scans.dtype} and {tuple(regions.shape)} {regions.dtype}"
        )
    if regions.ndim != 3 or regions.shape[1:] != scans.shape[1:]:
        raise ValueError(
            f"scans and regions must have the same voxels, got {tuple(scans.shape)} and {tuple(regions.shape)}"
        )
    low, high = (bound.item() for bound in scans.aminmax())
    if not (low >= 0 and high <= 1):  # NaN is neither
        raise ValueError(
            f"expected scans in [0, 1] without NaN, got {low:g} to {high:g}; scale the plane first "
            "(dqe_loss.core.intensity.scale_planes)"
        )

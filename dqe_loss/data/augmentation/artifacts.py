"""Augmentation by what scanners do: bias field, motion, ghosting, spikes (TorchIO), low resolution (batchgenerators).

All of it is computed on a box around the brain.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import SimpleITK
import torch
import torchio as tio
from batchgenerators.augmentations.resample_augmentations import augment_linear_downsampling_scipy
from numpy.typing import NDArray
from torch import Tensor

from dqe_loss.data.augmentation.config import AugmentationConfig
from dqe_loss.data.augmentation.contrast_and_noise import global_state, seeded

KNOTS = 32
"""Bias fields are computed on a grid of that side and interpolated: to 0.5 %, at a thirtieth of the time."""


def bias_field(size: tuple[int, int], config: AugmentationConfig, rng: np.random.Generator) -> Tensor:
    """Draw a smooth field of sensitivity, one for all scans: they share the coil.

    Returns:
        Factors ``(H, W)`` float32, positive.
    """
    terms = math.comb(config.bias_field_order + 3, 3)  # TorchIO's in three dimensions; those of the third vanish
    coefficients = rng.uniform(*config.bias_field_coefficients, terms).tolist()
    shape = torch.empty(1, min(size[0], KNOTS), min(size[1], KNOTS), 1)
    coarse = tio.BiasField.generate_bias_field(shape, config.bias_field_order, coefficients)[..., 0]
    field = torch.from_numpy(coarse)[None, None]
    return torch.nn.functional.interpolate(field, size, mode="bilinear", align_corners=True)[0, 0]


def strike(scans: Tensor, config: AugmentationConfig, drawn: dict[str, np.random.Generator]) -> Tensor:
    """Motion, ghosting, spikes and low resolution, in some of the scans each.

    The scans are given to TorchIO as (C, 1, H, W), not (C, H, W, 1): its motion fills k-space along the last
    axis, and where that has length 1 it merely turns the whole image, away from its mask; ghosts along such an axis
    are none. Its classes with given parameters are used, at the level that takes a parsed subject: they draw nothing.

    Args:
        scans: ``(C, H, W)`` float32, a box around the brain.
        config: magnitudes.
        drawn: which of ``motion``, ``ghosting``, ``spike``, ``low_resolution`` happen.

    Returns:
        New scans ``(C, H, W)`` float32.
    """
    makers = {"motion": _motion, "ghosting": _ghosting, "spike": _spike}
    scans = scans.clone()
    for name in ("motion", "ghosting", "spike", "low_resolution"):
        if name not in drawn:
            continue
        rng = drawn[name]
        chosen = rng.random(len(scans)) < config.scan_probability
        chosen[rng.integers(len(scans))] |= not chosen.any()
        index = torch.from_numpy(chosen)
        # TorchIO fills k-space along the last axis; scanners along either.
        turned = bool(rng.random() < 0.5)
        part = scans[index].mT if turned else scans[index]
        if name == "low_resolution":
            with seeded(rng):
                low = augment_linear_downsampling_scipy(
                    part.numpy().copy(),
                    config.low_resolution_zoom,
                    order_upsample=1,  # the library's nearest would draw blocks, which no scanner does
                )
            part = torch.from_numpy(low)
        else:
            subject = tio.Subject(scans=tio.ScalarImage(tensor=part[:, None].contiguous()))
            with _one_thread() if name == "motion" else nullcontext():
                part = makers[name](config, rng).apply_transform(subject)["scans"].data[:, 0]
        scans[index] = part.mT if turned else part
    return scans


def _motion(config: AugmentationConfig, rng: np.random.Generator) -> tio.Motion:
    """Movements within the plane, at about equal times; k-space's middle is that of the head at rest."""
    count = config.motion_movements
    degrees, translation = np.zeros((2, count, 3))
    degrees[:, 0] = rng.uniform(*config.motion_rotation, count)
    translation[:, 1:] = rng.uniform(*config.motion_translation, (count, 2))
    # As TorchIO draws them: equal intervals, each end moved by up to 0.3 of one.
    times = (np.arange(1, count + 1) + rng.uniform(-0.3, 0.3, count)) / (count + 1)
    return tio.Motion(degrees, translation, times, "linear")


def _ghosting(config: AugmentationConfig, rng: np.random.Generator) -> tio.Ghosting:
    low, high = config.ghosting_count
    intensity = rng.uniform(*config.ghosting_intensity)
    return tio.Ghosting(int(rng.integers(low, high + 1)), 2, intensity, config.ghosting_restore)


def _spike(config: AugmentationConfig, rng: np.random.Generator) -> tio.Spike:
    low, high = config.spike_count
    positions: NDArray[np.float64] = rng.random((int(rng.integers(low, high + 1)), 3))
    return tio.Spike(positions, rng.uniform(*config.spike_intensity))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep SimpleITK, which moves the heads, to one thread: planes are small, and workers share the cores."""
    settings: Any = SimpleITK.ProcessObject
    with global_state:
        threads = settings.GetGlobalDefaultNumberOfThreads()
        settings.SetGlobalDefaultNumberOfThreads(1)
        try:
            yield
        finally:
            settings.SetGlobalDefaultNumberOfThreads(threads)

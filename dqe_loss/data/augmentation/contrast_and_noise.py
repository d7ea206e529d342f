"""Augmentation voxel by voxel: contrast, brightness, gamma, Rician noise (batchgenerators), Gaussian noise (MONAI)."""

import random
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from batchgenerators.augmentations.color_augmentations import (
    augment_brightness_multiplicative,
    augment_contrast,
    augment_gamma,
)
from batchgenerators.augmentations.noise_augmentations import augment_rician_noise
from monai.transforms import RandGaussianNoise
from numpy.typing import NDArray

from dqe_loss.data.augmentation.config import AugmentationConfig

Values = NDArray[np.float32]
Generators = Mapping[str, np.random.Generator]

global_state = threading.Lock()
"""Held while a library's global state is not the user's own."""


@contextmanager
def seeded(rng: np.random.Generator) -> Iterator[None]:
    """Seed the global random state of numpy and Python, which batchgenerators draws from; put it back afterward."""
    with global_state:
        numpy_state, python_state = np.random.get_state(), random.getstate()
        seed = int(rng.integers(2**32))
        np.random.seed(seed)
        random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(numpy_state)
            random.setstate(python_state)


def change_contrast(values: Values, config: AugmentationConfig, drawn: Generators) -> Values:
    """Contrast, brightness and gamma, drawn for each scan.

    Args:
        values: ``(C, N)`` float32, the brain's voxels alone: a scan's mean and range, which contrast and gamma
            refer to, are then those of tissue. Changed in place.
        config: magnitudes.
        drawn: which of ``contrast``, ``brightness``, ``gamma`` happen.

    Returns:
        The values ``(C, N)``.
    """
    if "contrast" in drawn:
        with seeded(drawn["contrast"]):
            values = augment_contrast(values, config.contrast)
    if "brightness" in drawn:
        with seeded(drawn["brightness"]):
            values = augment_brightness_multiplicative(values, config.brightness)
    if "gamma" in drawn:
        with seeded(drawn["gamma"]):
            values = augment_gamma(values, config.gamma, per_channel=True)
    return values


def add_noise(values: Values, config: AugmentationConfig, drawn: Generators) -> Values:
    """Gaussian and Rician noise, of one deviation for all scans.

    Args:
        values: ``(C, N)`` float32, in units of which the deviations are.
        config: magnitudes; what batchgenerators calls a variance is a standard deviation.
        drawn: which of ``noise`` and ``rician`` happen.

    Returns:
        New values ``(C, N)`` float32.
    """
    if "noise" in drawn:
        rng = drawn["noise"]
        transform = RandGaussianNoise(prob=1, std=rng.uniform(*config.noise_deviation), sample_std=False)
        transform.set_random_state(seed=int(rng.integers(2**32)))
        values = np.asarray(transform(torch.from_numpy(values)), dtype=np.float32)
    if "rician" in drawn:
        with seeded(drawn["rician"]):
            values = augment_rician_noise(values, config.rician_deviation).astype(np.float32)
    return values

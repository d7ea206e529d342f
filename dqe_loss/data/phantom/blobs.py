"""Synthetic exams of the task ``blobs``: a bright blob in a noisy head of 48 voxels a side, drawn in milliseconds."""

import numpy as np
from scipy import ndimage

from dqe_loss.data.exams import Exam

SIDE = 48


def make_blob(seed: int = 0) -> Exam:
    """Draw an exam: image int16 (1, 48, 48, 48), background 0; segmentation ``"reference"`` with the label 1.

    Args:
        seed: 0 or above; a seed gives the same exam.

    Raises:
        ValueError: if the seed is negative.
    """
    if seed < 0:
        raise ValueError(f"expected a seed of 0 or above, got {seed}")
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.arange(SIDE, dtype=np.float32)] * 3, indexing="ij"))
    middle = (SIDE - 1) / 2

    def smooth(width: float) -> np.ndarray:
        noise = ndimage.gaussian_filter(rng.standard_normal((SIDE,) * 3, dtype=np.float32), width)
        return np.asarray(noise / noise.std(), np.float32)

    head = np.sqrt(((grid - middle) ** 2).sum(0)) + smooth(5) < 21
    center = middle + rng.uniform(-7, 7, 3).astype(np.float32)
    radii = rng.uniform(4.5, 8, 3).astype(np.float32)
    distance = np.sqrt((((grid - center.reshape(3, 1, 1, 1)) / radii.reshape(3, 1, 1, 1)) ** 2).sum(0))
    blob = (distance + 0.12 * smooth(3) < 1) & head
    # About twice as bright as the head; bright grains elsewhere are smaller than any blob.
    signal = 100 + 12 * smooth(2) + 90 * ndimage.gaussian_filter(blob.astype(np.float32), 0.7)
    signal += 6 * rng.standard_normal(signal.shape, dtype=np.float32)
    image = np.where(head, np.maximum(np.rint(signal), 1), 0).astype(np.int16)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    return Exam(f"blobs-{seed}", image[None], {"reference": blob.astype(np.uint8)}, affine)

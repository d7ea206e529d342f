"""A synthetic glioma exam, for tests and demonstrations without data."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dqe_loss.data.exams import Exam
from dqe_loss.data.phantom_anatomy import make_anatomy
from dqe_loss.data.phantom_fields import Field, noise
from dqe_loss.data.phantom_glioma import add_glioma, draw_mass
from dqe_loss.data.phantom_shapes import BOX, CORNER

SIZE = (240, 240, 155)
CONTRAST: dict[str, tuple[float, float, float, float]] = {
    "white": (1.0, 1.0, 1.0, 1.0),
    "gray": (0.75, 0.80, 1.30, 1.38),
    "nuclei": (0.84, 0.87, 1.10, 1.15),
    "pallidum": (0.93, 0.94, 0.80, 0.92),
    "stem": (0.93, 0.94, 1.08, 1.0),
    "fluid": (0.42, 0.54, 4.4, 0.38),
    "plexus": (1.9, 0.8, 2.6, 1.1),
    "vessel": (2.3, 0.8, 1.6, 0.7),
    "edema": (0.86, 0.90, 1.80, 1.95),
    "necrosis": (0.58, 0.80, 2.7, 2.3),
    "non-enhancing": (0.66, 0.86, 2.0, 1.8),
    "enhancing": (1.6, 0.92, 1.6, 1.7),
}
"""Brightness of each tissue in T1c, T1, T2, FLAIR relative to white matter.

Rounded from medians over BraTS 2023 exams; plexus and vessel by eye."""


def make_phantom(seed: int = 0) -> Exam:
    """Draws a synthetic glioma exam."""
    rng = np.random.default_rng(seed)
    mass = draw_mass(rng)
    anatomy = make_anatomy(rng, mass)
    labels = add_glioma(rng, anatomy, mass)
    image = acquire(rng, anatomy.brain, anatomy.tissues)
    box = tuple(slice(c, c + n) for c, n in zip(CORNER, BOX, strict=True))
    volume = np.zeros((4, *SIZE), np.int16)
    volume[:, *box] = image
    reference = np.zeros(SIZE, np.uint8)
    reference[box] = labels
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    affine[1, 3] = SIZE[1] - 1
    return Exam(name=f"phantom-{seed}", image=volume, segmentations={"reference": reference}, affine=affine)


def acquire(rng: np.random.Generator, brain: NDArray[np.bool_], tissues: dict[str, Field]) -> NDArray[np.int16]:
    """Takes the four pictures (4, BOX) of the tissues."""
    inside = np.flatnonzero(brain)
    names = list(tissues)
    shares = np.stack([tissues[n] for n in names])
    table = np.array([CONTRAST[n] for n in names], np.float32).T
    table = table ** rng.uniform(0.9, 1.1, (4, 1)).astype(np.float32) * rng.normal(1, 0.03, table.shape).astype(np.float32)
    signal = table @ shares
    glow = (noise(rng, BOX, 3) + noise(rng, BOX, 6)).reshape(-1)[inside] * shares[names.index("enhancing")]
    signal[0] *= 1 + 0.13 * glow
    image = np.zeros((4, *BOX), np.int16)
    canvas = np.zeros(BOX, np.float32)
    for m, (white, grain, mottle, thick) in enumerate(((2500, 0.022, .015, 0), (1000, 0.018, .01, 2), (430, 0.045, .02, 0), (830, 0.05, .025, 0))):
        x = signal[m] * (1 + mottle * noise(rng, BOX, 4).reshape(-1)[inside])
        x *= np.exp(0.06 * noise(rng, BOX, 60).reshape(-1)[inside])
        n = rng.standard_normal((2, inside.size), dtype=np.float32) * np.float32(grain * 1.6)
        canvas.reshape(-1)[inside] = np.hypot(x + n[0], n[1])
        smooth = canvas
        for axis in range(3):
            smooth = ndimage.correlate1d(smooth, np.array([.16,.68,.16]), axis=axis)
        for _ in range(thick):
            smooth = ndimage.correlate1d(smooth, np.array([.25,.5,.25]), axis=2)
        image[m].reshape(-1)[inside] = np.maximum(np.round(smooth.reshape(-1)[inside] * white * rng.uniform(.8, 1.25)), 1)
    return image

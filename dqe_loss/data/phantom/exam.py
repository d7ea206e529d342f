"""A synthetic glioma exam for tests and demonstrations: everything runs without a single real exam."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dqe_loss.data.exams import Exam
from dqe_loss.data.phantom.anatomy import make_anatomy
from dqe_loss.data.phantom.brain_parts import BOX, CORNER
from dqe_loss.data.phantom.fields import Field, noise
from dqe_loss.data.phantom.glioma import add_glioma, draw_mass

SIZE = (240, 240, 155)
"""Shape of a BraTS exam."""
ENDINGS = {"t1c": "t1c", "t1": "t1n", "t2": "t2w", "flair": "t2f"}
"""Last part of each modality's file name, as in BraTS 2023."""
CONTRAST: dict[str, tuple[float, float, float, float]] = {
    "white": (1.0, 1.0, 1.0, 1.0),
    "gray": (0.75, 0.80, 1.25, 1.45),
    "nuclei": (0.82, 0.85, 1.12, 1.22),
    "pallidum": (0.93, 0.94, 0.80, 0.92),
    "stem": (0.93, 0.94, 1.08, 1.0),
    "fluid": (0.42, 0.54, 4.4, 0.38),
    "plexus": (1.9, 0.8, 2.6, 1.1),
    "vessel": (2.3, 0.8, 1.6, 0.7),
    "edema": (0.86, 0.90, 1.80, 2.05),
    "necrosis": (0.62, 0.84, 2.5, 2.4),
    "non-enhancing": (0.70, 0.88, 1.9, 1.9),
    "enhancing": (1.6, 0.92, 1.6, 1.7),
}
"""Brightness of each tissue in T1c, T1, T2, FLAIR, relative to white matter.

Gray and white matter, fluid and the parts of the tumor lie near the medians of two BraTS 2023 exams (necrosis
and the non-enhancing core, which share a label, on both sides of them); the other tissues are set by eye.
"""
# Per modality: intensity of white matter; standard deviation of the noise and of the mottle of tissue,
# relative to it, which make white matter about as grainy as in those exams; passes of a blur along Z, for in
# both T1 was acquired in thick axial slices.
_ACQUISITION = (
    (2500, 0.045, 0.015, 0),
    (1000, 0.040, 0.010, 2),
    (430, 0.100, 0.020, 0),
    (830, 0.125, 0.025, 0),
)
# Point spread of resampled images, about 1.3 voxels wide at half maximum, and that of one pass along Z.
_BLUR = np.array([0.16, 0.68, 0.16])
_THICK = np.array([0.25, 0.50, 0.25])


def make_phantom(seed: int = 0) -> Exam:
    """Draw a synthetic glioma exam: a picture for tests and demonstrations, not a model of the disease.

    It has what a rater looks at, with the contrast of real exams: a folded cortex, white matter, deep nuclei,
    ventricles, cerebellum, vessels; a necrotic core within an irregular enhancing rim, and edema that follows
    the white matter and spares the cortex; mass effect, partial volume, a bias field and Rician noise. The
    seed varies the site, side, size and shape of the tumor, the shape of the brain, atrophy, contrast, bias
    and noise. Do not train or evaluate anything on it that is meant for patients.

    About 2 s on one core.

    Args:
        seed: 0 or above. A seed gives the same exam bit for bit, whatever the number of threads; other
            versions of numpy or scipy, or another kind of processor, may round differently here and there.

    Returns:
        The exam: image int16 (4, 240, 240, 155) in the order T1c, T1, T2, FLAIR, laid out as BraTS exams are
        on disk (LPS, 1 mm), background exactly 0 and brain at least 1; segmentation ``"reference"`` in the
        scheme ``"brats23"`` (1 necrosis and non-enhancing core, 2 edema, 3 enhancing tumor).

    Raises:
        ValueError: if the seed is negative.
    """
    if seed < 0:
        raise ValueError(f"expected a seed of 0 or above, got {seed}")
    rng = np.random.default_rng(seed)
    mass = draw_mass(rng)
    anatomy = make_anatomy(rng, mass)
    labels = add_glioma(rng, anatomy, mass)

    x, y, z = (slice(corner, corner + size) for corner, size in zip(CORNER, BOX, strict=True))
    image = np.zeros((4, *SIZE), np.int16)
    image[:, x, y, z] = acquire(rng, anatomy.brain, anatomy.tissues)
    reference = np.zeros(SIZE, np.uint8)
    reference[x, y, z] = labels
    # LPS arrays in the RAS world of NIfTI: X and Y run backward; BraTS puts the origin at (0, 239, 0).
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    affine[1, 3] = SIZE[1] - 1
    return Exam(name=f"phantom-{seed}", image=image, segmentations={"reference": reference}, affine=affine)


def acquire(rng: np.random.Generator, brain: NDArray[np.bool_], tissues: dict[str, Field]) -> NDArray[np.int16]:
    """Take the pictures of the four modalities.

    Args:
        rng: source of randomness.
        brain: bool (X, Y, Z).
        tissues: name in `CONTRAST` -> share (N,) of each brain voxel.

    Returns:
        Images (4, X, Y, Z), 0 outside the brain and at least 1 inside.
    """
    inside = np.flatnonzero(brain)
    shape = (brain.shape[0], brain.shape[1], brain.shape[2])

    def texture(step: float) -> Field:
        """Smooth noise (N,) at the brain's voxels."""
        return noise(rng, shape, step).reshape(-1)[inside]

    table = np.array([CONTRAST[name] for name in tissues], np.float32).T
    # Scanners and patients differ: 10 % in the contrast of a modality, 3 % in each of its tissues.
    table = table ** rng.uniform(0.9, 1.1, (4, 1)) * rng.normal(1, 0.03, table.shape)
    signals = np.zeros((4, inside.size), np.float32)
    for brightness, share in zip(table.astype(np.float32).T, tissues.values(), strict=True):
        for signal, bright in zip(signals, brightness, strict=True):
            signal += bright * share
    # Enhancement is uneven, in grains of 3 mm and patches of 6.
    signals[0] *= 1 + 0.13 * tissues["enhancing"] * (texture(3) + texture(6))

    image = np.zeros((4, *shape), np.int16)
    canvas = np.zeros(shape, np.float32)
    for modality, (white, grain, mottle, thick) in enumerate(_ACQUISITION):
        # The bias left after correction: 6 % in waves of about 12 cm.
        signal = signals[modality] * (1 + mottle * texture(4)) * np.exp(0.06 * texture(60))
        real, imaginary = np.float32(grain) * rng.standard_normal((2, inside.size), dtype=np.float32)
        canvas.reshape(-1)[inside] = np.hypot(signal + real, imaginary)
        blurred = canvas
        for axis in range(3):
            blurred = ndimage.correlate1d(blurred, _BLUR, axis=axis)
        for _ in range(thick):
            blurred = ndimage.correlate1d(blurred, _THICK, axis=2)
        gain = np.float32(white * rng.uniform(0.8, 1.25))
        image[modality].reshape(-1)[inside] = np.maximum(np.round(gain * blurred.reshape(-1)[inside]), 1)
    return image

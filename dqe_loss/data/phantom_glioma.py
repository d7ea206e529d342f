"""The glioma of the phantom: necrosis within an enhancing rim, and edema that follows the white matter."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dqe_loss.data.phantom_anatomy import Anatomy, Mass, lay_over
from dqe_loss.data.phantom_fields import Field, noise, occupancy, upsample
from dqe_loss.data.phantom_shapes import BOX, COARSE

SITES = ((30.0, 38.0, 14.0), (27.0, 26.0, 32.0), (44.0, 0.0, -24.0), (32.0, -30.0, 30.0), (32.0, -52.0, 12.0))
"""(u, v, w) in mm of deep white matter: frontal, upper frontal, temporal, parietal, parieto-occipital."""
NECROSIS, EDEMA, ENHANCING = 1, 2, 3
"""Labels of the scheme brats23; the non-enhancing core counts as necrosis, as there."""


def draw_mass(rng: np.random.Generator) -> Mass:
    """Draws where the tumor lies, on which side, and how large it is."""
    u, v, w = SITES[rng.integers(len(SITES))] + rng.normal(0, 3, 3)
    side = rng.choice([-1.0, 1.0])
    # 14 to 22 mm: cores of 11 to 45 ml, about the middle half of BraTS 2023.
    radius = rng.uniform(14, 22)
    return Mass((float(side * u), float(v), float(w)), float(radius), float(radius * rng.uniform(0.15, 0.35)))


def diffuse(source: NDArray[np.bool_], speed: Field, rounds: int) -> Field:
    """Lets fluid leak from `source`, where it stays 1, at `speed` (0: barrier, 1: free) to each of six neighbors.

    Returns:
        Concentration, 0 to 1, falling with the distance along ways that are fast.
    """
    level = source.astype(np.float32)
    # A face lets through what the slower of its two sides does.
    faces = [np.minimum(speed[1:], speed[:-1]), np.minimum(speed[:, 1:], speed[:, :-1]),
             np.minimum(speed[:, :, 1:], speed[:, :, :-1])]
    for _ in range(rounds):
        flow = np.zeros_like(level)
        for axis, face in enumerate(faces):
            step = face * np.diff(level, axis=axis)
            ahead = [slice(None)] * 3
            behind = [slice(None)] * 3
            ahead[axis], behind[axis] = slice(None, -1), slice(1, None)
            flow[tuple(ahead)] += step
            flow[tuple(behind)] -= step
        # 0.16: just below the 1/6 beyond which six neighbors overshoot; the loss ends the spread.
        level += np.float32(0.16) * flow - np.float32(0.004) * level
        level[source] = 1
    return level


def core_depth(rng: np.random.Generator, anatomy: Anatomy, mass: Mass) -> Field:
    """Depth below the lobed surface of the tumor core in mm, on the coarse grid."""
    shape = (anatomy.depth.shape[0], anatomy.depth.shape[1], anatomy.depth.shape[2])
    stretch = rng.uniform(0.82, 1.22, 3)
    stretch /= stretch.prod() ** (1 / 3)
    offset = anatomy.points - np.array(mass.center, np.float32).reshape(3, 1, 1, 1)
    distance = np.sqrt(((offset / stretch.astype(np.float32).reshape(3, 1, 1, 1)) ** 2).sum(0))
    # Lobes of about 20 mm and knobs of about 8 mm.
    lobes = 0.16 * np.float32(mass.radius) * noise(rng, shape, 24 / COARSE) + 1.0 * noise(rng, shape, 8 / COARSE)
    return np.minimum(np.float32(mass.radius) - distance + lobes, np.minimum(anatomy.depth - 2, -anatomy.ventricles - 1.5))


def connected(share: Field, brain: NDArray[np.bool_]) -> Field:
    """Drops the parts of a tissue, given by its shares (N,), that hang together with less than 1 ml of it."""
    volume = np.zeros(BOX, np.float32)
    volume.reshape(-1)[np.flatnonzero(brain)] = share
    region = ndimage.find_objects((volume > 0.05).astype(np.uint8))[0]
    cut = volume[region]
    parts, _ = ndimage.label(cut > 0.5)
    large = np.bincount(parts.reshape(-1)) > 1000
    large[0] = False
    # Two voxels around a part belong to it: its blurred edge.
    cut *= ndimage.binary_dilation(large[parts], iterations=2)
    return volume.reshape(-1)[np.flatnonzero(brain)]


def add_glioma(rng: np.random.Generator, anatomy: Anatomy, mass: Mass) -> NDArray[np.uint8]:
    """Grows the tumor into the brain.

    Args:
        rng: source of randomness.
        anatomy: the brain, whose tissues are changed in place.
        mass: where the tumor lies and how large it is.

    Returns:
        Labels (BOX) of the scheme brats23: a voxel's label is the tissue that fills more than half of it.
    """
    shape = (anatomy.depth.shape[0], anatomy.depth.shape[1], anatomy.depth.shape[2])
    inside = np.flatnonzero(anatomy.brain)
    tissues = anatomy.tissues
    core = core_depth(rng, anatomy, mass)

    white = np.zeros(BOX, np.float32)
    white.reshape(-1)[inside] = tissues["white"] + tissues["nuclei"] * 0.3 + tissues["gray"] * 0.12
    white = ndimage.uniform_filter(white, COARSE, origin=-1)[::COARSE, ::COARSE, ::COARSE]
    speed = np.zeros(shape, np.float32)
    speed[: white.shape[0], : white.shape[1], : white.shape[2]] = white
    # Tracts differ in how readily they take up fluid: that makes the fingers.
    speed *= np.clip(0.65 + 0.35 * noise(rng, shape, 10 / COARSE), 0.02, 1)
    leak = diffuse(core > 0, speed, rounds=int(rng.integers(150, 350)))

    def fine(field: Field) -> Field:
        """Values (N,) of a coarse field at the brain's voxels."""
        return upsample(field, BOX, COARSE).reshape(-1)[inside]

    depth = fine(np.maximum(core, -12))
    rim = 0.19 * mass.radius + 1.2 * noise(rng, shape, 12 / COARSE) + 1.0 * noise(rng, shape, 5 / COARSE)
    rim = np.clip(fine(rim), 2.0, 9)
    knots = fine(noise(rng, shape, 7 / COARSE)) * 2 - 3
    solid = fine(noise(rng, shape, 8 / COARSE) + 0.6 * noise(rng, shape, 3 / COARSE))

    swelling = occupancy(10 * (fine(leak) - 0.11)) * np.clip(1.3 * tissues["white"] + 0.5 * tissues["nuclei"], 0, 1)
    swelling = connected(swelling, anatomy.brain)
    lay_over(tissues, "edema", swelling)
    in_core = occupancy(depth)
    lay_over(tissues, "necrosis", in_core)
    lay_over(tissues, "non-enhancing", in_core * occupancy(0.6 * solid - 0.3))
    enhancing = in_core * np.maximum(occupancy(rim - depth), occupancy(knots))
    lay_over(tissues, "enhancing", enhancing)

    labels = np.zeros(BOX, np.uint8)
    flat = labels.reshape(-1)
    flat[inside[tissues["edema"] > 0.5]] = EDEMA
    flat[inside[in_core > 0.5]] = NECROSIS
    flat[inside[enhancing > 0.5]] = ENHANCING
    return labels

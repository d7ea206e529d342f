"""The glioma of the phantom: necrosis within an enhancing rim, and edema that follows the white matter."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dqe_loss.core.boxes import array_box
from dqe_loss.data.phantom.anatomy import Anatomy, Mass, lay_over
from dqe_loss.data.phantom.brain_parts import BOX, COARSE
from dqe_loss.data.phantom.fields import Field, noise, occupancy, upsample

SITES = ((30, 38, 14), (27, 26, 32), (44, 0, -24), (32, -30, 30), (32, -52, 12))
"""(u, v, w) in mm of deep white matter: frontal, upper frontal, temporal, parietal, parieto-occipital."""
NECROSIS, EDEMA, ENHANCING = 1, 2, 3
"""Labels of the scheme brats23; the non-enhancing core counts as necrosis, as there."""


def draw_mass(rng: np.random.Generator) -> Mass:
    """Draw where the tumor lies, on which side, and how large it is."""
    u, v, w = SITES[rng.integers(len(SITES))] + rng.normal(0, 3, 3)
    side = rng.choice([-1.0, 1.0])
    # 14 to 22 mm: cores of about 11 to 45 ml; those of the real exams at hand have 9 to 44.
    radius = rng.uniform(14, 22)
    push = radius * rng.uniform(0.15, 0.35)
    return Mass((float(side * u), float(v), float(w)), float(radius), float(push))


def diffuse(source: NDArray[np.bool_], speed: Field, rounds: int) -> Field:
    """Let fluid leak from a source.

    Args:
        source: bool (X, Y, Z), where the concentration stays 1.
        speed: (X, Y, Z), 0 (a barrier) to 1.
        rounds: exchanges between neighbors; fluid gets about as far as their square root, in voxels.

    Returns:
        Concentration (X, Y, Z), 0 to 1.
    """
    level = np.zeros_like(speed)
    # 24 voxels around the source are more than fluid crosses.
    region = array_box(source, 24) or ()
    part, fixed = level[region], source[region]
    # A face lets through what the slower of its two sides does. 0.16: just below the 1/6 beyond which six
    # neighbors overshoot.
    pairs = [(_along(axis, slice(None, -1)), _along(axis, slice(1, None))) for axis in range(3)]
    faces = [np.float32(0.16) * np.minimum(speed[region][a], speed[region][b]) for a, b in pairs]
    part[fixed] = 1
    for _ in range(rounds):
        flows = [face * (part[b] - part[a]) for face, (a, b) in zip(faces, pairs, strict=True)]
        # Tissue takes up 0.4 % in each round, which ends the spread.
        part *= np.float32(0.996)
        for flow, (a, b) in zip(flows, pairs, strict=True):
            part[a] += flow
            part[b] -= flow
        part[fixed] = 1
    return level


def _along(axis: int, part: slice) -> tuple[slice, ...]:
    return tuple(part if other == axis else slice(None) for other in range(3))


def core_depth(rng: np.random.Generator, anatomy: Anatomy, mass: Mass) -> Field:
    """Depth below the lobed surface of the tumor core in mm, on the coarse grid."""
    shape = (anatomy.depth.shape[0], anatomy.depth.shape[1], anatomy.depth.shape[2])
    stretch = rng.uniform(0.82, 1.22, 3)
    stretch /= stretch.prod() ** (1 / 3)
    offset = anatomy.points - np.array(mass.center, np.float32).reshape(3, 1, 1, 1)
    distance = np.sqrt(((offset / stretch.astype(np.float32).reshape(3, 1, 1, 1)) ** 2).sum(0))
    # Lobes of about 24 mm, that grow with the tumor, and knobs of 8 mm. The core stops at the ependyma and
    # below the outer surface.
    lobes = 0.16 * mass.radius * noise(rng, shape, 24 / COARSE) + noise(rng, shape, 8 / COARSE)
    room = np.minimum(anatomy.depth - 2, -anatomy.ventricles - 1.5)
    depth: Field = np.minimum(np.float32(mass.radius) - distance + lobes, room)
    return depth


def connected(share: Field, brain: NDArray[np.bool_]) -> Field:
    """Drop islands of a tissue, given by its shares (N,): pieces below 1 ml, other than the largest."""
    if not (share > 0.5).any():
        return share
    volume = np.zeros(BOX, np.float32)
    volume.reshape(-1)[np.flatnonzero(brain)] = share
    cut = volume[array_box(volume > 0)]
    parts, _ = ndimage.label(cut > 0.5)
    sizes = np.bincount(parts.reshape(-1))
    sizes[0] = 0
    large = sizes >= min(1000, int(sizes.max()))
    # Two voxels around a part belong to it: its blurred edge.
    cut *= ndimage.binary_dilation(large[parts], iterations=2)
    return volume.reshape(-1)[np.flatnonzero(brain)]


def add_glioma(rng: np.random.Generator, anatomy: Anatomy, mass: Mass) -> NDArray[np.uint8]:
    """Grow the tumor into the brain.

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

    # Edema spreads in white matter, less in nuclei, hardly in cortex; not in fluid.
    permeable = np.zeros(BOX, np.float32)
    permeable.reshape(-1)[inside] = tissues["white"] + 0.3 * tissues["nuclei"] + 0.12 * tissues["gray"]
    blocks = ndimage.uniform_filter(permeable, COARSE, origin=-1)[::COARSE, ::COARSE, ::COARSE]
    speed = np.zeros(shape, np.float32)
    speed[: blocks.shape[0], : blocks.shape[1], : blocks.shape[2]] = blocks
    # Tracts differ in how readily they take it up: that makes the fingers.
    speed *= np.clip(0.65 + 0.35 * noise(rng, shape, 10 / COARSE), 0.02, 1)
    leak = diffuse(core > 0, speed, rounds=int(rng.integers(150, 350)))

    def fine(field: Field) -> Field:
        """Values (N,) of a coarse field at the brain's voxels."""
        return upsample(field, BOX, COARSE).reshape(-1)[inside]

    depth = fine(np.maximum(core, -12))
    # 2 to 9 mm thick, smooth outside and ragged inside, as in the real exams at hand.
    rim = 0.19 * mass.radius + 1.2 * noise(rng, shape, 12 / COARSE) + noise(rng, shape, 5 / COARSE)
    rim = np.clip(fine(rim), 2.0, 9)
    knots = fine(noise(rng, shape, 7 / COARSE)) * 2 - 3
    solid = fine(noise(rng, shape, 8 / COARSE) + 0.6 * noise(rng, shape, 3 / COARSE))

    # A concentration of 0.11 is the edge, a few tenths of a millimeter to a millimeter wide.
    room = np.clip(1.3 * tissues["white"] + 0.5 * tissues["nuclei"], 0, 1)
    lay_over(tissues, "edema", connected(occupancy(10 * (fine(leak) - 0.11)) * room, anatomy.brain))
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

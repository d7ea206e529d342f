"""The healthy brain of the phantom: shares of each tissue in each voxel."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dqe_loss.data.phantom import brain_parts
from dqe_loss.data.phantom.brain_parts import BOX, COARSE
from dqe_loss.data.phantom.fields import Field, noise, occupancy, upsample


@dataclass(frozen=True)
class Mass:
    """Where the tumor pushes the brain aside.

    Attributes:
        center: (u, v, w) in mm.
        radius: of the tumor core in mm.
        push: how far tissue at its edge has moved outward, in mm.
    """

    center: tuple[float, float, float]
    radius: float
    push: float


@dataclass(frozen=True)
class Anatomy:
    """A healthy brain within the box.

    Attributes:
        brain: bool BOX, what a skull stripper leaves.
        tissues: name -> share (N,) of each brain voxel, in the order of `brain`'s true voxels; they sum to 1.
        points: coordinates (3, X', Y', Z') in mm of the coarse grid, before anything moved.
        depth: coarse grid, distance in mm to the outer surface, positive inside.
        ventricles: coarse grid, depth inside the ventricles in mm.
    """

    brain: NDArray[np.bool_]
    tissues: dict[str, Field]
    points: Field
    depth: Field
    ventricles: Field


def lay_over(tissues: dict[str, Field], name: str, share: Field) -> None:
    """Put a tissue on top: it takes `share` (N,) of each voxel, and the others keep the rest."""
    for other in tissues.values():
        other *= 1 - share
    tissues[name] = tissues[name] + share if name in tissues else share.copy()


def deform(rng: np.random.Generator, points: Field, mass: Mass) -> tuple[Field, Field]:
    """Coordinates from which the shapes are read, so that no two brains are alike and none is symmetric.

    Returns:
        Coordinates of the outer surface, and of the inside, which the mass pushes aside as well.
    """
    shape = (points.shape[1], points.shape[2], points.shape[3])
    size = rng.uniform(1.0, 1.07, 3).astype(np.float32).reshape(3, 1, 1, 1)
    # By eye: heads differ smoothly (60 mm), lobes and gyri on shorter scales.
    heads = np.stack([2.5 * noise(rng, shape, 60 / COARSE) for _ in range(3)])
    lobes = [1.5 * noise(rng, shape, 30 / COARSE) + noise(rng, shape, 14 / COARSE) for _ in range(3)]
    outer = points * size + heads
    inner = outer + np.stack(lobes)
    offset = points - np.array(mass.center, np.float32).reshape(3, 1, 1, 1)
    distance = np.sqrt((offset**2).sum(0)) + 1
    # Displacement falls off over about twice the radius; the skull holds the outer surface in place.
    pushed = np.float32(mass.push) * np.exp(-((distance / (2.2 * mass.radius)) ** 2))
    return outer, inner - offset / distance * (pushed * np.minimum(distance / 10, 1))


def make_anatomy(rng: np.random.Generator, mass: Mass) -> Anatomy:
    """Draw a brain, with sulci and ventricles effaced near the mass.

    Args:
        rng: source of randomness.
        mass: the tumor that will lie in it.

    Returns:
        The brain.
    """
    points = brain_parts.coarse_points()
    grid = (points.shape[1], points.shape[2], points.shape[3])
    outer, inner = deform(rng, points, mass)
    atrophy = np.float32(rng.uniform(0, 1))

    cerebrum = brain_parts.cerebrum(outer)
    cerebellum, stem = brain_parts.hindbrain(outer)
    # The soft union fills the cisterns between the three, as skull strippers do.
    surface = brain_parts.soft_maximum(brain_parts.soft_maximum(cerebrum, cerebellum, 6), stem, 6) - 1
    brain = upsample(surface + 0.4 * noise(rng, grid, 3), BOX, COARSE) > -0.3
    inside = np.flatnonzero(brain)

    def fine(field: Field) -> Field:
        """Values (N,) of a coarse field at the brain's voxels; depths beyond 8 mm all mean the same."""
        return upsample(np.clip(field, -8, 8), BOX, COARSE).reshape(-1)[inside]

    hull = np.maximum(cerebrum, stem)
    pia = fine(cortex(rng, hull, inner, distance_to(points, mass), atrophy))
    lateral = brain_parts.ventricles(inner, 0.75 + 0.35 * float(atrophy))
    nuclei, pallidum = brain_parts.nuclei(inner)

    tissues = {"white": np.ones(inside.size, np.float32)}
    # Cortex is 2 to 4 mm thick; the brain stem has none.
    thickness = fine(2.7 + 0.35 * noise(rng, grid, 6))
    lay_over(tissues, "gray", occupancy(thickness - pia) * occupancy(fine(cerebrum - stem) + 1))
    # Deep nuclei blend into the white matter around them: half a slope, and never all of a voxel.
    lay_over(tissues, "nuclei", 0.8 * occupancy(0.5 * fine(nuclei)))
    lay_over(tissues, "pallidum", 0.8 * occupancy(0.5 * fine(pallidum)))
    lay_over(tissues, "stem", occupancy(0.3 * fine(np.minimum(stem, stem - cerebrum))))
    crown = fine(cerebellum)
    share = occupancy(np.minimum(fine(cerebellum - hull), crown + 1))
    lay_cerebellum(tissues, brain, share, crown, fine(noise(rng, grid, 7)))
    gaps = occupancy(-np.maximum(fine(hull), crown))
    fluid = np.maximum.reduce([occupancy(-pia) * occupancy(-crown), gaps, occupancy(fine(lateral))])
    lay_over(tissues, "fluid", fluid)
    plexus = np.minimum(brain_parts.choroid_plexus(inner), lateral + 1)
    lay_over(tissues, "plexus", 0.8 * occupancy(fine(plexus)))
    # Veins cross the sulci where they come to the surface.
    veins = fluid * occupancy(1.5 * fine(noise(rng, grid, 3)) - 2.4) * occupancy(9 - fine(surface))
    vessels = 0.8 * occupancy(fine(brain_parts.vessels(inner, surface)))
    lay_over(tissues, "vessel", np.maximum(vessels, 0.6 * veins))
    return Anatomy(brain, tissues, points, surface, lateral)


def distance_to(points: Field, mass: Mass) -> Field:
    """Distance from the center of the mass, in units of its radius."""
    center = np.array(mass.center, np.float32).reshape(3, 1, 1, 1)
    distance: Field = np.sqrt(((points - center) ** 2).sum(0)) / np.float32(mass.radius)
    return distance


def cortex(rng: np.random.Generator, hull: Field, points: Field, remoteness: Field, atrophy: np.float32) -> Field:
    """Fold the surface of the cerebrum.

    Args:
        rng: source of randomness.
        hull: depth below its smooth outer surface in mm.
        points: coordinates (3, ...) of its inside in mm.
        remoteness: distance from the mass, in units of its radius.
        atrophy: 0 (narrow sulci) to 1 (wide ones).

    Returns:
        Depth below the folded surface in mm: negative in fissures, sulci and outside.
    """
    grid = (hull.shape[0], hull.shape[1], hull.shape[2])
    midline, sylvian, bridge = brain_parts.fissures(points)
    # Sulci are about 18 mm deep, 14 on the medial surface, and none cuts through the corpus callosum.
    medial = np.minimum(hull, midline + 4)
    sulcus = brain_parts.sulci(rng, points, medial, 18 + 3.5 * noise(rng, grid, 8))
    sulcus = np.hypot(sulcus, np.clip(bridge + 2, 0, 20) * np.clip((28 - np.abs(points[0])) / 14, 0, 1))
    # Half the width of a sulcus in mm: more near the surface and in old age, closed by a nearby mass.
    width = 0.35 + 0.3 * atrophy + (0.5 + 0.7 * atrophy) * np.exp(-np.maximum(medial, 0) / 4)
    width = width * (1 - 0.8 * np.exp(-((remoteness / 2) ** 2))) + 0.25 * noise(rng, grid, 8)
    crevice = np.minimum(sulcus, np.minimum(midline, sylvian)) - width
    # Between gyri and skull lies fluid of uneven depth, of which skull strippers leave some.
    surface: Field = np.minimum(crevice, hull - 0.7 * (1 + atrophy) * noise(rng, grid, 6))
    return surface


def lay_cerebellum(
    tissues: dict[str, Field], brain: NDArray[np.bool_], share: Field, depth: Field, bend: Field
) -> None:
    """Lay over the cerebellum: folia that fan out from the fourth ventricle, around a white core.

    Args:
        tissues: shares (N,), changed in place.
        brain: bool BOX.
        share: (N,) what the cerebellum takes of each voxel.
        depth: (N,) below its surface in mm.
        bend: (N,) noise that bends the folia.
    """
    here = np.flatnonzero(share > 0)
    _, y, z = np.unravel_index(np.flatnonzero(brain)[here], BOX)
    back = y.astype(np.float32) + np.float32(brain_parts.CORNER[1] - brain_parts.MIDDLE[1] - 36)
    up = z.astype(np.float32) + np.float32(brain_parts.CORNER[2] - brain_parts.MIDDLE[2] + 44)
    # 28 folia around: 6 mm apart at the surface, the finest that 1 mm voxels show with white matter inside.
    turn = np.float32(28 / (2 * np.pi)) * (np.arctan2(up, back) + 0.2 * bend[here])
    crevice = np.abs(turn - np.round(turn)) * np.hypot(up, back) * np.float32(2 * np.pi / 28)
    crevice = np.hypot(crevice, np.maximum(depth[here] - 10 - 2 * bend[here], 0))
    gray = np.zeros_like(share)
    gray[here] = 0.85 * occupancy(2.0 - np.minimum(crevice, depth[here]))
    fluid = np.zeros_like(share)
    fluid[here] = 0.25 * occupancy(0.1 - np.minimum(crevice, 0.7 * depth[here]))
    lay_over(tissues, "white", share)
    lay_over(tissues, "gray", gray * share)
    lay_over(tissues, "fluid", fluid * share)

"""The healthy brain of the phantom: shares of each tissue in each voxel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dqe_loss.data import phantom_shapes as shapes
from dqe_loss.data.phantom_fields import Field, noise, occupancy, upsample
from dqe_loss.data.phantom_shapes import BOX, COARSE


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
    """Puts a tissue on top: it takes `share` (N,) of each voxel, and the others keep the rest."""
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
    # Heads differ smoothly (60 mm), lobes and gyri on shorter scales: about the spread after affine alignment.
    heads = np.stack([2.5 * noise(rng, shape, 60 / COARSE) for _ in range(3)])
    lobes = np.stack([1.5 * noise(rng, shape, 30 / COARSE) + 1.0 * noise(rng, shape, 14 / COARSE) for _ in range(3)])
    outer = points * size + heads
    inner = outer + lobes
    offset = points - np.array(mass.center, np.float32).reshape(3, 1, 1, 1)
    distance = np.sqrt((offset**2).sum(0)) + 1
    # Displacement falls off with a scale of twice the radius; the skull holds the outer surface in place.
    pushed = np.float32(mass.push) * np.exp(-((distance / (2.2 * mass.radius)) ** 2)) * np.minimum(distance / 10, 1)
    return outer, inner - offset / distance * pushed


def make_anatomy(rng: np.random.Generator, mass: Mass) -> Anatomy:
    """Draws a brain.

    Args:
        rng: source of randomness.
        mass: the tumor that will lie in it.

    Returns:
        The brain, with sulci and ventricles effaced near the mass.
    """
    points = shapes.coarse_points()
    outer, inner = deform(rng, points, mass)
    coarse = (points.shape[1], points.shape[2], points.shape[3])
    atrophy = np.float32(rng.uniform(0, 1))

    cerebrum = shapes.cerebrum(outer)
    cerebellum, stem = shapes.hindbrain(outer)
    # Rounding up the union of the three fills the cisterns between them, as a skull stripper does.
    surface = shapes.soft_maximum(shapes.soft_maximum(cerebrum, cerebellum, 4), stem, 4)
    depth = np.maximum(cerebrum, stem)
    midline, sylvian, bridge = shapes.fissures(inner)
    # Sulci of the medial surface are shallower by 4 mm, and none cuts through the corpus callosum.
    cortical = np.minimum(depth, midline + 4)
    reach = 19 + 5 * noise(rng, coarse, 12)
    sulcus = shapes.sulci(rng, inner, cortical, reach)
    sulcus = np.hypot(sulcus, np.clip(bridge + 2, 0, 20) * np.clip((28 - np.abs(inner[0])) / 14, 0, 1))
    fissure = np.minimum(midline, sylvian)

    # Half the width of a sulcus: wider toward the surface and in old age, closed by a nearby mass.
    near = np.exp(-((points - np.array(mass.center, np.float32).reshape(3, 1, 1, 1)) ** 2).sum(0)
                  / np.float32((2 * mass.radius) ** 2))
    width = (0.35 + 0.3 * atrophy + (0.5 + 0.7 * atrophy) * np.exp(-np.maximum(cortical, 0) / 4)) * (1 - 0.8 * near)
    width += 0.25 * noise(rng, coarse, 8)
    cleft = np.minimum(sulcus, fissure) - width
    spaces = np.minimum(cleft, depth - 0.7 * noise(rng, coarse, 6) * (1 + atrophy))
    lateral = shapes.ventricles(inner, 0.75 + 0.35 * float(atrophy))
    gray, pallidum = shapes.nuclei(inner)
    vessel = shapes.vessels(outer, surface)
    plexus = shapes.choroid_plexus(inner)

    brain = upsample(surface + 0.4 * noise(rng, coarse, 3), BOX, COARSE) > -0.3
    inside = np.flatnonzero(brain)

    def fine(field: Field) -> Field:
        """Values (N,) of a coarse field at the brain's voxels."""
        return upsample(np.clip(field, -8, 8), BOX, COARSE).reshape(-1)[inside]

    tissues = {"white": np.ones(inside.size, np.float32)}
    thickness = fine(3.0 + 0.35 * noise(rng, coarse, 6))
    pia = fine(spaces)
    lay_over(tissues, "gray", occupancy(thickness - pia) * occupancy(fine(cerebrum - stem) + 1))
    lay_over(tissues, "nuclei", 0.8 * occupancy(fine(gray) * 0.5))
    lay_over(tissues, "pallidum", 0.8 * occupancy(fine(pallidum) * 0.5))
    lay_over(tissues, "stem", occupancy(fine(np.minimum(stem, stem - cerebrum)) * 0.3))
    hindbrain = fine(cerebellum - np.maximum(cerebrum, stem) )
    crown = fine(cerebellum)
    lay_cerebellum(tissues, brain, occupancy(np.minimum(hindbrain, crown + 1)), crown, fine(noise(rng, coarse, 7)))
    fluid = np.maximum(occupancy(-pia) * occupancy(-crown), occupancy(-np.maximum(pia * 0 + fine(depth), crown)))
    fluid = np.maximum(fluid, occupancy(fine(lateral)))
    lay_over(tissues, "fluid", fluid)
    lay_over(tissues, "plexus", 0.8 * occupancy(fine(np.minimum(plexus, lateral + 1))))
    veins = fine(noise(rng, coarse, 3)) * 1.5 - 2.4
    lay_over(tissues, "vessel", np.maximum(occupancy(fine(vessel)), 0.6 * fluid * occupancy(veins) * occupancy(9 - fine(surface))))
    return Anatomy(brain, tissues, points, surface, lateral)


def lay_cerebellum(tissues: dict[str, Field], brain: NDArray[np.bool_], share: Field, depth: Field, bend: Field) -> None:
    """Lays over the cerebellum: folia that fan out from the fourth ventricle, around a white core.

    Args:
        tissues: shares (N,), changed in place.
        brain: bool BOX.
        share: (N,) what the cerebellum takes of each voxel.
        depth: (N,) below its surface in mm.
        bend: (N,) noise that bends the folia.
    """
    here = np.flatnonzero(share > 0)
    _, y, z = np.unravel_index(np.flatnonzero(brain)[here], BOX)
    v = np.float32(shapes.MIDDLE[1] - shapes.CORNER[1]) - y.astype(np.float32)
    w = z.astype(np.float32) + np.float32(shapes.CORNER[2] - shapes.MIDDLE[2])
    angle = np.arctan2(w + 44, -36 - v) + 0.2 * bend[here]
    radius = np.hypot(w + 44, -36 - v)
    # 34 folia around: 5 mm apart at the surface, the finest that 1 mm voxels show.
    turn = angle * np.float32(34 / (2 * np.pi))
    cleft = np.abs(turn - np.round(turn)) * radius * np.float32(2 * np.pi / 34)
    cleft = np.hypot(cleft, np.maximum(depth[here] - 8 - 3 * bend[here], 0))
    gray = np.zeros_like(share)
    gray[here] = 0.8 * occupancy(2.0 - np.minimum(cleft, depth[here]))
    fluid = np.zeros_like(share)
    fluid[here] = 0.25 * occupancy(0.1 - np.minimum(cleft, depth[here] * 0.7))
    lay_over(tissues, "white", share)
    lay_over(tissues, "gray", gray * share)
    lay_over(tissues, "fluid", fluid * share)

"""Where the parts of the phantom's brain lie: cerebrum, fissures, sulci, ventricles, nuclei.

Coordinates are millimeters from the middle of the brain: u to the patient's left, v to the front, w to the
top. The numbers were set by eye, next to real exams.
"""

import numpy as np
from scipy import ndimage

from dqe_loss.data.phantom.fields import Field, Shape, ellipsoid, tube

CORNER: Shape = (44, 24, 3)
"""First voxel of the box that holds the brain, in the 240x240x155 volume."""
BOX: Shape = (152, 196, 150)
"""Shape of that box: brains of skull-stripped BraTS exams span about 140x190x140 voxels."""
MIDDLE = (119.5, 124.0, 80.0)
"""Voxel at u = v = w = 0."""
COARSE = 2
"""Distance in voxels between the samples on which shapes are computed."""


def coarse_points() -> Field:
    """Coordinates (3, X', Y', Z') in mm of the coarse grid over the box."""
    axes = [
        np.arange(0, size + COARSE, COARSE, dtype=np.float32) + np.float32(corner - middle)
        for size, corner, middle in zip(BOX, CORNER, MIDDLE, strict=True)
    ]
    u, v, w = np.meshgrid(*axes, indexing="ij")
    points: Field = np.stack([u, -v, w])
    return points


def soft_maximum(first: Field, second: Field, width: float) -> Field:
    """Union of two shapes given by their depths, with seams filled up over about `width` mm."""
    union: Field = np.logaddexp(first / np.float32(width), second / np.float32(width)) * np.float32(width)
    return union


def _union(*shapes: Field) -> Field:
    depth: Field = np.maximum.reduce(shapes)
    return depth


def cerebrum(points: Field) -> Field:
    """Depth below the smooth outer surface of both hemispheres, over the gyri."""
    u, v, w = points
    # Seen from above, a brain is an egg: narrow in front, widest behind the middle.
    egg = u / (1 - np.float32(0.06) * v / 88 - np.float32(0.05) * (v / 88) ** 2)
    dome = ellipsoid(np.stack([egg, v, w]), (0, 0, -4), (70, 90, 69), exponent=2.35)
    # Below lie the orbits in front, the midbrain, and the tentorium, which falls off to both sides, behind.
    floor = np.interp(v, [-90, -55, -28, 2, 18, 90], [-29, -25, -13, -17, -29, -24]).astype(np.float32)
    fall = np.interp(v, [-40, 10, 30], [0.35, 0.12, -0.1]).astype(np.float32)
    dome = -soft_maximum(-dome, floor - w - fall * (np.abs(u) - 12), 6)
    side = np.stack([np.abs(u), v, w + np.float32(0.12) * v])
    temporal = ellipsoid(side, (42, 4, -24), (24, 47, 21), exponent=2.2)
    return soft_maximum(dome, temporal, 6)


def fissures(points: Field) -> tuple[Field, Field, Field]:
    """The sheets that divide the cerebrum.

    Returns:
        Distance in mm to the fissure in the midline, distance to both Sylvian fissures with the insula behind
        them, and depth inside the bridge (corpus callosum, diencephalon) that joins the hemispheres.
    """
    u, v, w = points
    side = np.abs(u)
    bridge = ellipsoid(np.stack([np.zeros_like(u), v, w]), (0, -6, -2), (1, 41, 27))
    bridge = np.maximum(bridge, np.minimum(16 - np.abs(v + 18), -6 - w))
    midline = np.hypot(u, np.maximum(bridge, 0))
    height = w + 4 + np.float32(0.18) * v
    outer = np.sqrt(height**2 + np.maximum(38 - side, 0) ** 2 + np.maximum(np.abs(v - 2) - 32, 0) ** 2)
    insula = np.sqrt(
        (side - 38 + (height / 11) ** 2) ** 2
        + np.maximum(np.abs(height - 2) - 9, 0) ** 2
        + np.maximum(np.abs(v - 5) - 21, 0) ** 2,
    )
    return midline, np.minimum(outer, insula), bridge


def sulci(rng: np.random.Generator, points: Field, depth: Field, reach: Field) -> Field:
    """Distance in mm to the sheets of the sulci.

    They are the zero set of band-passed noise (gyri about 10 mm wide). It is sampled part of the way from a
    point to the surface, so that sulci run inward from there, though not straight.

    Args:
        rng: source of randomness.
        points: coordinates (3, ...) in mm.
        depth: below the surface in mm.
        reach: depth down to which sulci go, in mm.

    Returns:
        Distance (...) in mm.
    """
    grid = 4.0
    size = tuple(int(n / grid) + 8 for n in BOX)
    white = rng.standard_normal(size, dtype=np.float32)
    # Difference of Gaussians of 3.7 and 5.8 mm: wavelengths about 21 mm.
    band = ndimage.gaussian_filter(white, 3.7 / grid) - ndimage.gaussian_filter(white, 5.8 / grid)
    radius = np.sqrt((points**2).sum(0)) + 1
    surface = points * (1 + np.float32(0.55) * np.clip(depth, -3, 25) / radius)
    middle = (np.array(size, np.float32) / 2).reshape(3, 1, 1, 1)
    pattern = ndimage.map_coordinates(band, surface / np.float32(grid) + middle, order=1, mode="nearest")
    pattern = ndimage.uniform_filter(pattern, 2)
    gradient: Field = np.stack(np.gradient(pattern, COARSE))
    slope = np.sqrt((gradient**2).sum(0))
    distance = np.abs(pattern) / np.maximum(slope, np.float32(0.5) * slope.mean())
    sheets: Field = np.hypot(distance, np.maximum(depth - reach, 0)).astype(np.float32)
    return sheets


def ventricles(points: Field, width: float) -> Field:
    """Depth inside the lateral, third and fourth ventricles; `width` scales the lateral ones."""
    u, v, w = points
    side = np.stack([np.abs(u), v, w])
    body = [(11, 33, 1), (7, 16, 9), (8, 0, 15), (13, -20, 15), (23, -38, 6), (25, -62, 0)]
    lateral = tube(side, body, np.multiply(width, [3, 5.5, 5, 5.5, 7.5, 2.5]).tolist())
    lateral = np.minimum(lateral, side[0] - np.float32(1.2))
    temporal = [(24, -38, 3), (31, -24, -14), (31, -2, -22)]
    horn = tube(side, temporal, np.multiply(width, [4.5, 3, 2]).tolist())
    third = np.minimum(ellipsoid(points, (0, -8, -4), (30, 15, 11)), np.float32(1.3 * width) - side[0])
    fourth = ellipsoid(points, (0, -39, -40), (7, 5, 11))
    return _union(lateral, horn, third, fourth)


def nuclei(points: Field) -> tuple[Field, Field]:
    """Depth inside the gray nuclei (caudate, putamen, thalamus), and inside the pallidum."""
    side = np.stack([np.abs(points[0]), points[1], points[2]])
    caudate = tube(side, [(13, 24, 2), (15, 10, 10), (19, -12, 17), (27, -32, 12)], [5.5, 4.5, 3, 1.5])
    # Putamen and pallidum lie along the insula, which turns outward to the back.
    turned = np.stack([side[0] + np.float32(0.28) * side[1], side[1], side[2]])
    putamen = ellipsoid(turned, (28, 4, 0), (5, 17, 10))
    pallidum = ellipsoid(turned, (20, 0, -3), (4, 9, 6))
    thalamus = ellipsoid(side, (11, -17, 3), (9, 14, 10))
    return _union(caudate, putamen, thalamus), pallidum


def hindbrain(points: Field) -> tuple[Field, Field]:
    """Depth inside the cerebellum, and inside the brain stem."""
    side = np.stack([np.abs(points[0]), points[1], points[2]])
    hemisphere = ellipsoid(side, (23, -52, -44), (29, 29, 22), exponent=2.2)
    vermis = ellipsoid(points, (0, -53, -39), (14, 24, 20))
    pons = ellipsoid(points, (0, -15, -36), (17, 13, 15))
    stem = tube(points, [(0, -16, -4), (0, -22, -34), (0, -34, -76)], [14, 13, 8])
    return _union(hemisphere, vermis), _union(stem, pons)


def vessels(points: Field, depth: Field) -> Field:
    """Depth inside the larger vessels that contrast agent fills; `depth` is below the outer surface."""
    u, v, w = points
    side = np.stack([np.abs(u), v, w])
    sagittal = np.minimum(np.float32(3.8) - depth - np.abs(u) * np.float32(0.5), np.float32(3.2) - np.abs(u))
    sagittal = np.where((w > -18) & (v < 70), sagittal, np.float32(-9))
    straight = tube(points, [(0, -34, 2), (0, -60, -8), (0, -84, -16)], [1.4, 1.8, 2.4])
    transverse = tube(side, [(2, -84, -17), (30, -76, -22), (50, -52, -24)], [2.5, 2.5, 2.5])
    middle = tube(side, [(6, 10, -20), (22, 10, -17), (37, 4, -8), (39, -16, 4)], [1.3, 1.3, 1.3, 1.0])
    front = tube(points, [(1, 12, -20), (1, 38, -14), (1, 44, 6), (1, 24, 24), (1, -8, 31)], [1.2] * 4 + [0.9])
    return _union(sagittal, straight, transverse, middle, front)


def choroid_plexus(points: Field) -> Field:
    """Depth inside the choroid plexus, which lies in the lateral ventricles and takes up contrast agent."""
    side = np.stack([np.abs(points[0]), points[1], points[2]])
    return tube(side, [(12, -20, 12), (21, -37, 5), (27, -30, -6)], [1.2, 2.2, 1.2])

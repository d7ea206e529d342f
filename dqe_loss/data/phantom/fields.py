"""Smooth fields on coarse grids: the building blocks of the phantom.

Shapes are described by functions that are positive inside and grow like the distance to the surface in
millimeters, so that `occupancy` turns one into the share of a voxel it fills. Everything smooth is computed
on a coarse grid and interpolated, which is what keeps a 240x240x155 exam within seconds on one core.
"""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Field: TypeAlias = NDArray[np.float32]
Shape: TypeAlias = tuple[int, int, int]


def interpolation_taps(size: int, coarse: int, step: float) -> tuple[NDArray[np.intp], Field]:
    """Cubic convolution (Keys 1981, a = -1/2) from a coarse line of samples to a fine one.

    Args:
        size: number of fine samples.
        coarse: number of coarse samples; beyond the last one the line is continued with its end value.
        step: distance between coarse samples, in fine samples.

    Returns:
        For each fine sample the four coarse samples it is made of (size, 4), and their weights (size, 4),
        which sum to 1.
    """
    position = np.arange(size)[:, None] / step
    first = np.floor(position).astype(np.intp)
    tap = np.arange(-1, 3)
    x = np.abs(position - first - tap)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.clip(first + tap, 0, coarse - 1), np.where(x <= 1, near, far).astype(np.float32)


def upsample(coarse: Field, shape: Shape, step: float) -> Field:
    """Interpolate a coarse field (X', Y', Z') to `shape`, both grids starting at the same corner.

    Some fifty times faster than cubic `scipy.ndimage.zoom`. Not by matrix products, which would be simpler:
    the last bits of those depend on how many threads share them.

    Args:
        coarse: field on the coarse grid.
        shape: shape of the result.
        step: distance between coarse samples, in fine samples.

    Returns:
        Field of `shape`, float32.
    """
    # The last axis first, while there is little of it: that one has to be gathered element by element.
    field = coarse
    for axis in (2, 1, 0):
        samples, weights = interpolation_taps(shape[axis], coarse.shape[axis], step)
        field = _interpolate(np.moveaxis(field, axis, 0), samples, weights)
        field = np.ascontiguousarray(np.moveaxis(field, 0, axis))
    return field


def _interpolate(lines: Field, samples: NDArray[np.intp], weights: Field) -> Field:
    """Weighted sums of four slabs of `lines` (M, A, B) for each slab of the result (N, A, B)."""
    lines = np.ascontiguousarray(lines)
    result = np.empty((len(samples), *lines.shape[1:]), np.float32)
    # Slab by slab, what is added up stays in the processor's cache.
    for slab, of, share in zip(result, samples, weights, strict=True):
        np.multiply(lines[of[0]], share[0], out=slab)
        for tap in (1, 2, 3):
            slab += lines[of[tap]] * share[tap]
    return result


def noise(rng: np.random.Generator, shape: Shape, step: float) -> Field:
    """Smooth random field of mean 0 and standard deviation about 1.

    Args:
        rng: source of randomness.
        shape: shape of the field.
        step: distance between independent samples, in voxels: bumps are about this wide.

    Returns:
        Field of `shape`, float32.
    """
    x, y, z = (int(np.ceil((n - 1) / step)) + 2 for n in shape)
    # 1.37: between the samples interpolation averages them, which takes a quarter off the spread in 3D.
    return upsample(np.float32(1.37) * rng.standard_normal((x, y, z), dtype=np.float32), shape, step)


def occupancy(depth: Field) -> Field:
    """Share of a 1 mm voxel that lies inside a surface `depth` mm above its center: 0 to 1."""
    share: Field = np.clip(depth + np.float32(0.5), 0, 1)
    return share


def ellipsoid(points: Field, center: Sequence[float], radii: Sequence[float], exponent: float = 2.0) -> Field:
    """Depth below the surface of an ellipsoid, or of a boxier superellipsoid where `exponent` is above 2.

    Args:
        points: coordinates (3, ...) in mm.
        center: its center in mm.
        radii: its half axes in mm.
        exponent: 2 for an ellipsoid.

    Returns:
        Depth (...) in mm, positive inside; first order, hence exact only near the surface.
    """
    total = np.zeros(points.shape[1:], np.float32)
    slope = np.zeros_like(total)
    for line, middle, radius in zip(points, center, radii, strict=True):
        x: Field = np.abs((line - np.float32(middle)) / np.float32(radius)) + np.float32(1e-4)
        power: Field = x * x if exponent == 2 else np.power(x, np.float32(exponent))
        total += power
        slope += (power / x / np.float32(radius)) ** 2
    level: Field = np.sqrt(total) if exponent == 2 else np.power(total, np.float32(1 / exponent))
    depth: Field = np.divide(total * (1 - level), level * np.sqrt(slope))
    return depth


def tube(points: Field, path: Sequence[Sequence[float]], radii: Sequence[float]) -> Field:
    """Depth below the surface of a bent tube.

    Args:
        points: coordinates (3, ...) in mm.
        path: the corners of its axis in mm.
        radii: its radius at each corner in mm, linear between them.

    Returns:
        Depth (...) in mm, positive inside.
    """
    depth: Field = np.full(points.shape[1:], -1e3, np.float32)
    for start, end, near, far in zip(path[:-1], path[1:], radii[:-1], radii[1:], strict=True):
        axis = np.subtract(end, start).astype(np.float32)
        u, v, w = (line - np.float32(value) for line, value in zip(points, start, strict=True))
        along = np.clip((u * axis[0] + v * axis[1] + w * axis[2]) / (axis * axis).sum(), 0, 1)
        distance = np.sqrt((u - along * axis[0]) ** 2 + (v - along * axis[1]) ** 2 + (w - along * axis[2]) ** 2)
        depth = np.maximum(depth, np.float32(near) + np.float32(far - near) * along - distance)
    return depth

"""Smooth fields on coarse grids: the building blocks of the phantom.

Shapes are described by functions that are positive inside and grow like the distance to the surface in
millimeters, so that `occupancy` turns one into the share of a voxel it fills. Everything smooth is computed on a
coarse grid and interpolated, which is what keeps a 240x240x155 exam within seconds on one core.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Field: TypeAlias = NDArray[np.float32]
Shape: TypeAlias = tuple[int, int, int]


def interpolation_matrix(size: int, coarse: int, step: float) -> Field:
    """Weights of cubic convolution (Keys 1981, a = -1/2) from a coarse line of samples to a fine one.

    Args:
        size: number of fine samples.
        coarse: number of coarse samples; beyond the last one the line is continued with its end value.
        step: distance between coarse samples, in fine samples.

    Returns:
        Matrix (size, coarse) whose rows sum to 1.
    """
    position = np.arange(size) / step
    first = np.floor(position).astype(int)
    matrix = np.zeros((size, coarse))
    for tap in range(-1, 3):
        x = np.abs(position - first - tap)
        near = 1.5 * x**3 - 2.5 * x**2 + 1
        far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
        column = np.clip(first + tap, 0, coarse - 1)
        np.add.at(matrix, (np.arange(size), column), np.where(x <= 1, near, far))
    return matrix.astype(np.float32)


def upsample(coarse: Field, shape: Shape, step: float) -> Field:
    """Interpolates a coarse field (X', Y', Z') to `shape`, both grids starting at the same corner.

    Three matrix products are some ten times faster than `scipy.ndimage.zoom`.

    Args:
        coarse: field on the coarse grid.
        shape: shape of the result.
        step: distance between coarse samples, in fine samples.

    Returns:
        Field of `shape`, float32.
    """
    x, y, z = (interpolation_matrix(n, m, step) for n, m in zip(shape, coarse.shape, strict=True))
    field = np.tensordot(x, coarse, axes=1)
    field = np.matmul(y, field)
    return np.matmul(field, z.T)


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
    # 1.5: interpolation averages samples, which takes about a third off their spread in 3D.
    return upsample(1.5 * rng.standard_normal((x, y, z), dtype=np.float32), shape, step)


def occupancy(depth: Field) -> Field:
    """Share of a 1 mm voxel that lies inside a surface `depth` mm above its center: 0 to 1."""
    return np.clip(depth + np.float32(0.5), 0, 1)


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
        x = np.abs((line - np.float32(middle)) / np.float32(radius)) + np.float32(1e-4)
        power = x * x if exponent == 2 else x ** np.float32(exponent)
        total += power
        slope += (power / x / np.float32(radius)) ** 2
    level = np.sqrt(total) if exponent == 2 else total ** np.float32(1 / exponent)
    return (1 - level) * total / level / np.sqrt(slope)


def tube(points: Field, path: Sequence[Sequence[float]], radii: Sequence[float]) -> Field:
    """Depth below the surface of a bent tube.

    Args:
        points: coordinates (3, ...) in mm.
        path: the corners of its axis in mm.
        radii: its radius at each corner in mm, linear between them.

    Returns:
        Depth (...) in mm, positive inside.
    """
    depth = np.full(points.shape[1:], -1e3, np.float32)
    for start, end, near, far in zip(path[:-1], path[1:], radii[:-1], radii[1:], strict=True):
        axis = np.subtract(end, start).astype(np.float32)
        offset = [line - np.float32(value) for line, value in zip(points, start, strict=True)]
        along = sum(o * a for o, a in zip(offset, axis, strict=True)) / np.float32(axis @ axis)
        along = np.clip(along, 0, 1)
        square = sum((o - along * a) ** 2 for o, a in zip(offset, axis, strict=True))
        depth = np.maximum(depth, np.float32(near) + np.float32(far - near) * along - np.sqrt(square))
    return depth

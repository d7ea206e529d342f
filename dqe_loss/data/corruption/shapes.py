"""Segmentation errors of place and shape: the tumor moved, cut apart, grown, shrunk, smoothed, scattered.

Every function takes a BraTS 2023 label map, a severity in (0, 1], a random generator and a `Context`, and returns a
new label map (or the given one, where there is nothing to do); `dqe_loss.data.corruption` names them and chains them.
They work in the tumor's bounding box. The largest magnitudes, at severity 1, are constants here: our choice, by eye,
so that 0.1 is hardly seen and 1 is a failure. Voxels are taken to be 1 mm, as in BraTS.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dqe_loss.core.boxes import Box, array_box

Labels = NDArray[np.uint8]
"""A label map (X, Y, Z) in the scheme ``"brats23"``."""
Mask = NDArray[np.bool_]

NECROSIS, EDEMA, ENHANCING = 1, 2, 3
TISSUES = (NECROSIS, EDEMA, ENHANCING)

MAX_SHIFT = 30.0
"""mm by which the tumor is moved."""
MAX_GAP = 30.0
"""mm by which the two parts of a split tumor move apart."""
MAX_DILATION = 8.0
"""mm by which each region grows."""
MAX_EROSION = 6.0
"""mm by which each region shrinks; enhancing rims are 3 to 8 mm thick."""
MAX_SMOOTHING = 10.0
"""mm, standard deviation of the blur after which each region is cut at one half."""
MAX_SCATTER = 7.0
"""mm, standard deviation along each axis by which grains of the mask are displaced."""
GRAIN = 2
"""Width of such a grain in voxels."""


@dataclass(frozen=True)
class Context:
    """What an error may need besides the label map.

    Attributes:
        brain: where there is brain, bool (X, Y, Z).
        other: another exam's label map (X, Y, Z) in the scheme ``"brats23"``, if there is one.
    """

    brain: Mask
    other: Labels | None = None


def shift(labels: Labels, severity: float, rng: np.random.Generator, context: Context) -> Labels:
    """Move the tumor by up to `MAX_SHIFT` in a random direction; where it would leave the volume, the opposite one."""
    offset = severity * MAX_SHIFT * random_direction(rng)
    box = array_box(labels)
    if box is None:
        return labels
    for axis, (inside, size) in enumerate(zip(box, labels.shape, strict=True)):
        if not -inside.start <= round(offset[axis]) <= size - inside.stop:
            offset[axis] *= -1
    return _moved(labels, offset)


def mirror(labels: Labels, severity: float, rng: np.random.Generator, context: Context) -> Labels:
    """Put a share of the tumor (the severity), cut off by a random plane, into the other hemisphere."""
    flipped = leading_share(labels > 0, severity, rng)
    x, y, z = np.nonzero(flipped)
    sides = np.flatnonzero(context.brain.any((1, 2)))
    mirrored = sides[0] + sides[-1] - x
    inside = (mirrored >= 0) & (mirrored < labels.shape[0])
    result = np.where(flipped, np.uint8(0), labels)
    result[mirrored[inside], y[inside], z[inside]] = labels[flipped][inside]
    return result


def split(labels: Labels, severity: float, rng: np.random.Generator, context: Context) -> Labels:
    """Cut the tumor in two by a random plane and move the halves up to `MAX_GAP` apart."""
    direction = random_direction(rng)
    ahead = leading_share(labels > 0, 0.5, rng, direction)
    offset = severity * MAX_GAP / 2 * direction
    behind = np.where(ahead, np.uint8(0), labels)
    return merge(_moved(np.where(ahead, labels, np.uint8(0)), offset), _moved(behind, -offset))


def dilate(labels: Labels, severity: float, rng: np.random.Generator, context: Context) -> Labels:
    """Let each region grow by up to `MAX_DILATION` within the brain: tumor over brain, core over edema."""
    radius = severity * MAX_DILATION
    box = array_box(labels, int(np.ceil(radius)) + 1)
    if box is None:
        return labels
    allowed = context.brain[box] | (labels[box] > 0)
    grown = [_within(region, radius) & allowed if region.any() else region for region in nested_regions(labels[box])]
    return _replaced(labels, box, from_nested_regions(grown))


def erode(labels: Labels, severity: float, rng: np.random.Generator, context: Context) -> Labels:
    """Let each region shrink by up to `MAX_EROSION`: edema over core, core over enhancing tumor."""
    box = array_box(labels, 1)
    if box is None:
        return labels
    radius = severity * MAX_EROSION
    return _replaced(labels, box, from_nested_regions([_depth(r) >= radius for r in nested_regions(labels[box])]))


def smooth(labels: Labels, severity: float, rng: np.random.Generator, context: Context) -> Labels:
    """Smooth each region by up to `MAX_SMOOTHING`: thin parts vanish, bays fill up; a single plane, within itself."""
    box = array_box(labels, 2)
    if box is None:
        return labels
    sigma = [severity * MAX_SMOOTHING * (size > 1) for size in labels.shape]
    blurred = [
        ndimage.gaussian_filter(region.astype(np.float32), sigma, mode="constant", truncate=3) > 0.5
        for region in nested_regions(labels[box])
    ]
    return _replaced(labels, box, from_nested_regions(blurred))


def scatter(labels: Labels, severity: float, rng: np.random.Generator, context: Context) -> Labels:
    """Displace the mask grain by grain, by up to `MAX_SCATTER`: from a ragged outline to a cloud."""
    sigma = severity * MAX_SCATTER
    box = array_box(labels, int(np.ceil(2.5 * sigma)) + 1)
    if box is None:
        return labels
    inside = labels[box]
    coarse = [-(-size // GRAIN) for size in inside.shape]
    sources = []
    for axis, size in enumerate(inside.shape):
        moves = rng.normal(0, sigma, coarse).round().astype(np.int32)
        for repeated in range(3):
            moves = moves.repeat(GRAIN, repeated)
        moves = moves[tuple(slice(n) for n in inside.shape)]
        shape = [-1 if a == axis else 1 for a in range(3)]
        sources.append(np.clip(np.arange(size).reshape(shape) + moves, 0, size - 1))
    return _replaced(labels, box, inside[tuple(sources)])


def shrink(labels: Labels, severity: float, rng: np.random.Generator, context: Context) -> Labels:
    """Scale the tumor about its center to ``1 - severity`` of its width; at 1 nothing is left."""
    box = array_box(labels, 1)
    if box is None or severity == 1:
        return np.zeros_like(labels)
    scale = 1 / (1 - severity)
    center = np.argwhere(labels[box]).mean(0)
    small = ndimage.affine_transform(labels[box], np.full(3, scale), center - center * scale, order=0, mode="constant")
    return _replaced(labels, box, small)


def random_direction(rng: np.random.Generator) -> NDArray[np.float64]:
    """A unit vector (3,), evenly distributed."""
    vector = rng.normal(size=3)
    direction: NDArray[np.float64] = vector / np.linalg.norm(vector)
    return direction


def leading_share(
    mask: Mask, share: float, rng: np.random.Generator, direction: NDArray[np.float64] | None = None
) -> Mask:
    """The voxels of a mask that lie foremost along a direction (a random one if None), a given share of them all."""
    direction = random_direction(rng) if direction is None else direction
    result = np.zeros_like(mask)
    box = array_box(mask)
    if box is None:
        return result
    voxels = np.argwhere(mask[box])
    count = round(share * len(voxels))
    # A stable order: ties must not depend on the machine's partitioning.
    chosen = voxels[np.argsort(-(voxels @ direction), kind="stable")[:count]]
    result[box][tuple(chosen.T)] = True
    return result


def merge(first: Labels, second: Labels) -> Labels:
    """Two label maps in one; where both have tumor, the second."""
    return np.where(second > 0, second, first)


def nested_regions(labels: Labels) -> list[Mask]:
    """Whole tumor, tumor core and enhancing tumor, each within the one before."""
    return [labels > 0, (labels == NECROSIS) | (labels == ENHANCING), labels == ENHANCING]


def from_nested_regions(regions: Sequence[Mask]) -> Labels:
    """The inverse of `nested_regions`."""
    labels = np.zeros(regions[0].shape, np.uint8)
    for region, tissue in zip(regions, (EDEMA, NECROSIS, ENHANCING), strict=True):
        labels[region] = tissue
    return labels


def _within(region: Mask, radius: float) -> Mask:
    """Voxels whose center lies closer than the radius to the region's surface, or in it."""
    distance: NDArray[np.float64] = ndimage.distance_transform_edt(~region)
    return distance - 0.5 < radius


def _depth(region: Mask) -> NDArray[np.float64]:
    """Depth in mm of each voxel's center below the region's surface; negative outside."""
    depth: NDArray[np.float64] = ndimage.distance_transform_edt(region) - 0.5
    return depth


def _replaced(labels: Labels, box: Box, content: Labels) -> Labels:
    result = np.zeros_like(labels)
    result[box] = content
    return result


def _moved(labels: Labels, offset: NDArray[np.float64]) -> Labels:
    """The tumor moved by whole voxels, and no further than to the border of the volume."""
    result = np.zeros_like(labels)
    box = array_box(labels)
    if box is None:
        return result
    target = []
    for inside, size, step in zip(box, labels.shape, offset, strict=True):
        start = min(max(inside.start + round(float(step)), 0), size - (inside.stop - inside.start))
        target.append(slice(start, start + inside.stop - inside.start))
    result[tuple(target)] = labels[box]
    return result

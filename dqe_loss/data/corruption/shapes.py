"""Segmentation errors of place and shape: the segmentation moved, cut apart, grown, shrunk, smoothed, scattered.

Every function takes a label map in its task's canonical scheme, a severity in (0, 1], a random generator and a
`Context`, and returns a new label map (or the given one, where there is nothing to do); `dqe_loss.data.corruption`
names them and chains them. They work in the segmentation's bounding box. The largest magnitudes, at severity 1, are
constants here: our choice, by eye, so that 0.1 is hardly seen and 1 is a failure. They are of a tumor of some 50 mm; a
task says by how much its own errors are smaller or larger, and the size of its voxels.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dqe_loss.core.boxes import Box, array_box
from dqe_loss.data.corruption.label_maps import (
    Context,
    Labels,
    Mask,
    from_painted_regions,
    leading_share,
    merge,
    painted_regions,
    random_direction,
)

MAX_SHIFT = 30.0
"""mm by which the segmentation is moved."""
MAX_GAP = 30.0
"""mm by which the two parts of a split segmentation move apart."""
MAX_DILATION = 8.0
"""mm by which each region grows."""
MAX_EROSION = 6.0
"""mm by which each region shrinks; the rims of tumors are 3 to 8 mm thick."""
MAX_SMOOTHING = 10.0
"""mm, standard deviation of the blur after which each region is cut at one half."""
MAX_SCATTER = 7.0
"""mm, standard deviation along each axis by which grains of the mask are displaced."""
GRAIN = 2
"""Width of such a grain in voxels."""


def shift(labels: Labels, severity: float, rng: np.random.Generator, context: Context) -> Labels:
    """Move the segmentation by up to `MAX_SHIFT` in a random direction, or the opposite if that leaves the volume."""
    offset = severity * context.mm(MAX_SHIFT) * random_direction(rng) / context.spacing
    box = array_box(labels)
    if box is None:
        return labels
    for axis, (inside, size) in enumerate(zip(box, labels.shape, strict=True)):
        if not -inside.start <= round(offset[axis]) <= size - inside.stop:
            offset[axis] *= -1
    return _moved(labels, offset)


def mirror(labels: Labels, severity: float, rng: np.random.Generator, context: Context) -> Labels:
    """Put a share of the segmentation (the severity), cut off by a random plane, into the other hemisphere."""
    flipped = leading_share(labels > 0, severity, rng)
    x, y, z = np.nonzero(flipped)
    sides = np.flatnonzero(context.brain.any((1, 2)))
    mirrored = sides[0] + sides[-1] - x
    inside = (mirrored >= 0) & (mirrored < labels.shape[0])
    result = np.where(flipped, np.uint8(0), labels)
    result[mirrored[inside], y[inside], z[inside]] = labels[flipped][inside]
    return result


def split(labels: Labels, severity: float, rng: np.random.Generator, context: Context) -> Labels:
    """Cut the segmentation in two by a random plane and move the halves up to `MAX_GAP` apart."""
    direction = random_direction(rng)
    ahead = leading_share(labels > 0, 0.5, rng, direction)
    offset = severity * context.mm(MAX_GAP) / 2 * direction / context.spacing
    behind = np.where(ahead, np.uint8(0), labels)
    return merge(_moved(np.where(ahead, labels, np.uint8(0)), offset), _moved(behind, -offset))


def dilate(labels: Labels, severity: float, rng: np.random.Generator, context: Context) -> Labels:
    """Let each region grow by up to `MAX_DILATION` within the brain: inner ones over outer ones."""
    radius = severity * context.mm(MAX_DILATION)
    box = array_box(labels, int(np.ceil(radius / context.spacing.min())) + 1)
    if box is None:
        return labels
    allowed = context.brain[box] | (labels[box] > 0)
    grown = [
        _within(region, radius, context) & allowed if region.any() else region
        for region in painted_regions(labels[box], context.task)
    ]
    return _replaced(labels, box, from_painted_regions(grown, context.task))


def erode(labels: Labels, severity: float, rng: np.random.Generator, context: Context) -> Labels:
    """Let each region shrink by up to `MAX_EROSION`: outer ones over inner ones."""
    box = array_box(labels, 1)
    if box is None:
        return labels
    radius = severity * context.mm(MAX_EROSION)
    shrunk = [_depth(region, context) >= radius for region in painted_regions(labels[box], context.task)]
    return _replaced(labels, box, from_painted_regions(shrunk, context.task))


def smooth(labels: Labels, severity: float, rng: np.random.Generator, context: Context) -> Labels:
    """Smooth each region by up to `MAX_SMOOTHING`: thin parts vanish, bays fill up; a single plane, within itself."""
    box = array_box(labels, 2)
    if box is None:
        return labels
    sigma = [
        severity * context.mm(MAX_SMOOTHING) * (size > 1) / mm
        for size, mm in zip(labels.shape, context.task.spacing, strict=True)
    ]
    blurred = [
        ndimage.gaussian_filter(region.astype(np.float32), sigma, mode="constant", truncate=3) > 0.5
        for region in painted_regions(labels[box], context.task)
    ]
    return _replaced(labels, box, from_painted_regions(blurred, context.task))


def scatter(labels: Labels, severity: float, rng: np.random.Generator, context: Context) -> Labels:
    """Displace the mask grain by grain, by up to `MAX_SCATTER`: from a ragged outline to a cloud."""
    sigma = severity * context.mm(MAX_SCATTER) / context.spacing
    box = array_box(labels, int(np.ceil(2.5 * sigma.max())) + 1)
    if box is None:
        return labels
    inside = labels[box]
    coarse = [-(-size // GRAIN) for size in inside.shape]
    sources = []
    for axis, size in enumerate(inside.shape):
        moves = rng.normal(0, sigma[axis], coarse).round().astype(np.int32)
        for repeated in range(3):
            moves = moves.repeat(GRAIN, repeated)
        moves = moves[tuple(slice(n) for n in inside.shape)]
        shape = [-1 if a == axis else 1 for a in range(3)]
        sources.append(np.clip(np.arange(size).reshape(shape) + moves, 0, size - 1))
    return _replaced(labels, box, inside[tuple(sources)])


def shrink(labels: Labels, severity: float, rng: np.random.Generator, context: Context) -> Labels:
    """Scale the segmentation about its center to ``1 - severity`` of its width; at 1 nothing is left."""
    box = array_box(labels, 1)
    if box is None or severity == 1:
        return np.zeros_like(labels)
    scale = 1 / (1 - severity)
    center = np.argwhere(labels[box]).mean(0)
    small = ndimage.affine_transform(labels[box], np.full(3, scale), center - center * scale, order=0, mode="constant")
    return _replaced(labels, box, small)


def _within(region: Mask, radius: float, context: Context) -> Mask:
    """Voxels whose center lies closer than the radius to the region's surface, or in it."""
    distance: NDArray[np.float64] = ndimage.distance_transform_edt(~region, sampling=context.sampling)
    return distance - context.half_voxel < radius


def _depth(region: Mask, context: Context) -> NDArray[np.float64]:
    """Depth in mm of each voxel's center below the region's surface; negative outside."""
    depth: NDArray[np.float64] = ndimage.distance_transform_edt(region, sampling=context.sampling)
    return depth - context.half_voxel


def _replaced(labels: Labels, box: Box, content: Labels) -> Labels:
    result = np.zeros_like(labels)
    result[box] = content
    return result


def _moved(labels: Labels, offset: NDArray[np.float64]) -> Labels:
    """The segmentation moved by whole voxels, and no further than to the border of the volume."""
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

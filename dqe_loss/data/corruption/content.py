"""Segmentation errors of content: false pieces, tissue missed, taken for another, or from elsewhere.

The functions are like those of `dqe_loss.data.corruption.shapes`, and so are the constants.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dqe_loss.core.boxes import array_box
from dqe_loss.data.corruption.label_maps import Context, Labels, leading_share, merge
from dqe_loss.task import Task

MAX_BLOBS = 8
"""Number of false pieces."""
MAX_BLOB_RADIUS = 14.0
"""mm; the radius grows with the cube root of the severity, so that the volume of a blob grows with the severity."""
MAX_HOLES = 0.8
"""Share of the segmentation's volume that is left out."""
HOLE_WIDTH = 3.0
"""mm, standard deviation of the blur that makes the holes' pattern of white noise."""
BRAIN_EXPONENT = 2
"""The share of the remaining brain that is labeled is the severity to this power: at 0.1 a hundredth."""
_COARSE = 2  # voxels between the samples of a distance over the whole brain


def blobs(labels: Labels, severity: float, rng: np.random.Generator, context: Context) -> Labels:
    """Add false pieces, up to `MAX_BLOBS` of up to `MAX_BLOB_RADIUS`, anywhere in the brain but over the true one."""
    result: Labels = labels.copy()
    radius = context.mm(MAX_BLOB_RADIUS) * np.cbrt(severity)
    free = context.brain & (labels == 0)
    sites = np.flatnonzero(free)
    tissues, weights = zip(*_spurious(context.task).items(), strict=True)
    for _ in range(int(np.ceil(severity * MAX_BLOBS)) if sites.size else 0):
        center = np.array(np.unravel_index(rng.choice(sites), labels.shape))
        radii = radius * rng.uniform(0.6, 1.0, 3) / context.spacing
        box = tuple(
            slice(max(int(c - r), 0), min(int(c + r) + 1, n))
            for c, r, n in zip(center, radii, labels.shape, strict=True)
        )
        axes = np.ogrid[box]
        distance = sum(((axis - c) / r) ** 2 for axis, c, r in zip(axes, center, radii, strict=True))
        result[box][(distance <= 1) & free[box]] = rng.choice(tissues, p=weights)
    return result


def holes(labels: Labels, severity: float, rng: np.random.Generator, context: Context) -> Labels:
    """Leave up to `MAX_HOLES` of the segmentation out, in holes about twice `HOLE_WIDTH` wide."""
    result: Labels = labels.copy()
    box = array_box(labels)
    if box is None:
        return result
    tumor = labels[box] > 0
    pattern = ndimage.gaussian_filter(
        rng.standard_normal(tumor.shape, dtype=np.float32), context.mm(HOLE_WIDTH) / context.spacing
    )
    limit = np.quantile(pattern[tumor], severity * MAX_HOLES)
    result[box][tumor & (pattern < limit)] = 0
    return result


def drop(labels: Labels, severity: float, rng: np.random.Generator, context: Context) -> Labels:
    """Do not recognize a share of one tissue (the severity), cut off by a random plane; see `Task.taken_for`."""
    result: Labels = labels.copy()
    task = context.task
    present = _tissues(labels, task)
    if present:
        tissue = int(rng.choice(present))
        taken_for = task.taken_for.get(task.tissues[tissue - 1])
        label = 0 if taken_for is None else 1 + task.tissues.index(taken_for)
        result[leading_share(labels == tissue, severity, rng)] = label
    return result


def swap(labels: Labels, severity: float, rng: np.random.Generator, context: Context) -> Labels:
    """Take two tissues for each other in a share of their volume (the severity), cut off by a random plane."""
    result: Labels = labels.copy()
    present = _tissues(labels, context.task)
    if len(present) > 1:
        first, second = (int(tissue) for tissue in rng.choice(present, 2, replace=False))
        swapped = leading_share((labels == first) | (labels == second), severity, rng)
        result[swapped] = first + second - labels[swapped]
    return result


def other(labels: Labels, severity: float, rng: np.random.Generator, context: Context) -> Labels:
    """Lose a share of the segmentation (the severity) and gain the same of another exam's; at 1 all is the other's.

    Raises:
        ValueError: the context has no other exam.
    """
    if context.other is None:
        raise ValueError("the corruption 'other' needs another exam's label map, got none; give other=...")
    kept = np.where(leading_share(labels > 0, severity, rng), np.uint8(0), labels)
    gained = leading_share(context.other > 0, severity, rng)
    return merge(np.where(gained, context.other, np.uint8(0)), kept)


def whole_brain(labels: Labels, severity: float, rng: np.random.Generator, context: Context) -> Labels:
    """Let the outermost tissue spread from the segmentation (if there is none, the brain's center) over the brain."""
    result: Labels = labels.copy()
    box = array_box(context.brain | (labels > 0))
    if box is None:
        return result
    tumor = labels[box] > 0
    free = context.brain[box] & ~tumor
    count = round(severity**BRAIN_EXPONENT * int(free.sum()))
    if count:
        distances = _distance(tumor, context.sampling)[free]
        order = np.argpartition(distances, count - 1)[:count]
        spread = np.zeros(distances.size, bool)
        spread[order] = True
        free[free] = spread
        result[box][free] = context.task.painting[0][1]
    return result


def _distance(tumor: NDArray[np.bool_], sampling: tuple[float, ...] | None) -> NDArray[np.float32]:
    """Distance to the segmentation in mm, interpolated between coarse samples; without one, to the box's middle."""
    sources = tumor
    if not tumor.any():
        sources = tumor.copy()
        sources[tuple(n // 2 for n in tumor.shape)] = True
    padded = np.pad(sources, [(0, -n % _COARSE) for n in sources.shape])
    x, y, z = (n // _COARSE for n in padded.shape)
    coarse = padded.reshape(x, _COARSE, y, _COARSE, z, _COARSE).any((1, 3, 5))
    distance = ndimage.distance_transform_edt(~coarse, sampling=sampling).astype(np.float32) * _COARSE
    fine: NDArray[np.float32] = ndimage.zoom(distance, _COARSE, order=1, grid_mode=True, mode="nearest")
    return fine[tuple(slice(n) for n in tumor.shape)]


def _tissues(labels: Labels, task: Task) -> list[int]:
    """Labels of the tissues that occur."""
    return [label for label in range(1, 1 + len(task.tissues)) if (labels == label).any()]


def _spurious(task: Task) -> dict[int, float]:
    """How often a false piece is of which tissue, by label."""
    shares = task.spurious or dict.fromkeys(task.tissues, 1 / len(task.tissues))
    return {1 + task.tissues.index(tissue): share for tissue, share in shares.items()}

"""Segmentation errors of content: tumor where there is none, tissue missed, taken for another, or from elsewhere.

The functions are like those of `dqe_loss.data.corruption.shapes`, and so are the constants.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dqe_loss.core.boxes import array_box
from dqe_loss.data.corruption.shapes import (
    EDEMA,
    ENHANCING,
    NECROSIS,
    TISSUES,
    Context,
    Labels,
    leading_share,
    merge,
)

MAX_BLOBS = 8
"""Number of false tumors."""
MAX_BLOB_RADIUS = 14.0
"""mm; the radius grows with the cube root of the severity, so that the volume of a blob grows with the severity."""
BLOB_TISSUES = {EDEMA: 0.5, ENHANCING: 0.3, NECROSIS: 0.2}
"""How often a false tumor is of which tissue."""
MAX_HOLES = 0.8
"""Share of the tumor's volume that is left out."""
HOLE_WIDTH = 3.0
"""mm, standard deviation of the blur that makes the holes' pattern of white noise."""
TAKEN_FOR = {EDEMA: 0, ENHANCING: EDEMA, NECROSIS: 0}
"""What a tissue that was not recognized is labeled."""
BRAIN_EXPONENT = 2
"""The share of the remaining brain that becomes edema is the severity to this power: at 0.1 a hundredth."""
_COARSE = 2  # voxels between the samples of a distance over the whole brain


def blobs(labels: Labels, severity: float, rng: np.random.Generator, context: Context) -> Labels:
    """Add false tumors, up to `MAX_BLOBS` of up to `MAX_BLOB_RADIUS`, anywhere in the brain but not over the tumor."""
    result: Labels = labels.copy()
    radius = MAX_BLOB_RADIUS * np.cbrt(severity)
    free = context.brain & (labels == 0)
    sites = np.flatnonzero(free)
    tissues, weights = zip(*BLOB_TISSUES.items(), strict=True)
    for _ in range(int(np.ceil(severity * MAX_BLOBS)) if sites.size else 0):
        center = np.array(np.unravel_index(rng.choice(sites), labels.shape))
        radii = radius * rng.uniform(0.6, 1.0, 3)
        box = tuple(
            slice(max(int(c - r), 0), min(int(c + r) + 1, n))
            for c, r, n in zip(center, radii, labels.shape, strict=True)
        )
        axes = np.ogrid[box]
        distance = sum(((axis - c) / r) ** 2 for axis, c, r in zip(axes, center, radii, strict=True))
        result[box][(distance <= 1) & free[box]] = rng.choice(tissues, p=weights)
    return result


def holes(labels: Labels, severity: float, rng: np.random.Generator, context: Context) -> Labels:
    """Leave up to `MAX_HOLES` of the tumor out, in holes about twice `HOLE_WIDTH` wide."""
    result: Labels = labels.copy()
    box = array_box(labels)
    if box is None:
        return result
    tumor = labels[box] > 0
    pattern = ndimage.gaussian_filter(rng.standard_normal(tumor.shape, dtype=np.float32), HOLE_WIDTH)
    limit = np.quantile(pattern[tumor], severity * MAX_HOLES)
    result[box][tumor & (pattern < limit)] = 0
    return result


def drop(labels: Labels, severity: float, rng: np.random.Generator, context: Context) -> Labels:
    """Do not recognize a share of one tissue (the severity), cut off by a random plane; see `TAKEN_FOR`."""
    result: Labels = labels.copy()
    present = _tissues(labels)
    if present:
        tissue = int(rng.choice(present))
        result[leading_share(labels == tissue, severity, rng)] = TAKEN_FOR[tissue]
    return result


def swap(labels: Labels, severity: float, rng: np.random.Generator, context: Context) -> Labels:
    """Take two tissues for each other in a share of their volume (the severity), cut off by a random plane."""
    result: Labels = labels.copy()
    present = _tissues(labels)
    if len(present) > 1:
        first, second = (int(tissue) for tissue in rng.choice(present, 2, replace=False))
        swapped = leading_share((labels == first) | (labels == second), severity, rng)
        result[swapped] = first + second - labels[swapped]
    return result


def other(labels: Labels, severity: float, rng: np.random.Generator, context: Context) -> Labels:
    """Lose a share of the tumor (the severity) and gain the same share of another exam's; at 1 all is the other's.

    Raises:
        ValueError: the context has no other exam.
    """
    if context.other is None:
        raise ValueError("the corruption 'other' needs another exam's label map, got none; give other=...")
    kept = np.where(leading_share(labels > 0, severity, rng), np.uint8(0), labels)
    gained = leading_share(context.other > 0, severity, rng)
    return merge(np.where(gained, context.other, np.uint8(0)), kept)


def whole_brain(labels: Labels, severity: float, rng: np.random.Generator, context: Context) -> Labels:
    """Let edema spread from the tumor (from the brain's center if there is none) over the brain."""
    result: Labels = labels.copy()
    box = array_box(context.brain | (labels > 0))
    if box is None:
        return result
    tumor = labels[box] > 0
    free = context.brain[box] & ~tumor
    count = round(severity**BRAIN_EXPONENT * int(free.sum()))
    if count:
        distances = _distance(tumor)[free]
        order = np.argpartition(distances, count - 1)[:count]
        spread = np.zeros(distances.size, bool)
        spread[order] = True
        free[free] = spread
        result[box][free] = EDEMA
    return result


def _distance(tumor: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Distance to the tumor in mm, interpolated between coarse samples; to the middle of the box if there is none."""
    sources = tumor
    if not tumor.any():
        sources = tumor.copy()
        sources[tuple(n // 2 for n in tumor.shape)] = True
    padded = np.pad(sources, [(0, -n % _COARSE) for n in sources.shape])
    x, y, z = (n // _COARSE for n in padded.shape)
    coarse = padded.reshape(x, _COARSE, y, _COARSE, z, _COARSE).any((1, 3, 5))
    distance = ndimage.distance_transform_edt(~coarse).astype(np.float32) * _COARSE
    fine: NDArray[np.float32] = ndimage.zoom(distance, _COARSE, order=1, grid_mode=True, mode="nearest")
    return fine[tuple(slice(n) for n in tumor.shape)]


def _tissues(labels: Labels) -> list[int]:
    """The tissues that occur."""
    return [tissue for tissue in TISSUES if (labels == tissue).any()]

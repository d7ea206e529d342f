"""What all segmentation errors work with: label maps, what is known beside them, and how they are taken apart."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dqe_loss.core.boxes import array_box
from dqe_loss.task import GLIOMA, Task

Labels = NDArray[np.uint8]
"""A label map (X, Y, Z) in the canonical scheme of its task."""
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Context:
    """What an error may need besides the label map.

    Attributes:
        brain: where there is brain, bool (X, Y, Z).
        other: another exam's label map (X, Y, Z) in the canonical scheme, if there is one.
        task: what is segmented.
    """

    brain: Mask
    other: Labels | None = None
    task: Task = GLIOMA

    @property
    def spacing(self) -> NDArray[np.float64]:
        """Size of a voxel in mm along each axis."""
        return np.array(self.task.spacing)

    def mm(self, size: float) -> float:
        """A magnitude of this task."""
        return size * self.task.error_size

    @property
    def sampling(self) -> tuple[float, ...] | None:
        """Size of a voxel for distances; None for 1 mm."""
        return None if set(self.task.spacing) == {1.0} else self.task.spacing

    @property
    def half_voxel(self) -> float:
        """Mm from a voxel's center to the surface it lies at, along the axis where voxels are thinnest."""
        return 0.5 * float(self.spacing.min())


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
    """Two label maps in one; where both have a label, the second."""
    return np.where(second > 0, second, first)


def painted_regions(labels: Labels, task: Task) -> list[Mask]:
    """The regions of a label map in the order in which they are painted over each other, the largest first."""
    return [np.isin(labels, task.canonical.region(name)) for name, _ in task.painting]


def from_painted_regions(regions: Sequence[Mask], task: Task) -> Labels:
    """The inverse of `painted_regions`."""
    labels = np.zeros(regions[0].shape, np.uint8)
    named = {name: region for region, (name, _) in zip(regions, task.painting, strict=True)}
    for names, label in task.layers:
        labels[np.logical_and.reduce([named[name] for name in names])] = label
    return labels

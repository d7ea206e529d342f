"""nnU-Net's axes and those of a surrogate: its arrays are (Z, Y, X), in an order that the plans may change again."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from dqe_loss.core.slicing import in_plane

READ = ("Z", "Y", "X")
"""Axes of an array as nnU-Net's readers give it."""

FLIPPED = {"SimpleITKIO": "", "NibabelIO": "", "Tiff3DIO": "", "NibabelIOWithReorient": "XY"}
"""Reader to the axes along which its arrays run against a BraTS file's (LPS): that with reorientation gives RAS."""

CUT = {"Z": "axial", "Y": "coronal", "X": "sagittal"}
"""The view of a 2D configuration, by the axis that its planes are perpendicular to."""


@dataclass(frozen=True)
class Orientation:
    """How a batch of nnU-Net's lies in space.

    Attributes:
        axes: name of each spatial axis of a batch, such as ``("Z", "Y", "X")``.
        flipped: those that run against a BraTS file's.
        view: of a 2D configuration, which planes its batches are; empty for volumes.
    """

    axes: tuple[str, ...]
    flipped: str = ""
    view: str = ""

    def to_file(self, batch: Tensor) -> Tensor:
        """A batch ``(B, C, ...)`` with its axes as they lie in files, (X, Y, Z), or two of these in that order.

        It is a view of the batch unless an axis is flipped; the gradient passes.
        """
        names = sorted(self.axes)
        turned = batch.permute(0, 1, *(2 + self.axes.index(name) for name in names))
        against = [2 + names.index(name) for name in names if name in self.flipped]
        return turned.flip(against) if against else turned

    def rated_sides(self, patch: Sequence[int], views: Sequence[str]) -> tuple[int, ...]:
        """Of a patch's sides in voxels, in the batch's axes, those that lie in a plane of one of the views."""
        if self.view:
            return tuple(patch)
        sides = dict(zip(self.axes, patch, strict=True))
        return tuple(in_plane((sides[axis] for axis in "XYZ"), *views))


def orientation_of(reader: str, transpose_forward: Sequence[int], dimensions: int) -> Orientation:
    """How batches lie, by the plans.

    Args:
        reader: ``image_reader_writer`` of the plans.
        transpose_forward: of the plans: which axis of the read array each axis of a preprocessed one is.
        dimensions: of the configuration's patches, 2 or 3.

    Raises:
        ValueError: if the reader's axes are not known here, or the plans' order is none.

    Example:
        >>> orientation_of("SimpleITKIO", (0, 1, 2), 2)
        Orientation(axes=('Y', 'X'), flipped='', view='axial')
    """
    if reader not in FLIPPED:
        raise ValueError(
            f"the plans read images by {reader}, whose axes are not known here; known are {', '.join(FLIPPED)}: set "
            "overwrite_image_reader_writer in dataset.json to one of them, and plan and preprocess again"
        )
    if sorted(transpose_forward) != [0, 1, 2] or dimensions not in (2, 3):
        raise ValueError(
            f"expected plans that order three axes, in patches of 2 or 3, got transpose_forward {transpose_forward} "
            f"and patches of {dimensions}"
        )
    axes = tuple(READ[axis] for axis in transpose_forward)
    return Orientation(axes[-dimensions:], FLIPPED[reader], CUT[axes[0]] if dimensions == 2 else "")

"""Whether a file whose affine differs from that of the image agrees with it as the arrays lie, or once reoriented.

Headers in circulation are wrong too often to be trusted over the arrays, and nothing is reoriented (contract C1). What
can be said is how much of a segmentation lies within the head, as the arrays lie and as the affines would have it. A
brain is nearly as wide on the left as on the right, so that this often does not tell a mirrored mask from a wrong
header: then a human has to look.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from nibabel.orientations import apply_orientation, io_orientation, ornt_transform
from numpy.typing import NDArray

# Labels that agree with their image lie in its head but for a few voxels of a network's: .997 is the lowest of the
# shared exams' 60 segmentations; mirrored ones have .62 to 1.
_WITHIN = 0.99
_MARGIN = 0.01
# A mask that lies anywhere is within such a head; crops have .999 and more, heads of whole volumes .14 to .19.
_FULL = 0.95
_NO_TURN = [[0, 1], [1, 1], [2, 1]]


@dataclass(frozen=True)
class Misalignment:
    """A file whose affine differs from that of the exam's image.

    Attributes:
        stored: share of its labels (of a modality: of its own head) in the head, as the arrays lie; 1 if it has none.
        reoriented: the same once its axes are turned and flipped by its affine into those of the image; None where
            that changes nothing (the affines differ in origin, voxel size or a small angle) or gives another shape.
        full: whether the head fills the volume, as in a crop: then any mask lies in it, and nothing is told.
    """

    stored: float
    reoriented: float | None
    full: bool = False

    @property
    def kind(self) -> Literal["header", "affine"]:
        """``"header"`` where the arrays agree as they lie, ``"affine"`` where it should be looked at."""
        if self.full:
            return "affine"
        apart = self.reoriented is None or self.stored - self.reoriented >= _MARGIN
        return "header" if apart and self.stored >= _WITHIN else "affine"

    def __str__(self) -> str:
        """What was found, and what is likelier."""
        found = f"as the arrays lie {self.stored:.1%} of its voxels lie in the head"
        if self.reoriented is not None:
            found += f", reoriented by its affine {self.reoriented:.1%}"
        if self.full:
            found += ", which fills the volume"
        if self.kind == "header":
            return f"{found}: likelier the arrays agree, and a header is wrong"
        if not self.full and self.reoriented is not None and self.reoriented - self.stored >= _MARGIN:
            return f"{found}: likelier it is mirrored or turned; reorient it to the image, and save it again"
        return f"{found}: that does not tell which is right; look at the two together"


def misalignment(
    filled: NDArray[np.bool_], affine: NDArray[np.float64], head: NDArray[np.bool_], target: NDArray[np.float64]
) -> Misalignment:
    """Compare a file with the image's head.

    Args:
        filled: (X, Y, Z) where the file holds a label, or shows something.
        affine: its (4, 4) affine, finite and of full rank.
        head: (X, Y, Z) where the image does.
        target: the image's affine, likewise.
    """
    count = np.count_nonzero(filled)
    if not count:
        return Misalignment(1.0, None)
    stored = np.count_nonzero(filled & head) / count
    full = bool(np.count_nonzero(head) >= _FULL * head.size)
    turn = ornt_transform(io_orientation(affine), io_orientation(target))
    turned = apply_orientation(filled, turn)  # a view
    if np.array_equal(turn, _NO_TURN) or turned.shape != head.shape:
        return Misalignment(stored, None, full)
    return Misalignment(stored, np.count_nonzero(turned & head) / count, full)

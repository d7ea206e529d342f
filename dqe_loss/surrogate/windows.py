"""Windows of a plane, and which part of its features they reach: boxes of rows and columns, ``(rows, columns)``.

All are whole numbers on the host. A box may go beyond the plane where what lies there counts as 0.
"""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from dqe_loss.core.boxes import Box

Size = tuple[int, ...]
"""Height and width."""


@dataclass(frozen=True)
class Sliding:
    """How a convolution or a pooling slides over a plane.

    Attributes:
        kernel: its side.
        stride: its step.
        padding: rows and columns that it sees beyond each side.
    """

    kernel: int
    stride: int
    padding: int

    def size(self, size: Size) -> Size:
        """Height and width of its output."""
        height, width = size
        more = 2 * self.padding - self.kernel
        return (height + more) // self.stride + 1, (width + more) // self.stride + 1

    def outputs(self, box: Box, size: Size) -> Box:
        """Outputs that see any of a box, of a plane of a size."""
        stride, padding = self.stride, self.padding
        before = self.kernel - 1 - padding
        rows, columns = box
        seen = (
            slice(-((before - rows.start) // stride), (rows.stop - 1 + padding) // stride + 1),
            slice(-((before - columns.start) // stride), (columns.stop - 1 + padding) // stride + 1),
        )
        return grown(seen, 0, self.size(size))

    def inputs(self, box: Box) -> Box:
        """Inputs that a box of its outputs sees, those of the padding among them."""
        stride, padding = self.stride, self.padding
        beyond = self.kernel - stride - padding
        rows, columns = box
        return (
            slice(rows.start * stride - padding, rows.stop * stride + beyond),
            slice(columns.start * stride - padding, columns.stop * stride + beyond),
        )


def whole(size: Size) -> Box:
    """All of a plane."""
    return slice(0, size[0]), slice(0, size[1])


def grown(box: Box, by: int, size: Size) -> Box:
    """A box with so many more rows and columns on each side (0: itself), as far as the plane goes."""
    rows, columns = box
    return (
        slice(max(rows.start - by, 0), min(rows.stop + by, size[0])),
        slice(max(columns.start - by, 0), min(columns.stop + by, size[1])),
    )


def hull(box: Box, other: Box) -> Box:
    """Smallest box around two."""
    (a, b), (c, d) = box, other
    return slice(min(a.start, c.start), max(a.stop, c.stop)), slice(min(b.start, d.start), max(b.stop, d.stop))


def within(box: Box, outer: Box) -> Box:
    """A box, counted from the first row and column of another."""
    (rows, columns), top, left = box, outer[0].start, outer[1].start
    return slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left)


def patch(x: Tensor, box: Box) -> Tensor:
    """A box of ``(N, C, H, W)``, with zeros where it goes beyond."""
    rows, columns = grown(box, 0, x.shape[2:])
    part = x[:, :, rows, columns]
    beyond = [columns.start - box[1].start, box[1].stop - columns.stop]
    beyond += [rows.start - box[0].start, box[0].stop - rows.stop]
    return F.pad(part, beyond) if any(beyond) else part


def box_of_values(plane: Tensor) -> Box | None:
    """Smallest box around what is not 0 in any channel of ``(C, H, W)``; None where all is."""
    shows = (plane != 0).any(0)
    box = []
    for axis in (1, 0):
        found = shows.any(axis).nonzero()
        if not len(found):
            return None
        box.append(slice(int(found[0]), int(found[-1]) + 1))
    return tuple(box)

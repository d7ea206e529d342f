"""Windows of a plane, and which part of its features they reach: boxes of rows and columns, ``(rows, columns)``.

All are whole numbers on the host. A box may go beyond the plane where what lies there counts as 0.
"""

from collections.abc import Iterable
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
        return tuple((side + 2 * self.padding - self.kernel) // self.stride + 1 for side in size)

    def outputs(self, box: Box, size: Size) -> Box:
        """Outputs that see any of a box, of a plane of a size."""
        first = (-((self.kernel - 1 - self.padding - one.start) // self.stride) for one in box)
        last = ((one.stop - 1 + self.padding) // self.stride for one in box)
        return clipped((slice(a, b + 1) for a, b in zip(first, last, strict=True)), self.size(size))

    def inputs(self, box: Box) -> Box:
        """Inputs that a box of its outputs sees, those of the padding among them."""
        return tuple(
            slice(one.start * self.stride - self.padding, (one.stop - 1) * self.stride - self.padding + self.kernel)
            for one in box
        )


def whole(size: Size) -> Box:
    """All of a plane."""
    return tuple(slice(0, side) for side in size)


def clipped(box: Iterable[slice], size: Size) -> Box:
    """The part of a box that lies on a plane."""
    return tuple(slice(max(one.start, 0), min(one.stop, side)) for one, side in zip(box, size, strict=True))


def grown(box: Box, by: int, size: Size) -> Box:
    """A box with so many more rows and columns on each side, as far as the plane goes."""
    return clipped((slice(one.start - by, one.stop + by) for one in box), size)


def hull(box: Box, other: Box) -> Box:
    """Smallest box around two."""
    pairs = zip(box, other, strict=True)
    return tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in pairs)


def within(box: Box, outer: Box) -> Box:
    """A box, counted from the first row and column of another."""
    return tuple(slice(one.start - out.start, one.stop - out.start) for one, out in zip(box, outer, strict=True))


def patch(x: Tensor, box: Box) -> Tensor:
    """A box of ``(N, C, H, W)``, with zeros where it goes beyond."""
    rows, columns = clipped(box, x.shape[2:])
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

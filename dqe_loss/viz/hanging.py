"""How a plane hangs on the wall: its orientation and window, the regions' outlines, the patient's sides.

Arrays are taken as LPS (contract C1), or turned where a task's files run otherwise (`told_axes`), and shown as
radiologists hang them: anterior up in axial planes, superior up in the others, the patient's right (in sagittal planes
anterior) at the left. Needs matplotlib (``pip install
"dqe_loss[report]"``), and leaves its global state alone: no pyplot, no style.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from dqe_loss.core.boxes import Box
from dqe_loss.core.slicing import VIEW_AXIS, in_plane
from dqe_loss.task import GLIOMA, Task

_WIDTHS = (1.2, 1.9, 0.7)
"""Widths of lines in points, in the order of drawing, the largest region first.

Regions within each other share much of their outline: the thin line lies on the wide one, and both are seen.
"""


def outlines_of(task: Task) -> dict[str, tuple[str, str, float]]:
    """Name for readers, color and line width (points) of each region, in the order of drawing."""
    return {
        region: (task.title(region), task.color(region), _WIDTHS[i % len(_WIDTHS)])
        for i, (region, _) in enumerate(task.painting)
    }


OUTLINES = outlines_of(GLIOMA)
"""Those of the built-in task."""

_HUNG = ("L", "P", "S")
"""Where the axes run to that `hang` takes arrays to have."""

WINDOW = (0.5, 99.5)
"""Percentiles of the brain's intensities in the plane that are black and white."""


def hang(plane: NDArray[Any], view: str) -> NDArray[Any]:
    """A plane (width, height) as it is shown: rows from the top, columns from the left."""
    # Axial arrays run from anterior to posterior, those of the other two views from inferior to superior.
    rows: NDArray[Any] = plane.T
    return rows if view == "axial" else rows[::-1]


def hung_plane(
    volume: NDArray[Any], view: str, center: Sequence[int], box: Box, codes: Sequence[str] | None = None
) -> NDArray[Any]:
    """One plane of an (X, Y, Z) array through a center, cropped to a box, as it is shown; codes: see `told_axes`."""
    axis = VIEW_AXIS[view]
    plane = hang(volume[tuple(int(center[axis]) if a == axis else box[a] for a in range(3))], view)
    return upright(plane, view, codes)


def told_axes(affine: NDArray[Any] | None, task: Task) -> tuple[str, ...] | None:
    """Where an exam's axes run to, such as ``("R", "A", "S")``; None where that is not known, and no side is named.

    Of tasks whose files run LPS (`Task.lps`, contract C1) no other header is believed. Photographs have no sides.

    Args:
        affine: of the exam's files; None for an array without a file, which runs LPS.
        task: what is shown.
    """
    codes: tuple[str, ...] = _HUNG
    if affine is not None:
        from nibabel.orientations import aff2axcodes  # not before: arrays without files do without it

        codes = aff2axcodes(affine)
    told = not task.planar and (codes == _HUNG if task.lps else can_be_turned(codes))
    return codes if told else None


def upright(plane: NDArray[Any], view: str, codes: Sequence[str] | None) -> NDArray[Any]:
    """A plane as `hang` gives it, turned around where its file runs against LPS, so that it hangs as all others.

    Args:
        plane: (height, width) or (height, width, colors).
        view: which it is.
        codes: where the array's axes run to, as `told_axes` says; None leaves the plane as it is.
    """
    if codes is None:
        return plane
    columns, rows = in_plane(range(3), view)
    against = [code != usual for code, usual in zip(codes, _HUNG, strict=True)]
    return plane[:: -1 if against[rows] else 1, :: -1 if against[columns] else 1]


def can_be_turned(codes: Sequence[str]) -> bool:
    """Whether the axes are left-right, front-back, top-bottom in this order, whichever way each runs."""
    return all(code in ends for code, ends in zip(codes, ("LR", "AP", "IS"), strict=True))


def window(values: NDArray[Any], percentiles: tuple[float, float] = WINDOW) -> tuple[float, float]:
    """The intensities that are black and white, of those of the brain, which may be none."""
    low, high = np.percentile(values, percentiles) if values.size else (0, 1)
    return float(low), float(high)


def gray(plane: NDArray[Any], low: float, high: float) -> NDArray[Any]:
    """Intensities between black and white as 0 to 1."""
    shades: NDArray[Any] = ((plane - low) / max(high - low, 1e-6)).clip(0, 1)
    return shades


def paint(
    shades: NDArray[Any], tissues: Sequence[tuple[NDArray[np.bool_], str]], opacity: float = 0.55
) -> NDArray[Any]:
    """A gray plane (height, width) with colored tissues, each over those before it: (height, width, 3)."""
    picture = np.repeat(shades[..., None], 3, 2)
    for inside, color in tissues:
        picture[inside] = (1 - opacity) * shades[inside][:, None] + opacity * np.array(to_rgb(color))
    return picture


def draw_outline(ax: Axes, mask: NDArray[Any], color: str, width: float) -> None:
    """The outline of a mask (height, width), a boolean one or probabilities, if the plane cuts it."""
    if mask.min() < 0.5 < mask.max():
        ax.contour(mask.astype(np.float32), levels=[0.5], colors=[color], linewidths=width)


def draw_outlines(ax: Axes, masks: Mapping[str, NDArray[Any]], thinner: float = 1.0, task: Task = GLIOMA) -> None:
    """The outlines of regions, by name, in the colors and widths of `outlines_of`."""
    for region, (_, color, width) in outlines_of(task).items():
        draw_outline(ax, masks[region], color, thinner * width)


def draw_plane(
    ax: Axes,
    plane: NDArray[Any],
    black_white: tuple[float, float],
    outlines: Mapping[str, NDArray[Any]],
    thinner: float = 1.0,
    task: Task = GLIOMA,
    **style: Any,
) -> None:
    """A plane as it is shown, in gray, with the outlines of regions, if there are any, and without axes.

    Args:
        ax: where to draw.
        plane: (height, width).
        black_white: the intensities that are black and white, such as `window` gives.
        outlines: masks of the plane's size by region, as `draw_outlines` takes them; empty for none.
        thinner: factor of the lines' widths.
        task: what is shown.
        style: what else ``imshow`` is told.
    """
    ax.imshow(plane, "gray", vmin=black_white[0], vmax=black_white[1], **style)
    if outlines:
        draw_outlines(ax, outlines, thinner, task)
    ax.set_axis_off()


def outline_handles(letters: bool = True, task: Task = GLIOMA) -> list[Line2D]:
    """What a legend shows of `outlines_of`, with the regions' names in tables or without."""
    return [
        Line2D([], [], color=color, lw=width + 0.6, label=f"{name} ({region})" if letters and name != region else name)
        for region, (name, color, width) in outlines_of(task).items()
    ]


def sides(view: str) -> tuple[str, str]:
    """The side of the patient at the left, and at the top, of a plane as it is shown."""
    return "A" if view == "sagittal" else "R", "A" if view == "axial" else "S"


def write_sides(ax: Axes, view: str, size: float) -> None:
    """Write the sides of the patient into a plane."""
    left, top = sides(view)
    style: dict[str, Any] = {"transform": ax.transAxes, "color": "0.8", "size": size}
    ax.text(0.01, 0.5, left, ha="left", va="center", **style)
    ax.text(0.5, 0.99, top, ha="center", va="top", **style)

"""Planes of masks on their scan: filled regions, for absurd and attacked masks have no outline worth the name."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from dqe_loss.audit.stars_and_dice import Panel
from dqe_loss.task import Task
from dqe_loss.viz.hanging import gray, paint, told_axes, upright, window

# Inches.
_WIDTH, _TITLE, _GAP, _LEGEND = 2.0, 0.5, 0.08, 0.42


def draw_panels(rows: Sequence[Sequence[Panel]]) -> Figure:
    """Draw axial planes row by row, anterior up, the patient's right at the left.

    Args:
        rows: the planes; rows may differ in length.

    Returns:
        The figure.
    """
    columns = max(len(row) for row in rows)
    height = _WIDTH * max(panel.scan.shape[1] / panel.scan.shape[0] for row in rows for panel in row)
    size = (columns * (_WIDTH + _GAP) + _GAP, len(rows) * (height + _TITLE) + _LEGEND + _GAP)
    figure = Figure(figsize=size, facecolor="black")
    for i, row in enumerate(rows):
        top = _LEGEND + i * (height + _TITLE)
        for j, panel in enumerate(row):
            left = _GAP + j * (_WIDTH + _GAP)
            bottom = 1 - (top + _TITLE + height) / size[1]
            axes = figure.add_axes((left / size[0], bottom, _WIDTH / size[0], height / size[1]))
            _draw(axes, panel)
            for text, down, weight in ((panel.title, 0.22, "bold"), (panel.note, 0.42, "normal")):
                place = (left / size[0], 1 - (top + down) / size[1])
                figure.text(*place, text, color="white", size=9, weight=weight, va="baseline")
    task = rows[0][0].task
    handles = [Patch(color=task.color(region), label=_filled(region, task)) for region, _ in task.painting]
    figure.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(_GAP / size[0], 1 - 0.06 / size[1]),
        borderaxespad=0,
        ncols=len(handles),
        frameon=False,
        labelcolor="white",
        fontsize=9,
        handlelength=1.1,
    )
    return figure


def _filled(region: str, task: Task) -> str:
    """What a color stands for: what a region holds beyond the smaller ones that are painted over it."""
    inner = {t for r in task.regions if set(task.parts[r]) < set(task.parts[region]) for t in task.parts[r]}
    own = tuple(tissue for tissue in task.tissues if tissue in task.parts[region] and tissue not in inner)
    return task.list_titles(own) if own else task.title(region)


def _draw(axes: Axes, panel: Panel) -> None:
    task = panel.task
    if task.window:
        shades = gray(panel.scan, *task.window)
    else:
        shades = np.where(panel.scan != 0, gray(panel.scan, *window(panel.scan[panel.scan != 0])), 0)
    # Each region covers the one below it: a voxel shows one tissue.
    tissues = [(panel.regions[task.regions.index(region)], task.color(region)) for region, _ in task.painting]
    picture = paint(shades, tissues).transpose(1, 0, 2)
    axes.imshow(upright(picture, "axial", told_axes(panel.affine, task)), aspect="auto", interpolation="nearest")
    axes.set_axis_off()

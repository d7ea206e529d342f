"""A picture of where the rating thinks the error is: the rated planes with the two saliency maps over the scans.

Needs matplotlib (``pip install "dqe_loss[report]"``), and leaves its global state alone: no pyplot, no style.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dqe_loss.core.boxes import Box, array_box
from dqe_loss.explain.saliency import Saliency
from dqe_loss.extras import needs_extra
from dqe_loss.task import GLIOMA, Task

with needs_extra("report"):
    import matplotlib
    from matplotlib.axes import Axes
    from matplotlib.colors import ListedColormap, Normalize
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    from dqe_loss.viz.hanging import draw_outlines, hang, outline_handles, told_axes, upright, write_sides

MISSED, EXTRA = "#56B4E9", "#E69F00"
"""Colors of Okabe and Ito's palette for what the mask lacks, and for what it has too much."""
BRIGHTEST = 99.8
"""Percentile of a map, over the views, that has the full color."""

_PANEL, _MARGIN, _CAPTION, _TITLE, _BAR = 2.6, 0.1, 0.45, 0.38, 0.95  # inches
_BOX_MARGIN = 4  # voxels


def plot_saliency(
    saliency: Mapping[str, Saliency],
    errors: Mapping[str, Tensor] | None = None,
    *,
    titles: Mapping[str, str],
    unit: str = "stars",
    caption: str = "",
    modalities: tuple[str, ...] | None = None,
    task: Task = GLIOMA,
    affine: NDArray[Any] | None = None,
) -> Figure:
    """Draw one segmentation: a row for each view, and in it the scan with the mask, the two maps, and the true error.

    Maps are sums over regions or modalities. Planes are shown as radiologists hang them (`dqe_loss.viz.hanging`):
    anterior up in axial planes, superior up in the others, the patient's right (in sagittal planes anterior) at the
    left.

    Args:
        saliency: view to saliency of a batch of one.
        errors: view to the true error, bool ``(1, R, H, W)``, if a reference is known.
        titles: view to what is written over its row.
        unit: what ratings are called, such as ``"metric stars"`` (contract C12).
        caption: lines above the picture.
        modalities: the surrogate's order of modalities; the task's if None.
        task: what was rated; its first pictured modality is drawn.
        affine: of the exam's files, which says how their axes run; arrays are taken as LPS if None.

    Returns:
        The figure, to be written with ``figure.savefig``.
    """
    maps = {
        f"another label here would\nraise the {unit}": ({v: s.mask[0].sum(0) for v, s in saliency.items()}, "voxel"),
        f"this intensity matters\nto the {unit}": ({v: s.image[0].sum(0) for v, s in saliency.items()}, "intensity"),
    }
    columns = 1 + len(maps) + (errors is not None)
    boxes = {view: _box(one, errors[view] if errors else None) for view, one in saliency.items()}
    # One scale for all planes: as many inches a voxel as the widest one allows.
    scale = _PANEL / max(box[0].stop - box[0].start for box in boxes.values())
    heights = {view: scale * (box[1].stop - box[1].start) for view, box in boxes.items()}
    width = 2 * _MARGIN + columns * (_PANEL + _MARGIN)
    height = _CAPTION + sum(heights.values()) + len(boxes) * _TITLE + _BAR
    figure = Figure(figsize=(width, height), facecolor="white")
    figure.text(_MARGIN / width, 1 - 0.08 / height, caption, fontsize=9, va="top")
    top, codes = _CAPTION, told_axes(affine, task)
    for view, one in saliency.items():
        figure.text(_MARGIN / width, 1 - (top + 0.22) / height, titles[view], fontsize=9, weight="bold", va="center")
        top += _TITLE
        scan = one.scans[0, (modalities or task.modalities).index(task.pictured[0])].numpy()
        regions = one.regions[0].numpy()
        wrong = errors[view][0].numpy() if errors else None
        for column in range(columns):
            plane_width = scale * (boxes[view][0].stop - boxes[view][0].start)
            left = _MARGIN + column * (_PANEL + _MARGIN) + (_PANEL - plane_width) / 2
            place = (left / width, 1 - (top + heights[view]) / height, plane_width / width, heights[view] / height)
            ax = figure.add_axes(place)
            _show(ax, scan, boxes[view], view, codes, cmap="gray", vmin=0, vmax=1)
            if column in (1, 2):
                values, _ = list(maps.values())[column - 1]
                _show(ax, values[view].numpy(), boxes[view], view, codes, cmap=_colors(), norm=_norm(values))
            if column == 3 and wrong is not None:
                _draw_error(ax, wrong, regions, boxes[view], view, codes)
            else:
                _outline(ax, regions, boxes[view], view, codes, task, thin=column > 0)
            if codes:
                write_sides(ax, view, 7)
        top += heights[view]
    _explain(figure, maps, unit, columns, task)
    return figure


def _explain(
    figure: Figure, maps: Mapping[str, tuple[dict[str, Tensor], str]], unit: str, columns: int, task: Task
) -> None:
    """What each column shows, below it: outlines, a color bar with its unit for each map, the error's colors."""
    width, height = figure.get_size_inches()
    lefts = [_MARGIN + column * (_PANEL + _MARGIN) for column in range(columns)]
    style: dict[str, Any] = {"frameon": False, "fontsize": 8, "borderaxespad": 0, "handlelength": 1.4}

    def put(column: int, handles: list[Any], title: str) -> None:
        anchor = (lefts[column] / width, (_BAR - 0.08) / height)
        legend = figure.legend(handles=handles, title=title, loc="upper left", bbox_to_anchor=anchor, **style)
        legend.get_title().set_fontsize(8)
        legend.set_alignment("left")

    put(0, outline_handles(task=task), f"{task.title(task.pictured[0])} with the rated mask")
    for column, (title, (values, per)) in enumerate(maps.items(), 1):
        bar = figure.add_axes((lefts[column] / width, 0.32 / height, _PANEL / width, 0.1 / height))
        norm = _norm(values)
        ticks = np.linspace(0, 1, 256)[None]
        bar.imshow(ticks, aspect="auto", cmap=_colors(opaque=True), extent=(0, 1e3 * (norm.vmax or 1), 0, 1))
        bar.set_yticks([])
        bar.tick_params(labelsize=7, length=2, pad=1)
        bar.set_xlabel(f"thousandths of {unit} per {'voxel' if per == 'voxel' else 'unit of scaled intensity'}")
        bar.xaxis.label.set_fontsize(7)
        bar.xaxis.labelpad = 1
        bar.set_title(title, fontsize=8, loc="left", pad=3)
    if columns > 1 + len(maps):
        error = [Patch(color=MISSED, label="missed by the mask"), Patch(color=EXTRA, label="too much in the mask")]
        put(columns - 1, error, "the true error (any region)")


def _norm(values: Mapping[str, Tensor]) -> Normalize:
    """From 0 to nearly the largest value of all views; to 1 if there is none."""
    everything = torch.cat([one.flatten() for one in values.values()]).numpy()
    return Normalize(0, float(np.percentile(everything, BRIGHTEST)) or float(everything.max()) or 1.0, clip=True)


def _colors(opaque: bool = False) -> ListedColormap:
    """Inferno, even in lightness and told apart by color-blind readers; transparent where there is little."""
    colors = matplotlib.colormaps["inferno"](np.linspace(0.15, 1, 256))
    alpha = np.clip(np.linspace(0, 2.5, 256), 0, 0.85)[:, None]
    colors[:, 3:] = 1 if opaque else alpha
    if opaque:  # as it looks over middle gray
        colors[:, :3] = alpha * colors[:, :3] + (1 - alpha) * 0.45
    return ListedColormap(colors)


def _show(ax: Axes, plane: NDArray[Any], box: Box, view: str, codes: Sequence[str] | None, **style: Any) -> None:
    ax.imshow(upright(hang(plane[box], view), view, codes), aspect="auto", interpolation="nearest", **style)
    ax.set_axis_off()


def _outline(
    ax: Axes,
    regions: NDArray[np.bool_],
    box: Box,
    view: str,
    codes: Sequence[str] | None,
    task: Task,
    thin: bool,
) -> None:
    hung = [upright(hang(mask[box], view), view, codes) for mask in regions]
    masks = dict(zip(task.regions, hung, strict=True))
    draw_outlines(ax, masks, 0.4 if thin else 1.0, task)


def _draw_error(
    ax: Axes,
    wrong: NDArray[np.bool_],
    regions: NDArray[np.bool_],
    box: Box,
    view: str,
    codes: Sequence[str] | None,
) -> None:
    missed, extra = (wrong & ~regions).any(0), (wrong & regions).any(0)
    for where, color in ((missed, MISSED), (extra, EXTRA)):
        _show(ax, np.where(where, 1.0, np.nan), box, view, codes, cmap=ListedColormap([color]), alpha=0.75)


def _box(saliency: Saliency, error: Tensor | None) -> Box:
    """Where there is brain, a label or an error, with a margin; the whole plane if there is nothing."""
    occupied = saliency.inside[0] if error is None else saliency.inside[0] | error[0].any(0)
    x, y = occupied.shape
    return array_box(occupied.numpy(), _BOX_MARGIN) or (slice(0, x), slice(0, y))

"""A picture of what the surrogate saw: the rated planes with the outlines of the regions.

Needs matplotlib (``pip install "dqe_loss[report]"``), and leaves its global state alone: no pyplot, no style.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dqe_loss.core.boxes import Box, array_box
from dqe_loss.core.center_of_mass import hard_center_of_mass
from dqe_loss.core.centers import plane_title
from dqe_loss.core.labels import SchemeLike, regions_from_labels
from dqe_loss.core.labels import label_scheme as find_scheme
from dqe_loss.core.slicing import VIEW_AXIS, in_plane
from dqe_loss.data.exams import Exam
from dqe_loss.extras import needs_extra
from dqe_loss.surrogate.lowest import LowestPlanes
from dqe_loss.task import GLIOMA, Task
from dqe_loss.viz.hanging import draw_plane, hung_plane, outline_handles, told_axes, window, write_sides

with needs_extra("rate"):
    from nibabel.affines import voxel_sizes

SHOWN = 2
"""So many of the task's pictured modalities, side by side."""

# Inches.
_INCHES_PER_MM = 0.0155
_HEADER, _TITLE, _GAP, _VIEW_GAP, _MARGIN = 0.85, 0.72, 0.04, 0.24, 0.14
_LETTER = 0.09  # a letter's width, on average, in captions and titles
_BOX_MARGIN = 5  # voxels


def plot_planes(
    exam: Exam,
    ratings: Mapping[str, Mapping[str, float]],
    *,
    label_scheme: SchemeLike | None = None,
    planes: Mapping[str, LowestPlanes] | None = None,
    unit: str = "stars",
    caption: str = "",
    task: Task = GLIOMA,
) -> Figure:
    """Draw the rated planes of an exam on the first pictured modalities, one row for each rated segmentation.

    Planes are shown as radiologists hang them (`dqe_loss.viz.hanging`): anterior up in axial planes, superior up in the
    others, the patient's right (in sagittal planes anterior) at the left. All planes have one scale.

    Args:
        exam: the exam, with the segmentations that are rated.
        ratings: segmentation to a rating for each of the task's views and ``"mean"``.
        label_scheme: the label maps' scheme; the task's default if None.
        planes: segmentation to the planes that its ratings are of; those through its own center if None.
        unit: what the ratings are called, e.g. ``"metric stars"`` (contract C12).
        caption: a line above the picture.
        task: what was rated.

    Returns:
        The figure, to be written with ``figure.savefig``.

    Raises:
        ValueError: if there is no rating.
    """
    if not ratings:
        raise ValueError("expected the rating of at least one segmentation, got none")
    scheme, views, shown = find_scheme(label_scheme, task), task.views, task.pictured[:SHOWN]
    box = bounding_box(exam, ratings)
    spacing = voxel_sizes(exam.affine)
    extent = [(s.stop - s.start) * mm * _INCHES_PER_MM for s, mm in zip(box, spacing, strict=True)]
    sizes = {view: in_plane(extent, view) for view in views}
    # Small organs are drawn larger, so that the titles of neighboring views fit.
    room = _LETTER * len(f"sagittal, X = 100: 1.00 {unit}")
    scale = max(1.0, *((room - _GAP * (len(shown) - 1)) / (len(shown) * size[0]) for size in sizes.values()))
    sizes = {view: [scale * side for side in size] for view, size in sizes.items()}
    pair_widths = {view: len(shown) * (size[0] + _GAP) - _GAP for view, size in sizes.items()}
    row_height = _TITLE + max(height for _, height in sizes.values())
    drawn = sum(pair_widths.values()) + _VIEW_GAP * (len(views) - 1)
    width = 2 * _MARGIN + max(drawn, _LETTER * len(caption))
    height = _HEADER + row_height * len(ratings) + _MARGIN
    figure = Figure(figsize=(width, height), facecolor="black")
    # The letters would mislead where the header says that the arrays are not what they are taken for.
    codes = told_axes(exam.affine, task)

    def write(x: float, from_top: float, text: str, **style: Any) -> None:
        figure.text(x / width, 1 - from_top / height, text, color="white", va="baseline", **style)

    write(_MARGIN, 0.27, caption, size=11)
    # Below the caption, which is long where it has to say that no human gave the stars.
    figure.legend(
        handles=outline_handles(task=task),
        loc="upper right",
        bbox_to_anchor=(1 - _MARGIN / width, 1 - 0.33 / height),
        borderaxespad=0,
        ncols=len(task.regions),
        frameon=False,
        labelcolor="white",
        fontsize=11,
        handlelength=1.4,
    )
    for row, (name, stars) in enumerate(ratings.items()):
        top = _HEADER + row * row_height
        write(_MARGIN, top, f"{name}: mean {stars['mean']:.2f} {unit}", size=12, weight="bold")
        regions = regions_from_labels(torch.from_numpy(exam.segmentations[name])[None, None], scheme)
        center = (planes[name].center if planes else hard_center_of_mass(regions, task))[0].tolist()
        left = _MARGIN
        for view in views:
            axis, (panel_width, panel_height) = VIEW_AXIS[view], sizes[view]
            place = planes[name].places[0][view] if planes else "mask"
            title = f"{plane_title(view, center[axis], place, task)}: {stars[view]:.2f} {unit}"
            write(left + pair_widths[view] / 2, top + 0.35, title, size=11, ha="center")
            down = top + _TITLE + (row_height - _TITLE - panel_height) / 2 - 0.2
            masks = dict(zip(task.regions, regions[0].numpy(), strict=True))
            outlines = {name: hung_plane(mask, view, center, box, codes) for name, mask in masks.items()}
            for modality in shown:
                bottom = 1 - (down + panel_height) / height
                ax = figure.add_axes((left / width, bottom, panel_width / width, panel_height / height))
                plane = hung_plane(exam.image[task.modalities.index(modality)], view, center, box, codes)
                shades = task.window or window(plane[plane > 0])
                draw_plane(ax, plane, shades, outlines, task=task, aspect="auto", interpolation="bilinear")
                _annotate(ax, task.title(modality), view, codes is not None)
                left += panel_width + _GAP
            left += _VIEW_GAP - _GAP
    return figure


def _annotate(ax: Axes, label: str, view: str, letters: bool) -> None:
    """Write the modality, and the side of the patient at the left and at the top."""
    ax.text(0.02, 0.02, label, ha="left", va="bottom", transform=ax.transAxes, color="0.8", size=9)
    if letters:
        write_sides(ax, view, 9)


def bounding_box(exam: Exam, names: Iterable[str]) -> Box:
    """Box around the head and all that is segmented (a failed mask can leave the head), with a margin."""
    occupied: NDArray[np.bool_] = np.any(exam.image > 0, axis=0)
    for name in names:
        occupied |= exam.segmentations[name] > 0
    x, y, z = occupied.shape
    return array_box(occupied, _BOX_MARGIN) or (slice(0, x), slice(0, y), slice(0, z))

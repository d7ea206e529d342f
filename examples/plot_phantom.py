"""Draw the phantom: four modalities in three views, with the outlines of its reference segmentation.

Run: ``python examples/plot_phantom.py --seed 0 --out docs/phantom.png``. Needs matplotlib
(``pip install "dqe_loss[report]"``).
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from dqe_loss import REGIONS, regions_from_labels
from dqe_loss.core.slicing import VIEW_AXIS, VIEWS
from dqe_loss.data.exams import Exam
from dqe_loss.data.phantom import make_phantom
from dqe_loss.viz.planes import OUTLINES

TITLES = ("T1c", "T1", "T2", "FLAIR")
OUTLINED = ("T1", "FLAIR")
"""The other two stay bare, for the tumor to be seen."""
WINDOW = (0.5, 99.8)
"""Percentiles of the brain's intensities that are black and white."""
MARGIN = 4
"""Voxels of air around the brain."""


def main(seed: int = 0, out: Path = Path("phantom.png"), dpi: int = 80) -> None:
    """Draw a phantom.

    Args:
        seed: Seed of the phantom.
        out: Picture to write; the ending says the format.
        dpi: Dots per inch of a picture 10 inches wide.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    plot(make_phantom(seed)).savefig(out, dpi=dpi, facecolor="black")


def plot(exam: Exam) -> Figure:
    """Draw planes through the middle of the tumor core, hung as radiologists do: the patient's left is right.

    Args:
        exam: an exam in LPS, as `make_phantom` draws them.

    Returns:
        The figure: a row for each view, a column for each modality, all at one scale.
    """
    labels = exam.segmentations["reference"]
    corners = np.argwhere(exam.image[0] > 0)
    low, high = np.maximum(corners.min(0) - MARGIN, 0), corners.max(0) + MARGIN + 1
    x, y, z = (slice(a, b) for a, b in zip(low, high, strict=True))
    labels, image = labels[x, y, z], exam.image[:, x, y, z]
    center = np.argwhere((labels == 1) | (labels == 3)).mean(0).astype(int)

    masks = regions_from_labels(torch.from_numpy(labels)[None, None], "brats23")[0].numpy()
    regions = dict(zip(REGIONS, masks, strict=True))
    # Columns are as wide as the longest plane, so that all planes have one scale.
    shapes = [take_plane(labels, view, center).shape for view in VIEWS]
    heights = [rows / max(columns for _, columns in shapes) for rows, _ in shapes]
    head, width = 0.6, 2.5
    height = head + width * sum(heights)
    figure = Figure(figsize=(4 * width, height), facecolor="black")
    grid = figure.add_gridspec(
        3,
        4,
        height_ratios=heights,
        left=0,
        right=1,
        bottom=0,
        top=1 - head / height,
        wspace=0.02,
        hspace=0.02,
    )
    for column, (title, volume) in enumerate(zip(TITLES, image, strict=True)):
        black, white = np.percentile(volume[volume > 0], WINDOW)
        for row, view in enumerate(VIEWS):
            axes = figure.add_subplot(grid[row, column])
            axes.axis("off")
            axes.imshow(take_plane(volume, view, center), cmap="gray", vmin=black, vmax=white)
            if row == 0:
                axes.set_title(title, color="white", fontsize=11, pad=4)
            if title in OUTLINED:
                for region, (_, color, line) in OUTLINES.items():
                    mask = take_plane(regions[region], view, center)
                    if mask.any():
                        axes.contour(mask, [0.5], colors=[color], linewidths=line)
    handles = [Line2D([], [], color=color, lw=line + 0.6, label=name) for name, color, line in OUTLINES.values()]
    figure.legend(
        handles=handles,
        loc="upper center",
        ncols=3,
        frameon=False,
        labelcolor="white",
        fontsize=10,
        borderaxespad=0.2,
    )
    return figure


def take_plane(volume: NDArray[Any], view: str, center: NDArray[np.intp]) -> NDArray[Any]:
    """Cut a plane (rows down, columns right) out of an LPS volume: anterior or superior is up."""
    axis = VIEW_AXIS[view]
    plane: NDArray[Any] = volume.take(int(center[axis]), axis=axis).T
    return plane if view == "axial" else plane[::-1]


if __name__ == "__main__":
    tyro.cli(main)

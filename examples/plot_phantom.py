"""Draw the phantom: four modalities in three views, with the outlines of its reference segmentation.

Run: ``python examples/plot_phantom.py --seed 0 --out docs/phantom.png``. Needs matplotlib
(``pip install "dqe_loss[report]"``).
"""

from pathlib import Path

import numpy as np
import torch
import tyro
from matplotlib.figure import Figure

from dqe_loss import REGIONS, regions_from_labels
from dqe_loss.core.boxes import array_box
from dqe_loss.core.slicing import VIEWS
from dqe_loss.data.exams import Exam
from dqe_loss.data.phantom import make_phantom
from dqe_loss.viz.hanging import draw_plane, hung_plane, outline_handles, window

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
    box = array_box(exam.image[0] > 0, MARGIN) or ()
    labels, image = labels[box], exam.image[(slice(None), *box)]
    center = np.argwhere((labels == 1) | (labels == 3)).mean(0).astype(int).tolist()

    masks = regions_from_labels(torch.from_numpy(labels)[None, None], "brats23")[0].numpy()
    regions = dict(zip(REGIONS, masks, strict=True))
    # Columns are as wide as the longest plane, so that all planes have one scale.
    whole = (slice(None),) * 3
    shapes = [hung_plane(labels, view, center, whole).shape for view in VIEWS]
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
        shades = window(volume[volume > 0], WINDOW)
        for row, view in enumerate(VIEWS):
            axes = figure.add_subplot(grid[row, column])
            outlined = regions.items() if title in OUTLINED else ()
            outlines = {name: hung_plane(mask, view, center, whole) for name, mask in outlined}
            draw_plane(axes, hung_plane(volume, view, center, whole), shades, outlines)
            if row == 0:
                axes.set_title(title, color="white", fontsize=11, pad=4)
    figure.legend(
        handles=outline_handles(letters=False),
        loc="upper center",
        ncols=3,
        frameon=False,
        labelcolor="white",
        fontsize=10,
        borderaxespad=0.2,
    )
    return figure


if __name__ == "__main__":
    tyro.cli(main)

"""Draw the segmentation errors of `dqe_loss.data.corruption` on a phantom, and the metric stars that they get.

Run: ``python examples/plot_corruptions.py --sheet docs/corruptions.png --stars docs/metric_stars.png`` (about a
minute). Needs matplotlib (``pip install "dqe_loss[report]"``).
"""

from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
import tyro
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray
from torch import Tensor

from dqe_loss import regions_from_labels
from dqe_loss.core.boxes import array_box
from dqe_loss.core.center_of_mass import hard_center_of_mass
from dqe_loss.data.corruption import CORRUPTIONS, corrupt
from dqe_loss.data.exams import Exam
from dqe_loss.data.phantom import make_phantom
from dqe_loss.metrics.metric_stars import metric_stars, metric_stars_of_views
from dqe_loss.metrics.overlap import region_dice
from dqe_loss.viz.hanging import OUTLINES, draw_outline, gray, hang, paint, window

SHOWN = (0.1, 0.5, 1.0)
"""Severities of the contact sheet."""
CURVE = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Severities of the curves."""
TISSUES = {
    2: ("edema", OUTLINES["WT"][1]),
    1: ("necrosis", OUTLINES["TC"][1]),
    3: ("enhancing tumor", OUTLINES["ET"][1]),
}
"""Label to name and color."""
WINDOW = (0.5, 98.5)
"""Percentiles of the brain's intensities that are black and white."""
MARGIN = 3
"""Voxels of air around the brain."""
CONTENT = ("blobs", "holes", "drop", "swap", "other", "whole_brain")
"""Errors of content; the others are of place and shape."""


def main(
    seed: int = 0, sheet: Path = Path("corruptions.png"), stars: Path = Path("metric_stars.png"), phantoms: int = 3
) -> None:
    """Draw both pictures.

    Args:
        seed: Seed of the first phantom, which is drawn.
        sheet: Contact sheet to write.
        stars: Curves of metric stars to write.
        phantoms: Number of phantoms that the curves are the mean of.
    """
    exams = [make_phantom(seed + i) for i in range(max(phantoms, 1) + 1)]
    for path in (sheet, stars):
        path.parent.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {"pil_kwargs": {"optimize": True}} if sheet.suffix == ".png" else {}
    plot_sheet(exams).savefig(sheet, dpi=90, facecolor="black", **options)
    plot_stars(exams).savefig(stars, dpi=110)


def plot_sheet(exams: list[Exam]) -> Figure:
    """Every error of the first exam at three severities, in the axial plane through the center of its reference."""
    exam, reference = exams[0], exams[0].segmentations["reference"]
    z = int(hard_center_of_mass(to_regions(reference))[0, 2])
    # Of the others the one that has most tumor in this plane, for the error to be seen.
    other = max(exams[1:], key=lambda one: int((one.segmentations["reference"][:, :, z] > 0).sum()))
    x, y = array_box(exam.image[3].max(2) > 0, MARGIN) or (slice(None),) * 2
    flair = exam.image[3][x, y, z]

    groups, panel = 2, 1.75
    rows = -(-len(CORRUPTIONS) // groups)
    high, head, title = panel * flair.shape[1] / flair.shape[0], 0.5, 0.3
    width, height = groups * (len(SHOWN) * panel + 0.15), head + rows * (high + title)
    figure = Figure(figsize=(width, height))
    for index, name in enumerate(CORRUPTIONS):
        row, group = index % rows, index // rows
        for column, severity in enumerate(SHOWN):
            left = group * (len(SHOWN) * panel + 0.15) + column * panel
            bottom = height - head - (row + 1) * (high + title)
            axes = figure.add_axes((left / width, bottom / height, panel / width * 0.98, high / height))
            labels = make_error(exam, other, name, severity)
            stars = metric_stars(to_regions(labels), to_regions(reference)).item()
            draw(axes, flair, labels[x, y, z], reference[x, y, z])
            text = f"{name} {severity:g}: {stars:.1f}" if column == 0 else f"{severity:g}: {stars:.1f}"
            axes.set_title(text, color="white", fontsize=11, pad=3)
    handles: list[Any] = [Patch(color=color, label=label) for label, color in TISSUES.values()]
    handles.append(Line2D([], [], color="white", lw=1, label="reference"))
    figure.legend(handles=handles, loc="upper right", ncols=4, frameon=False, labelcolor="white", fontsize=11)
    caption = "error, severity: metric stars of the volume (1 to 6)"
    figure.text(0.01, 1 - 0.3 / height, caption, color="white", fontsize=11)
    return figure


def draw(axes: Any, plane: NDArray[Any], labels: NDArray[np.uint8], reference: NDArray[np.uint8]) -> None:
    """One plane (width, height) with colored tissues and the outline of the reference; anterior up."""
    shades = 0.85 * gray(plane, *window(plane[plane > 0], WINDOW))
    picture = paint(shades, [(labels == label, color) for label, (_, color) in TISSUES.items()])
    # Fewer grays make the file half as large; the eye cannot tell.
    axes.imshow(np.round(picture * 40).transpose(1, 0, 2) / 40, interpolation="nearest")
    draw_outline(axes, hang(reference > 0, "axial"), "white", 0.9)
    axes.axis("off")


def plot_stars(exams: list[Exam]) -> Figure:
    """Metric stars against Dice and against severity, means of phantoms and views."""
    colors = dict(zip(CORRUPTIONS, matplotlib.colormaps["tab20"].colors, strict=False))  # type: ignore[attr-defined]
    figure = Figure(figsize=(13, 5.2), layout="constrained")
    scatter, shape, content = figure.subplots(1, 3)
    for name, color in colors.items():
        points = np.array(
            [[score(exam, other, name, severity) for severity in CURVE] for exam, other in pairwise(exams)]
        )
        scatter.scatter(points[..., 1], points[..., 2], s=9, color=color, alpha=0.8, linewidths=0)
        axes = content if name in CONTENT else shape
        axes.plot(CURVE, points[..., 0].mean(0), color=color, lw=1.8, marker="o", ms=3, label=name)
    scatter.set(
        xlabel="Dice of the volume, mean of TC, WT, ET",
        title="Against Dice (colors as at the right)",
        xlim=(-0.02, 1.02),
    )
    shape.set(xlabel="severity", title="Errors of place and shape")
    content.set(xlabel="severity", title="Errors of content")
    scatter.set_ylabel("metric stars of the volume")
    shape.set_ylabel("metric stars, mean of the views")
    for axes in (scatter, shape, content):
        axes.set_ylim(0.9, 6.1)
        axes.grid(alpha=0.3)
    shape.legend(frameon=False, ncols=2, fontsize=9)
    content.legend(frameon=False, loc="lower left", fontsize=9)
    return figure


def score(exam: Exam, other: Exam, name: str, severity: float) -> tuple[float, float, float]:
    """Metric stars (mean of the views), mean Dice of the volume, metric stars of the volume."""
    reference = to_regions(exam.segmentations["reference"])
    prediction = to_regions(make_error(exam, other, name, severity))
    stars = metric_stars_of_views(prediction, reference).mean().item()
    dice = region_dice(prediction, reference).mean().item()
    return stars, dice, metric_stars(prediction, reference).item()


def make_error(exam: Exam, other: Exam, name: str, severity: float) -> NDArray[np.uint8]:
    """One error of a phantom's reference, the same one at each severity."""
    return corrupt(
        exam.segmentations["reference"],
        [(name, severity)],
        rng=np.random.default_rng(1),
        brain=exam.image[0] > 0,
        other=other.segmentations["reference"],
    )


def to_regions(labels: NDArray[np.uint8]) -> Tensor:
    """Regions (1, 3, X, Y, Z) of a label map."""
    return regions_from_labels(torch.from_numpy(labels)[None, None], "brats23")


if __name__ == "__main__":
    tyro.cli(main)

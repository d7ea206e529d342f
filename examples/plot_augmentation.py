"""Draw what augmentation does to a plane of the phantom: each transform alone, and whole draws.

Run: ``python examples/plot_augmentation.py --out docs/augmentation.png``. Needs matplotlib, torchio and
batchgenerators (``pip install "dqe_loss[report,train]"``).
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import tyro
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from dqe_loss import MODALITIES, REGIONS, regions_from_labels
from dqe_loss.core.center_of_mass import hard_center_of_mass
from dqe_loss.core.intensity import scale_planes
from dqe_loss.core.slicing import VIEW_AXIS, pad_planes, take_planes
from dqe_loss.data.augmentation.augment import TRANSFORMS, AugmentationConfig, augment
from dqe_loss.data.phantom import make_phantom
from dqe_loss.viz.hanging import draw_plane, hang, outline_handles, window

SHOWN = ("flair", "t1c")
"""Edema is read on FLAIR, core and enhancement on T1c."""
WIDTH, HEIGHT = 164, 192
"""Voxels of a plane that are shown: any augmented brain fits in."""
WINDOW = (0.5, 99.8)
"""Percentiles of the original's intensities that are black and white."""
COLUMNS = 4
TRIALS = 15
DRAWS = 6
"""Whole draws, after the original and each transform alone."""

Plane = tuple[Tensor, Tensor]


def main(seed: int = 4, out: Path = Path("augmentation.png"), dpi: int = 74) -> None:
    """Draw the sheet.

    Args:
        seed: Seed of the draws; the phantom is always the same.
        out: Picture to write; the ending says the format.
        dpi: Dots per inch of a picture 16 inches wide.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    plane = phantom_plane()
    cells = {"original": plane, **single_transforms(plane, seed), **whole_draws(plane, seed)}
    plot(cells).savefig(out, dpi=dpi, facecolor="black")


def phantom_plane(view: str = "axial") -> Plane:
    """The phantom's plane through its tumor, scaled and padded as the network takes it."""
    exam = make_phantom(0)
    image = torch.from_numpy(exam.image)[None].float()
    regions = regions_from_labels(torch.from_numpy(exam.segmentations["reference"])[None, None], "brats23").bool()
    position = hard_center_of_mass(regions)[:, VIEW_AXIS[view], None]
    scans, mask = (take_planes(volume, position, view)[0, 0] for volume in (image, regions))
    return pad_planes(scale_planes(scans)), pad_planes(mask)


def single_transforms(plane: Plane, seed: int) -> dict[str, Plane]:
    """Each transform alone, on every scan that it can strike: the draw of median strength out of `TRIALS`."""
    config = replace(AugmentationConfig(), scan_probability=1.0)
    cells = {}
    for name in TRANSFORMS:
        draws = [augment(*plane, config.only(name), (seed, trial)) for trial in range(TRIALS)]
        strengths = [float((scans - plane[0]).abs().mean()) for scans, _ in draws]
        cells[name.replace("_", " ")] = draws[strengths.index(sorted(strengths)[TRIALS // 2])]
    return cells


def whole_draws(plane: Plane, seed: int) -> dict[str, Plane]:
    """What a network gets to see, at the default probabilities."""
    return {f"draw {draw}": augment(*plane, AugmentationConfig(), (seed, draw)) for draw in range(1, DRAWS + 1)}


def plot(cells: dict[str, Plane]) -> Figure:
    """Draw planes with the outlines of their regions, FLAIR left, T1c right, at the original's window."""
    original = cells["original"][0]
    rows = -(-len(cells) // COLUMNS)
    panel, head, title = 2.0, 0.35, 0.3  # inches: a panel's width, the legend's and a title's height
    width, cell_height = 2 * panel * COLUMNS, panel * HEIGHT / WIDTH + title
    height = head + rows * cell_height
    figure = Figure(figsize=(width, height), facecolor="black")
    for index, (name, (scans, regions)) in enumerate(cells.items()):
        row, column = divmod(index, COLUMNS)
        top, left = head + row * cell_height, 2 * panel * column
        figure.text((left + panel) / width, 1 - (top + 0.18) / height, name, color="white", size=12, ha="center")
        for side, modality in enumerate(SHOWN):
            bottom = 1 - (top + cell_height) / height
            box = ((left + side * panel) / width, bottom, panel * 0.99 / width, (cell_height - title) / height)
            axes = figure.add_axes(box)
            channel = MODALITIES.index(modality)
            brain = original[channel][original[channel] > 0].numpy()
            outlines = {name: _crop(mask) for name, mask in zip(REGIONS, regions, strict=True)}
            draw_plane(axes, _crop(scans[channel]), window(brain, WINDOW), outlines, 0.6, aspect="auto")
    legend = {"loc": "upper center", "ncols": 3, "frameon": False, "labelcolor": "white", "fontsize": 12}
    figure.legend(handles=outline_handles(letters=False), borderaxespad=0.1, **legend)
    return figure


def _crop(plane: Tensor) -> NDArray[Any]:
    """The middle of an axial plane (X, Y), as it hangs on the wall."""
    first, second = (plane.shape[0] - WIDTH) // 2, (plane.shape[1] - HEIGHT) // 2
    return hang(plane[first : first + WIDTH, second : second + HEIGHT].numpy(), "axial")


if __name__ == "__main__":
    tyro.cli(main)

"""Stars, gradient ratio and shares in nnU-Net's own log and in its ``progress.png``."""

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from nnunetv2.training.logging.nnunet_logger import LocalLogger
from PIL import Image

SERIES = {
    "dqe_stars_train": "stars of the predictions, training",
    "dqe_stars_val": "stars of the predictions, validation",
    "dqe_target_stars": "stars of the targets (warm-up)",
    "dqe_gradient_ratio": "gradient ratio, before the cap",
    "dqe_guard_kept": "share kept by the guard",
    "dqe_rated": "share of patches rated",
}
"""What is logged for each epoch, with its words in the plot; not a number where it was not measured."""


class ProgressLogger(LocalLogger):  # type: ignore[misc]
    """nnU-Net's logger with the term's series, drawn below its own in ``progress.png``."""

    scale = (1.0, 6.0)
    """Lowest and highest stars, of the plot."""

    def __init__(self, verbose: bool = False) -> None:
        super().__init__(verbose)
        self._complete()

    def load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with the log of a checkpoint, whether or not the term took part in it."""
        super().load_checkpoint(checkpoint)
        self._complete()

    def plot_progress_png(self, output_folder: str) -> None:
        """Write nnU-Net's plot, and add the term's panels below."""
        super().plot_progress_png(output_folder)
        path = Path(output_folder) / "progress.png"
        with Image.open(path) as stored:
            upper = stored.convert("RGB")
        lower = _as_image(self._draw(upper.width))
        both = Image.new("RGB", (upper.width, upper.height + lower.height))
        both.paste(upper)
        both.paste(lower, (0, upper.height))
        content = io.BytesIO()
        both.save(content, "png", compress_level=1)  # all processes wait for it, once an epoch
        path.write_bytes(content.getvalue())

    def _complete(self) -> None:
        epochs = len(self.my_fantastic_logging["train_losses"])
        for name in SERIES:
            self.my_fantastic_logging.setdefault(name, [math.nan] * epochs)

    def _draw(self, width: int) -> Figure:
        figure = Figure(figsize=(width / 100, 24), dpi=100)
        above, below = figure.subplots(2, 1)
        ratio = above.twinx()
        low, high = self.scale
        margin = 0.04 * (high - low)
        for axes, names in (
            (above, ("dqe_stars_train", "dqe_stars_val", "dqe_target_stars")),
            (ratio, ("dqe_gradient_ratio",)),
            (below, ("dqe_guard_kept", "dqe_rated")),
        ):
            for name, color in zip(names, ("b", "r", "g") if axes is not ratio else ("0.4",), strict=False):
                values = self.my_fantastic_logging[name]
                axes.plot(
                    range(len(values)), values, color=color, marker="o", markersize=14, linewidth=4, label=SERIES[name]
                )
        above.set(xlabel="epoch", ylabel="stars", ylim=(low - margin, high + margin))
        measured = [value for value in self.my_fantastic_logging["dqe_gradient_ratio"] if value > 0]
        ratio.set(ylabel="gradient ratio", yscale="log", ylim=(min([0.1, *measured]) / 2, max([10, *measured]) * 2))
        ratio.yaxis.set_major_formatter("{x:g}")
        ratio.grid(visible=False)
        below.set(xlabel="epoch", ylabel="share", ylim=(-0.02, 1.02))
        above.legend(loc="lower left", bbox_to_anchor=(0, 1))
        ratio.legend(loc="lower right", bbox_to_anchor=(1, 1))
        below.legend(loc="lower left", bbox_to_anchor=(0, 1))
        figure.tight_layout()
        return figure


def _as_image(figure: Figure) -> Image.Image:
    """A figure as a picture."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")

"""What plots share: colors, axes, points and legends, and how a figure becomes a file.

Colors are of Okabe and Ito's palette, and markers differ as well.
"""

import io

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from dqe_loss.metrics.agreement import agreement

BLUE, ORANGE, GREEN, RED, PURPLE, SKY, BLACK = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#CC79A7",
    "#56B4E9",
    "#000000",
)
GRAY = "0.45"
MARKERS = "osD^vPX"
Scale = tuple[float, float]
_MANY = 3000  # points beyond which they are drawn as pixels in an SVG
_DPI = 150

Array = NDArray[np.float64]


def save_figure(figure: Figure, kind: str) -> bytes:
    """A figure as the content of a ``"png"`` or ``"svg"`` file; the same data give the same bytes."""
    content = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else None
    with mpl.rc_context({"svg.hashsalt": "dqe_loss"}):
        figure.savefig(content, format=kind, dpi=_DPI, metadata=metadata)
    return content.getvalue()


def draw_grid(axes: Axes) -> None:
    """Axes as all figures have them: open at the top and the right, with a pale grid behind what is drawn."""
    axes.grid(color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def new_figure(width: float, height: float, title: str, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure of this size in inches with its axes side by side, and a title above if it is not empty."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    all_axes: list[Axes] = list(figure.subplots(1, columns, squeeze=False)[0])
    for axes in all_axes:
        draw_grid(axes)
    if title:
        figure.suptitle(title, fontsize=12)
    return figure, all_axes


def scatter(axes: Axes, x: Array, y: Array, color: str, marker: str = "o", label: str = "") -> None:
    """Points of segmentations, paler and smaller where there are many."""
    crowded = len(x) > 200
    axes.scatter(
        x,
        y,
        s=14 if crowded else 34,
        color=color,
        marker=marker,
        alpha=0.5 if crowded else 0.75,
        linewidths=0.4,
        edgecolors="white",
        label=label or f"segmentations ({len(x)})",
        rasterized=len(x) > _MANY,
    )


def draw_fit(axes: Axes, x: Array, y: Array, prefix: str = "") -> None:
    """The least-squares line over the range of x, where there is one."""
    r = agreement(x, y)["pearson"]
    if np.isnan(r):
        axes.plot([], [], color=RED, label="no fit: values are constant")
        return
    fit = stats.linregress(x, y)
    ends = np.array([x.min(), x.max()])
    line = f"{format_value(fit.slope)} x {'+' if fit.intercept >= 0 else '−'} {abs(fit.intercept):.2f}"
    text = f"{prefix}fit {line}, r = {format_value(r)}"
    axes.plot(ends, fit.intercept + fit.slope * ends, color=RED, linewidth=2, label=text)


def label_axes(axes: Axes, x: str, y: str) -> None:
    """Say what the axes are."""
    axes.set_xlabel(x, fontsize=11)
    axes.set_ylabel(y, fontsize=11)
    axes.tick_params(labelsize=10)


def legend_above(axes: Axes, columns: int) -> None:
    """A legend above the axes, if anything in them is labeled."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=columns, frameon=False, fontsize=9.5)


def star_limits(scale: Scale, *values: Array) -> tuple[float, float]:
    """The scale of the stars, and what lies outside it; a surrogate's ratings can."""
    together = np.concatenate([*values, scale])
    margin = 0.04 * (scale[1] - scale[0])
    return float(together.min()) - margin, float(together.max()) + margin


def as_floats(values: ArrayLike) -> Array:
    """Any numbers as float64."""
    return np.asarray(values, dtype=np.float64)


def format_value(value: float, digits: int = 2) -> str:
    """A number with a real minus sign; a dash where it is not defined."""
    return "–" if np.isnan(value) else f"{value:.{digits}f}".replace("-", "−")

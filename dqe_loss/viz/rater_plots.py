"""Figures of raters: how far they are apart by quality, and the bias and noise of each."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from dqe_loss.viz.plots import BLUE, ORANGE, RED, draw_grid, legend_above


def plot_disagreement(
    means: ArrayLike, deviations: ArrayLike, *, unit: str, lowest: float = 1.0, step: float = 1.0, seed: int = 0
) -> Figure:
    """How far raters are apart, over how good they find a segmentation (after the paper's Figure 4).

    Args:
        means: ``(N,)`` mean rating of each segmentation that several rated.
        deviations: ``(N,)`` standard deviation of its ratings.
        unit: what ratings are.
        lowest: rating of the scale.
        step: of the scale.
        seed: of the points' jitter, without which equal ones hide each other.

    Returns:
        The figure: a point for each segmentation, and the root mean square for each value of the scale.
    """
    x, y = np.asarray(means, np.float64), np.asarray(deviations, np.float64)
    jitter = np.random.default_rng(seed).uniform(-0.04 * step, 0.04 * step, (2, len(x)))
    figure = Figure(figsize=(7.0, 3.8), layout="constrained", facecolor="white")
    axes = figure.subplots()
    axes.scatter(x + jitter[0], y + jitter[1], s=16, color=BLUE, alpha=0.45, linewidths=0, label="segmentations")
    stars = lowest + step * np.floor((x - lowest) / step + 0.5)
    levels = np.unique(stars)
    squares = [float(np.sqrt((y[stars == level] ** 2).mean())) for level in levels]
    axes.plot(levels, squares, color=RED, marker="o", linewidth=2, label="root mean square")
    axes.set(xlabel=f"mean rating ({unit})", ylabel=f"standard deviation of raters ({unit})")
    axes.set(xlim=(levels[0] - 0.6 * step, levels[-1] + 0.6 * step), ylim=(-0.1 * step, max(1.1 * y.max(), step)))
    draw_grid(axes)
    legend_above(axes, 2)
    return figure


def plot_raters(names: Sequence[str], bias: ArrayLike, spread: ArrayLike, *, unit: str) -> Figure:
    """Bias and noise of each rater.

    Args:
        names: of the R raters.
        bias: ``(R, 3)``: value, lower and upper end of the interval; ends may be NaN.
        spread: likewise.
        unit: what ratings are.

    Returns:
        The figure, two panels with a line for each rater.
    """
    height = 1.3 + 0.32 * len(names)
    figure = Figure(figsize=(8.4, height), layout="constrained", facecolor="white")
    panels = zip(figure.subplots(1, 2, sharey=True), (bias, spread), ("bias", "noise"), (BLUE, ORANGE), strict=True)
    places = np.arange(len(names))
    for axes, numbers, label, color in panels:
        values = np.asarray(numbers, np.float64).reshape(-1, 3)
        ends = np.abs(np.nan_to_num(values[:, 1:] - values[:, :1])).T
        axes.errorbar(values[:, 0], places, xerr=ends, fmt="o", color=color, capsize=3, linewidth=1.6)
        draw_grid(axes)
        axes.set(xlabel=f"{label} ({unit})", yticks=places, yticklabels=names, ylim=(len(names) - 0.5, -0.5))
        if label == "bias":
            axes.axvline(0, color="0.5", linewidth=1)
        else:
            axes.set_xlim(left=0)
    return figure

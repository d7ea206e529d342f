"""The paper's figures 2 to 4: predicted stars against those that raters gave, from arrays to matplotlib figures.

Axis labels come from the caller, because only the caller knows what the ratings are (contract C12: metric and
simulated stars are never called human).
"""

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from dqe_loss.task import GLIOMA
from dqe_loss.viz.plots import (
    BLUE,
    GRAY,
    GREEN,
    ORANGE,
    RED,
    Scale,
    as_floats,
    draw_fit,
    format_value,
    label_axes,
    legend_above,
    new_figure,
    scatter,
    star_limits,
)


def plot_predicted_against_rated(
    predicted: ArrayLike,
    rated: ArrayLike,
    *,
    predicted_label: str,
    rated_label: str,
    title: str = "",
    scale: Scale = GLIOMA.stars,
) -> Figure:
    """Figure 2: predicted against mean given rating, with the linear fit and Pearson's r.

    Args:
        predicted: ``(N,)`` predicted stars.
        rated: ``(N,)`` mean given stars.
        predicted_label: what the predictions are, with their unit.
        rated_label: what a rating is, with its unit, such as ``"human rating (stars)"``.
        title: a line above.
        scale: lowest and highest stars.

    Returns:
        The figure.
    """
    x, y = as_floats(rated), as_floats(predicted)
    figure, (axes,) = new_figure(5.6, 5.8, title)
    limits = star_limits(scale, x, y)
    axes.plot(limits, limits, color=GRAY, linestyle="--", linewidth=1, label="equal")
    scatter(axes, x, y, BLUE)
    draw_fit(axes, x, y)
    label_axes(axes, f"mean {rated_label}", predicted_label)
    axes.set(xlim=limits, ylim=limits, aspect="equal")
    legend_above(axes, 2)
    return figure


def plot_bland_altman(
    predicted: ArrayLike,
    rated: ArrayLike,
    *,
    predicted_label: str,
    rated_label: str,
    title: str = "",
    scale: Scale = GLIOMA.stars,
) -> Figure:
    """Figure 3: Bland and Altman's plot, the difference of prediction and rating against their mean.

    Lines: the mean difference (bias) and 1.96 standard deviations around it (limits of agreement).

    Args:
        predicted: ``(N,)`` predicted stars.
        rated: ``(N,)`` mean given stars.
        predicted_label: what the predictions are, with their unit.
        rated_label: what a rating is, with its unit, such as ``"human rating (stars)"``.
        title: a line above.
        scale: lowest and highest stars.

    Returns:
        The figure.
    """
    x, y = as_floats(rated), as_floats(predicted)
    difference = y - x
    figure, (axes,) = new_figure(6.6, 5.0, title)
    scatter(axes, (x + y) / 2, difference, BLUE)
    axes.axhline(0, color=GRAY, linestyle="--", linewidth=1)
    if len(difference):
        bias = float(difference.mean())
        axes.axhline(bias, color=RED, linewidth=1.8, label=f"bias {format_value(bias)}")
    if len(difference) > 1:
        low, high = (bias + sign * 1.96 * float(difference.std(ddof=1)) for sign in (-1, 1))
        label = f"limits of agreement {format_value(low)} to {format_value(high)}"
        axes.axhline(low, color=ORANGE, linewidth=1.8, linestyle="-.", label=label)
        axes.axhline(high, color=ORANGE, linewidth=1.8, linestyle="-.")
    reach = 1.25 * max((scale[1] - scale[0]) / 5, float(np.abs(difference).max(initial=0)))
    axes.set(ylim=(-reach, reach), xlim=star_limits(scale, (x + y) / 2))
    label_axes(axes, "mean of the two", f"{predicted_label} −\nmean {rated_label}")
    legend_above(axes, 2)
    return figure


def plot_against_range(
    predicted: ArrayLike,
    lowest: ArrayLike,
    mean: ArrayLike,
    highest: ArrayLike,
    *,
    predicted_label: str,
    rated_label: str,
    title: str = "",
    scale: Scale = GLIOMA.stars,
) -> Figure:
    """Figure 4: predictions against the lowest, the mean and the highest given rating of each segmentation.

    Args:
        predicted: ``(N,)`` predicted stars.
        lowest: ``(N,)`` lowest given stars.
        mean: ``(N,)`` mean given stars.
        highest: ``(N,)`` highest given stars.
        predicted_label: what the predictions are, with their unit.
        rated_label: what a rating is, with its unit.
        title: a line above.
        scale: lowest and highest stars.

    Returns:
        The figure, three panels.
    """
    y = as_floats(predicted)
    panels = {"lowest": as_floats(lowest), "mean": as_floats(mean), "highest": as_floats(highest)}
    figure, all_axes = new_figure(11.4, 4.8, title, columns=3)
    limits = star_limits(scale, y, *panels.values())
    for axes, color, (name, x) in zip(all_axes, (ORANGE, BLUE, GREEN), panels.items(), strict=True):
        axes.plot(limits, limits, color=GRAY, linestyle="--", linewidth=1)
        scatter(axes, x, y, color)
        draw_fit(axes, x, y)
        axes.set(xlim=limits, ylim=limits, aspect="equal")
        legend_above(axes, 1)
        label_axes(axes, f"{name} {rated_label}", predicted_label if axes is all_axes[0] else "")
    return figure

"""Predicted stars against overlap with a reference: the paper's figure 5, and the risk-coverage curve.

Axis labels come from the caller, because only the caller knows what the ratings are (contract C12: metric and
simulated stars are never called human).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from dqe_loss.metrics.agreement import agreement
from dqe_loss.metrics.failure import failure_detection, risk_coverage
from dqe_loss.task import GLIOMA
from dqe_loss.viz.plots import (
    BLACK,
    BLUE,
    GRAY,
    GREEN,
    MARKERS,
    ORANGE,
    PURPLE,
    RED,
    SKY,
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

VIEW_STYLE: dict[str, dict[str, Any]] = {
    "axial": {"color": SKY, "linestyle": "--"},
    "coronal": {"color": ORANGE, "linestyle": "-."},
    "sagittal": {"color": GREEN, "linestyle": ":"},
    "mean": {"color": BLUE, "linewidth": 2.4},
}


def plot_stars_against_overlap(
    stars: ArrayLike,
    overlap: ArrayLike,
    exams: Sequence[str],
    *,
    stars_label: str,
    overlap_label: str,
    title: str = "",
    scale: Scale = GLIOMA.stars,
) -> Figure:
    """Figure 5: mean predicted stars against overlap with the reference, with the linear fit and Pearson's r.

    Args:
        stars: ``(N,)`` predicted stars.
        overlap: ``(N,)`` overlap in [0, 1].
        exams: exam of each; up to seven get a color, a marker and an r of their own.
        stars_label: what the predictions are, with their unit.
        overlap_label: what the overlap is.
        title: a line above.
        scale: lowest and highest stars.

    Returns:
        The figure.
    """
    x, y, names = as_floats(overlap), as_floats(stars), np.asarray(exams, dtype=object)
    figure, (axes,) = new_figure(6.6, 5.4, title)
    groups = list(dict.fromkeys(names.tolist()))
    apart = 1 < len(groups) <= len(MARKERS)
    if apart:
        colors = (BLUE, ORANGE, GREEN, PURPLE, SKY, BLACK, GRAY)
        for group, color, marker in zip(groups, colors, MARKERS, strict=False):
            kept = names == group
            # Exams differ in their stars at the same overlap: pooled, that can make a trend, or hide one.
            label = f"{group} ({kept.sum()}), r = {format_value(agreement(x[kept], y[kept])['pearson'])}"
            scatter(axes, x[kept], y[kept], color, marker, label)
    else:
        scatter(axes, x, y, BLUE)
    draw_fit(axes, x, y, "all: " if apart else "")
    axes.set(xlim=(-0.03, 1.03), ylim=star_limits(scale, y))
    label_axes(axes, overlap_label, stars_label)
    legend_above(axes, 2)
    return figure


def plot_risk_coverage(
    risk: ArrayLike,
    stars: Mapping[str, ArrayLike],
    *,
    stars_label: str,
    title: str = "",
    risk_label: str = "1 − Dice",
    threshold: float | None = None,
) -> Figure:
    """Risk-coverage curves: the mean error that is left where only the best rated share is accepted.

    Args:
        risk: ``(N,)`` errors, such as ``1 - mean region Dice``.
        stars: view, or ``"mean"``, to ``(N,)`` predicted stars.
        stars_label: what they are.
        title: a line above.
        risk_label: what the risk is.
        threshold: stars whose coverage is marked, by the first of ``stars``.

    Returns:
        The figure, with the best order and the expectation by chance as bounds.
    """
    errors = as_floats(risk)
    figure, (axes,) = new_figure(7.0, 5.2, title)
    areas = failure_detection(errors, -errors)
    for name, values in stars.items():
        aurc = failure_detection(errors, values).aurc
        style = VIEW_STYLE.get(name, {})
        label = f"{'mean of views' if name == 'mean' else name}: AURC {format_value(aurc, 3)}"
        axes.plot(*risk_coverage(errors, values), label=label, **({"linewidth": 1.6} | style))
    label = f"best order: {format_value(areas.optimal, 3)}"
    axes.plot(*risk_coverage(errors, -errors), color=BLACK, linewidth=1.2, label=label)
    if len(errors):
        label = f"by chance: {format_value(areas.random, 3)}"
        axes.axhline(areas.random, color=GRAY, linestyle="--", linewidth=1.2, label=label)
    if threshold is not None:
        kept = float((as_floats(next(iter(stars.values()))) >= threshold).mean())
        axes.axvline(kept, color=RED, linewidth=1.2, linestyle="-.", label=f"threshold {format_value(threshold)}")
    axes.set(xlim=(0, 1.01), ylim=(0, min(1.05, 1.15 * max(0.1, float(errors.max(initial=0))))))
    label_axes(
        axes, f"coverage: share accepted, best {stars_label} first", f"risk: mean of {risk_label} among the accepted"
    )
    legend_above(axes, 2)
    return figure

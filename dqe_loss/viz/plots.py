"""The paper's figures 2 to 5, and the risk-coverage curve, as pure functions from arrays to matplotlib figures.

Axis labels come from the caller, because only the caller knows what the ratings are (contract C12: metric and
simulated stars are never called human). Colors are of Okabe and Ito's palette, and markers differ as well.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from dqe_loss.metrics.agreement import agreement
from dqe_loss.metrics.failure import failure_detection, risk_coverage

BLUE, ORANGE, GREEN, RED, PURPLE, SKY, BLACK = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#CC79A7",
    "#56B4E9",
    "#000000",
)
MARKERS = "osD^vPX"
VIEW_STYLE: dict[str, dict[str, Any]] = {
    "axial": {"color": SKY, "linestyle": "--"},
    "coronal": {"color": ORANGE, "linestyle": "-."},
    "sagittal": {"color": GREEN, "linestyle": ":"},
    "mean": {"color": BLUE, "linewidth": 2.4},
}

Scale = tuple[float, float]
SCALE: Scale = (1.0, 6.0)
"""Lowest and highest stars where no others are said."""
_MANY = 3000  # points beyond which they are drawn as pixels in an SVG
_DPI = 150
_GRAY = "0.45"

Array = NDArray[np.float64]


def plot_predicted_against_rated(
    predicted: ArrayLike,
    rated: ArrayLike,
    *,
    predicted_label: str,
    rated_label: str,
    title: str = "",
    scale: Scale = SCALE,
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
    x, y = _floats(rated), _floats(predicted)
    figure, (axes,) = _new_figure(5.6, 5.8, title)
    limits = _limits(scale, x, y)
    axes.plot(limits, limits, color=_GRAY, linestyle="--", linewidth=1, label="equal")
    _scatter(axes, x, y, BLUE)
    _draw_fit(axes, x, y)
    _label(axes, f"mean {rated_label}", predicted_label)
    axes.set(xlim=limits, ylim=limits, aspect="equal")
    _legend_above(axes, 2)
    return figure


def plot_bland_altman(
    predicted: ArrayLike,
    rated: ArrayLike,
    *,
    predicted_label: str,
    rated_label: str,
    title: str = "",
    scale: Scale = SCALE,
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
    x, y = _floats(rated), _floats(predicted)
    difference = y - x
    figure, (axes,) = _new_figure(6.6, 5.0, title)
    _scatter(axes, (x + y) / 2, difference, BLUE)
    axes.axhline(0, color=_GRAY, linestyle="--", linewidth=1)
    if len(difference):
        bias = float(difference.mean())
        axes.axhline(bias, color=RED, linewidth=1.8, label=f"bias {_number(bias)}")
    if len(difference) > 1:
        low, high = (bias + sign * 1.96 * float(difference.std(ddof=1)) for sign in (-1, 1))
        label = f"limits of agreement {_number(low)} to {_number(high)}"
        axes.axhline(low, color=ORANGE, linewidth=1.8, linestyle="-.", label=label)
        axes.axhline(high, color=ORANGE, linewidth=1.8, linestyle="-.")
    reach = 1.25 * max((scale[1] - scale[0]) / 5, float(np.abs(difference).max(initial=0)))
    axes.set(ylim=(-reach, reach), xlim=_limits(scale, (x + y) / 2))
    _label(axes, "mean of the two", f"{predicted_label} −\nmean {rated_label}")
    _legend_above(axes, 2)
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
    scale: Scale = SCALE,
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
    y = _floats(predicted)
    panels = {"lowest": _floats(lowest), "mean": _floats(mean), "highest": _floats(highest)}
    figure, all_axes = _new_figure(11.4, 4.8, title, columns=3)
    limits = _limits(scale, y, *panels.values())
    for axes, color, (name, x) in zip(all_axes, (ORANGE, BLUE, GREEN), panels.items(), strict=True):
        axes.plot(limits, limits, color=_GRAY, linestyle="--", linewidth=1)
        _scatter(axes, x, y, color)
        _draw_fit(axes, x, y)
        axes.set(xlim=limits, ylim=limits, aspect="equal")
        _legend_above(axes, 1)
        _label(axes, f"{name} {rated_label}", predicted_label if axes is all_axes[0] else "")
    return figure


def plot_stars_against_overlap(
    stars: ArrayLike,
    overlap: ArrayLike,
    exams: Sequence[str],
    *,
    stars_label: str,
    overlap_label: str,
    title: str = "",
    scale: Scale = SCALE,
) -> Figure:
    """Figure 5: mean predicted rating against overlap with the reference, with the linear fit and Pearson's r.

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
    x, y, names = _floats(overlap), _floats(stars), np.asarray(exams, dtype=object)
    figure, (axes,) = _new_figure(6.6, 5.4, title)
    groups = list(dict.fromkeys(names.tolist()))
    apart = 1 < len(groups) <= len(MARKERS)
    if apart:
        colors = (BLUE, ORANGE, GREEN, PURPLE, SKY, BLACK, _GRAY)
        for group, color, marker in zip(groups, colors, MARKERS, strict=False):
            kept = names == group
            # Exams differ in their stars at the same overlap: pooled, that can make a trend, or hide one.
            label = f"{group} ({kept.sum()}), r = {_number(agreement(x[kept], y[kept])['pearson'])}"
            _scatter(axes, x[kept], y[kept], color, marker, label)
    else:
        _scatter(axes, x, y, BLUE)
    _draw_fit(axes, x, y, "all: " if apart else "")
    axes.set(xlim=(-0.03, 1.03), ylim=_limits(scale, y))
    _label(axes, overlap_label, stars_label)
    _legend_above(axes, 2)
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
    errors = _floats(risk)
    figure, (axes,) = _new_figure(7.0, 5.2, title)
    areas = failure_detection(errors, -errors)
    for name, values in stars.items():
        aurc = failure_detection(errors, values).aurc
        style = VIEW_STYLE.get(name, {})
        label = f"{'mean of views' if name == 'mean' else name}: AURC {_number(aurc, 3)}"
        axes.plot(*risk_coverage(errors, values), label=label, **({"linewidth": 1.6} | style))
    axes.plot(
        *risk_coverage(errors, -errors), color=BLACK, linewidth=1.2, label=f"best order: {_number(areas.optimal, 3)}"
    )
    if len(errors):
        label = f"by chance: {_number(areas.random, 3)}"
        axes.axhline(areas.random, color=_GRAY, linestyle="--", linewidth=1.2, label=label)
    if threshold is not None:
        kept = float((_floats(next(iter(stars.values()))) >= threshold).mean())
        axes.axvline(kept, color=RED, linewidth=1.2, linestyle="-.", label=f"threshold {_number(threshold)}")
    axes.set(xlim=(0, 1.01), ylim=(0, min(1.05, 1.15 * max(0.1, float(errors.max(initial=0))))))
    _label(
        axes, f"coverage: share accepted, best {stars_label} first", f"risk: mean of {risk_label} among the accepted"
    )
    _legend_above(axes, 2)
    return figure


def save_figure(figure: Figure, kind: str) -> bytes:
    """A figure as the content of a ``"png"`` or ``"svg"`` file; the same data give the same bytes."""
    content = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else None
    with mpl.rc_context({"svg.hashsalt": "dqe_loss"}):
        figure.savefig(content, format=kind, dpi=_DPI, metadata=metadata)
    return content.getvalue()


def _new_figure(width: float, height: float, title: str, columns: int = 1) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    all_axes: list[Axes] = list(figure.subplots(1, columns, squeeze=False)[0])
    for axes in all_axes:
        axes.grid(color="0.9", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    if title:
        figure.suptitle(title, fontsize=12)
    return figure, all_axes


def _scatter(axes: Axes, x: Array, y: Array, color: str, marker: str = "o", label: str = "") -> None:
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


def _draw_fit(axes: Axes, x: Array, y: Array, prefix: str = "") -> None:
    """The least-squares line over the range of x, where there is one."""
    r = agreement(x, y)["pearson"]
    if np.isnan(r):
        axes.plot([], [], color=RED, label="no fit: values are constant")
        return
    fit = stats.linregress(x, y)
    ends = np.array([x.min(), x.max()])
    line = f"{_number(fit.slope)} x {'+' if fit.intercept >= 0 else '−'} {abs(fit.intercept):.2f}"
    text = f"{prefix}fit {line}, r = {_number(r)}"
    axes.plot(ends, fit.intercept + fit.slope * ends, color=RED, linewidth=2, label=text)


def _label(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x, fontsize=11)
    axes.set_ylabel(y, fontsize=11)
    axes.tick_params(labelsize=10)


def _legend_above(axes: Axes, columns: int) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=columns, frameon=False, fontsize=9.5)


def _limits(scale: Scale, *values: Array) -> tuple[float, float]:
    """The scale of the stars, and what lies outside it; a surrogate's ratings can."""
    together = np.concatenate([*values, scale])
    margin = 0.04 * (scale[1] - scale[0])
    return float(together.min()) - margin, float(together.max()) + margin


def _floats(values: ArrayLike) -> Array:
    return np.asarray(values, dtype=np.float64)


def _number(value: float, digits: int = 2) -> str:
    """A number with a real minus sign; a dash where it is not defined."""
    return "–" if np.isnan(value) else f"{value:.{digits}f}".replace("-", "−")

"""Axes of the audit's figures: panels, rows of names, a marker for each exam, and what all of it means."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dqe_loss.audit.stars_and_dice import Numbers
from dqe_loss.viz.plots import GRAY, MARKERS, draw_grid

OUTSIDE: dict[str, Any] = {"loc": "outside upper left", "frameon": False, "fontsize": 9.5}


def marked(exams: Mapping[str, Numbers]) -> Iterator[tuple[str, Numbers]]:
    """Each exam's marker and what was measured on it."""
    return zip(cycle(MARKERS), exams.values(), strict=False)


def names_in(exams: Mapping[str, Numbers], what: str) -> list[str]:
    """The names that occur in what was measured on any exam, each once."""
    return list(dict.fromkeys(name for numbers in exams.values() for name in numbers[what]))


def named_rows(names: Sequence[str]) -> tuple[Figure, Axes]:
    """A figure with a row for each name."""
    figure, (axes,) = panels(1, 1, 8.2, 0.9 + 0.29 * len(names))
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    return figure, axes


def panels(count: int, columns: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """A figure of so many axes in rows of so many columns, each of this width and height in inches."""
    rows = -(-count // columns)
    size = (columns * width, rows * height + 0.5)
    figure = Figure(figsize=size, layout="constrained", facecolor="white")
    grid: list[Axes] = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in grid:
        draw_grid(axes)
        axes.tick_params(labelsize=9)
    for axes in grid[count:]:
        axes.set_visible(False)
    return figure, grid


def draw_dots(axes: Axes, found: Sequence[tuple[float, int]], color: str, marker: str) -> None:
    """Points at pairs of a value and a row."""
    x, y = [value for value, _ in found], [row for _, row in found]
    axes.scatter(x, y, s=34, color=color, marker=marker, alpha=0.8, linewidths=0.4, edgecolors="white")


def share_y(grid: Sequence[Axes]) -> None:
    """Give axes one range of y, which holds that of each."""
    limits = [axes.get_ylim() for axes in grid]
    for axes in grid:
        axes.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))


def color_keys(axes: Axes, colors: Mapping[str, str]) -> list[Any]:
    """What a legend shows of colors, by their labels."""
    return [axes.plot([], [], color=color, linewidth=2.4, label=label)[0] for label, color in colors.items()]


def _exam_keys(axes: Axes, exams: Mapping[str, Numbers]) -> list[Any]:
    """Markers of the exams, where there are several."""
    style: dict[str, Any] = {"color": GRAY, "linestyle": "none"}
    keys = [
        axes.plot([], [], marker=marker, label=exam, **style)[0]
        for exam, (marker, _) in zip(exams, marked(exams), strict=True)
    ]
    return keys if 1 < len(exams) <= len(MARKERS) else []


def legend_outside(
    figure: Figure, axes: Axes, colors: Mapping[str, str], exams: Mapping[str, Numbers], columns: int = 3
) -> None:
    """Above all axes: what the colors are, and the exams' markers."""
    handles = color_keys(axes, colors) + _exam_keys(axes, exams)
    figure.legend(handles=handles, ncols=columns, **OUTSIDE)

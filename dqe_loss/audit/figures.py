"""The audit's curves and points, one figure a part, in the look of `dqe_loss.viz.plots`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from dqe_loss.audit.exploitation import JITTERS, STARTS
from dqe_loss.audit.figure_axes import (
    OUTSIDE,
    color_keys,
    draw_dots,
    legend_outside,
    marked,
    named_rows,
    names_in,
    panels,
    share_y,
)
from dqe_loss.audit.stars_and_dice import OWN_OR_REFERENCE, Numbers
from dqe_loss.audit.verdict import WHOSE
from dqe_loss.task import GLIOMA
from dqe_loss.tasks.reading import task_from_dict
from dqe_loss.viz.plots import BLACK, BLUE, GRAY, GREEN, ORANGE, PURPLE, RED, SKY

COLORS = {"own": ORANGE, "reference": BLUE, "fixed": BLUE, "jittered": ORANGE}
REGION_COLORS = (PURPLE, GREEN, RED, BLUE, ORANGE, SKY, BLACK)
"""Colors of regions, in their order."""
_CURVE: dict[str, dict[str, Any]] = {
    "none": {"linewidth": 1.3, "alpha": 1.0},
    "on": {"linewidth": 1.3, "alpha": 1.0},
    "off": {"linewidth": 1.3, "alpha": 0.45, "linestyle": "--"},
}
"""How attacks are drawn by the guard that holds them back."""


def draw_figures(audit: Mapping[str, Any]) -> dict[str, Figure]:
    """A figure for each part of an audit (the content of ``audit.json``)."""
    unit, limits = audit["unit"], audit["thresholds"]
    regions = task_from_dict(audit["config"]["task"]).regions
    return {
        name: draw_exploitation(part["exams"], unit, limits, regions)
        if name == "exploitation"
        else DRAWN[name](part["exams"], unit, limits)
        for name, part in audit["parts"].items()
    }


def draw_absurd(exams: Mapping[str, Numbers], unit: str, limits: Numbers) -> Figure:
    """Stars of each mask below or above the reference, through both centers."""
    names = names_in(exams, "masks")
    figure, axes = named_rows(names)
    for marker, numbers in marked(exams):
        for which in reversed(OWN_OR_REFERENCE):
            found = [(mask[which] - numbers["reference"], names.index(name)) for name, mask in numbers["masks"].items()]
            draw_dots(axes, found, COLORS[which], marker)
    axes.axvline(0, color=GRAY, linewidth=1)
    axes.axvline(-limits["absurd_margin"], color=RED, linestyle="--", linewidth=1.2)
    colors = {WHOSE[which]: COLORS[which] for which in OWN_OR_REFERENCE}
    legend_outside(figure, axes, colors | {"limit for absurd masks": RED}, exams)
    axes.set_xlabel(f"{unit} above the reference's (below: negative)")
    return figure


def draw_ladders(exams: Mapping[str, Numbers], unit: str, limits: Numbers) -> Figure:
    """Stars against severity, a panel for each corruption."""
    names = names_in(exams, "ladders")
    figure, grid = panels(len(names), 5, 2.1, 1.75)
    for axes, name in zip(grid, names, strict=False):
        for marker, numbers in marked(exams):
            for which in OWN_OR_REFERENCE:
                if name in numbers["ladders"]:
                    stars = numbers["ladders"][name][which]["stars"]
                    style: dict[str, Any] = {
                        "color": COLORS[which],
                        "marker": marker,
                        "markersize": 3,
                        "linewidth": 1.3,
                    }
                    axes.plot(numbers["severities"], stars, **style)
        axes.set_title(name.replace("_", " "), fontsize=10)
        axes.set_xticks([0, 0.5, 1])
    share_y(grid[: len(names)])
    figure.supxlabel("severity", fontsize=10)
    figure.supylabel(f"predicted {unit}", fontsize=10)
    legend_outside(figure, grid[0], {WHOSE[which]: COLORS[which] for which in OWN_OR_REFERENCE}, exams, columns=4)
    return figure


def draw_exploitation(
    exams: Mapping[str, Numbers], unit: str, limits: Numbers, regions: Sequence[str] = GLIOMA.regions
) -> Figure:
    """Above, stars while an attack goes on; below, Dice in the rated planes before and after it."""
    figure, grid = panels(2 * len(STARTS), len(STARTS), 2.1, 2.3)
    for column, start in enumerate(STARTS):
        above, below = grid[column], grid[column + len(STARTS)]
        for numbers in exams.values():
            for planes in JITTERS:
                for guard, run in numbers["attacks"][start][planes].items():
                    above.plot(range(len(run["stars"])), run["stars"], color=COLORS[planes], **_CURVE[guard])
        above.set_title(f"from {start}", fontsize=10)
        for i in range(len(regions)):
            for j, planes in enumerate(JITTERS):
                for numbers in exams.values():
                    for guard, run in numbers["attacks"][start][planes].items():
                        ends = [run[when]["planes"][i] for when in ("before", "after")]
                        place = i - 0.15 + 0.3 * j + (0.12 if guard == "off" else 0)
                        color = REGION_COLORS[i % len(REGION_COLORS)]
                        style: dict[str, Any] = {"color": color, "alpha": _CURVE[guard]["alpha"]}
                        below.plot([place] * 2, ends, linestyle="-" if planes == "fixed" else ":", **style)
                        inside = "white" if guard == "off" else color
                        below.plot(place, ends[1], "o", markersize=5, markerfacecolor=inside, **style)
                        below.plot(place, ends[0], "_", markersize=9, **style)
        below.set_xticks(range(len(regions)), regions)
        below.set_ylim(-0.04, 1.04)
        above.set_xlabel("step", fontsize=9)
    share_y(grid[: len(STARTS)])
    grid[0].set_ylabel(f"predicted {unit}", fontsize=10)
    grid[len(STARTS)].set_ylabel("Dice in the rated planes:\nbar before, dot after", fontsize=10)
    figure.legend(
        handles=color_keys(grid[0], {"fixed planes (lower row: solid)": BLUE, "jittered planes (dotted)": ORANGE}),
        ncols=2,
        **OUTSIDE,
    )
    return figure


def draw_direction(exams: Mapping[str, Numbers], unit: str, limits: Numbers) -> Figure:
    """Cosine and kept share, corruption by corruption."""
    names = names_in(exams, "masks")
    figure, axes = named_rows([name.replace("_", " ") for name in names])
    for marker, numbers in marked(exams):
        for key, color in (("cosine", BLUE), ("kept", GREEN)):
            draw_dots(axes, [(mask[key], names.index(name)) for name, mask in numbers["masks"].items()], color, marker)
    axes.axvline(limits["direction_cosine"], color=BLUE, linestyle="--", linewidth=1.2)
    axes.axvline(limits["direction_kept"], color=GREEN, linestyle="--", linewidth=1.2)
    axes.set_xlim(-1.03, 1.03)
    legend_outside(
        figure, axes, {"cosine with Dice's gradient": BLUE, "share that a target's guard keeps": GREEN}, exams
    )
    axes.set_xlabel("dashed: limits for the mean; without any direction the cosine is 0 and the share one half")
    return figure


def draw_soft(exams: Mapping[str, Numbers], unit: str, limits: Numbers) -> Figure:
    """Stars against softness, a panel for each kind."""
    labels = {
        "softening": "softening: blur in voxels",
        "temperature": "temperature of the logits",
        "leak": "leak: background probability",
    }
    figure, grid = panels(len(labels), len(labels), 3.2, 2.7)
    for axes, (kind, label) in zip(grid, labels.items(), strict=True):
        for marker, numbers in marked(exams):
            levels = numbers["kinds"][kind]
            change = [level["stars"] - numbers["binary"] for level in levels]
            axes.plot([level["level"] for level in levels], change, color=BLUE, marker=marker, markersize=5)
        mild = max(level["level"] for numbers in exams.values() for level in numbers["kinds"][kind] if level["mild"])
        axes.axvspan(axes.get_xlim()[0], mild, color="0.94", zorder=-1)
        for sign in (-1, 1):
            axes.axhline(sign * limits["soft_distance"], color=RED, linestyle="--", linewidth=1.1)
        axes.axhline(0, color=GRAY, linewidth=1)
        axes.set_xlabel(label, fontsize=10)
    share_y(grid)
    grid[0].set_ylabel(f"{unit} above the binary mask's", fontsize=10)
    legend_outside(figure, grid[0], {"limits (gray: mild)": RED}, exams, columns=4)
    return figure


def draw_invariance(exams: Mapping[str, Numbers], unit: str, limits: Numbers) -> Figure:
    """How far each change moves the stars."""
    names = names_in(exams, "changes")
    figure, axes = named_rows(names)
    for marker, numbers in marked(exams):
        for strict, color in ((True, GREEN), (False, BLUE)):
            found = [
                (change["stars"] - numbers["unchanged"], names.index(name))
                for name, change in numbers["changes"].items()
                if change["strict"] == strict
            ]
            draw_dots(axes, found, color, marker)
    for limit, color in ((limits["strict_distance"], GREEN), (limits["loose_distance"], BLUE)):
        for sign in (-1, 1):
            axes.axvline(sign * limit, color=color, linestyle="--", linewidth=1.1)
    axes.axvline(0, color=GRAY, linewidth=1)
    legend_outside(figure, axes, {"strict limit": GREEN, "loose limit": BLUE}, exams)
    axes.set_xlabel(f"{unit} moved")
    return figure


DRAWN: dict[str, Callable[[Mapping[str, Numbers], str, Numbers], Figure]] = {
    "absurd": draw_absurd,
    "ladders": draw_ladders,
    "exploitation": draw_exploitation,
    "direction": draw_direction,
    "soft": draw_soft,
    "invariance": draw_invariance,
}
"""What draws each part."""

"""The figures of the study: what arms gain over labelled planes alone, and curves over the number of labelled persons.

Run: ``python benchmarks/benefit/plot.py`` (reads the stored figures; writes ``docs/benefit.png`` and, once there is
something to draw, ``docs/benefit_labels.png`` and ``docs/benefit_glioma.png``).
"""

import json
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from typing import Any

import tyro
from design import ALL_ROTATIONS, SAME
from matplotlib.axes import Axes
from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[2]
FEWEST = 3
"""Labelled persons of the gains that are drawn."""
KINDS = {
    "with stars": ("#0072B2", ("d", "ad", "e", "c", "i", "d0", "sd")),
    "the same surrogate, or those who taught it, without stars": ("#009E73", ("r", "ar", "t")),
    "without a surrogate": ("#E69F00", ("b", "ab", "f")),
    "controls": ("#777777", ("a6", "a18", "aa", "g", "h")),
}
"""Color (of Okabe and Ito's palette) and arms."""
CURVES = {
    "h": ("#777777", "s"),
    "t": ("#009E73", "D"),
    "ad": ("#0072B2", "o"),
    "r": ("#56B4E9", "^"),
    "d": ("#CC79A7", "v"),
    "a": ("#000000", "X"),
    "b": ("#E69F00", "P"),
}
"""Color and mark of the arms of the curves."""

Gain = tuple[float, float, float]
"""A mean difference, and the ends of its interval."""


@dataclass(frozen=True)
class PlotOptions:
    """Options of the command line."""

    results: Path = ROOT / "benchmarks" / "results"
    """Folder of the stored figures."""
    out: Path = ROOT / "docs"
    """Folder of the pictures."""


def gains_of(stored: dict[str, Any], setting: str, labelled: int) -> dict[str, Gain]:
    """Arm to its mean Dice less that of a (of s without labels), with the interval."""
    base, found = "a" if labelled else "s", {}
    for row in stored["pairs"]:
        if (row["setting"], row["labelled"]) != (setting, labelled) or base not in row["arms"]:
            continue
        sign = 1 if row["arms"][1] == base else -1
        low, high = sorted(sign * end for end in row["interval"])
        found[row["arms"][0] if sign == 1 else row["arms"][1]] = (sign * row["difference"], low, high)
    return found


def plot_gains(stored: dict[str, Any], panels: dict[str, str]) -> Figure:
    """A panel for each of some settings, with the fewest labelled persons; a row for each arm.

    Args:
        stored: the figures of a study.
        panels: setting to the panel's title.
    """
    gains = {setting: gains_of(stored, setting, FEWEST) for setting in panels}
    arms = [arm for _, members in KINDS.values() for arm in members if any(arm in found for found in gains.values())]
    what = {row["arm"]: row["what"] for row in stored["arms"]}
    figure = Figure(figsize=(4.2 + 3.2 * len(panels), 1.6 + 0.3 * len(arms)), layout="constrained", facecolor="white")
    drawn: list[Axes] = list(figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0])
    for axes, (setting, title) in zip(drawn, panels.items(), strict=True):
        for color, members in KINDS.values():
            for arm in (arm for arm in members if arm in gains[setting]):
                value, low, high = gains[setting][arm]
                spread = [[value - low], [high - value]]
                axes.errorbar(value, arms.index(arm), xerr=spread, fmt="o", color=color, capsize=2.5, ms=5)
        axes.axvline(0, color="0.5", lw=1, zorder=0)
        axes.set_xlabel("mean Dice less that of a")
        axes.set_title(title, size=10, loc="left")
        axes.grid(axis="x", color="0.92")
        axes.spines[["top", "right"]].set_visible(False)
    drawn[0].set_yticks(range(len(arms)), [fill(f"{arm}: {what[arm]}", 50) for arm in arms])
    drawn[0].invert_yaxis()
    marks = [drawn[0].plot([], [], "o", color=color, label=kind)[0] for kind, (color, _) in KINDS.items()]
    figure.legend(handles=marks, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure


def plot_hippocampi(stored: dict[str, Any]) -> Figure:
    """A panel for each setting that has run with the fewest labelled persons."""
    settings = dict.fromkeys(row["setting"] for row in stored["arms"] if row["labelled"] == FEWEST)
    return plot_gains(stored, {setting: f"{setting} source, {FEWEST} labelled" for setting in settings})


def plot_gliomas(stored: dict[str, Any]) -> Figure | None:
    """All rotations that are complete together, and each by its number; None where none is complete."""
    rotations = stored["rotations"]
    if not rotations:
        return None
    together = "rotation" if len(rotations) == 1 else "rotations"
    figure = plot_gains(stored, {ALL_ROTATIONS: f"gliomas, {FEWEST} labelled, {len(rotations)} {together}"})
    (axes,) = figure.axes
    arms = [label.get_text().partition(":")[0] for label in axes.get_yticklabels()]
    for rotation in rotations if len(rotations) > 1 else ():
        number = rotation.rpartition("-")[2]
        for arm, (value, *_) in gains_of(stored, rotation, FEWEST).items():
            place = arms.index(arm) + 0.12 + 0.18 * int(number)
            axes.text(value, place, number, size=6.5, color="0.3", ha="center", va="center")
            axes.plot(value, place, alpha=0)  # so that the axis reaches it
    return figure


def plot_labels(stored: dict[str, Any], setting: str) -> Figure | None:
    """Mean Dice over the number of labelled persons; None where arm a has run with one number alone."""
    points: dict[str, dict[int, float]] = {}
    for row in stored["arms"]:
        if row["setting"] == setting:
            points.setdefault(row["arm"], {})[row["labelled"]] = row["dice"]
    counts = sorted(points.get("a", {}))
    if len(counts) < 2:
        return None
    what = {row["arm"]: row["what"] for row in stored["arms"]}
    figure = Figure(figsize=(8.6, 4.2), layout="constrained", facecolor="white")
    axes: Axes = figure.subplots()
    for arm, (color, mark) in CURVES.items():
        found = {count: points[arm][count] for count in counts if count in points.get(arm, {})}
        if len(found) > 1:
            label = fill(f"{arm}: {what[arm]}", 38)
            axes.plot(list(found), list(found.values()), mark, ls="-", color=color, ms=6, label=label)
    axes.set_xscale("log", base=2)
    axes.set_xticks(counts, map(str, counts))
    axes.minorticks_off()
    axes.set_xlabel("labelled persons")
    axes.set_ylabel("mean Dice")
    axes.grid(axis="y", color="0.92")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right center", frameon=False, fontsize=9)
    return figure


def main(options: PlotOptions) -> None:
    """Draws and writes what there is."""
    stored = json.loads((options.results / "benefit.json").read_text())
    figures = {"benefit": plot_hippocampi(stored), "benefit_labels": plot_labels(stored, SAME)}
    gliomas = options.results / "benefit_glioma.json"
    if gliomas.is_file():
        figures["benefit_glioma"] = plot_gliomas(json.loads(gliomas.read_text()))
    for name, figure in figures.items():
        if figure is not None:
            file = options.out / f"{name}.png"
            figure.savefig(file, dpi=140)
            print(file)


if __name__ == "__main__":
    main(tyro.cli(PlotOptions, description=__doc__))

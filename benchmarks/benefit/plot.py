"""The figures of the study: what each arm gains over labelled planes alone, and curves over the number of labels.

Run: ``python benchmarks/benefit/plot.py`` (reads the stored figures, writes ``docs/benefit.png`` and
``docs/benefit_labels.png``).
"""

import json
from pathlib import Path
from textwrap import fill
from typing import Any

from design import ARMS, SAME
from matplotlib.axes import Axes
from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[2]
STORED = ROOT / "benchmarks" / "results" / "benefit.json"
FEWEST = 3
"""Labelled persons of the gains that are drawn."""
CURVES = {
    "h": ("#777777", "s"),
    "t": ("#009E73", "D"),
    "ad": ("#0072B2", "o"),
    "r": ("#56B4E9", "^"),
    "d": ("#0072B2", "v"),
    "a": ("#000000", "x"),
    "b": ("#E69F00", "P"),
}
"""Color and mark of the arms of the curves."""
KINDS = {
    "with stars": ("#0072B2", ("d", "ad", "e", "c", "i", "d0", "sd")),
    "the same surrogate, or those who taught it, without stars": ("#009E73", ("r", "ar", "t")),
    "without a surrogate": ("#E69F00", ("b", "ab", "f")),
    "controls": ("#777777", ("a6", "a18", "aa", "g", "h")),
}
"""Color (of Okabe and Ito's palette) and arms."""


def gains_of(stored: dict[str, Any], setting: str, labelled: int) -> dict[str, tuple[float, float, float]]:
    """Arm to its mean Dice less that of a (of s without labels), with the interval."""
    base, found = "a" if labelled else "s", {}
    for row in stored["pairs"]:
        if (row["setting"], row["labelled"]) != (setting, labelled) or base not in row["arms"]:
            continue
        sign = 1 if row["arms"][1] == base else -1
        low, high = sorted(sign * end for end in row["interval"])
        found[row["arms"][0] if sign == 1 else row["arms"][1]] = (sign * row["difference"], low, high)
    return found


def plot_gains(stored: dict[str, Any]) -> Figure:
    """One panel for each setting that has run with the fewest labelled persons, a row for each arm."""
    places = list(
        dict.fromkeys((row["setting"], row["labelled"]) for row in stored["arms"] if row["labelled"] == FEWEST)
    )
    arms = [arm for _, members in KINDS.values() for arm in members]
    arms = [arm for arm in arms if any(arm in gains_of(stored, *place) for place in places)]
    figure = Figure(figsize=(4.2 + 3.2 * len(places), 1.6 + 0.3 * len(arms)), layout="constrained", facecolor="white")
    panels: list[Axes] = list(figure.subplots(1, len(places), sharex=True, sharey=True, squeeze=False)[0])
    for axes, place in zip(panels, places, strict=True):
        gains = gains_of(stored, *place)
        for color, members in KINDS.values():
            for arm in (arm for arm in members if arm in gains):
                value, low, high = gains[arm]
                spread = [[value - low], [high - value]]
                axes.errorbar(value, arms.index(arm), xerr=spread, fmt="o", color=color, capsize=2.5, ms=5)
        axes.axvline(0, color="0.5", lw=1, zorder=0)
        axes.set_xlabel("mean Dice less that of a")
        axes.set_title(f"{place[0]} source, {place[1]} labelled", size=10, loc="left")
        axes.grid(axis="x", color="0.92")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_yticks(range(len(arms)), [fill(f"{arm}: {ARMS[arm]}", 50) for arm in arms])
    panels[0].invert_yaxis()
    marks = [panels[0].plot([], [], "o", color=color, label=kind)[0] for kind, (color, _) in KINDS.items()]
    figure.legend(handles=marks, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure


def plot_labels(stored: dict[str, Any], setting: str) -> Figure:
    """Mean Dice of each arm that has run with more than one number of labelled persons."""
    figure = Figure(figsize=(7, 4.2), layout="constrained", facecolor="white")
    axes: Axes = figure.subplots()
    counts: set[int] = set()
    for arm, (color, mark) in CURVES.items():
        points = {
            row["labelled"]: row["dice"] for row in stored["arms"] if (row["setting"], row["arm"]) == (setting, arm)
        }
        if len(points) > 1:
            counts |= set(points)
            axes.plot(list(points), list(points.values()), mark, ls="-", color=color, ms=6, label=f"{arm}: {ARMS[arm]}")
    axes.set_xscale("log", base=2)
    axes.set_xticks(sorted(counts), map(str, sorted(counts)))
    axes.set_xlabel("labelled persons")
    axes.set_ylabel("mean Dice")
    axes.grid(axis="y", color="0.92")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right center", frameon=False, fontsize=9)
    return figure


def main() -> None:
    """Draws and writes both."""
    stored = json.loads(STORED.read_text())
    for name, figure in (("benefit", plot_gains(stored)), ("benefit_labels", plot_labels(stored, SAME))):
        file = ROOT / "docs" / f"{name}.png"
        figure.savefig(file, dpi=140)
        print(file)


if __name__ == "__main__":
    main()

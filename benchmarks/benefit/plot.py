"""The figure of the study: what each arm gains over labelled planes alone.

Run: ``python benchmarks/benefit/plot.py`` (reads the stored figures, writes ``docs/benefit.png``).
"""

import json
from pathlib import Path
from textwrap import fill
from typing import Any

from design import ARMS
from matplotlib.axes import Axes
from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[2]
STORED = ROOT / "benchmarks" / "results" / "benefit.json"
OUT = ROOT / "docs" / "benefit.png"
FEWEST = 3
"""Labelled persons of the gains that are drawn."""
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


if __name__ == "__main__":
    plot_gains(json.loads(STORED.read_text())).savefig(OUT, dpi=140)
    print(OUT)

"""The figure of the study: what each arm gains over labelled planes alone, by the number of labelled persons.

Run: ``python benchmarks/benefit/plot.py`` (reads the stored figures, writes ``docs/benefit.png``).
"""

import json
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[2]
STORED = ROOT / "benchmarks" / "results" / "benefit.json"
OUT = ROOT / "docs" / "benefit.png"
COLORS = {"b": "#E69F00", "d": "#0072B2", "r": "#CC79A7", "f": "#999999", "t": "#009E73", "h": "#000000"}
"""Of Okabe and Ito's palette."""
NAMES = {
    "b": "b: confident pseudo-labels",
    "d": "d: DQELoss on unlabelled planes",
    "r": "r: the refiner's opinion as label",
    "f": "f: mean teacher",
    "t": "t: taught on those who taught the refiner",
    "h": "h: all labels",
}
APART = 0.12
"""Between the marks of two arms, in places of the axis."""


def gains_of(stored: dict[str, Any], setting: str, labelled: int) -> dict[str, tuple[float, float, float]]:
    """Arm to its mean Dice less that of a, with the interval."""
    found = {}
    for row in stored["pairs"]:
        if (row["setting"], row["labelled"]) != (setting, labelled) or "a" not in row["arms"]:
            continue
        sign = 1 if row["arms"][1] == "a" else -1
        low, high = sorted(sign * end for end in row["interval"])
        found[row["arms"][0] if sign == 1 else row["arms"][1]] = (sign * row["difference"], low, high)
    return found


def plot_gains(stored: dict[str, Any]) -> Figure:
    """One panel for each setting that has run."""
    places: dict[str, list[int]] = {}
    for row in stored["arms"]:
        if row["labelled"] and row["labelled"] not in places.setdefault(row["setting"], []):
            places[row["setting"]].append(row["labelled"])
    widths = [len(counts) for counts in places.values()]
    figure = Figure(figsize=(4.5 + 2 * sum(widths), 4.2), layout="constrained", facecolor="white")
    panels: list[Axes] = list(figure.subplots(1, len(places), sharey=True, squeeze=False, width_ratios=widths)[0])
    for axes, (setting, counts) in zip(panels, places.items(), strict=True):
        for place, count in enumerate(counts):
            gains = gains_of(stored, setting, count)
            for rank, arm in enumerate(arm for arm in NAMES if arm in gains):
                value, low, high = gains[arm]
                x = place + APART * (rank - 2.5)
                axes.errorbar(x, value, [[value - low], [high - value]], fmt="o", color=COLORS[arm], capsize=2.5, ms=5)
        axes.axhline(0, color="0.5", lw=1, zorder=0)
        axes.set_xticks(range(len(counts)), [f"{count} labelled" for count in counts])
        axes.set_xlim(-0.5, len(counts) - 0.5)
        axes.set_title(f"surrogate taught on the {setting} source", size=10, loc="left")
        axes.grid(axis="y", color="0.92")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("mean Dice less that of labelled planes alone")
    shown = {row["arm"] for row in stored["arms"]}
    marks = [panels[0].plot([], [], "o", color=COLORS[arm], label=NAMES[arm])[0] for arm in NAMES if arm in shown]
    figure.legend(handles=marks, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure


if __name__ == "__main__":
    plot_gains(json.loads(STORED.read_text())).savefig(OUT, dpi=140)
    print(OUT)

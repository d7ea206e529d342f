"""Table, sentence, curves and JSON of ``train_segmentation.py``."""

import io
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

History = list[dict[str, Any]]
"""For each step of each run: ``run``, ``seed``, ``step``, and the losses."""

COLORS = ("0.45", "#0072B2", "#D55E00", "#009E73")
"""Warm-up and arms; of Okabe and Ito's palette."""


TITLES = {
    "labelled": "Dice loss of the labelled exam",
    "stars": "missing stars of the unlabelled exam, × weight",
    "pseudo-label": "star-weighted pseudo-label, × weight",
}


@dataclass(frozen=True)
class Row:
    """One segmentation of one exam.

    Attributes:
        exam: name of the exam.
        segmentation: the reference, or who made it.
        seed: of the network's initial weights.
        dice: region to Dice with the reference; NaN where the reference has no such region.
        stars: mean of the views.
    """

    exam: str
    segmentation: str
    seed: int
    dice: dict[str, float]
    stars: float


def mean_dice(rows: Sequence[Row]) -> pd.DataFrame:
    """Mean Dice over regions and exams: a row for each seed, a column for each segmentation in their order."""
    table = pd.DataFrame([asdict(row) | {"mean": pd.Series(row.dice).mean()} for row in rows])
    names = list(dict.fromkeys(row.segmentation for row in rows))
    return table.pivot_table(index="seed", columns="segmentation", values="mean")[names]


def format_results(rows: Sequence[Row], unit: str) -> str:
    """Lay Dice and stars out as text: means over exams and seeds, and the spread of seeds."""
    by_seed = mean_dice(rows)
    names, regions = list(by_seed), list(rows[0].dice)
    width = max(map(len, names)) + 2
    exams = len({row.exam for row in rows})
    lines = [
        f"\nMeans over {exams} test exam{'s' * (exams > 1)} and {len(by_seed)} seed{'s' * (len(by_seed) > 1)}",
        " " * width + "".join(f"{head:>9}" for head in (*regions, "mean")) + f"{'seeds':>16}{unit:>15}",
    ]
    for name in names:
        own = [row for row in rows if row.segmentation == name]
        dice = [*pd.DataFrame([row.dice for row in own]).mean()[regions], by_seed[name].mean()]
        spread = f"{by_seed[name].min():.3f} to {by_seed[name].max():.3f}"
        figures = "".join(f"{value:9.3f}" for value in dice)
        lines.append(f"{name:{width}}{figures}{spread:>16}{sum(r.stars for r in own) / len(own):15.2f}")
    return "\n".join(lines)


def conclude(rows: Sequence[Row], arms: Sequence[str], synthetic: bool, unseen: bool) -> str:
    """What the figures allow to say, and no more."""
    by_seed = mean_dice(rows)
    told = []
    for arm in arms[1:]:
        apart = by_seed[arm] - by_seed[arms[0]]
        each = ", ".join(f"{value:+.3f}" for value in apart)
        told.append(f"'{arm}' is above '{arms[0]}' in {(apart > 0).sum()} of {len(apart)} seeds (mean Dice {each}).")
    what = "synthetic exams, which are much alike" if synthetic else "these exams"
    seen = "" if synthetic or unseen else " Exams were tested that the networks were trained on."
    told.append(f"That is so on {what}; it says little of others.{seen} The study: docs/results/benefit.md")
    return "\n".join(told)


def plot_curves(history: History, warmup: int) -> Figure:
    """Plot the loss on labelled exams and the terms of the second exam over the steps, means over seeds.

    Args:
        history: of all runs.
        warmup: number of steps that the warm-up took.

    Returns:
        The figure.
    """
    table = pd.DataFrame(history)
    terms = [name for name in TITLES if name in table]
    figure = Figure(figsize=(4.6 * len(terms), 3.6), layout="constrained")
    figure.suptitle("Each step (pale) and the mean of four, over all seeds", size=10)
    for axes, term in zip(figure.subplots(1, len(terms), squeeze=False)[0], terms, strict=True):
        for (run, part), color in zip(table.groupby("run", sort=False), COLORS, strict=False):
            line = part.groupby("step")[term].mean().dropna()
            if line.empty:
                continue
            steps = line.index + (0 if run == "warm-up" else warmup)  # the arms go on from there
            axes.plot(steps, line, color=color, lw=0.8, alpha=0.35)
            axes.plot(steps, line.rolling(4, min_periods=1).mean(), color=color, lw=1.6, label=run)
        axes.set_title(TITLES[term], size=10, loc="left")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("step")
        axes.axvline(warmup - 0.5, color="0.8", lw=1, zorder=0)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="0.92")
        axes.legend(frameon=False, fontsize=8)
    return figure


def as_png(figure: Figure) -> bytes:
    """Draw a figure."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=130)
    return content.getvalue()


def as_json(content: dict[str, Any], rows: Sequence[Row], history: History) -> bytes:
    """Write everything as strict JSON, with null for a Dice that is not defined."""
    results = [asdict(row) for row in rows]
    for result in results:
        result["dice"] = {k: None if math.isnan(v) else v for k, v in result["dice"].items()}
    content = content | {"results": results, "history": history}
    text = json.dumps(content, indent=1, default=str, allow_nan=False)  # str: paths
    return (text + "\n").encode()

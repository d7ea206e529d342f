"""Tables, curves and JSON of ``train_segmentation.py``."""

import io
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

History = list[dict[str, Any]]
"""For each step of each run: ``run``, ``step``, and what the criterion told of it."""

COLORS = ("0.45", "#0072B2", "#D55E00")
"""Warm-up, without and with the DQE term; of Okabe and Ito's palette."""

PARTS = 3
"""Parts of each run whose gradient ratios are summarized."""


@dataclass(frozen=True)
class Row:
    """One segmentation of one exam.

    Attributes:
        exam: name of the exam.
        trained_on: whether the networks were trained on it.
        segmentation: which one.
        dice: region to Dice with the reference; NaN where the reference has no such region.
        stars: view and ``"mean"`` to stars.
    """

    exam: str
    trained_on: bool
    segmentation: str
    dice: dict[str, float]
    stars: dict[str, float]

    @property
    def seen(self) -> str:
        """Whether the networks were trained on the exam, in words."""
        return "trained on" if self.trained_on else "not trained on"


def format_results(rows: Sequence[Row], unit: str) -> str:
    """Lay Dice and stars out as text, exam by exam."""
    width = max(len(row.segmentation) for row in rows) + 2
    lines = []
    for exam, group in groupby(rows, key=lambda row: f"{row.exam} ({row.seen})"):
        table = list(group)
        heads = [f"Dice {region}" for region in table[0].dice] + list(table[0].stars)
        lines += ["", f"{exam}; predicted {unit}", " " * width + "".join(f"{head:>10}" for head in heads)]
        for row in table:
            figures = [f"{v:10.3f}" for v in row.dice.values()] + [f"{v:10.2f}" for v in row.stars.values()]
            lines.append(f"{row.segmentation:{width}}" + "".join(figures))
    return "\n".join(lines)


def summarize_gradients(history: History, cap: float) -> list[dict[str, Any]]:
    """Quantiles of the DQE term's gradient norm over Dice's, before the cap, in parts of each run."""
    summary = []
    for run, group in groupby(history, key=lambda entry: entry["run"]):
        entries = list(group)
        for part in np.array_split(np.arange(len(entries)), PARTS):
            told = [entries[i] for i in part if "gradient_ratio" in entries[i]]
            if not told:
                continue
            ratios = np.array([entry["gradient_ratio"] for entry in told])
            low, median, high = np.quantile(ratios, (0.1, 0.5, 0.9)).tolist()
            summary.append({
                "run": run, "first_step": int(part[0]), "last_step": int(part[-1]), "looks": len(told),
                "quantile_10": low, "median": median, "quantile_90": high,
                "capped": float((ratios > cap).mean()),
                "guard_kept": float(np.median([entry["guard_kept"] for entry in told])),
            })  # fmt: skip
    return summary


def format_gradients(summary: Sequence[dict[str, Any]], weight: float, cap: float) -> str:
    """Lay the summary of the gradients out as text."""
    width = max(len(part["run"]) for part in summary) + 2
    heads = "".join(f"{head:>9}" for head in ("10 %", "median", "90 %", "capped"))
    lines = [
        f"Norm of {weight:g} DQE's gradient over Dice's, at the prediction, before the cap at {cap:g} "
        "(in proportion to the weight)",
        f"{'':{width}}{'steps':>10}{'looks':>7}{heads}{'guard kept':>12}",
    ]
    for part in summary:
        steps = f"{part['first_step']}-{part['last_step']}"
        ratios = "".join(f"{part[key]:9.3g}" for key in ("quantile_10", "median", "quantile_90"))
        shares = f"{part['capped']:9.0%}{part['guard_kept']:12.0%}"
        lines.append(f"{part['run']:{width}}{steps:>10}{part['looks']:7d}{ratios}{shares}")
    return "\n".join(lines)


def mean_over_rounds(points: NDArray[np.float64], exams: int) -> NDArray[np.float64]:
    """Average points (N, 2) over as many in a row as there are exams, so that each average has every exam."""
    window = min(exams, len(points))
    weights = np.full(window, 1 / window)
    return np.stack([np.convolve(column, weights, "valid") for column in points.T], axis=1)


def plot_curves(history: History, cap: float, warmup: int, exams: Sequence[str]) -> Figure:
    """Plot both terms, the ratio of their gradients and the guard's share over the steps.

    With several exams the lines are means over a round of them, and pale lines show each step.

    Args:
        history: of the warm-up, the run without and the run with the DQE term.
        cap: the cap on the ratio of gradient norms.
        warmup: number of steps that the warm-up took.
        exams: names of the exams that were trained on in turn.

    Returns:
        The figure.
    """
    figure = Figure(figsize=(10, 6.4), layout="constrained")
    figure.suptitle(f"Training on {', '.join(exams)}", size=11)
    if len(exams) > 1:
        note = "bold: mean over as many steps as there are exams; pale: each step"
        figure.supxlabel(note, size=9, color="0.3")
    panels: list[tuple[Axes, str, str]] = list(zip(
        figure.subplots(2, 2, sharex=True).flat,
        ("DiceLoss", "DQELoss", "gradient_ratio", "guard_kept"),
        ("DiceLoss (soft)", "DQELoss: stars missing to 6",
         "gradient norm, DQE term / Dice, before the cap", "share of the gradient that the guard keeps"),
        strict=True,
    ))  # fmt: skip
    runs = [(run, list(group)) for run, group in groupby(history, key=lambda entry: entry["run"])]
    for ax, key, label in panels:
        for (run, entries), color in zip(runs, COLORS[-len(runs) :], strict=True):
            first = warmup if entries is not runs[0][1] else 0  # both runs go on from there
            points = np.array([(first + e["step"], e[key]) for e in entries if key in e])
            if len(exams) > 1:  # exams differ more than steps do
                ax.plot(*points.T, color=color, lw=0.8, alpha=0.3)
            # Dots where the term was only looked at, every few steps.
            marker = "" if len(points) == len(entries) else "o"
            line = mean_over_rounds(points, len(exams))
            ax.plot(*line.T, color=color, label=run, lw=1.5, marker=marker, ms=3)
        ax.set_title(label, size=10, loc="left")
        ax.axvline(warmup - 0.5, color="0.8", lw=1, zorder=0)
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(axis="y", color="0.92")
        if key == "gradient_ratio":
            ax.set_yscale("log")
            ax.axhline(cap, color="0.3", lw=1, ls="--")
            ax.annotate(f"cap {cap:g}", (0, cap), size=8, va="bottom", color="0.3")
        elif key == "guard_kept":
            ax.set_ylim(0, 1)
    for ax, _, _ in panels[2:]:
        ax.set_xlabel("step")
    panels[0][0].legend(frameon=False, fontsize=9)
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

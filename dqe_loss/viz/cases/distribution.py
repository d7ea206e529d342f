"""How the stars of a rated table are distributed: the bars that its page draws."""

import math
from typing import Any

import numpy as np
import pandas as pd

from dqe_loss.task import Task
from dqe_loss.viz.html import format_number

_DECISIONS = ("keep", "review", "drop")
_BIN = 0.25  # stars
_PLOT = (960, 220, 34)  # width, height, height of the axis below it; CSS scales it


def distribution(table: pd.DataFrame, threshold: float | None, task: Task) -> dict[str, Any]:
    """A histogram of the mean stars, in pixels of the plot; the decisions are stacked."""
    width, height, axis = _PLOT
    stars = table["mean"].dropna()
    low, high = math.floor(min([task.stars[0], *stars])), math.ceil(max([task.stars[1], *stars]))
    width_of = _BIN if high - low > 2 else _BIN * (high - low) / 5
    edges = np.arange(low, high + width_of / 2, width_of)
    groups = [stars[table["decision"] == d] for d in _DECISIONS] if "decision" in table else [stars]
    counts = np.array([np.histogram(group, edges)[0] for group in groups])
    most = max(1, int(counts.sum(0).max()))

    def across(value: float) -> float:
        """Pixels from the left."""
        return round(float((value - low) / (high - low) * width), 1)

    bars = []
    for column in range(len(edges) - 1):
        top = float(height)
        for group, name in enumerate(_DECISIONS if len(groups) > 1 else ("all",)):
            count = int(counts[group, column])
            if not count:
                continue
            tall = count / most * (height - 20)
            top -= tall
            x, span = across(edges[column]) + 1, across(edges[column + 1]) - across(edges[column]) - 2
            label = f"{count} from {edges[column]:.2f} to {edges[column + 1]:.2f}"
            bars.append(
                {
                    "x": x,
                    "y": round(top, 1),
                    "width": round(span, 1),
                    "height": round(tall, 1),
                    "of": name,
                    "label": label,
                }
            )
    return {
        "width": width,
        "height": height,
        "total": height + axis,
        "bars": bars,
        "most": most,
        "ticks": [(across(value), f"{value:g}") for value in range(int(low), int(high) + 1)],
        "threshold": None if threshold is None else (across(min(max(threshold, low), high)), format_number(threshold)),
    }

"""The page of a report on ratings: tables and figures of one or several groups; works offline and on paper."""

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from dqe_loss.collect.report_tables import (
    Numbers,
    agreement_table,
    as_interval,
    discuss_tables,
    fill_report,
    needed_tables,
    overview_table,
    quality_table,
    rater_table,
    tile,
)
from dqe_loss.viz.html import Table, as_text, format_number
from dqe_loss.viz.plots import save_figure
from dqe_loss.viz.rater_plots import plot_disagreement, plot_raters


def render_reliability(report: Numbers, judgments: Mapping[str, pd.DataFrame]) -> str:
    """Write the page of ratings.

    Args:
        report: the content of ``reliability.json``.
        judgments: the ratings of each group.

    Returns:
        HTML that needs no other file.
    """
    groups = report["groups"]
    several = len(groups) > 1
    sections = [
        _section(name, numbers, judgments[name], several, report["settings"]) for name, numbers in groups.items()
    ]
    overview = [overview_table(groups)] if several else []
    return fill_report(report, "Reliability of ratings", groups[""], sections, overview)


def ratings_summary(report: Numbers) -> str:
    """What the command prints of ratings."""
    groups = report["groups"]
    if len(groups) > 1:
        return as_text(overview_table(groups))
    agreement = agreement_table(groups[""], report["settings"]["step"])
    return as_text(agreement) + "\n\n" + as_text(rater_table(groups[""]))


_DRAWN = ("bias", "spread")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _section(name: str, numbers: Numbers, judgments: pd.DataFrame, several: bool, settings: Numbers) -> dict[str, Any]:
    agreement, retest, needed = (numbers[key] for key in ("agreement", "retest", "needed"))
    shared = f"{numbers['shared']} of {numbers['segmentations']} segmentations rated by two or more"
    by = f"{_count(len(numbers['raters']), 'rater')}, {_count(numbers['exams'], 'exam')}"
    tiles = [
        tile(f"{numbers['judgments']:,}", "judgments", by),
        tile(format_number(agreement["alpha"]["value"]), "ordinal alpha", as_interval(agreement["alpha"]) or shared),
        tile(format_number(agreement["icc_single"]["value"]), "ICC(2,1)", as_interval(agreement["icc_single"])),
        tile(
            format_number(retest["sd"]),
            "stars: error of a single rating by repeats",
            f"{retest['pairs']} repeats" if retest["pairs"] else "no repeats",
        ),
        tile(
            str(needed["raters"] or "–"),
            "raters needed",
            f"for a standard error of {needed['wanted']:g} stars of their mean",
        ),
    ]
    lowest, step = settings["scale"][0], settings["step"]
    wide = judgments[~judgments["repeat"]].pivot(index="item", columns="rater", values="stars")
    both = wide[wide.notna().sum(axis=1) > 1]
    unit = "stars" if numbers["kind"] == "human" else f"{numbers['kind']} stars"
    names = [row["rater"] for row in numbers["raters"]]
    intervals = [[[row[key][end] for end in ("value", "low", "high")] for row in numbers["raters"]] for key in _DRAWN]
    bias, spread = np.array(intervals, np.float64)  # None becomes NaN
    rater_figures = []
    if np.isfinite(bias).any():
        rater_figure = plot_raters(names, bias, spread, unit=unit)
        caption = "Bias and noise of each rater, with 95 % intervals by exam where there are enough."
        rater_figures = [(_svg(rater_figure), caption)]
    figures = []
    if len(both):
        apart = plot_disagreement(both.mean(axis=1), both.std(axis=1), unit=unit, lowest=lowest, step=step)
        caption = "How far raters are apart, over how good they find a segmentation (compare the paper's Figure 4)."
        figures = [(_svg(apart), caption)]
    blocks = [
        _block(
            "Agreement",
            f"{shared}; what one rater alone has rated says nothing about agreement.",
            [agreement_table(numbers, step)],
        ),
        _block(
            "Raters",
            "Bias: stars above the mean of all raters. Noise: standard deviation of a single rating, apart from "
            "rounding to the values of the scale. Both come from one model of raters and segmentations. Repeats: the "
            "error of a single rating as the rater's own second looks tell it.",
            [rater_table(numbers)],
            rater_figures,
        ),
        _block("Disagreement by quality", "", [quality_table(numbers)] if len(both) else [], figures),
        _block("How many raters and cases", "", needed_tables(numbers)),
        _block("Cases to discuss", "", discuss_tables(numbers)),
    ]
    title = name or ("All ratings together" if several else "Ratings")
    return {"title": title, "tiles": tiles, "blocks": [block for block in blocks if block["tables"]]}


def _block(
    heading: str, text: str, tables: list[Table], figures: list[tuple[str, str]] | None = None
) -> dict[str, Any]:
    return {"heading": heading, "text": text, "tables": tables, "figures": figures or []}


def _svg(figure: Any) -> str:
    return base64.b64encode(save_figure(figure, "svg")).decode()

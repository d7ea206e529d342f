"""The page of a report on pairs: which of two was found better."""

from collections.abc import Mapping
from typing import Any

from dqe_loss.collect.needed import WANTED_ICC
from dqe_loss.collect.report_tables import as_cell, as_interval, as_percent, notices_of, tile
from dqe_loss.viz.html import Table, TableCell, fill_template, format_number

Numbers = Mapping[str, Any]


def render_comparisons(report: Numbers) -> str:
    """Write the page of pairs; ``report`` is the content of ``reliability.json``."""
    pairs = report["pairs"]
    names = [
        [row["name"], TableCell(str(row["exams"])), TableCell(str(row["comparisons"])), as_cell(row["strength"])]
        for row in pairs["names"]
    ]
    within = [
        [f"{r['exam']}: {r['segmentation']}", TableCell(format_number(r["strength"]))] for r in pairs["segmentations"]
    ]
    tables = []
    if names:
        caption = "Strength of what has one name in several exams (Bradley and Terry), mean 0"
        tables.append(Table(caption, ["", "exams", "comparisons", "strength"], names))
    tables.append(Table("Strength within each exam, mean 0", ["", "strength"], within))
    tiles = [
        tile(f"{pairs['comparisons']:,}", "comparisons", f"{len(pairs['raters'])} raters, {pairs['exams']} exams"),
        tile(format_number(pairs["alpha"]), "alpha of the raters"),
        tile(
            as_percent(pairs["retest"]["same"]),
            "same verdict with sides changed",
            f"{pairs['retest']['pairs']} repeats",
        ),
        tile(as_percent(pairs["left"]["value"]), "prefer the left one", as_interval(pairs["left"])),
        tile(as_percent(pairs["same"]), "without difference"),
    ]
    section = {
        "title": "Pairs",
        "tiles": tiles,
        "blocks": [{"heading": "", "text": "", "tables": tables, "figures": []}],
    }
    return fill_template(
        "reliability.html.jinja",
        title="Reliability of comparisons",
        subtitle=", ".join(report["sources"]),
        notices=notices_of(pairs),
        overview=[],
        sections=[section],
        settings=report["settings"],
        versions=report["versions"],
        pairs=True,
        wanted_icc=WANTED_ICC,
        enough={},
    )


def comparisons_summary(report: Numbers) -> str:
    """What the command prints of pairs."""
    pairs = report["pairs"]
    best = ", ".join(f"{row['name']} {format_number(row['strength']['value'])}" for row in pairs["names"])
    told = f"{pairs['comparisons']} comparisons, alpha {format_number(pairs['alpha'])}"
    return f"{told}. Strength: {best or 'see page'}"

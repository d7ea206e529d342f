"""The page of a report on pairs: which of two was found better."""

from dqe_loss.collect.report_tables import Numbers, as_cell, as_interval, as_percent, fill_report, tile
from dqe_loss.viz.html import Table, TableCell, format_number


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
    blocks = [{"heading": "", "text": "", "tables": tables, "figures": []}]
    sections = [{"title": "Pairs", "tiles": tiles, "blocks": blocks}]
    return fill_report(report, "Reliability of comparisons", pairs, sections)


def comparisons_summary(report: Numbers) -> str:
    """What the command prints of pairs."""
    pairs = report["pairs"]
    best = ", ".join(f"{row['name']} {format_number(row['strength']['value'])}" for row in pairs["names"])
    told = f"{pairs['comparisons']} comparisons, alpha {format_number(pairs['alpha'])}"
    return f"{told}. Strength: {best or 'see page'}"

"""The page of a report: tables and figures of one or several groups of ratings; works offline and on paper."""

import base64
from collections.abc import Mapping
from typing import Any

import pandas as pd

from dqe_loss.collect.needed import CASES, WANTED_ICC
from dqe_loss.viz.html import Table, TableCell, as_text, fill_template, format_number
from dqe_loss.viz.plots import save_figure
from dqe_loss.viz.rater_plots import plot_disagreement, plot_raters

Numbers = Mapping[str, Any]

AGREEMENT = {
    "alpha": "Krippendorff's alpha (ordinal)",
    "icc_single": "ICC(2,1), a single rating",
    "icc_mean": "ICC(2,k), the mean of a case's ratings",
    "exact": "exact agreement of two raters",
    "within_one": "agreement within one star",
    "difference": "mean difference of two raters, in stars",
}


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
    sections = [_section(name, numbers, judgments[name], several) for name, numbers in groups.items()]
    return fill_template(
        "reliability.html.jinja",
        title="Reliability of ratings",
        subtitle=", ".join(report["sources"]),
        notices=_notices(groups[""]),
        overview=[_overview(groups)] if several else [],
        sections=sections,
        settings=report["settings"],
        versions=report["versions"],
        pairs=False,
        wanted_icc=WANTED_ICC,
    )


def render_comparisons(report: Numbers) -> str:
    """Write the page of pairs; ``report`` is the content of ``reliability.json``."""
    pairs = report["pairs"]
    names = [
        [row["name"], TableCell(str(row["exams"])), TableCell(str(row["comparisons"])), _cell(row["strength"])]
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
        _tile(f"{pairs['comparisons']:,}", "comparisons", f"{len(pairs['raters'])} raters, {pairs['exams']} exams"),
        _tile(format_number(pairs["alpha"]), "alpha of the raters"),
        _tile(
            _percent(pairs["retest"]["same"]), "same verdict with sides changed", f"{pairs['retest']['pairs']} repeats"
        ),
        _tile(_percent(pairs["left"]["value"]), "prefer the left one", _interval(pairs["left"])),
        _tile(_percent(pairs["same"]), "without difference"),
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
        notices=_notices(pairs),
        overview=[],
        sections=[section],
        settings=report["settings"],
        versions=report["versions"],
        pairs=True,
        wanted_icc=WANTED_ICC,
    )


def summary(report: Numbers) -> str:
    """What the command prints."""
    if "pairs" in report:
        pairs = report["pairs"]
        best = ", ".join(f"{r['name']} {format_number(r['strength']['value'])}" for r in pairs["names"])
        return (
            f"{pairs['comparisons']} comparisons, alpha {format_number(pairs['alpha'])}. Strength: {best or 'see page'}"
        )
    groups = report["groups"]
    if len(groups) > 1:
        return as_text(_overview(groups))
    return as_text(_agreement_table(groups[""])) + "\n\n" + as_text(_rater_table(groups[""]))


def _section(name: str, numbers: Numbers, judgments: pd.DataFrame, several: bool) -> dict[str, Any]:
    agreement, retest, needed = (numbers[key] for key in ("agreement", "retest", "needed"))
    shared = f"{numbers['shared']} of {numbers['segmentations']} segmentations rated by two or more"
    tiles = [
        _tile(f"{numbers['judgments']:,}", "judgments", f"{len(numbers['raters'])} raters, {numbers['exams']} exams"),
        _tile(format_number(agreement["alpha"]["value"]), "ordinal alpha", _interval(agreement["alpha"]) or shared),
        _tile(format_number(agreement["icc_single"]["value"]), "ICC(2,1)", _interval(agreement["icc_single"])),
        _tile(
            format_number(retest["sd"]),
            "stars: error of a single rating by repeats",
            f"{retest['pairs']} repeats" if retest["pairs"] else "no repeats",
        ),
        _tile(
            str(needed["raters"] or "–"),
            "raters needed",
            f"for a standard error of {needed['wanted']:g} stars of their mean",
        ),
    ]
    figures = []
    wide = judgments[~judgments["repeat"]].pivot(index="item", columns="rater", values="stars")
    both = wide[wide.notna().sum(axis=1) > 1]
    unit = "stars" if numbers["kind"] == "human" else f"{numbers['kind']} stars"
    names = [row["rater"] for row in numbers["raters"]]
    ends = {
        key: [[_or_nan(row[key][e]) for e in ("value", "low", "high")] for row in numbers["raters"]] for key in _KEYS
    }
    rater_figure = plot_raters(names, ends["bias"], ends["spread"], unit=unit)
    if len(both):
        figures = [
            (
                _svg(plot_disagreement(both.mean(axis=1), both.std(axis=1), unit=unit)),
                "How far raters are apart, over how good they find a segmentation (compare the paper's Figure 4).",
            )
        ]
    blocks = [
        _block(
            "Agreement",
            f"{shared}; what one rater alone has rated says nothing about agreement.",
            [_agreement_table(numbers)],
        ),
        _block(
            "Raters",
            "Bias: stars above the mean of all raters. Noise: standard deviation of a single rating, apart from "
            "rounding to whole stars. Both come from one model of raters and segmentations. Repeats: the error of a "
            "single rating as the rater's own second looks tell it.",
            [_rater_table(numbers)],
            [(_svg(rater_figure), "Bias and noise of each rater, with 95 % intervals by exam where there are enough.")],
        ),
        _block("Disagreement by quality", "", [_quality_table(numbers)] if len(both) else [], figures),
        _block("How many raters and cases", "", _needed_tables(numbers)),
        _block("Cases to discuss", "", _discuss_tables(numbers)),
    ]
    title = name or ("All ratings together" if several else "Ratings")
    return {"title": title, "tiles": tiles, "blocks": [block for block in blocks if block["tables"]]}


_KEYS = ("bias", "spread")


def _block(
    heading: str, text: str, tables: list[Table], figures: list[tuple[str, str]] | None = None
) -> dict[str, Any]:
    return {"heading": heading, "text": text, "tables": tables, "figures": figures or []}


def _overview(groups: Mapping[str, Numbers]) -> Table:
    columns = ["", "judgments", "rated by 2 or more", "alpha", "ICC(2,1)", "exact", "within one", "difference"]
    rows: list[list[Any]] = []
    for name, numbers in groups.items():
        agreement = numbers["agreement"]
        rows.append([name or "all together", TableCell(str(numbers["judgments"])), TableCell(str(numbers["shared"]))])
        rows[-1] += [_cell(agreement[key]) for key in ("alpha", "icc_single", "exact", "within_one", "difference")]
    return Table("Agreement by group", columns, rows, {0})


def _agreement_table(numbers: Numbers) -> Table:
    rows: list[list[Any]] = [[label, _cell(numbers["agreement"][key])] for key, label in AGREEMENT.items()]
    caption = f"{numbers['shared']} segmentations of {numbers['exams_shared']} exams that two or more have rated"
    return Table(caption, ["", "value"], rows)


def _rater_table(numbers: Numbers) -> Table:
    rows: list[list[Any]] = []
    for rater in numbers["raters"]:
        retest = rater["retest"]
        repeats = TableCell(format_number(retest["sd"]), f"({retest['pairs']})" if retest["pairs"] else "")
        cells = [
            _cell(rater["bias"]),
            _cell(rater["spread"]),
            TableCell(format_number(rater["r_with_others"])),
            repeats,
        ]
        rows.append([rater["rater"], TableCell(str(rater["ratings"])), *cells, TableCell("; ".join(rater["remarks"]))])
    columns = ["", "ratings", "bias", "noise", "r with the others", "error by repeats", "to talk about"]
    return Table("Each rater", columns, rows)


def _quality_table(numbers: Numbers) -> Table:
    rows: list[list[Any]] = [
        [
            f"about {row['stars']:g}",
            TableCell(str(row["segmentations"])),
            TableCell(format_number(row["deviation"])),
            TableCell(format_number(row["range"])),
        ]
        for row in numbers["by_quality"]
    ]
    columns = ["mean rating", "segmentations", "standard deviation", "mean range"]
    return Table("How far raters are apart, in stars", columns, rows)


def _needed_tables(numbers: Numbers) -> list[Table]:
    needed = numbers["needed"]
    errors: list[list[Any]] = [
        [f"{count} rater{'s' if count != '1' else ''}", TableCell(format_number(error))]
        for count, error in needed["errors"].items()
        if error is not None
    ]
    tables = (
        [Table("Standard error of a segmentation's mean rating, in stars", ["", "error"], errors)] if errors else []
    )
    rows: list[list[Any]] = [
        [
            f"{row['raters']} raters",
            *(TableCell(format_number(row["half_width"][str(n)])) for n in CASES),
            TableCell(str(row["cases"] or "–")),
        ]
        for row in needed["cases"]
    ]
    if rows:
        caption = "Half the width of the 95 % interval of ICC(2,1), by simulated studies with these variances"
        tables.append(Table(caption, ["", *(f"{n} cases" for n in CASES), f"cases for {WANTED_ICC:g}"], rows))
    return tables


def _discuss_tables(numbers: Numbers) -> list[Table]:
    rows: list[list[Any]] = []
    for case in numbers["discuss"]:
        name = ": ".join(part for part in (case["exam"], case["segmentation"].rpartition("/")[2], case["view"]) if part)
        given = ", ".join(f"{rater} {stars:g}" for rater, stars in case["ratings"].items())
        rows.append([name, TableCell(format_number(case["range"], 0)), TableCell(given)])
    return [Table("Those with the widest range", ["", "range", "ratings"], rows)] if rows else []


def _notices(numbers: Numbers) -> list[str]:
    notices = []
    if numbers["kind"] != "human":
        notices.append(f"The ratings are {numbers['kind']}, not human: no human has judged these segmentations.")
    if numbers.get("shared") == 0:
        notices.append("No segmentation was rated by two raters: nothing can be said about their agreement.")
    return notices


def _tile(value: str, label: str, detail: str = "") -> dict[str, str]:
    return {"value": value, "label": label, "detail": detail}


def _cell(number: Numbers) -> TableCell:
    return TableCell(format_number(number["value"]), _interval(number))


def _interval(number: Numbers) -> str:
    low, high = (format_number(number[end]) for end in ("low", "high"))
    return "" if low == "–" else f"({low}{' to ' if '−' in low + high else '–'}{high})"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.0f} %"


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value


def _svg(figure: Any) -> str:
    return base64.b64encode(save_figure(figure, "svg")).decode()

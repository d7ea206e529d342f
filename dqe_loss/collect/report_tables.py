"""The tables of a report on ratings, and how its numbers are written."""

from collections.abc import Mapping, Sequence
from typing import Any

from dqe_loss.collect.needed import CASES, WANTED_ICC
from dqe_loss.metrics.latent_raters import ENOUGH
from dqe_loss.viz.html import Table, TableCell, fill_template, format_number

Numbers = Mapping[str, Any]

AGREEMENT = {
    "alpha": "Krippendorff's alpha (ordinal)",
    "icc_single": "ICC(2,1), a single rating",
    "icc_mean": "ICC(2,k), the mean of a case's ratings",
    "exact": "exact agreement of two raters",
    "within_one": "agreement within {step}",
    "difference": "mean difference of two raters, in stars",
}


def overview_table(groups: Mapping[str, Numbers]) -> Table:
    """Agreement of each group of ratings."""
    columns = ["", "judgments", "rated by 2 or more", "alpha", "ICC(2,1)", "exact", "within a step", "difference"]
    rows: list[list[Any]] = []
    for name, numbers in groups.items():
        agreement = numbers["agreement"]
        rows.append([name or "all together", TableCell(str(numbers["judgments"])), TableCell(str(numbers["shared"]))])
        rows[-1] += [as_cell(agreement[key]) for key in ("alpha", "icc_single", "exact", "within_one", "difference")]
    return Table("Agreement by group", columns, rows, {0})


def agreement_table(numbers: Numbers, step: float) -> Table:
    """How far raters agree; ``step`` is that of the scale."""
    within = "one star" if step == 1 else f"{step:g} stars"
    rows: list[list[Any]] = [
        [label.format(step=within), as_cell(numbers["agreement"][key])] for key, label in AGREEMENT.items()
    ]
    caption = f"{numbers['shared']} segmentations of {numbers['exams_shared']} exams that two or more have rated"
    return Table(caption, ["", "value"], rows)


def rater_table(numbers: Numbers) -> Table:
    """Bias, noise and repeats of each rater, and what is to be talked about."""
    rows: list[list[Any]] = []
    for rater in numbers["raters"]:
        retest = rater["retest"]
        repeats = TableCell(format_number(retest["sd"]), f"({retest['pairs']})" if retest["pairs"] else "")
        cells = [
            as_cell(rater["bias"]),
            as_cell(rater["spread"]),
            TableCell(format_number(rater["r_with_others"])),
            repeats,
        ]
        rows.append([rater["rater"], TableCell(str(rater["ratings"])), *cells, TableCell("; ".join(rater["remarks"]))])
    columns = ["", "ratings", "bias", "noise", "r with the others", "error by repeats", "to talk about"]
    return Table("Each rater", columns, rows)


def quality_table(numbers: Numbers) -> Table:
    """Disagreement by quality."""
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


def needed_tables(numbers: Numbers) -> list[Table]:
    """How exact the mean of so many raters is, and how well so many cases make the reliability known."""
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


def discuss_tables(numbers: Numbers) -> list[Table]:
    """Cases that raters are far apart on, if there are any."""
    rows: list[list[Any]] = []
    for case in numbers["discuss"]:
        name = ": ".join(part for part in (case["exam"], case["segmentation"].rpartition("/")[2], case["view"]) if part)
        given = ", ".join(f"{rater} {stars:g}" for rater, stars in case["ratings"].items())
        rows.append([name, TableCell(f"{case['range']:g}"), TableCell(given)])
    return [Table("Those with the widest range", ["", "range", "ratings"], rows)] if rows else []


def as_cell(number: Numbers) -> TableCell:
    """A number with its interval."""
    return TableCell(format_number(number["value"]), as_interval(number))


def as_interval(number: Numbers) -> str:
    """An interval in words; nothing where there is none."""
    low, high = (format_number(number[end]) for end in ("low", "high"))
    return "" if low == "–" else f"({low}{' to ' if '−' in low + high else '–'}{high})"


def as_percent(share: float | None) -> str:
    """A share as per cent; a dash where it is not defined."""
    return "–" if share is None else f"{100 * share:.0f} %"


def tile(value: str, label: str, detail: str = "") -> dict[str, str]:
    """A number that stands out at the top of a section."""
    return {"value": value, "label": label, "detail": detail}


def fill_report(
    report: Numbers, title: str, numbers: Numbers, sections: list[dict[str, Any]], overview: Sequence[Table] = ()
) -> str:
    """The page of a report.

    Args:
        report: the content of ``reliability.json``.
        title: of the page.
        numbers: of all ratings or pairs.
        sections: of the page.
        overview: tables before them.
    """
    return fill_template(
        "reliability.html.jinja",
        title=title,
        subtitle=", ".join(report["sources"]),
        notices=notices_of(numbers),
        overview=overview,
        sections=sections,
        settings=report["settings"],
        versions=report["versions"],
        pairs="pairs" in report,
        wanted_icc=WANTED_ICC,
        enough=ENOUGH,
    )


def notices_of(numbers: Numbers) -> list[str]:
    """What a reader must know before any number."""
    notices = []
    if numbers["kind"] != "human":
        notices.append(f"The ratings are {numbers['kind']}, not human: no human has judged these segmentations.")
    if numbers.get("shared") == 0:
        notices.append("No segmentation was rated by two raters: nothing can be said about their agreement.")
    return notices

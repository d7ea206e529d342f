"""One page of HTML with all of an evaluation: works offline, in the dark, and on paper."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from dqe_loss.evaluate.predictions import overlaps_of
from dqe_loss.metrics.agreement import MINIMUM_EXAMS
from dqe_loss.task import Task
from dqe_loss.tasks.reading import task_from_dict
from dqe_loss.viz.html import SURROGATE_TEXT, Table, TableCell, count_text, fill_template, format_number


def column_name(column: str) -> str:
    """A view, or the mean of the views, in words."""
    return "mean of views" if column == "mean" else column


def overlap_name(overlap: str) -> str:
    """A column of overlaps in words."""
    return overlap.replace("surface_dice_", "surface Dice ").replace("dice_", "Dice ")


_RATINGS = {
    "human": "Given by human raters. They speak for these raters, these exams and these kinds of error.",
    "simulated": "Drawn by simulated raters around a score that is computed from overlap with a reference. They can "
    "show that the surrogate has learned what it was given, and how its error compares with the noise that was put in. "
    "They cannot show how {experts} would judge: no human has rated these masks, and only those errors occur "
    "that the simulation knows.",
    "metric": "Computed from overlap with a reference. They can show that the surrogate has learned to estimate that "
    "overlap without the reference. They cannot show how {experts} would judge.",
}
_MODELS = ("surrogate", "linear in volume", "constant mean")


def render_report(evaluation: Mapping[str, Any], figures: Mapping[str, bytes]) -> str:
    """Write the page.

    Args:
        evaluation: the content of ``evaluation.json``, with NaN or None for what is not defined.
        figures: file stem to SVG.

    Returns:
        HTML that needs no other file.
    """
    ratings, references = evaluation["ratings"], evaluation["references"]
    several = len(_task(evaluation).views) > 1
    return fill_template(
        "report.html.jinja",
        name=PurePath(evaluation["checkpoint"]).name,
        description=evaluation["description"][:1].upper() + evaluation["description"][1:],
        notices=_notices(evaluation),
        tiles=_tiles(ratings, references),
        tables=report_tables(evaluation),
        ratings=ratings,
        references=references,
        bootstrap=evaluation["bootstrap"],
        task=_task(evaluation),
        versions=evaluation["versions"],
        surrogate_text=SURROGATE_TEXT[evaluation["kind_of_ratings"]],
        ratings_text=_of_ratings(evaluation) if ratings else "",
        figures={name: base64.b64encode(svg).decode() for name, svg in figures.items()},
        of_views=f" (mean of the {count_text(len(_task(evaluation).views), 'view')})" if several else "",
        planes=count_text(len(_task(evaluation).views), "plane"),
        regions=count_text(len(_task(evaluation).regions), "region"),
    )


def _task(evaluation: Mapping[str, Any]) -> Task:
    return task_from_dict(evaluation["config"]["task"])


def _of_ratings(evaluation: Mapping[str, Any]) -> str:
    """What the ratings are good for, in the words of the task."""
    text: str = _RATINGS[evaluation["ratings"]["kind"]]
    return text.format(experts=_task(evaluation).experts)


def report_tables(evaluation: Mapping[str, Any]) -> dict[str, Table]:
    """The page's tables: ``agreement`` and ``views``; ``pearson``, ``spearman``, ``failure`` and ``exams``."""
    tables: dict[str, Table] = {}
    if evaluation["ratings"]:
        ratings = evaluation["ratings"]
        tables |= {"agreement": _agreement_table(ratings), "views": _view_table(ratings)}
    if evaluation["references"]:
        pooled, overlaps = evaluation["references"]["pooled"], overlaps_of(_task(evaluation))
        for kind, symbol in (("pearson", "Pearson's r"), ("spearman", "Spearman's ρ")):
            tables[kind] = _correlation_table(
                pooled, kind, f"{symbol} of stars and overlap, all segmentations", overlaps
            )
        tables |= {"failure": _failure_table(pooled), "exams": _exam_table(evaluation["references"]["exams"], overlaps)}
    return tables


def _cell(number: Mapping[str, float | None], digits: int = 2) -> TableCell:
    low, high = (format_number(number[end], digits) for end in ("low", "high"))
    between = " to " if "−" in low + high else "–"
    return TableCell(format_number(number["value"], digits), "" if low == "–" else f"({low}{between}{high})")


def _notices(evaluation: Mapping[str, Any]) -> list[str]:
    ratings, references = evaluation["ratings"], evaluation["references"]
    notices = []
    if evaluation["kind_of_ratings"] != "human":
        notices.append(SURROGATE_TEXT[evaluation["kind_of_ratings"]])
    if ratings and ratings["kind"] != "human":
        notices.append(f"The ratings are {ratings['kind']}, not human. {_of_ratings(evaluation)}")
    if ratings and not ratings["split"]:
        notices.append(
            "No split was given, all exams of the table are evaluated: if the surrogate was trained on some of them, "
            "these numbers flatter it."
        )
    counts = [ratings["exams"]] if ratings else []
    counts += [references["pooled"]["exams"]] if references else []
    if min(counts) < MINIMUM_EXAMS:
        notices.append(
            f"Fewer than {MINIMUM_EXAMS} exams: no confidence intervals are given, and other exams may well behave "
            "differently."
        )
    return notices


def _tiles(ratings: Mapping[str, Any] | None, references: Mapping[str, Any] | None) -> list[dict[str, str]]:
    tiles = []

    def add(number: Mapping[str, float | None] | float | None, label: str, detail: str = "", digits: int = 2) -> None:
        cell = _cell(number, digits) if isinstance(number, Mapping) else TableCell(format_number(number, digits))
        tiles.append({"value": cell.value, "label": label, "detail": detail or cell.interval})

    if ratings:
        mean = ratings["views"]["mean"]
        add(mean["surrogate"]["pearson"], f"r with the mean {ratings['kind']} rating")
        add(mean["surrogate"]["mae"], f"MAE in {ratings['unit']}")
        add(mean["raters"]["mae"], "MAE of the raters among themselves", f"{mean['raters']['raters']} raters compared")
    if references:
        pooled = references["pooled"]
        count = f"{pooled['segmentations']} segmentations of {pooled['exams']} exam{'s' if pooled['exams'] > 1 else ''}"
        pearson = pooled["correlation"]["mean"]["dice_mean"]["pearson"]
        add(pearson, "r of stars and mean Dice", " ".join((_cell(pearson).interval, count)).strip())
        failure = pooled["failure"]["mean"]
        add(failure["excess"], "excess AURC (0: perfect order)", f"by chance {_chance(failure)}", 3)
    return tiles


def _chance(failure: Mapping[str, float | None]) -> str:
    random, optimal = failure["random"], failure["optimal"]
    return format_number(None if random is None or optimal is None else random - optimal, 3)


def _agreement_table(ratings: Mapping[str, Any]) -> Table:
    mean = ratings["views"]["mean"]
    rows: list[list[Any]] = [[name, *(_cell(number) for number in mean[name].values())] for name in _MODELS]
    raters = mean["raters"]
    rows.append(["raters among themselves", TableCell(format_number(raters["mae"])), *[TableCell("–")] * 4])
    caption = f"Mean of views against the mean {ratings['kind']} rating"
    return Table(caption, ["", "MAE", "RMSE", "r", "ρ", "τ"], rows, {0})


def _view_table(ratings: Mapping[str, Any]) -> Table:
    rows: list[list[Any]] = []
    for column, numbers in ratings["views"].items():
        rows.append([column_name(column), TableCell(str(numbers["segmentations"]))])
        rows[-1] += [_cell(numbers["surrogate"][metric]) for metric in ("mae", "rmse", "pearson", "spearman")]
        rows[-1] += [_cell(numbers[name]["mae"]) for name in _MODELS[1:]]
        rows[-1].append(TableCell(format_number(numbers["raters"]["mae"])))
    columns = ["", "n", "MAE", "RMSE", "r", "ρ", "MAE linear in volume", "MAE constant mean", "MAE raters"]
    return Table("The surrogate, and the MAE of baselines and raters", columns, rows)


def _correlation_table(numbers: Mapping[str, Any], kind: str, caption: str, names: Sequence[str]) -> Table:
    rows = [
        [column_name(column), *(_cell(overlaps[name][kind]) for name in names)]
        for column, overlaps in numbers["correlation"].items()
    ]
    return Table(caption, ["", *map(overlap_name, names)], rows, {len(rows) - 1})


def _failure_table(numbers: Mapping[str, Any]) -> Table:
    rows = [
        [
            column_name(column),
            *(TableCell(format_number(areas[name], 3)) for name in ("aurc", "excess", "optimal", "random")),
        ]
        for column, areas in numbers["failure"].items()
    ]
    columns = ["", "AURC", "excess AURC", "best order", "chance"]
    return Table("Failure detection, risk 1 − mean Dice; lower is better", columns, rows, {len(rows) - 1})


def _exam_table(exams: Mapping[str, Any], names: Sequence[str]) -> Table:
    rows: list[list[Any]] = []
    shown = [name for name in names if not name.startswith("surface_dice_") or name == "surface_dice_mean"]
    for name, numbers in exams.items():
        correlation, failure = numbers["correlation"]["mean"], numbers["failure"]["mean"]
        rows.append([name, TableCell(str(numbers["segmentations"]))])
        rows[-1] += [TableCell(format_number(correlation[overlap]["pearson"]["value"])) for overlap in shown]
        rows[-1].append(TableCell(format_number(correlation["dice_mean"]["spearman"]["value"])))
        rows[-1] += [TableCell(format_number(failure[area], 3)) for area in ("aurc", "excess", "random")]
    columns = ["", "n", *(f"r {overlap_name(name)}" for name in shown), "ρ Dice mean", "AURC", "excess AURC", "chance"]
    return Table("Stars (mean of views) in each exam by itself", columns, rows)

"""One page of HTML with a rated table: sorted, filtered and looked at offline, whatever its size.

Rows are drawn 25 at a time by a script in the page, and each case's pictures lie in a block of text of their own that
nothing parses or decodes before the case is opened: thousands of exams scroll as a few do.
"""

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from dqe_loss.core.centers import SURVEY, places_of
from dqe_loss.data.tables.warning_kinds import to_review
from dqe_loss.task import GLIOMA, Task
from dqe_loss.viz.cases.pictures import ViewPicture
from dqe_loss.viz.hanging import outlines_of
from dqe_loss.viz.html import SURROGATE_TEXT, Table, count_text, fill_template, format_number

Key = tuple[str, str]
"""Exam and segmentation."""

Pictures = Mapping[Key, list[ViewPicture] | str]
"""The pictures of flagged segmentations, or why there are none."""

_DECISIONS = ("keep", "review", "drop")
_BIN = 0.25  # stars
_PLOT = (960, 220, 34)  # width, height, height of the axis below it; CSS scales it


@dataclass(frozen=True)
class Section:
    """A part of the page between distribution and cases.

    Attributes:
        title: its heading.
        paragraphs: its text.
        table: a table, or None.
        figures: SVG, and what it shows.
    """

    title: str
    paragraphs: list[str]
    table: Table | None = None
    figures: list[tuple[bytes, str]] = field(default_factory=list)


def render_cases(
    table: pd.DataFrame,
    pictures: Pictures,
    *,
    title: str,
    subtitle: str = "",
    threshold: float | None = None,
    notices: Sequence[str] = (),
    sections: Sequence[Section] = (),
    task: Task = GLIOMA,
) -> str:
    """Write the page.

    Args:
        table: rows as `dqe_loss.data.tables.rated.read_rated` returns them, one or more; with ``decision`` and
            ``reason`` as `dqe_loss.curate.decide.decide` gives them, those are shown, filtered by and counted.
        pictures: of the segmentations that are to be looked at; others are shown as numbers.
        title: the page's heading.
        subtitle: a line below it.
        threshold: stars that are marked in the distribution.
        notices: what a reader must know before all else.
        sections: parts of the page before the cases.
        task: what was rated.

    Returns:
        HTML that needs no other file and no network.
    """
    unit = str(table["unit"].iloc[0])
    kind = "human" if unit == "stars" else unit.removesuffix(" stars")
    decided = "decision" in table
    centers = str(table["look"].iloc[0])
    return fill_template(
        "cases.html.jinja",
        title=title,
        subtitle=subtitle,
        unit=unit,
        kind=kind,
        surrogate_text=SURROGATE_TEXT.get(kind, SURROGATE_TEXT["unknown"]),
        notices=list(notices),
        tiles=_tiles(table, unit),
        plot=_distribution(table, threshold, task),
        sections=[_encoded(section) for section in sections],
        decided=decided,
        data=_data(table, pictures, unit, decided, task),
        cases=_cases(table, pictures, task),
        outlines=outlines_of(task),
        regions=_told_regions(task),
        pictured=len(pictures),
        checkpoint=f"{table['checkpoint'].iloc[0]} ({table['checkpoint_sha256'].iloc[0]})",
        centers=centers,
        places_text=_places_text(centers, task),
        task=task,
        scale=f"{task.stars[0]:g} (worst) to {task.stars[1]:g} (best)",
        of_views=f", mean of the {count_text(len(task.views), 'view')}" if len(task.views) > 1 else "",
    )


def flag_rows(table: pd.DataFrame, limit: int) -> pd.Index:
    """The rows that get pictures: what is not kept first, the worst rated to begin with, then a sample of what is.

    A surrogate can like a failure, so that the kept ones deserve a look, too: a random one (always the same), for
    the lowest stars would only show what it likes least.

    Args:
        table: as `render_cases` takes it; without decisions, segmentations with warnings to review come first.
        limit: how many at most.

    Returns:
        Their index. Rows with an error have nothing to show, and are left out.
    """
    rated = table[table["error"] == ""]
    flagged = rated["decision"] != "keep" if "decision" in rated else to_review(rated["warnings"]) != ""
    first, rest = rated[flagged].sort_values("mean", kind="stable").index, rated[~flagged].index
    if "decision" not in rated:
        return first.append(rated.loc[rest].sort_values("mean", kind="stable").index)[:limit]
    return first.append(rest[np.random.default_rng(0).permutation(len(rest))])[:limit]


def _told_regions(task: Task) -> str:
    """The regions in words, with their names in the table in brackets."""
    return ", ".join(
        region if task.title(region) == region else f"{task.title(region)} ({region})" for region in task.regions
    )


def _numbers(task: Task) -> dict[str, tuple[str, int]]:
    """Columns of numbers: heading and digits."""
    stars = {name: (name, 2) for name in ("mean", *task.views, "spread", "dice", "dice_low")}
    return stars | {f"{region.lower()}_ml": (f"{region} ml", 1) for region in task.regions}


def _places_text(centers: str, task: Task) -> str:
    """Where the rated planes lie, in words; a table's own word for a place that is not ours."""
    words = centers.split()
    known = places_of(task)
    places = [known.get(place, place) for place in words if place != SURVEY]
    planes = {1: "a plane", 2: "two planes", 3: "three planes"}[len(task.views)]
    if len(places) == 1:
        text = f"{planes} through {places[0]}"
    else:
        text = f"{planes} through {', '.join(places[:-1])} and {places[-1]} each, of each view the lowest"
    return text + (", lowered by what a refiner finds wrong all over the head" if SURVEY in words else "")


def _encoded(section: Section) -> dict[str, Any]:
    """The section with its figures as base64, as the template embeds them."""
    figures = [(base64.b64encode(svg).decode(), caption) for svg, caption in section.figures]
    return vars(section) | {"figures": figures}


def _tiles(table: pd.DataFrame, unit: str) -> list[dict[str, str]]:
    stars = table["mean"].dropna()
    tiles = [(f"{len(table):,}", "segmentations", f"of {table['exam'].nunique():,} exams")]
    if "decision" in table:
        names = {"keep": "kept", "review": "to review", "drop": "dropped"}
        counts = table["decision"].value_counts()
        tiles += [(f"{counts.get(k, 0):,}", name, f"{counts.get(k, 0) / len(table):.0%}") for k, name in names.items()]
    tiles.append((format_number(stars.median()), f"median {unit}", ""))
    tiles.append(
        (
            f"{(table['error'] != '').sum():,}",
            "without stars",
            f"{(to_review(table['warnings']) != '').sum():,} warnings to review",
        )
    )
    return [dict(zip(("value", "label", "detail"), tile, strict=True)) for tile in tiles]


def _distribution(table: pd.DataFrame, threshold: float | None, task: Task) -> dict[str, Any]:
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


def _data(table: pd.DataFrame, pictures: Pictures, unit: str, decided: bool, task: Task) -> dict[str, Any]:
    """What the script sorts and filters: a few short values a row."""
    columns: list[dict[str, Any]] = [{"key": "exam", "label": "exam"}, {"key": "segmentation", "label": "segmentation"}]
    columns += [{"key": "decision", "label": "decision"}] if decided else []
    numeric = {key: value for key, value in _numbers(task).items() if key in table}  # not every checkpoint tells Dice
    columns += [{"key": key, "label": label, "digits": digits} for key, (label, digits) in numeric.items()]
    columns.append({"key": "note", "label": "note"})
    rows = []
    for row in table.assign(note=_notes(table)).to_dict("records"):
        numbers = [None if pd.isna(row[key]) else round(float(row[key]), 3) for key in numeric]
        decision = [row["decision"]] if decided else []
        rows.append([row["exam"], row["segmentation"], *decision, *numbers, row["note"]])
    pictured = [int(key in pictures) for key in zip(table["exam"], table["segmentation"], strict=True)]
    return {
        "unit": unit,
        "columns": columns,
        "rows": rows,
        "pictured": pictured,
        "shown": [task.title(m) for m in task.pictured],
    }


def _notes(table: pd.DataFrame) -> list[str]:
    """What there is to say of each row; a decision's reason tells an error or a warning already."""
    reasons = table["reason"] if "reason" in table else pd.Series("", index=table.index)
    notes = []
    for reason, error, warnings in zip(reasons, table["error"], table["warnings"], strict=True):
        parts = [reason, error and f"no stars: {error}", warnings and f"warning: {warnings}"]
        notes.append("; ".join(dict.fromkeys(part for part in parts if part)))
    return notes


def _cases(table: pd.DataFrame, pictures: Pictures, task: Task) -> list[tuple[int, dict[str, Any]]]:
    """Number of the row, and what is shown where it is opened."""
    cases = []
    for number, row in enumerate(table.to_dict("records")):
        found = pictures.get((row["exam"], row["segmentation"]))
        if found is None:
            continue
        files = {name: str(row[name]) for name in ("mask", *task.modalities) if row[name]}
        views = [] if isinstance(found, str) else [view.to_json() for view in found]
        cases.append((number, {"files": files, "views": views, "problem": found if isinstance(found, str) else ""}))
    return cases

"""One page of HTML with a rated table: sorted, filtered and looked at offline, whatever its size.

Rows are drawn 25 at a time by a script in the page, and each case's pictures lie in a block of text of their own that
nothing parses or decodes before the case is opened: thousands of exams scroll as a few do.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from dqe_loss.core.centers import SURVEY, places_of
from dqe_loss.data.tables.warning_kinds import to_review
from dqe_loss.task import GLIOMA, Task
from dqe_loss.viz.cases.distribution import distribution
from dqe_loss.viz.cases.pictures import Pictures
from dqe_loss.viz.cases.rows import opened_cases, rows_data
from dqe_loss.viz.hanging import outlines_of
from dqe_loss.viz.html import SURROGATE_TEXT, Table, count_text, fill_template, format_number


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
    centers = str(table["center"].iloc[0])
    return fill_template(
        "cases.html.jinja",
        title=title,
        subtitle=subtitle,
        unit=unit,
        kind=kind,
        surrogate_text=SURROGATE_TEXT.get(kind, SURROGATE_TEXT["unknown"]),
        notices=list(notices),
        tiles=_tiles(table, unit),
        plot=distribution(table, threshold, task),
        sections=[_encoded(section) for section in sections],
        decided=decided,
        data=rows_data(table, pictures, unit, decided, task),
        cases=opened_cases(table, pictures, task),
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

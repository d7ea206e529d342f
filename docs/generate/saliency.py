"""Errors found by the gradient: what share of a map falls on the true error."""

import math
import statistics
from collections.abc import Iterable
from typing import Any

from stored import Figures, load, number, select, stored_tables, table

MAP, OUTLINE = "change, smoothed 2", "outline of the mask, no network"
"""The map that ``--explain`` draws, and the one that knows no network."""
REFINERS = ("CBICA", "2013", "first")
"""Sources of the exams that have masks of networks; each refiner has seen nothing of its source."""
Records = list[dict[str, Any]]


def saliency() -> Figures:
    """Errors that were made in phantoms, and those that networks made in real exams."""
    stored = {"published": stored_tables("saliency/table.md"), "default": stored_tables("saliency_hardened/table.md")}
    first = {name: {row["reading"]: row for row in found[0]} for name, found in stored.items()}
    names = {"error": "error", "share": "share", "chance": "chance", "lift": "lift"}
    names |= {"outline's lift": "lift, outline of the mask, no network"}
    real = {
        "published": _records("saliency_exams/published/saliency.json"),
        "default": [one for group in REFINERS for one in _records(f"saliency_exams/{group}/saliency.json")],
    }
    header = ["map", "published: share (lift)", "default: share (lift)"]
    readings = list(dict.fromkeys(record["reading"] for record in real["default"]))
    exams = sorted({record["exam"] for record in real["default"]})
    return {
        "table": table(
            header,
            (
                [name, *(f"{found[name]['share']} ({found[name]['lift']})" for found in first.values())]
                for name in first["published"]
            ),
        ),
        **{name: select(found[1], names).replace("_", " ") for name, found in stored.items()},
        "real": table(
            header,
            ([reading, *(_told(_of(found, reading=reading)) for found in real.values())] for reading in readings),
        ),
        "by_exam": table(
            ["exam", "masks", "chance", "published: share (lift)", "default: share (lift)", "outline: share (lift)"],
            (
                [
                    exam,
                    str(len(_of(real["default"], exam=exam, reading=MAP))),
                    number(_means(_of(real["default"], exam=exam, reading=MAP))[1]),
                    *(_told(_of(found, exam=exam, reading=MAP)) for found in real.values()),
                    _told(_of(real["default"], exam=exam, reading=OUTLINE)),
                ]
                for exam in exams
            ),
        ),
        "share": number(_means(_of(real["default"], reading=MAP))[0]),
        "outline": number(_means(_of(real["default"], reading=OUTLINE))[0]),
        "masks": str(len(_of(real["default"], reading=MAP))),
        "exams": str(len(exams)),
    }


def _records(name: str) -> Records:
    """All records of a benchmark's file."""
    return [record for cell in load(name)["cells"].values() for record in cell["records"]]


def _of(records: Iterable[dict[str, Any]], **wanted: str) -> Records:
    return [record for record in records if all(record[key] == value for key, value in wanted.items())]


def _means(records: Records) -> tuple[float, float]:
    """Mean share and chance; a map that is 0 everywhere points at nothing and has chance."""
    shares = [one["share"] for one in records]
    chance = [one["chance"] for one in records]
    known = [c if share is None or math.isnan(share) else share for share, c in zip(shares, chance, strict=True)]
    return statistics.fmean(known), statistics.fmean(chance)


def _told(records: Records) -> str:
    """Share and lift."""
    share, chance = _means(records)
    return f"{number(share)} ({number(share / chance, 1)})"

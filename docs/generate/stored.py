"""What the benchmarks stored, and how its numbers and tables are written in a page."""

import csv
import json
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"

Figures = Mapping[str, str]
"""Figures of one source by name, as they stand in a page: a number in words, or a table in Markdown."""


@cache
def load(name: str) -> Any:
    """The content of a JSON file in `RESULTS`.

    Raises:
        FileNotFoundError: if there is no such file; the benchmark that writes it has not been run.
    """
    return json.loads((RESULTS / name).read_text(encoding="utf-8"))


def rows_of(name: str) -> list[dict[str, str]]:
    """The rows of a CSV file in `RESULTS`."""
    with (RESULTS / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def card(checkpoint: str) -> str:
    """The model card of a checkpoint that is shipped."""
    [path] = (ROOT / "dqe_loss").rglob(f"{checkpoint}.md")
    return path.read_text(encoding="utf-8")


def number(value: float | None, digits: int = 2, *, sign: bool = False) -> str:
    """A number with so many decimals and a true minus sign; an en dash where there is none."""
    if value is None:
        return "–"
    text = f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
    return (text[1:] if re.fullmatch(r"-0\.?0*", text) else text).replace("-", "−")


def percent(share: float) -> str:
    """A share in whole percent."""
    return f"{100 * share:.0f}\u00a0%".replace("-", "−")


def triple(values: Iterable[float], digits: int = 2) -> str:
    """Figures of TC, WT and ET."""
    return "\u00a0/\u00a0".join(number(value, digits) for value in values)


def median(values: Sequence[float], digits: int = 2) -> str:
    """The median of repeated measurements."""
    return number(statistics.median(values), digits)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; a cell must not hold a line break."""
    lines = [list(header), ["---"] * len(header), *(list(map(_together, row)) for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def stored_tables(name: str) -> list[list[dict[str, str]]]:
    """The tables of a Markdown file in `RESULTS`: for each its rows, a cell by the name of its column."""
    tables: list[list[list[str]]] = [[]]
    for line in (RESULTS / name).read_text(encoding="utf-8").splitlines():
        if line.startswith("|"):
            tables[-1].append([cell.strip() for cell in line.strip("|").split(" | ")])
        elif tables[-1]:
            tables.append([])
    return [[dict(zip(rows[0], row, strict=True)) for row in rows[2:]] for rows in tables if rows]


def select(rows: Iterable[Mapping[str, str]], columns: Mapping[str, str]) -> str:
    """Some columns of a stored table, by what they are called in the page."""
    return table(list(columns), ([_typeset(row[column]) for column in columns.values()] for row in rows))


def _together(cell: str) -> str:
    """A cell whose numbers are not parted from their spread, range or unit at the end of a line."""
    cell = re.sub(r"(?<=\d) (±|%|s|ms|MB)(?![a-z])", "\u00a0\\1", cell).replace("± ", "±\u00a0")
    return re.sub(r"\([^()]*\d[^()]*\)", lambda found: found[0].replace(" ", "\u00a0"), cell)


def _typeset(cell: str) -> str:
    """A stored cell with true minus signs, and an en dash where there is nothing."""
    return "–" if cell == "-" else re.sub(r"(?<![\w-])-(?=[\d.])", "−", cell)

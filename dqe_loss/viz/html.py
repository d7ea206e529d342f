"""What the pages of HTML share: their templates, tables, and numbers as text."""

import math
from dataclasses import dataclass, field
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

SURROGATE_TEXT = {
    "human": "The surrogate learned from human ratings: its stars estimate what those raters would give.",
    "simulated": "The surrogate learned from simulated raters: its simulated stars estimate what the simulation would "
    "give, not a human judgment.",
    "metric": "The surrogate learned from overlap with references: its metric stars estimate that overlap, not a human "
    "judgment.",
    "hybrid": "The surrogate learned from ratings, and a refiner, which learned from references, lowers them: "
    "its hybrid stars are human judgment only where humans gave the ratings and the refiner agrees with the mask.",
    "unknown": "The checkpoint does not say what ratings the surrogate learned from: its stars may be no human "
    "judgment.",
}
"""What stars are, by the kind of ratings that the surrogate learned from (contract C12)."""


@dataclass(frozen=True)
class TableCell:
    """A number and its interval as text."""

    value: str
    interval: str = ""


@dataclass(frozen=True)
class Table:
    """A table of the page; the first cell of a row is its name, and ``strong`` says which rows are set in bold."""

    caption: str
    columns: list[str]
    rows: list[list[Any]]
    strong: set[int] = field(default_factory=set)


def count_text(count: int, noun: str) -> str:
    """A number of things in words: one region, three regions, 12 regions."""
    words = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    return f"{words[count] if count < len(words) else count} {noun}{'' if count == 1 else 's'}"


def fill_template(template: str, **values: Any) -> str:
    """Fill one of the page templates in ``viz/templates``; a value that it names and does not get is an error."""
    environment = Environment(
        loader=PackageLoader("dqe_loss.viz"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template(template).render(**values)


def as_text(table: Table) -> str:
    """A table as plain text, without intervals."""
    rows = [table.columns, *([row[0], *(cell.value for cell in row[1:])] for row in table.rows)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            f"{cell:<{width}}" if i == 0 else f"{cell:>{width}}"
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join((table.caption, *lines))


def format_number(value: float | None, digits: int = 2) -> str:
    """A number with a real minus sign; a dash where it is not defined."""
    if value is None or math.isnan(value):
        return "–"
    text = f"{value:.{digits}f}"
    return "0." + "0" * digits if float(text) == 0 else text.replace("-", "−")

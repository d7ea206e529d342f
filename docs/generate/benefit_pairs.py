"""Differences of two arms of the benefit study, as its results tell them."""

from collections.abc import Iterable, Mapping
from typing import Any

from stored import number, percent, table

Row = dict[str, Any]
MEASURES = {
    "dice": ("Dice", 3),
    "surface_dice": ("surface Dice at 1 mm", 3),
    "hd95": ("HD95, mm", 2),
    "second": ("second surrogate's stars", 2),
}
"""What is measured of hippocampi: its name and the decimals that are told."""


def key(row: Row) -> tuple[Any, ...]:
    """What a difference is of, whichever arm stands first."""
    return row["setting"], row["labelled"], *sorted(row["arms"])


def with_interval(row: Row, digits: int = 3) -> str:
    """A difference with its 95 % interval."""
    low, high = (number(value, digits, sign=True) for value in row["interval"])
    return f"{number(row['difference'], digits, sign=True)} ({low} to {high})"


def over(row: Row, base: str) -> tuple[str, Row]:
    """The other arm of a pair, and its difference from the base, whichever stands first."""
    if row["arms"][1] == base:
        return row["arms"][0], row
    low, high = row["interval"]
    turned = {"difference": -row["difference"], "interval": [-high, -low], "arms": row["arms"][::-1]}
    turned |= {"above": row["below"], "below": row["above"], "by_seed": [-value for value in row["by_seed"]]}
    return row["arms"][1], row | turned


def find(pairs: Iterable[Row], setting: str, labelled: int, arm: str, base: str) -> Row | None:
    """The difference of an arm from another in mean Dice; None where one of them has not run with all seeds."""
    rows = [over(row, base)[1] for row in pairs if key(row) == (setting, labelled, *sorted((arm, base)))]
    return rows[0] if rows else None


def readouts(rows: list[Row], measures: Mapping[str, tuple[str, int]]) -> dict[tuple[str, int, str, str], list[str]]:
    """Setting, labelled persons and two arms of each named difference, to its cells: one for each measure."""
    found: dict[tuple[str, int, str, str], list[str]] = {}
    for row in rows:
        found.setdefault((row["setting"], row["labelled"], *row["arms"]), [])
    for place, cells in found.items():
        here = {row["measure"]: row for row in rows if (row["setting"], row["labelled"], *row["arms"]) == place}
        cells += [with_interval(here[measure], digits) for measure, (_, digits) in measures.items()]
    return found


def excluding_zero(rows: Iterable[Row]) -> int:
    """How many intervals exclude 0."""
    return sum(row["interval"][0] * row["interval"][1] > 0 for row in rows)


def arms_table(rows: Iterable[Row], between: Mapping[str, Mapping[str, str]] | None = None) -> str:
    """A table of arms.

    Args:
        rows: means of each.
        between: further columns behind that of Dice: title to arm to cell.
    """
    rows = list(rows)
    lesions = any("lesion_dice" in row for row in rows)
    header = ["arm", "what", "seeds", "Dice", *(between or {}), "surface Dice", "HD95"]
    gaps = any(row.get("hacking_gap") is not None for row in rows)
    header += [*(["lesion-wise Dice"] if lesions else []), "second's stars", "of the gap a–h"]
    header += ["hacking gap"] if gaps else []
    body = [
        [
            row["arm"],
            row["what"].replace("DQELoss", "`DQELoss`"),
            str(row["seeds"]),
            number(row["dice"], 3),
            *(cells.get(row["arm"], "–") for cells in (between or {}).values()),
            number(row["surface_dice"], 3),
            number(row["hd95"], 2),
            *([number(row["lesion_dice"], 3)] if lesions else []),
            number(row["second"]),
            percent(row["closed"]) if "closed" in row else "–",
            *([number(row.get("hacking_gap"), 2, sign=True)] if gaps else []),
        ]
        for row in rows
    ]
    return table(header, body)

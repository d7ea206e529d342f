"""Options of the gate, chosen by what was measured: a grid of full marks and exponents, cross-validated by group."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import pandas as pd
from _hardening_figures import MEASURES, Goal
from _hardening_gate import Gate
from _hardening_pool import stars_of

FULL_MARKS = (0.8, 0.84, 0.86, 0.88, 0.9, 0.92, 0.94, 0.96)
EXPONENTS = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
CHOSEN = "gate chosen on the others"
"""Said of rows whose gate has not seen what it is judged by."""


def judge(rows: pd.DataFrame, stars: pd.Series) -> dict[Goal, float]:
    """Each of `MEASURES`, of all rows together."""
    rows = rows.assign(stars=stars)
    return {goal: measure(rows) for goal, measure in MEASURES.items()}


def shortfall(found: Mapping[Goal, float]) -> float:
    """How far figures are from their goals, in all: the sum of what each misses, as a share of its goal."""
    return sum(goal.short(value) / goal.limit for goal, value in found.items() if goal.limit > 0)


def choose(rows: pd.DataFrame, gates: Sequence[Gate], **how: bool) -> Gate:
    """The gate that misses the goals by least, the first of equals.

    Args:
        rows: masks, see `_hardening_pool.Pooled`.
        gates: what to choose from.
        how: which stars, see `stars_of`.
    """
    return min(gates, key=lambda gate: shortfall(judge(rows, stars_of(rows, gate, **how))))


def tune(
    rows: pd.DataFrame,
    full_marks: Sequence[float] = FULL_MARKS,
    exponents: Sequence[float] = EXPONENTS,
    **how: bool,
) -> pd.DataFrame:
    """The figures for each gate of a grid; then, for each group, those of the gate that was chosen on the others.

    The rows of the grid look at all groups, so that the best of them flatters itself; the rows of the groups do not.

    Args:
        rows: masks, see `_hardening_pool.Pooled`.
        full_marks: agreements from which on a mask keeps all of its stars.
        exponents: of the agreement below.
        how: which stars, see `stars_of`: ``thorough=False``, ``oracle=True``.

    Returns:
        Columns ``judged`` (``"all"``; each group, by the gate chosen on the others; and all groups together, each
        rated by the gate that did not see it), ``full_marks``, ``exponent``, ``shortfall``, and the measures.
    """
    gates = [Gate(marks, exponent, marks) for marks, exponent in product(full_marks, exponents)]
    table = [_row("all", gate, rows, stars_of(rows, gate, **how)) for gate in gates]
    unseen = []
    for group, own in rows.groupby("group", sort=False):
        others = rows[rows["group"] != group]
        if others.empty:
            continue
        gate = choose(others, gates, **how)
        unseen.append(stars_of(own, gate, **how))
        table.append(_row(f"{group} ({CHOSEN})", gate, own, unseen[-1]))
    if unseen:
        table.append(_row(f"all ({CHOSEN})", None, rows, pd.concat(unseen).reindex(rows.index)))
    return pd.DataFrame(table)


def _row(judged: str, gate: Gate | None, rows: pd.DataFrame, stars: pd.Series) -> dict[str, Any]:
    found = judge(rows, stars)
    return {
        "judged": judged,
        "full_marks": gate.full_marks if gate else None,
        "exponent": gate.exponent if gate else None,
        "shortfall": shortfall(found),
        **{goal.measure: value for goal, value in found.items()},
    }

"""The figures of the study: a table of arms, the plan's read-outs, and every other pair."""

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd
from _report import machine
from _results import markdown_table, write_json
from analysis import closed, complete_rotations, difference, measures_of, pooled, table_of, values_of
from design import ALL_ROTATIONS, Design


def summarize(runs: list[dict[str, Any]], weights: dict[str, Any], design: Design, out: Path) -> str:
    """Write what is known so far; returns the table of arms.

    An arm counts once all of its seeds have run. Rotations of gliomas are told one by one and, those that are complete,
    together.

    Args:
        runs: what has run, at least one.
        weights: those of the unlabelled terms, and what was tried.
        design: of the study.
        out: where the figures go.
    """
    rotations = complete_rotations(runs, design)
    table = table_of([*runs, *pooled(runs, rotations)])
    plan = {(ALL_ROTATIONS, n): arms for (setting, n), arms in design.plan.items() if setting in rotations}
    plan |= design.plan
    finished = {place: [arm for arm in arms if has(table, design, *place, arm)] for place, arms in plan.items()}
    rows = [arm_row(table, finished[place], design, *place, arm) for place, arms in finished.items() for arm in arms]
    pairs = [
        difference(table, *place, *pair, "dice") for place, arms in finished.items() for pair in combinations(arms, 2)
    ]
    readouts = [
        difference(table, setting, labelled, one, other, measure)
        for setting, labelled, one, other in design.readouts
        if {one, other} <= set(finished.get((setting, labelled), ()))
        for measure in measures_of(table)
    ]
    result = {"weights": weights, "arms": rows, "readouts": readouts, "pairs": pairs, "runs": runs}
    result["planned"] = len(design.planned())
    result["plan"] = [{"setting": s, "labelled": n, "arms": arms} for (s, n), arms in design.plan.items()]
    result["rotations"] = rotations
    write_json(out, result | {"machine": machine()})
    return markdown_table(rows)


def finished_runs(design: Design, work: Path) -> list[dict[str, Any]]:
    """All runs that are there, in the plan's order."""
    files = [work / "runs" / f"{run.name}.json" for run in design.planned()]
    return [json.loads(file.read_text()) for file in files if file.is_file()]


def has(table: pd.DataFrame, design: Design, setting: str, labelled: int, arm: str) -> bool:
    """Whether an arm has run with all seeds on all persons of its setting: others cannot be compared."""
    found = values_of(table, setting, labelled, arm, "dice")
    persons = table.loc[table["setting"] == setting, "person"].nunique()
    return found.shape == (len(design.seeds), persons) and not found.isna().any(axis=None)


def arm_row(
    table: pd.DataFrame, finished: list[str], design: Design, setting: str, labelled: int, arm: str
) -> dict[str, Any]:
    """Means of an arm over seeds and persons, beside the other finished arms of its setting."""
    values = {measure: values_of(table, setting, labelled, arm, measure) for measure in measures_of(table)}
    row: dict[str, Any] = {"setting": setting, "labelled": labelled, "arm": arm, "what": design.what(arm)}
    row["seeds"] = len(values["dice"])
    row |= {measure: float(found.to_numpy().mean()) for measure, found in values.items()}
    if {"a", "h"} <= set(finished):
        row["closed"] = closed(table, setting, labelled, arm)
    base = "a" if labelled else "s"
    if arm != "d0" and base in finished:  # d0's loss has a refiner of its own
        gained = {m: difference(table, setting, labelled, arm, base, m)["difference"] for m in ("stars", "second")}
        row["hacking_gap"] = float(gained["stars"] - gained["second"])
    return row

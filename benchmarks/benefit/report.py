"""The figures of the study: a table of arms, the plan's read-outs, and every other pair."""

import json
from itertools import combinations
from pathlib import Path
from typing import Any

from _report import machine
from _results import markdown_table, write_json
from analysis import MEASURES, closed, difference, table_of, values_of
from design import ARMS, PLAN, PRIMARY, SECOND, SEEDS, planned


def summarize(runs: list[dict[str, Any]], weights: dict[str, Any], out: Path) -> str:
    """Write what is known so far; returns the table of arms."""
    table = table_of(runs)
    arms = [arm_row(table, setting, labelled, arm) for (setting, labelled), arms in PLAN.items() for arm in arms]
    pairs = [
        difference(table, setting, labelled, *pair, "dice")
        for (setting, labelled), arms_there in PLAN.items()
        for pair in combinations(arms_there, 2)
        if all(has(table, setting, labelled, arm) for arm in pair)
    ]
    shown = [row for row in arms if row]
    named = [PRIMARY, *SECOND]
    readouts = [
        difference(table, setting, labelled, one, other, measure)
        for setting, labelled, one, other in named
        if has(table, setting, labelled, one) and has(table, setting, labelled, other)
        for measure in MEASURES
    ]
    result = {"weights": weights, "arms": shown, "readouts": readouts, "pairs": pairs, "runs": runs}
    result["planned"] = len(planned())
    write_json(out, result | {"machine": machine()})
    return markdown_table(shown)


def finished_runs(work: Path) -> list[dict[str, Any]]:
    """All runs that are there, in the plan's order."""
    files = [work / "runs" / f"{run.name}.json" for run in planned()]
    return [json.loads(file.read_text()) for file in files if file.is_file()]


def has(table: Any, setting: str, labelled: int, arm: str) -> bool:
    """Whether all seeds of an arm have run: means over some of them cannot be compared."""
    return len(values_of(table, setting, labelled, arm, "dice")) == len(SEEDS)


def arm_row(table: Any, setting: str, labelled: int, arm: str) -> dict[str, Any]:
    """Means of an arm over seeds and persons; empty if it has not run with all seeds."""
    if not has(table, setting, labelled, arm):
        return {}
    values = {measure: values_of(table, setting, labelled, arm, measure) for measure in MEASURES}
    row: dict[str, Any] = {"setting": setting, "labelled": labelled, "arm": arm, "what": ARMS[arm]}
    row["seeds"] = len(values["dice"])
    row |= {measure: float(found.to_numpy().mean()) for measure, found in values.items()}
    if all(has(table, setting, labelled, other) for other in ("a", "h")):
        row["closed"] = closed(table, setting, labelled, arm)
    base = "a" if labelled else "s"
    if arm != "d0" and has(table, setting, labelled, base):  # d0's loss has a refiner of its own
        gained = {m: difference(table, setting, labelled, arm, base, m)["difference"] for m in ("stars", "second")}
        row["hacking_gap"] = float(gained["stars"] - gained["second"])
    return row

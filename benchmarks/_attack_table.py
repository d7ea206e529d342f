"""Tables of attacks: what the stars gained, what the masks lost, and whether the guard held."""

import statistics

from _attack import DEFENSES, STARTS
from _cells import Result
from _report import markdown_table

from dqe_loss import REGIONS

GOALS = {"reference": 0.99, "shift": 0.9, "empty": 0.9}
"""Dice in the rated planes that the guard is to end with, for each region, by start."""


def summary_table(results: list[Result]) -> str:
    """One row per start and defense: means over exams, first -> last record, region by region."""
    rows = []
    for start in STARTS:
        for defense in DEFENSES:
            group = [r for r in results if (r["start"], r["defense"]) == (start, defense)]
            if not group:
                continue
            first, last = [r["history"][0] for r in group], [r["history"][-1] for r in group]
            rows.append(
                {
                    "start": start,
                    "defense": defense,
                    "exams": len(group),
                    "steps": "/".join(map(str, sorted({r["steps"] for r in group}))),
                    "stars": _gain(first, last, "stars"),
                    "stars, binarized": _gain(first, last, "binarized_stars"),
                    f"Dice in rated planes ({'/'.join(REGIONS)})": _change(first, last, "planes"),
                    "worst exam": _regions([min(r["planes"][i] for r in last) for i in range(len(REGIONS))]),
                    "Dice in 3D": _change(first, last, "volume"),
                }
            )
    return markdown_table(rows)


def detail_table(results: list[Result], short: int) -> str:
    """Every attack: after ``short`` steps, and at its end if that is later."""
    rows = []
    for result in results:
        first = result["history"][:1]
        for record in result["history"]:
            if record["step"] not in (short, result["steps"]):
                continue
            last = [record]
            rows.append(
                {
                    "exam": result["exam"],
                    "start": result["start"],
                    "defense": result["defense"],
                    "steps": record["step"],
                    "stars": _gain(first, last, "stars"),
                    "stars, binarized": _gain(first, last, "binarized_stars"),
                    "Dice in rated planes": _change(first, last, "planes"),
                    "in the reference's planes": _change(first, last, "reference_planes"),
                    "in 3D": _change(first, last, "volume"),
                }
            )
    return markdown_table(rows)


def verdicts(results: list[Result]) -> str:
    """Whether the guard kept what it is to keep, attack by attack, as a Markdown list."""
    lines = []
    for result in results:
        goal = GOALS.get(result["start"])
        if result["defense"] != "guard" or goal is None:
            continue
        dice = result["history"][-1]["planes"]
        held = "reached" if min(dice) >= goal else "MISSED"
        lines.append(
            f"- guard from {result['start']}, {result['exam']}, {result['steps']} steps: Dice in the rated "
            f"planes {_regions(dice)}, goal {goal}: {held}"
        )
    return "\n".join(lines)


def _gain(first: list[Result], last: list[Result], key: str) -> str:
    before, after = (statistics.mean(record[key] for record in records) for records in (first, last))
    return f"{before:.2f} → {after:.2f}"


def _change(first: list[Result], last: list[Result], key: str) -> str:
    before, after = (
        [statistics.mean(record[key][i] for record in records) for i in range(len(REGIONS))]
        for records in (first, last)
    )
    return f"{_regions(before)} → {_regions(after)}"


def _regions(dice: list[float]) -> str:
    return "/".join(f"{value:.2f}" if value < 0.995 or value == 1 else f"{value:.3f}" for value in dice)

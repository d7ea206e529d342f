"""Each exam by itself: the stars of its expert's mask, and how far each of its figures is from the goal."""

import re
from typing import Any

from stored import RESULTS, Figures, load, number, table

_R = "r of stars and mean Dice (expert, corruptions, natural)"
_WHOLE = "masks of the whole tumor only, r with its Dice"
_ALL = {
    "r": _R,
    "ρ": "Spearman within an exam, median",
    "AUC": "ROC AUC for a mean Dice below .7",
    "absurd": "absurd masks, least distance below the expert's",
}
"""What a column is called, and the measure that it shows."""
_SOME = {"networks": "natural masks, r with mean Dice", "whole tumor": _WHOLE}
"""The same of masks that only some exams have."""


def exams() -> Figures:
    """The cross-validation exam by exam."""
    stored = load("hardening/hardening.json")
    measured = {row["measure"]: row for row in stored["figures"]}
    real = list(measured[_R]["exams"])
    rows = [row for row in stored["exams"] if row["exam"] in real]

    def by_exam(columns: dict[str, str]) -> str:
        found = [measured[name] for name in columns.values()]
        goals = (row["goal"].removeprefix(">= ") or "–" for row in found)
        values = {exam: [row["exams"][exam] for row in found] for exam in real}
        return table(
            ["exam", *columns],
            [
                ["*goal, at least*", *goals],
                *([short(exam), *map(number, row)] for exam, row in values.items() if row != [None] * len(row)),
            ],
        )

    return {
        "expert": table(["exam", "stars", "agreement"], map(_expert, rows)),
        "all_masks": by_exam(_ALL),
        "some_masks": by_exam(_SOME),
        **_whole(measured[_WHOLE]),
    }


def _whole(row: dict[str, Any]) -> Figures:
    """Masks of the whole tumor only, whose false edema lies anywhere: with and without the survey of the head."""
    known = {exam: value for exam, value in row["exams"].items() if value is not None}
    worst = min(known, key=lambda exam: known[exam])
    text = (RESULTS / "hardening" / "table.md").read_text(encoding="utf-8")
    counted = re.search(r"(\d+) whole tumor only", text)
    if not counted:
        raise ValueError("hardening/table.md does not say how many masks hold the whole tumor only")
    return {
        "whole_masks": counted[1],
        "whole": number(row["measured"]),
        "whole_without": number(row["beside"]["three planes"]),
        "whole_published": number(row["beside"]["published"]),
        "whole_known": str(len(known)),
        "whole_negative": str(sum(value < 0 for value in known.values())),
        "whole_worst": f"{number(known[worst])} ({short(worst)})",
    }


def short(exam: str) -> str:
    """An exam's name without what nearly all of them share."""
    return re.sub(r"^BraTS19_(.+)_1$", r"\1", exam)


def _expert(row: dict[str, Any]) -> list[str]:
    """How the expert's mask of an exam is rated."""
    return [
        short(row["exam"]),
        f"{number(row['published'])}\u00a0→\u00a0{number(row['thorough'])}",
        row["agreement in three planes, TC/WT/ET"].replace("nan", "–").replace("/", "\u00a0/\u00a0"),
    ]

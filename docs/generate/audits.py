"""Audits on phantoms, and what the cross-validation of the default says of the same questions on real exams."""

from collections.abc import Iterator
from typing import Any

from stored import Figures, load, number, table

GROUPS = {"2013": "2013", "CBICA": "CBICA", "TCIA01": "TCIA01", "BraTS2021": "BraTS2021", "first": "first three"}
_ABSURD = "absurd masks, least distance below the expert's"
_LEFT = "attack from the expert's mask, Dice {} left (guard on, planes)"
_RISE = "attack from a shifted mask, rise of mean Dice (guard on, planes)"
ASKED = {
    _ABSURD: ("absurd mask that comes closest: stars below the right one", 1.5),
    _LEFT.format("TC"): ("attack from the right mask: Dice TC left", 0.85),
    _LEFT.format("WT"): ("the same: WT", 0.9),
    _LEFT.format("ET"): ("the same: ET", 0.85),
    _RISE: ("attack from a shifted mask: rise of Dice", 0.0),
    "one modality x 4 or / 4, stars moved": ("one modality multiplied or divided by 4: stars moved", -0.25),
    "z-scores of the head, stars moved": ("z-scores: stars moved", -0.5),
}
"""Figures of the cross-validation that ask what an audit asks, in words, and the audit's limit: at least, or, with a
minus sign, at most."""
_VERDICT = {True: "passed", False: "**failed**", None: "–"}
Parts = dict[str, Any]


def audits() -> Figures:
    """Verdicts, and the figure behind each."""
    kinds: list[Parts] = [load(f"audit_{name}/audit.json")["parts"] for name in ("brainlesion", "hardened")]
    titles = {key: part["title"] for parts in kinds for key, part in parts.items()}
    stored = load("hardening/hardening.json")
    phantoms = {row["measure"]: row for row in stored["phantoms"]}
    real = {row["measure"]: row for row in stored["figures"]}
    return {
        "verdicts": table(
            ["part", "published weights", "default"],
            ([title, *(_VERDICT[one.get(part, {}).get("passed")] for one in kinds)] for part, title in titles.items()),
        ),
        "checks": table(
            ["check", "limit", "published weights", "default"],
            (row for part in titles for row in _checks([parts.get(part) for parts in kinds])),
        ),
        "asked": table(
            ["question", "limit", "phantoms", *GROUPS.values()],
            (
                [
                    words,
                    f"≤ {-limit:g}" if limit < 0 else f"≥ {limit:g}" if limit else "> 0",
                    _asked(phantoms[name]["measured"], limit),
                    *(_asked(real[name]["groups"].get(group), limit) for group in GROUPS),
                ]
                for name, (words, limit) in ASKED.items()
            ),
        ),
        **_softness(kinds[1]["soft"]["exams"]),
        "rated": str(len(phantoms[_ABSURD]["exams"])),
        "attacked": str(len(phantoms[_LEFT.format("TC")]["exams"])),
        "shifted": str(len(phantoms[_RISE]["exams"])),
    }


def _softness(exams: Parts) -> Figures:
    """Stars that a right mask loses where its logits are divided by a temperature, in the worst exam."""
    hot = {
        name: {level["level"]: exam["binary"] - level["stars"] for level in exam["kinds"]["temperature"]}
        for name, exam in exams.items()
    }
    return {f"temperature_{level}": number(max(lost[level] for lost in hot.values()), 1) for level in (2, 3, 4)}


def _asked(value: float | None, limit: float) -> str:
    """A figure, in bold where it misses the limit."""
    if value is None:
        return "–"
    met = value <= -limit if limit < 0 else value >= limit if limit else value > 0
    return number(value) if met else f"**{number(value)}**"


def _checks(parts: list[Parts | None]) -> Iterator[list[str]]:
    """A row for each check of a part, by each checkpoint; those that failed in bold."""
    told = next(part for part in parts if part is not None)["checks"]
    for place, check in enumerate(told):
        limit = f"{check['rule'].replace('>=', '≥').replace('<=', '≤')} {number(check['limit'])}"
        values = (None if part is None else part["checks"][place] for part in parts)
        yield [check["what"].removesuffix(", no guard"), limit, *map(_value, values)]


def _value(check: Parts | None) -> str:
    """What was measured, in brackets the same without the refiner's guard."""
    if check is None:
        return "–"
    value, off = number(check["measured"]), check.get("unguarded")
    return (value if check["passed"] else f"**{value}**") + ("" if off is None else f" ({number(off)})")

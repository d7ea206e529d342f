"""The default checkpoint: how it was judged on sources that it had not seen, and what it learned from."""

import re
import statistics
from collections.abc import Iterator
from typing import Any

from stored import Figures, card, load, number, table, triple

FAR = 0.5
"""Stars that an expert's mask may lie from its published stars."""

_OFF = "expert masks, furthest from the published stars"

_SHORT = {
    "expert masks more than .5 star from the published stars, share": "expert masks more than 0.5 stars off, share",
    "expert masks, furthest from the published stars": "expert mask that is furthest off, stars",
    "r of stars and mean Dice (expert, corruptions, natural)": "r of stars and mean Dice, all masks",
    "natural masks, r with mean Dice": "r of stars and mean Dice, masks of networks",
    "ROC AUC for a mean Dice below .7": "ROC AUC of stars for a mean Dice below 0.7",
    "absurd masks, least distance below the expert's": "absurd mask that comes closest: stars below the expert's",
    "z-scores of the head, stars moved": "z-scores of the head: stars moved at most",
    "z-scores of the volume, stars moved": "z-scores of the volume: stars moved at most",
    "one modality x 4 or / 4, stars moved": "one modality multiplied or divided by 4: stars moved at most",
}
_GROUPS = {"first": "first three"}
_BY_GROUP = [
    "expert masks, furthest from the published stars",
    "r of stars and mean Dice (expert, corruptions, natural)",
    "ROC AUC for a mean Dice below .7",
    "absurd masks, least distance below the expert's",
]


def hardening() -> Figures:
    """The cross-validation by source of the default checkpoint."""
    stored = load("hardening/hardening.json")
    measured = {row["measure"]: row for row in stored["figures"]}
    exams, gate = [row for row in stored["exams"] if row["exam"] in measured[_OFF]["exams"]], stored["gate"]
    off = {row["exam"]: row["published"] - row["thorough"] for row in exams}
    far = sorted(value for value in off.values() if abs(value) > FAR)
    r = measured["r of stars and mean Dice (expert, corruptions, natural)"]
    groups = sorted(r["groups"].values())
    natural = measured["natural masks, r with mean Dice"]
    absurd = measured["absurd masks, least distance below the expert's"]
    return {
        "exams": str(len(exams)),
        "sources": str(len(groups)),
        "within": str(len(exams) - len(far)),
        "far": str(len(far)),
        "far_least": number(far[0], 1),
        "far_most": number(far[-1], 1),
        "r": number(r["measured"]),
        "r_published": number(r["beside"]["published"]),
        "r_oracle": number(r["beside"]["oracle"]),
        "r_high": number(groups[-1]),
        "r_lowest": number(groups[0]),
        "natural": number(natural["measured"]),
        "natural_published": number(natural["beside"]["published"]),
        "absurd": number(absurd["measured"], 1),
        "absurd_published": number(-absurd["beside"]["published"], 1),
        "absurd_near": number(min(v for exam, v in absurd["exams"].items() if abs(off[exam]) <= FAR), 1),
        "scored": number(measured["z-scores of the head, stars moved"]["measured"], 1),
        **_attacks(measured),
        "full_marks": f"{gate['full_marks']:g}",
        "survey_full_marks": f"{gate['survey_full_marks']:g}",
        "exponent": f"{gate['exponent']:g}",
        "goals": table(["figure", "goal", "default", "met", "published weights"], _goals(stored["figures"])),
        "groups": table(
            ["figure", *(_GROUPS.get(group, group) for group in r["groups"])],
            ([_SHORT.get(name, name), *map(number, measured[name]["groups"].values())] for name in _BY_GROUP),
        ),
        "by_exam": table(
            ["exam", "published stars", "default's stars", "agreement in the rated planes", "r with mean Dice"],
            (
                [
                    row["exam"],
                    *(number(row[key]) for key in ("published", "thorough")),
                    row["agreement in three planes, TC/WT/ET"].replace("nan", "–").replace("/", "\u00a0/\u00a0"),
                    number(row["r"]),
                ]
                for row in exams
            ),
        ),
        "choices": table(
            ["refiner", "steps", "right", "r", "error", "blind", "attacked", "shifted"],
            map(_choice, load("hardening/choices.json")["rows"]),
        ),
        "longer": table(["group", "right", "lowest exam", "r", "error", "attacked"], _longer()),
    }


def _attacks(measured: dict[str, Any]) -> Figures:
    """What 100 steps without a target leave with the refiner's guard on, and in how many exams that is enough."""

    def left(where: str) -> list[dict[str, float]]:
        names = (
            f"attack from the expert's mask, Dice {region} left (guard on, {where})" for region in ("TC", "WT", "ET")
        )
        return [measured[name]["exams"] for name in names]

    def shifted(what: str, where: str) -> dict[str, float]:
        exams: dict[str, float] = measured[f"attack from a shifted mask, {what} (guard on, {where})"]["exams"]
        return exams

    planes, goals = left("planes"), (0.9, 0.95, 0.85)
    exams = set().union(*planes)
    kept = [all(one.get(exam, 1) >= goal for one, goal in zip(planes, goals, strict=True)) for exam in exams]
    reached, rise = shifted("mean Dice reached", "planes"), shifted("rise of mean Dice", "planes")
    return {
        "left": triple(min(one.values()) for one in left("volume")),
        "left_in_planes": triple(min(one.values()) for one in planes),
        "attacked": str(len(exams)),
        "kept": str(sum(kept)),
        "risen": str(sum(value > 0 for value in rise.values())),
        "fallen": str(sum(value <= 0 for value in rise.values())),
        "reached": number(statistics.median(reached.values())),
        "reached_goal": str(sum(value >= 0.85 for value in reached.values())),
    }


def _goals(rows: list[dict[str, Any]]) -> Iterator[list[str]]:
    """All figures of the exams that were measured."""
    for row in rows:
        value, goal = row["measured"], row["goal"]
        if value is None:
            continue
        relation = re.fullmatch(r"([<>]=) ([\d.]+)", goal or "")
        limit = float(relation[2]) if relation else 0.0
        met = None if relation is None else value <= limit if relation[1] == "<=" else value >= limit
        said = goal.replace("<= ", "≤\u00a0").replace(">= ", "≥\u00a0") if relation else "–"
        name = re.sub(r"(?<![\d])\.(\d)", r"0.\1", _SHORT.get(row["measure"], row["measure"]))
        published = row["beside"].get("published")
        yield [name, said, number(value), {True: "yes", False: "**no**", None: "–"}[met], number(published)]


def _choice(row: dict[str, Any]) -> list[str]:
    """A refiner that was tried, judged on the group that was held out."""
    last = row["last_weights"]
    return [
        row["reader"].replace("trust by voxel", "trust for each voxel"),
        str(row["steps"]),
        f"{number(last['right_mean'])} ({number(last['right_min'])})",
        *(number(last[key]) for key in ("r_core", "mae", "blind_dice")),
        triple(last["att_right_min"]),
        number(last["att_shift_mean"]),
    ]


def _longer() -> Iterator[list[str]]:
    """Before and after longer teaching on more masks with wrong borders."""
    rows = load("hardening/longer_teaching.json")["rows"]
    for group in dict.fromkeys(row["group"] for row in rows):
        before, after = sorted((row for row in rows if row["group"] == group), key=lambda row: row["steps"])
        keys = ("right", "lowest", "r", "error", "attacked")
        yield [_GROUPS.get(group, group), *(f"{number(before[key])} → {number(after[key])}" for key in keys)]


def shipped() -> Figures:
    """What the shipped default checkpoint learned from, by its card."""
    found = re.search(r"(\d+) real and (\d+) synthetic exams", card("hardened"))
    if not found:
        raise ValueError("the card of hardened does not say how many real and synthetic exams it learned from")
    return {"real": found[1], "synthetic": found[2]}

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
    "masks of the whole tumor only, r with its Dice": "r of stars and Dice of the whole tumor, masks without a core",
    "right masks of phantoms, furthest from the published stars": "right mask of a phantom that is furthest off, stars",
    "ROC AUC for a mean Dice below .7": "ROC AUC of stars for a mean Dice below 0.7",
    "absurd masks, least distance below the expert's": "absurd mask that comes closest: stars below the expert's",
    "z-scores of the head, stars moved": "z-scores of the head: stars moved at most",
    "z-scores of the volume, stars moved": "z-scores of the volume: stars moved at most",
    "one modality x 4 or / 4, stars moved": "one modality multiplied or divided by 4: stars moved at most",
}
_HELD_OUT = {"right": "right", "lowest": "lowest exam", "r": "r", "error": "error", "attacked": "attacked"}
"""What `dqe_loss.harden.held_out` tells, and what it is called in tables."""
_GROUPS = {"first": "first three"}
_BY_GROUP = [
    "expert masks, furthest from the published stars",
    "r of stars and mean Dice (expert, corruptions, natural)",
    "Spearman within an exam, median",
    "natural masks, r with mean Dice",
    "masks of the whole tumor only, r with its Dice",
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
        "goals": table(
            ["figure", "goal", "real exams", "phantoms", "published"], _goals(stored["figures"], stored["phantoms"])
        ),
        "groups": table(
            ["figure", *(_GROUPS.get(group, group) for group in r["groups"])],
            ([_SHORT.get(name, name), *map(number, measured[name]["groups"].values())] for name in _BY_GROUP),
        ),
        **_phantoms(stored),
        "choices": table(
            ["refiner", "steps", "right", "r", "error", "blind", "attacked", "shifted"],
            map(_choice, load("hardening/choices.json")["rows"]),
        ),
        "longer": table(["group", *_HELD_OUT.values()], _longer()),
        **_unenhanced(),
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


def _phantoms(stored: dict[str, Any]) -> Figures:
    """How many phantoms were to be judged, were judged, and were attacked."""
    found = {row["measure"]: row["exams"] for row in stored["phantoms"]}
    judged = found["expert masks, mean stars"]
    missing = [name for name in stored["missing"] if name.startswith("measures of phantom")]
    attacked = found["attack from the expert's mask, Dice WT left (guard on, planes)"]
    return {
        "phantoms_planned": str(len(judged) + len(missing)),
        "phantoms_judged": str(len(judged)),
        "phantoms_attacked": str(len(attacked)),
    }


def _goals(rows: list[dict[str, Any]], phantoms: list[dict[str, Any]]) -> Iterator[list[str]]:
    """All figures of the exams and phantoms that were measured."""
    real, synthetic = ({row["measure"]: row for row in part} for part in (rows, phantoms))
    for measure in dict.fromkeys([*real, *synthetic]):
        known = [part[measure] for part in (real, synthetic) if measure in part]
        values = [part.get(measure, {}).get("measured") for part in (real, synthetic)]
        if values == [None, None]:
            continue
        relation = re.fullmatch(r"([<>]=) ([\d.]+)", known[0]["goal"] or "")
        said = known[0]["goal"].replace("<= ", "≤\u00a0").replace(">= ", "≥\u00a0") if relation else "–"
        name = re.sub(r"(?<![\d])\.(\d)", r"0.\1", _SHORT.get(measure, measure))
        published = real[measure]["beside"].get("published") if measure in real else None
        yield [name, said, *(_judged(value, relation) for value in values), number(published)]


def _judged(value: float | None, goal: re.Match[str] | None) -> str:
    """A figure, marked where it misses its goal."""
    if value is None or goal is None:
        return number(value)
    limit = float(goal[2])
    return number(value) if (value <= limit if goal[1] == "<=" else value >= limit) else f"**{number(value)}**\u00a0✗"


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
        yield [_GROUPS.get(group, group), *(f"{number(before[key])} → {number(after[key])}" for key in _HELD_OUT)]


def _unenhanced() -> Figures:
    """Refiners that were taught tumors without enhancement, made of those that have some."""
    stored = load("hardening/unenhanced.json")
    exams = stored["expert"]["exams"].items()
    return {
        "unenhanced": table(
            ["teaching", *_HELD_OUT.values()],
            ([row["teaching"], *(number(row[key]) for key in _HELD_OUT)] for row in stored["rows"]),
        ),
        "unenhanced_experts": table(
            ["exam", "before", "after"],
            ([name, _agreement(rows["before"]), _agreement(rows["after"])] for name, rows in exams),
        ),
    }


def _agreement(values: list[float | None]) -> str:
    return " / ".join("–" if value is None else number(value) for value in values)


def shipped() -> Figures:
    """What the shipped default checkpoint learned from, by its card."""
    found = re.search(r"(\d+) real and (\d+) synthetic exams", card("hardened"))
    if not found:
        raise ValueError("the card of hardened does not say how many real and synthetic exams it learned from")
    return {"real": found[1], "synthetic": found[2]}

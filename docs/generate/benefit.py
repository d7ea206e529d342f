"""Whether the loss makes segmentations better: the study's arms, its read-outs, and the pairs that nobody asked for."""

from typing import Any

from benefit_labels import labels
from benefit_pairs import MEASURES, arms_table, excluding_zero, find, key, over, readouts, with_interval
from stored import Figures, load, number, percent, table

_TOLD = {
    "over_a": ("same", 3, "d", "a"),
    "over_half": ("same", 3, "d", "a6"),
    "pseudo_over_half": ("same", 3, "b", "a6"),
    "half_over_a": ("same", 3, "a6", "a"),
    "long_over_a": ("same", 3, "aa", "a"),
    "taught_over_a": ("same", 3, "t", "a"),
    "taught_over_long": ("same", 3, "t", "aa"),
    "added_over_a": ("same", 3, "ad", "a"),
    "added_over_a_6": ("same", 6, "ad", "a"),
    "added_over_a_12": ("same", 12, "ad", "a"),
    "added_over_more": ("same", 3, "ad", "a18"),
    "added_over_pseudo": ("same", 3, "ad", "ab"),
    "added_over_opinion": ("same", 3, "ad", "ar"),
    "pseudo_added_over_a": ("same", 3, "ab", "a"),
    "over_teacher": ("same", 3, "d", "f"),
    "weighted_over_half": ("same", 3, "c", "a6"),
    "weighted_over_placebo": ("same", 3, "c", "g"),
    "both_over_a": ("same", 3, "e", "a"),
    "few_over_pseudo": ("same", 3, "d0", "b"),
    "few_over_half": ("same", 3, "d0", "a6"),
    "other_over_half": ("other", 3, "d", "a6"),
    "other_taught_over_a": ("other", 3, "t", "a"),
    "other_added_over_a": ("other", 3, "ad", "a"),
    "other_added_over_more": ("other", 3, "ad", "a18"),
    "other_added_over_pseudo": ("other", 3, "ad", "ab"),
    "other_added_over_opinion": ("other", 3, "ad", "ar"),
    "adapted": ("other", 0, "sd", "s"),
}
"""Differences in mean Dice that pages tell in their sentences: setting, labelled persons, an arm, and another.

One that has not run with all seeds is no figure yet.
"""
_DICE = {
    "dice_s": ("other", 0, "s"),
    "dice_a": ("other", 3, "a"),
    "dice_t": ("other", 3, "t"),
    "dice_h": ("other", 3, "h"),
}
"""Mean Dice of arms in sentences."""


def benefit() -> Figures:
    """The hippocampus part of the study."""
    stored = load("benefit.json")
    pairs, named = stored["pairs"], {key(row) for row in stored["readouts"]}
    others = [row for row in pairs if key(row) not in named]
    primary = next(row for row in stored["readouts"] if row["measure"] == "dice")
    told = {name: find(pairs, *which) for name, which in _TOLD.items()}
    dice = {name: number(_row(stored["arms"], *which)["dice"], 3) for name, which in _DICE.items()}
    places = {(row["setting"], row["labelled"]) for row in stored["arms"] if row["arm"] in ("a", "s")}
    return {
        **{f"arms_{setting}_{count}": arms_table(_of(stored["arms"], setting, count)) for setting, count in places},
        **{name: with_interval(row) for name, row in told.items() if row is not None},
        **dice,
        "readouts": _readouts(stored["readouts"]),
        "primary": with_interval(primary),
        "tuning": _tuning(stored["weights"]),
        "closed": percent(_row(stored["arms"], "same", 3, "d")["closed"]),
        "added_closed": percent(_row(stored["arms"], "other", 3, "ad")["closed"]),
        "explored": str(len(others)),
        "explored_clear": str(excluding_zero(others)),
        "against_a": _against(pairs),
        "done": _done(stored),
        "labels": labels(stored),
        "opinion": _opinion(load("benefit_opinion.json")["rows"]),
    }


def _of(rows: list[dict[str, Any]], setting: str, labelled: int) -> list[dict[str, Any]]:
    return [row for row in rows if (row["setting"], row["labelled"]) == (setting, labelled)]


def _row(arms: list[dict[str, Any]], setting: str, labelled: int, arm: str) -> dict[str, Any]:
    return next(row for row in _of(arms, setting, labelled) if row["arm"] == arm)


def _done(stored: dict[str, Any]) -> str:
    """How many runs there are of those that are planned, and which arms are complete."""
    runs, planned = len(stored["runs"]), stored["planned"]
    if runs == planned:
        return f"all {planned} runs are done"
    complete = []
    for place in stored["plan"]:
        arms = [row["arm"] for row in _of(stored["arms"], place["setting"], place["labelled"])]
        some = f" ({', '.join(arms)})" if 0 < len(arms) < len(place["arms"]) else ""
        complete.append(f"*{place['setting']}*, {place['labelled']}: {len(arms)} of {len(place['arms'])}{some}")
    return f"{runs} of {planned} runs are done. Complete arms by setting and labelled persons: {'; '.join(complete)}"


def _readouts(rows: list[dict[str, Any]]) -> str:
    body = [
        [f"{one} − {other}", setting, str(labelled), *cells]
        for (setting, labelled, one, other), cells in readouts(rows, MEASURES).items()
    ]
    return table(["arms", "setting", "labelled", *(name for name, _ in MEASURES.values())], body)


def _against(pairs: list[dict[str, Any]]) -> str:
    """Differences in mean Dice from labelled planes alone, and from half as many of them a step."""
    places = dict.fromkeys((row["setting"], row["labelled"]) for row in pairs if row["labelled"])
    rows = []
    for place in places:
        here = _of(pairs, *place)
        over_a, over_half = (dict(over(row, base) for row in here if base in row["arms"]) for base in ("a", "a6"))
        for arm, found in over_a.items():
            half = with_interval(over_half[arm]) if arm in over_half else "–"
            rows.append([place[0], str(place[1]), arm, with_interval(found), half])
    return table(["setting", "labelled", "arm", "Dice − that of a", "Dice − that of a6"], rows)


def _opinion(rows: list[dict[str, Any]]) -> str:
    """How good the refiner's opinion of the networks' segmentations is."""
    body = [
        [
            f"{row['setting']}, {row['labelled']} labelled, {row['arm']}",
            number(row["dice"], 3),
            number(row["dice_opinion"], 3),
            percent(row["full_marks"]),
        ]
        for row in rows
    ]
    return table(["network", "its Dice", "Dice of the refiner's opinion of it", "planes with full stars"], body)


def _tuning(weights: dict[str, Any]) -> str:
    rows = []
    for arm, tried in weights["tried"].items():
        cells = [f"{weight}: {number(sum(scores) / len(scores), 3)}" for weight, scores in tried.items()]
        rows.append([arm, *cells, f"{weights['chosen'][arm]:g}"])
    return table(["arm", "weight: Dice", "", "", "chosen"], rows)

"""Whether the loss makes segmentations better: the study's arms, its read-outs, and the pairs that nobody asked for."""

from typing import Any

from stored import RESULTS, Figures, load, number, percent, table

_MEASURES = {
    "dice": ("Dice", 3),
    "surface_dice": ("surface Dice at 1 mm", 3),
    "hd95": ("HD95, mm", 2),
    "second": ("second surrogate's stars", 2),
}

_TOLD = {
    "over_a": ("same", 3, "d", "a"),
    "over_half": ("same", 3, "d", "a6"),
    "pseudo_over_half": ("same", 3, "b", "a6"),
    "half_over_a": ("same", 3, "a6", "a"),
    "long_over_a": ("same", 3, "aa", "a"),
    "taught_over_a": ("same", 3, "t", "a"),
    "taught_over_long": ("same", 3, "t", "aa"),
    "added_over_a": ("same", 3, "ad", "a"),
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
"""Differences in mean Dice that pages tell in their sentences: setting, labelled persons, an arm, and another."""
_DICE = {
    "dice_s": ("other", 0, "s"),
    "dice_a": ("other", 3, "a"),
    "dice_t": ("other", 3, "t"),
    "dice_h": ("other", 3, "h"),
}
"""Mean Dice of arms in sentences."""


def benefit() -> Figures:
    """The hippocampus part of the study; nothing before it has been run."""
    if not (RESULTS / "benefit.json").is_file():
        return {}
    stored = load("benefit.json")
    places = {(row["setting"], row["labelled"]) for row in stored["arms"] if row["arm"] in ("a", "s")}
    primary = next(row for row in stored["readouts"] if row["measure"] == "dice")
    pairs, named = stored["pairs"], {_key(row) for row in stored["readouts"]}
    others = [row for row in pairs if _key(row) not in named]
    run = {_key(row) for row in pairs}
    told = {
        name: _difference(pairs, *which) for name, which in _TOLD.items() if (*which[:2], *sorted(which[2:])) in run
    }
    dice = {name: number(_row(stored["arms"], *which)["dice"], 3) for name, which in _DICE.items()}
    return {
        **{f"arms_{setting}_{count}": _arms(stored["arms"], setting, count) for setting, count in places},
        **told,
        **dice,
        "readouts": _readouts(stored["readouts"]),
        "primary": _with_interval(primary, 3),
        "tuning": _tuning(stored["weights"]),
        "closed": percent(_row(stored["arms"], "same", 3, "d")["closed"]),
        "added_closed": percent(_row(stored["arms"], "other", 3, "ad")["closed"]),
        "explored": str(len(others)),
        "explored_clear": str(sum(row["interval"][0] * row["interval"][1] > 0 for row in others)),
        "against_a": _against(pairs),
        "runs": str(len(stored["runs"])),
        "planned": str(stored["planned"]),
        "opinion": _opinion(load("benefit_opinion.json")["rows"]),
    }


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["setting"], row["labelled"], *sorted(row["arms"])


def _row(arms: list[dict[str, Any]], setting: str, labelled: int, arm: str) -> dict[str, Any]:
    return next(row for row in arms if (row["setting"], row["labelled"], row["arm"]) == (setting, labelled, arm))


def _with_interval(row: dict[str, Any], digits: int) -> str:
    low, high = (number(value, digits, sign=True) for value in row["interval"])
    return f"{number(row['difference'], digits, sign=True)} ({low} to {high})"


def _difference(pairs: list[dict[str, Any]], setting: str, labelled: int, arm: str, base: str) -> str:
    (row,) = (r for r in pairs if _key(r) == (setting, labelled, *sorted((arm, base))))
    return _with_interval(_over(row, base)[1], 3)


def _arms(arms: list[dict[str, Any]], setting: str, labelled: int) -> str:
    rows = [
        [
            row["arm"],
            row["what"].replace("DQELoss", "`DQELoss`"),
            str(row["seeds"]),
            number(row["dice"], 3),
            number(row["surface_dice"], 3),
            number(row["hd95"], 2),
            number(row["second"]),
            percent(row["closed"]) if "closed" in row else "–",
            number(row.get("hacking_gap"), 2, sign=True),
        ]
        for row in arms
        if (row["setting"], row["labelled"]) == (setting, labelled)
    ]
    header = ["arm", "what", "seeds", "Dice", "surface Dice", "HD95", "second's stars", "of the gap a–h", "hacking gap"]
    return table(header, rows)


def _readouts(readouts: list[dict[str, Any]]) -> str:
    places = list(dict.fromkeys((row["setting"], row["labelled"], *row["arms"]) for row in readouts))
    rows = []
    for setting, labelled, one, other in places:
        row = [f"{one} − {other}", setting, str(labelled)]
        for measure, (_, digits) in _MEASURES.items():
            found = next(
                r
                for r in readouts
                if (r["setting"], r["labelled"], *r["arms"], r["measure"]) == (setting, labelled, one, other, measure)
            )
            row.append(_with_interval(found, digits))
        rows.append(row)
    return table(["arms", "setting", "labelled", *(name for name, _ in _MEASURES.values())], rows)


def _over(row: dict[str, Any], base: str) -> tuple[str, dict[str, Any]]:
    """The other arm of a pair, and its difference from the base, whichever stands first."""
    sign = 1 if row["arms"][1] == base else -1
    low, high = sorted(sign * value for value in row["interval"])
    return row["arms"][0 if sign == 1 else 1], {"difference": sign * row["difference"], "interval": [low, high]}


def _against(pairs: list[dict[str, Any]]) -> str:
    """Differences in mean Dice from labelled planes alone, and from half as many of them a step."""
    places = dict.fromkeys((row["setting"], row["labelled"]) for row in pairs if row["labelled"])
    rows = []
    for place in places:
        here = [row for row in pairs if (row["setting"], row["labelled"]) == place]
        over_a, over_half = (dict(_over(row, base) for row in here if base in row["arms"]) for base in ("a", "a6"))
        for arm, found in over_a.items():
            half = _with_interval(over_half[arm], 3) if arm in over_half else "–"
            rows.append([place[0], str(place[1]), arm, _with_interval(found, 3), half])
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

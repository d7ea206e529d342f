"""What more labelled persons change: the section that stands in the page, whichever runs are done."""

from typing import Any

from benefit_pairs import find, with_interval
from stored import ROOT, number, table

PICTURE = "benefit_labels.png"
SETTING, FEWEST = "same", 3
_DIFFERENCES = (("ad", "a"), ("d", "a"), ("d", "b"), ("b", "a"), ("r", "a"), ("t", "a"), ("h", "a"))
"""What is told of each number of labelled persons; the first was asked for before it ran."""


def labels(stored: dict[str, Any]) -> str:
    """The section on curves over the number of labelled persons; nothing is drawn before there are two of them.

    Args:
        stored: the figures of the hippocampi.
    """
    planned = [place["labelled"] for place in stored["plan"] if place["setting"] == SETTING]
    dice: dict[str, dict[int, float]] = {}
    for row in stored["arms"]:
        if row["setting"] == SETTING:
            dice.setdefault(row["arm"], {})[row["labelled"]] = row["dice"]
    counts = [count for count in planned if count in dice.get("a", {})]
    more = [count for count in counts if count > FEWEST]
    missing = [str(count) for count in planned if count not in counts]
    if not more:
        return f"There are no curves yet: with {' and '.join(missing)} labelled persons\narm a is not complete."
    parts = []
    if missing:
        parts.append(f"With {' and '.join(missing)} labelled persons arm a is not complete yet.")
    asked = [(count, find(stored["pairs"], SETTING, count, "ad", "a")) for count in more]
    told = [f"{with_interval(row)} with {count}" for count, row in asked if row is not None]
    if told:
        parts.append(
            f"What was asked before these runs, ad − a in mean Dice, is {' and '.join(told)} labelled persons."
        )
    header = ["arms", *(f"{count} labelled" for count in counts)]
    pairs = []
    for pair in _DIFFERENCES:
        found = [find(stored["pairs"], SETTING, count, *pair) for count in counts]
        pairs.append([" − ".join(pair), *("–" if row is None else with_interval(row) for row in found)])
    means = [[arm, *(number(found.get(count), 3) for count in counts)] for arm, found in _several(dice, more)]
    blocks = [" ".join(parts), _picture(), "In mean Dice, differences:", table(header, pairs)]
    blocks += ["And means:", table(["arm", *header[1:]], means)]
    return "\n\n".join(filter(None, blocks))


def _several(dice: dict[str, dict[int, float]], more: list[int]) -> list[tuple[str, dict[int, float]]]:
    """Arms that have run with more than the fewest persons."""
    return [(arm, found) for arm, found in dice.items() if set(more) & set(found)]


def _picture() -> str:
    drawn = (ROOT / "docs" / PICTURE).is_file()
    return f"![Mean Dice of each arm over the number of labelled persons](../{PICTURE})" if drawn else ""

"""What a rater answers with: each value of the task's scale, its key and its name."""

from typing import NamedTuple

from dqe_loss.task import Task
from dqe_loss.tasks.scale import levels_of

_NAMES = {
    5: ("very bad", "bad", "fair", "good", "very good"),
    6: ("very bad", "bad", "rather bad", "rather good", "good", "very good"),
}


class Level(NamedTuple):
    """An answer: what stands in the table, the key that gives it, and its name for readers (may be empty)."""

    value: float
    key: str
    name: str


def answer_levels(task: Task) -> list[Level]:
    """The answers of a task's scale, from the worst to the best.

    Keys are the values where all are single digits; else those of the places: 1, 2, ... and 0 for the tenth.
    """
    values = levels_of(task.stars)
    digits = [f"{value:g}" for value in values]
    places = [str(place % 10) for place in range(1, len(values) + 1)]
    keys = digits if all(digit.isdecimal() and len(digit) == 1 for digit in digits) else places
    names = _NAMES.get(len(values), ("worst", *[""] * (len(values) - 2), "best"))
    return [Level(*one) for one in zip(values, keys, names, strict=True)]

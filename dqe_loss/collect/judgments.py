"""Ratings as a report needs them: who gave what to which segmentation; no scan and no path is asked for."""

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from dqe_loss.data.tables.table import TableError, problems_of, raise_problems, read_table

COLUMNS = ("exam", "segmentation", "rater", "stars")
OPTIONAL = ("view", "repeat", "kind")
PAIR_COLUMNS = ("exam", "first", "second", "rater", "better", "left", "repeat")
BETTER = ("first", "second", "same")
_WITHIN = ("rater", "stars", "repeat")


def read_judgments(
    paths: Sequence[Path], scale: tuple[float, float], by: str | None = None, task: str = ""
) -> pd.DataFrame:
    """Read tables of ratings for a report.

    Args:
        paths: ``.csv`` or ``.parquet`` files with `COLUMNS`; they need not be tables that ``dqe train`` takes.
        scale: worst and best value.
        by: a column that must be there, beside these.
        task: name of what was rated; tables that name another are refused. Not asked if empty.

    Returns:
        ``item`` (``by``, exam, segmentation and view in one), ``exam``, ``segmentation``, ``view``, ``rater``,
        ``stars`` (float), ``repeat`` (bool: not the rater's first look at the item), ``kind`` and the column ``by``.

    Raises:
        ValueError: ``by`` tells ratings of one segmentation apart.
        TableError: listing every value that does not fit, and judgments given twice without being a repeat.
    """
    if by in _WITHIN:
        raise ValueError(f"--by {by}: ratings of one segmentation would be parted; give a column such as the data set")
    columns = tuple(dict.fromkeys((*COLUMNS, *([by] if by else []))))
    table = pd.concat(
        [read_table(path, columns, "table of ratings", ["stars"], OPTIONAL, task) for path in paths], ignore_index=True
    )
    for name, default in zip(OPTIONAL, ("", "0", "human"), strict=True):
        table[name] = table[name].fillna("").replace("", default) if name in table else default
    stars = pd.to_numeric(table["stars"], errors="coerce")
    wanted = f"expected a number from {scale[0]:g} to {scale[1]:g}"
    problems = problems_of(table, ~stars.between(*scale), "stars", wanted)
    problems += [
        f"{row['row']}: {name} '': expected a name, found nothing"
        for row in table.to_dict("records")
        for name in ("exam", "segmentation", "rater")
        if not row[name].strip()
    ]
    # Two data sets may name their exams alike.
    item = (table[by] + "\0" if by else "") + table["exam"] + "\0" + table["segmentation"] + "\0" + table["view"]
    looks, unread = look_numbers(table)
    problems += unread
    found = table.assign(stars=stars.astype(float), item=item)
    found["repeat"] = _is_repeat(found, looks, ["item", "rater"])
    first = found[~found["repeat"]]
    twice = first[first.duplicated(["item", "rater"])]
    problems += [
        f"{r.row}: {r.rater} has judged this segmentation before; number second looks in a column repeat"
        for r in twice.itertuples()
    ]
    raise_problems(problems)
    columns = ("item", "exam", "segmentation", "view", "rater", "stars", "repeat", "kind", *([by] if by else []))
    return found[list(dict.fromkeys(columns))]


def look_numbers(table: pd.DataFrame) -> tuple[pd.Series, list[str]]:
    """The column ``repeat`` as numbers: which look of a rater each row is.

    Args:
        table: with ``repeat`` as text: 0, 1, 2 ..., true or false in any case, or nothing, which is 0; and ``row``.

    Returns:
        Whole numbers, NaN where there is none; and what cannot be read, each with its row.
    """
    told = table["repeat"].str.strip().str.lower().replace({"": "0", "false": "0", "true": "1"})
    numbers = pd.to_numeric(told, errors="coerce")
    numbers = numbers.where((numbers >= 0) & (numbers % 1 == 0))
    expected = "expected 0, or 1, 2, ... for a repeat; or true or false"
    return numbers, problems_of(table, numbers.isna(), "repeat", expected)


def _is_repeat(table: pd.DataFrame, looks: pd.Series, keys: list[str]) -> pd.Series:
    """Whether a look is not the first of its rater: the lowest number is, whatever the table begins with."""
    return looks > looks.groupby([table[key] for key in keys]).transform("min")


def holds_pairs(path: Path) -> bool:
    """Whether a table is one of pairs, whatever it is called; one that cannot be read is none."""
    try:
        read_table(path, ("first", "second", "better"), "table of pairs")
    except TableError:
        return False
    return True


def read_comparisons(path: Path, task: str = "") -> pd.DataFrame:
    """Read a table of pairs, as ``dqe collect --mode pairs`` writes it; ``task`` as in `read_judgments`.

    Returns:
        `PAIR_COLUMNS` (``repeat`` bool), ``first_name`` and ``second_name``: names without that of the exam, so that
        those of one algorithm are the same in all exams.

    Raises:
        TableError: a column is missing, or a value does not fit.
    """
    columns = (*PAIR_COLUMNS, "first_name", "second_name", "kind")
    table = read_table(path, columns, "table of pairs", task=task)
    looks, unread = look_numbers(table)
    raise_problems(
        [
            f"{row['row']}: {name} {row[name]!r}: expected one of {', '.join(allowed)}"
            for row in table.to_dict("records")
            for name, allowed in (("better", BETTER), ("left", BETTER[:2]))
            if row[name] not in allowed
        ]
        + unread
    )
    names = {
        name: [_without(value, exam.rpartition("/")[2]) for exam, value in zip(table["exam"], table[name], strict=True)]
        for name in ("first_name", "second_name")
    }
    return table.assign(**names, repeat=_is_repeat(table, looks, ["exam", "first", "second", "rater"]))


def _without(name: str, exam: str) -> str:
    """A segmentation's name without that of its exam before or behind it."""
    return re.sub(rf"^{re.escape(exam)}[-_.]+|[-_.]+{re.escape(exam)}$", "", name) or name

"""Splits by exam: never by segmentation or rater, for planes of one exam in training and test would leak."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from dqe_loss.data.tables.csv_text import read_csv
from dqe_loss.data.tables.table import told
from dqe_loss.outputs import write_together

PARTS = ("train", "validation", "test")


def split_exams(exams: Iterable[str], *, validation: float = 0.1, test: float = 0.2, seed: int = 0) -> dict[str, str]:
    """Split exams at random.

    Args:
        exams: names; those given twice count once.
        validation: share of the exams that are only watched during training. The paper has none: 0 is allowed.
        test: share of the exams that training never sees. The paper: 15 of 75.
        seed: a seed gives the same split whatever the order of the exams.

    Returns:
        Exam to one of `PARTS`, sorted by name. Shares are rounded down, but one above 0 gets an exam at least.

    Raises:
        ValueError: if the shares do not leave an exam to train on.
    """
    names = sorted(set(exams))
    # Rounded down, so that shares of less than all leave an exam to train on; 1e-9 is for products like 0.29 x 100.
    counts = [max(int(share * len(names) + 1e-9), share > 0) for share in (validation, test)]
    if min(validation, test) < 0 or sum(counts) >= len(names):
        raise ValueError(
            f"validation={validation:g} and test={test:g} of {len(names)} exams leave none to train on; "
            "give smaller shares, or more exams"
        )
    shuffled = np.random.default_rng(seed).permutation(names).tolist()
    parts = ["validation"] * counts[0] + ["test"] * counts[1]
    parts += ["train"] * (len(names) - len(parts))
    return dict(sorted(zip(shuffled, parts, strict=True)))


def write_split(split: Mapping[str, str], path: str | Path) -> None:
    """Write a split as CSV with the columns ``exam`` and ``split``, atomically."""
    table = pd.DataFrame({"exam": list(split), "split": list(split.values())})
    write_together({Path(path): table.to_csv(index=False, lineterminator="\n").encode()})


def read_split(path: str | Path, exams: Iterable[str] = ()) -> dict[str, str]:
    """Read a split.

    Args:
        path: CSV with the columns ``exam`` and ``split``.
        exams: exams that it must hold; it may hold more.

    Returns:
        Exam to one of `PARTS`.

    Raises:
        ValueError: if the file is not there or no such table, an exam lies in two parts, a part is unknown, or an
            exam is missing.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: expected a split (CSV with the columns exam, split), found nothing there")
    try:
        table = read_csv(path, ("exam", "split"))
    except ValueError as error:
        raise ValueError(told(path, error)) from error
    if not {"exam", "split"} <= set(table):
        raise ValueError(f"{path}: expected the columns exam, split, found {', '.join(map(str, table))}")
    unknown = sorted(set(table["split"]) - set(PARTS))
    if unknown:
        raise ValueError(f"{path}: expected the parts {', '.join(PARTS)}, found {', '.join(map(repr, unknown))}")
    parts = table.groupby("exam")["split"].unique()
    for exam, found in parts.items():
        if len(found) > 1:
            raise ValueError(f"{path}: exam {exam} lies in {' and '.join(found)}; it must be in one part alone")
    split = {str(exam): str(found[0]) for exam, found in parts.items()}
    missing = sorted(set(exams) - set(split))
    if missing:
        raise ValueError(
            f"{path}: has no part for {len(missing)} exams of the ratings, such as {', '.join(missing[:3])}; add them, "
            "or leave out the split to draw a new one"
        )
    return split

"""The labeled subset: a few segmentations of a rated table that a human, or an overlap with a reference, has judged."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from dqe_loss.data.tables.table import TableError, read_table

KEYS = ("exam", "segmentation")
ACCEPTABLE = "acceptable"


@dataclass(frozen=True)
class Labels:
    """Judged segmentations of a rated table.

    Attributes:
        table: indexed as the rated table: ``quality`` in [0, 1] and ``unacceptable``, a row for each labeled one.
        quality: name of the column that they come from.
        acceptable_from: quality at or above which a segmentation is acceptable.
    """

    table: pd.DataFrame
    quality: str
    acceptable_from: float


def read_labels(
    path: str | Path, rated: pd.DataFrame, quality: str | None = None, acceptable_from: float | None = None
) -> Labels:
    """Read and check a table of labels.

    Args:
        path: a ``.csv`` or ``.parquet`` file with the columns ``exam``, ``segmentation`` and a quality.
        rated: the rated table that it judges rows of.
        quality: name of the quality's column; None takes ``acceptable`` (0 or 1).
        acceptable_from: quality at or above which a segmentation is acceptable; None for a column of 0 and 1.

    Returns:
        The labels.

    Raises:
        TableError: listing every problem with its row (the header is row 1).
        ValueError: the settings do not fit.
    """
    quality = quality or ACCEPTABLE
    if acceptable_from is not None and not 0 < acceptable_from <= 1:
        raise ValueError(f"--acceptable-from is a quality above 0 and up to 1, got {acceptable_from:g}")
    labels = read_table(path, (*KEYS, quality), "table of labels", [quality])
    values, row = pd.to_numeric(labels[quality], errors="coerce").astype(float), labels["row"].tolist()
    known = pd.MultiIndex.from_frame(rated[list(KEYS)])
    asked = pd.MultiIndex.from_frame(labels[list(KEYS)])
    twice = labels.duplicated(list(KEYS))
    problems = []
    for i, (key, value) in enumerate(zip(asked, values, strict=True)):
        if key not in known:
            problems.append(f"{row[i]}: {' '.join(key)}: no such exam and segmentation in the rated table")
        if twice.iloc[i]:
            problems.append(f"{row[i]}: {' '.join(key)}: has a label before")
        if not 0 <= value <= 1:
            problems.append(f"{row[i]}: {quality} {labels[quality].iloc[i]!r}: expected a number from 0 to 1")
        elif acceptable_from is None and value not in (0, 1):
            problems.append(
                f"{row[i]}: {quality} {value:g}: expected 0 or 1; say with --acceptable-from from where on it is "
                "acceptable"
            )
    if problems:
        raise TableError(*problems)
    limit = 1.0 if acceptable_from is None else acceptable_from
    found = pd.DataFrame({"quality": values.to_numpy(), "unacceptable": values.to_numpy() < limit})
    return Labels(found.set_index(rated.index[known.get_indexer(asked)]), quality, limit)


def draw_judged(rated: pd.DataFrame, labels: Labels, candidates: pd.Series, per_exam: str, seed: int) -> pd.Index:
    """One labeled segmentation of each labeled exam, so that what is tested is independent.

    Args:
        rated: the rated table.
        labels: its labels.
        candidates: which rows a threshold may keep, as `dqe_loss.curate.decide.find_candidates` gives them.
        per_exam: ``"all"`` draws one at random (each exam then counts once, however many masks it has); ``"best"``
            takes the exam's candidate, and leaves an exam out whose candidate has no label.
        seed: of the draw.

    Returns:
        Index of the rows.
    """
    judged = rated.loc[labels.table.index]
    if per_exam == "best":
        with_candidate = judged["exam"].isin(rated.loc[candidates, "exam"])
        # An exam without a candidate is kept by no threshold, whichever of its masks stands for it.
        return judged[candidates[judged.index] | (~with_candidate & ~judged["exam"].duplicated())].index
    # Names decide the order, not the rows of a file, so that a label table sorted by quality draws the same.
    shuffled = judged.sort_values(list(KEYS)).sample(frac=1, random_state=np.random.default_rng(seed))
    return shuffled[~shuffled["exam"].duplicated()].index

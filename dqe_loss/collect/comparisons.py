"""What pairs say: how strong each segmentation is (Bradley and Terry), and how much the raters can be relied on.

A strength of 1 more means that a rater prefers it with odds of e, about 2.7, to 1. A pair without difference counts as
half a win for either.
"""

from collections.abc import Sequence

import choix
import numpy as np
import pandas as pd
from scipy import stats

from dqe_loss.collect.report_settings import Array, Numbers
from dqe_loss.metrics.agreement import MINIMUM_EXAMS, RESAMPLES, draw_exams
from dqe_loss.metrics.krippendorff import ordinal_alpha

SHRINKAGE = 0.1
"""Wins and losses that every two are given beforehand (choix's alpha): strengths stay finite where one always wins."""


def comparison_numbers(pairs: pd.DataFrame, resamples: int = RESAMPLES, seed: int = 0) -> Numbers:
    """All numbers of a study of pairs.

    Args:
        pairs: as `dqe_loss.collect.judgments.read_comparisons` returns them.
        resamples: of the exams, behind the intervals of strengths.
        seed: of the resamples.

    Returns:
        Counts; ``names``: strength of each name that occurs in several exams, with a 95 % interval by exam;
        ``segmentations``: strength within each exam; ``retest``: how often the second look, with sides changed, says
        the same; ``left``: how often the left one is preferred, of those with a preference; ``alpha`` of the raters.
    """
    first = pairs[~pairs["repeat"]]
    value = first["better"].map({"first": 1.0, "same": 0.0, "second": -1.0})
    decided = pairs[pairs["better"] != "same"]
    lefts = int((decided["better"] == decided["left"]).sum())
    left = dict.fromkeys(("value", "low", "high"), float("nan"))
    if len(decided):
        interval = stats.binomtest(lefts, len(decided)).proportion_ci()
        left = {"value": lefts / len(decided), "low": interval.low, "high": interval.high}
    return {
        "comparisons": len(pairs),
        "repeats": int(pairs["repeat"].sum()),
        "kind": "/".join(sorted(pairs["kind"].unique())),
        "raters": sorted(pairs["rater"].unique()),
        "exams": int(pairs["exam"].nunique()),
        "same": float((pairs["better"] == "same").mean()),
        "alpha": ordinal_alpha(first["exam"] + "\0" + first["first"] + "\0" + first["second"], value),
        "names": _by_name(first, resamples, seed),
        "segmentations": [row for _, rows in first.groupby("exam") for row in _within(rows)],
        "retest": _retest(pairs),
        "left": left,
    }


def strengths(wins: Array) -> Array:
    """Bradley-Terry strengths.

    Args:
        wins: ``(N, N)``, how often the row was preferred to the column; halves are allowed.

    Returns:
        ``(N,)``, with mean 0.
    """
    if len(wins) < 2:
        return np.zeros(len(wins))
    found: Array = choix.ilsr_pairwise_dense(wins, alpha=SHRINKAGE, max_iter=1000)
    centered: Array = found - found.mean()
    return centered


def _wins(rows: pd.DataFrame, columns: tuple[str, str], names: Sequence[str]) -> Array:
    place = {name: i for i, name in enumerate(names)}
    wins = np.zeros((len(names), len(names)))
    for a, b, better in zip(rows[columns[0]], rows[columns[1]], rows["better"], strict=True):
        i, j = place[a], place[b]
        wins[i, j] += {"first": 1.0, "same": 0.5, "second": 0.0}[better]
        wins[j, i] += {"first": 0.0, "same": 0.5, "second": 1.0}[better]
    return wins


def _by_name(rows: pd.DataFrame, resamples: int, seed: int) -> list[Numbers]:
    """Strength of what has one name in several exams, such as an algorithm."""
    columns = ("first_name", "second_name")
    seen = pd.concat([rows[["exam", column]].set_axis(["exam", "name"], axis=1) for column in columns])
    exams_of = seen.drop_duplicates().groupby("name")["exam"].nunique()
    names = sorted(exams_of.index[exams_of > 1])
    rows = rows[rows["first_name"].isin(names) & rows["second_name"].isin(names)]
    if len(names) < 2 or rows.empty:
        return []
    by_exam = np.stack([_wins(part, columns, names) for _, part in rows.groupby("exam")])
    found = strengths(by_exam.sum(0))
    low = high = np.full(len(names), np.nan)
    if len(by_exam) >= MINIMUM_EXAMS:
        draws = draw_exams(len(by_exam), resamples, seed)
        resampled = [strengths(np.tensordot(draw, by_exam, 1)) for draw in draws]
        low, high = np.quantile(resampled, (0.025, 0.975), axis=0)
    order = np.argsort(-found)
    return [
        {
            "name": names[i],
            "exams": int(exams_of[names[i]]),
            "comparisons": int(by_exam[:, i].sum() + by_exam[:, :, i].sum()),
            "strength": {"value": float(found[i]), "low": float(low[i]), "high": float(high[i])},
        }
        for i in order
    ]


def _within(rows: pd.DataFrame) -> list[Numbers]:
    """Strengths of one exam's segmentations, by their names, or by their paths where two have one name."""
    paths = sorted({*rows["first"], *rows["second"]})
    found = strengths(_wins(rows, ("first", "second"), paths))
    exam = str(rows["exam"].iloc[0])
    name = dict(zip(rows["first"], rows["first_name"], strict=True)) | dict(
        zip(rows["second"], rows["second_name"], strict=True)
    )
    told = name if len(set(name.values())) == len(paths) else dict(zip(paths, paths, strict=True))
    return [{"exam": exam, "segmentation": told[paths[i]], "strength": float(found[i])} for i in np.argsort(-found)]


def _retest(pairs: pd.DataFrame) -> Numbers:
    keys = ["exam", "first", "second", "rater"]
    before = pairs[~pairs["repeat"]].set_index(keys)["better"]
    after = pairs[pairs["repeat"]].set_index(keys)["better"]
    both = pd.concat([before, after], axis=1, keys=["before", "after"]).dropna()
    same = (both["before"] == both["after"]).mean() if len(both) else float("nan")
    return {"pairs": len(both), "same": float(same)}

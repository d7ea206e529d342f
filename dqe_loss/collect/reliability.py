"""What ratings are worth, as plain nested dictionaries: what ``reliability.json`` holds and the page shows."""

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dqe_loss.collect.needed import needed_cases, needed_raters
from dqe_loss.metrics.agreement import MINIMUM_EXAMS, RESAMPLES, draw_exams, middle
from dqe_loss.metrics.krippendorff import alpha_of, coincidences
from dqe_loss.metrics.latent_raters import fit_latent
from dqe_loss.metrics.variance_components import variance_components

Numbers = dict[str, Any]
Array = NDArray[np.float64]

TO_DISCUSS = 10
"""Cases that are listed, those with the widest disagreement first."""
NOTABLE_BIAS = 0.5
"""Stars from the mean of all raters beyond which a rater is pointed out (our choice), if the interval agrees."""
NOTABLE_SPREAD = 1.5
"""Times the other raters' median noise that a rater's whole interval must be above to be pointed out (our choice)."""
OTHERS_TO_COMPARE = 2
"""Other raters below which nobody is called noisy: of two who disagree, it could be either."""


@dataclass(frozen=True)
class ReportSettings:
    """How numbers are made: the scale, the precision wanted (stars), resamples of the exams and their seed."""

    scale: tuple[float, float] = (1.0, 6.0)
    wanted: float = 0.3
    resamples: int = RESAMPLES
    seed: int = 0


def reliability(judgments: pd.DataFrame, settings: ReportSettings) -> Numbers:
    """All numbers of a set of ratings.

    Args:
        judgments: as `dqe_loss.collect.judgments.read_judgments` returns them.
        settings: how numbers are made.

    Returns:
        Counts; ``agreement``: each with ``value``, ``low``, ``high`` (NaN where not defined); ``variances``; a row for
        each of the ``raters``; ``retest``; ``by_quality``; ``needed``; ``discuss``.
    """
    first = judgments[~judgments["repeat"]]
    wide = first.pivot(index="item", columns="rater", values="stars")
    exam_of = first.drop_duplicates("item").set_index("item")["exam"].reindex(wide.index)
    shared = wide.notna().sum(axis=1) > 1
    both, exams = wide[shared], exam_of[shared]
    agreement = _agreement(both, exams, settings)
    components = variance_components(both.to_numpy(np.float64))
    variances = {
        name: float(np.sqrt(max(getattr(components, name)[0], 0))) if shared.any() else float("nan")
        for name in ("items", "raters", "rest")
    }
    return {
        "judgments": len(judgments),
        "repeats": int(judgments["repeat"].sum()),
        "kind": "/".join(sorted(judgments["kind"].unique())),
        "exams": int(judgments["exam"].nunique()),
        "segmentations": len(wide),
        "shared": int(shared.sum()),
        "exams_shared": int(exams.nunique()),
        "agreement": agreement,
        "deviations": variances,
        "raters": _raters(judgments, wide, settings),
        "retest": _retest(judgments),
        "by_quality": _by_quality(both),
        "needed": {
            "wanted": settings.wanted,
            **needed_raters(variances, settings.wanted),
            "cases": needed_cases(variances, settings.seed),
        },
        "discuss": _to_discuss(both, first),
    }


def _agreement(both: pd.DataFrame, exams: pd.Series, settings: ReportSettings) -> Numbers:
    """Agreement on what at least two have rated, with intervals by exam."""
    names = ("alpha", "icc_single", "icc_mean", "exact", "within_one", "difference")
    count = int(exams.nunique())
    if both.empty:
        nothing = {"value": float("nan"), "low": float("nan"), "high": float("nan")}
        return {name: dict(nothing) for name in names} | {"raters_per_case": 0.0}
    values = both.to_numpy(np.float64)
    groups = pd.factorize(exams)[0]
    draws = draw_exams(count, settings.resamples, settings.seed)
    weights = np.concatenate([np.ones((1, len(values))), draws[:, groups].astype(np.float64)])
    given, known = both.stack().dropna(), both.notna().sum(axis=1)
    items = given.index.get_level_values(0)
    pairs, order = coincidences(items, given)
    per_case = float(len(known) / (1 / known).sum())  # the harmonic mean, as for the mean's variance
    components = variance_components(values, weights)
    # pandas has the items of `given` in the order of `both`, which is that of the weights.
    alphas = alpha_of(pairs, weights[:, order.astype(int)])
    rows = np.stack(_pair_statistics(values))
    totals = weights @ rows.T
    found = {
        "alpha": alphas,
        "icc_single": components.icc(),
        "icc_mean": components.icc(per_case),
        **{name: totals[:, i] / totals[:, 0] for i, name in enumerate(names[3:], 1)},
    }
    return {name: _interval(value, count) for name, value in found.items()} | {"raters_per_case": per_case}


def _pair_statistics(values: Array) -> tuple[Array, Array, Array, Array]:
    """Of each case: pairs of raters, those that agree, those within one star, and the sum of their differences."""
    count, exact, near, distance = np.zeros((4, len(values)))
    for a, b in combinations(range(values.shape[1]), 2):
        apart = np.abs(values[:, a] - values[:, b])
        there = ~np.isnan(apart)
        apart = np.where(there, apart, 0)
        count += there
        exact += there & (apart < 1e-9)
        near += there & (apart < 1 + 1e-9)
        distance += apart
    return count, exact, near, distance


def _interval(values: Array, exams: int) -> dict[str, float]:
    """The first value, and the middle 95 % of the others; none with few exams, or where half are not defined."""
    low, high = middle(values[1:]) if exams >= MINIMUM_EXAMS else (float("nan"), float("nan"))
    return {"value": float(values[0]), "low": low, "high": high}


def _raters(judgments: pd.DataFrame, wide: pd.DataFrame, settings: ReportSettings) -> list[Numbers]:
    """Bias, noise and steadiness of each rater, and what is to be talked about."""
    fitted = _fitted_raters(judgments, settings)
    rows = []
    for rater in sorted(wide.columns):
        others = wide.drop(columns=rater).mean(axis=1)
        pair = pd.concat([wide[rater], others], axis=1).dropna()
        count = int((judgments["rater"] == rater).sum())
        numbers: Numbers = {"rater": str(rater), "ratings": count, "shared": len(pair)}
        for name in ("bias", "spread"):
            row = fitted.get(rater, {})
            numbers[name] = {end: float(row.get(f"{name}{suffix}", np.nan)) for end, suffix in _ENDS.items()}
        constant = len(pair) < 3 or (pair.std() < 1e-9).any()
        numbers["r_with_others"] = float("nan") if constant else float(pair.corr().iloc[0, 1])
        numbers["retest"] = _retest(judgments[judgments["rater"] == rater])
        rows.append(numbers)
    for numbers in rows:
        numbers["remarks"] = _remarks(numbers, [r["spread"]["value"] for r in rows if r is not numbers])
    return rows


def _fitted_raters(judgments: pd.DataFrame, settings: ReportSettings) -> dict[Any, dict[str, float]]:
    """Bias and noise from what was judged at least twice.

    What one rater judged once says something of noise only through the model's guess of how good segmentations are;
    where most get the highest stars, that guess made steady raters noisy.
    """
    often = judgments[judgments.groupby("item")["stars"].transform("size") > 1]
    if often.empty:
        return {}
    fit = fit_latent(often["item"], often["rater"], often["stars"], groups=often["exam"], scale=settings.scale)
    return {rater: row.to_dict() for rater, row in fit.raters.iterrows()}


_ENDS = {"value": "", "low": "_low", "high": "_high"}


def _remarks(rater: Numbers, spreads: list[float]) -> list[str]:
    """Why a rater is to be talked with; nothing of one who shares no case with another."""
    bias, spread, remarks = rater["bias"], rater["spread"], []
    if not rater["shared"]:
        return ["shares no case with another rater"]
    if bias["value"] > NOTABLE_BIAS and bias["low"] > 0:
        remarks.append("more lenient than the others")
    if bias["value"] < -NOTABLE_BIAS and bias["high"] < 0:
        remarks.append("more severe than the others")
    known = [one for one in spreads if np.isfinite(one)]
    if len(known) >= OTHERS_TO_COMPARE and spread["low"] > NOTABLE_SPREAD * np.median(known):
        remarks.append("noisier than the others")
    if rater["r_with_others"] < 0:
        remarks.append("rates the other way round than the others")
    return remarks


def _retest(judgments: pd.DataFrame) -> Numbers:
    """How far a rater's second look is from the first: standard deviation of a single rating, and agreement."""
    first = judgments[~judgments["repeat"]].set_index(["item", "rater"])["stars"]
    again = judgments[judgments["repeat"]].groupby(["item", "rater"])["stars"].first()
    apart = (again - first.reindex(again.index)).dropna()
    if apart.empty:
        return {
            "pairs": 0,
            "sd": float("nan"),
            "exact": float("nan"),
            "within_one": float("nan"),
            "shift": float("nan"),
        }
    return {
        "pairs": len(apart),
        "sd": float(np.sqrt((apart**2).mean() / 2)),
        "exact": float((apart.abs() < 1e-9).mean()),
        "within_one": float((apart.abs() < 1 + 1e-9).mean()),
        "shift": float(apart.mean()),
    }


def _by_quality(both: pd.DataFrame) -> list[Numbers]:
    """How far raters are apart on bad, middling and good segmentations (by their mean, to the nearest star)."""
    means, deviations = both.mean(axis=1), both.std(axis=1)
    ranges = both.max(axis=1) - both.min(axis=1)
    rows = []
    for star, part in means.groupby(means.add(0.5).apply(np.floor)):
        index = part.index
        rows.append(
            {
                "stars": float(star),
                "segmentations": len(index),
                "deviation": float(np.sqrt((deviations[index] ** 2).mean())),
                "range": float(ranges[index].mean()),
            }
        )
    return rows


def _to_discuss(both: pd.DataFrame, first: pd.DataFrame) -> list[Numbers]:
    """The cases that raters are furthest apart on."""
    ranges = both.max(axis=1) - both.min(axis=1)
    deviations = both.std(axis=1)
    order = pd.DataFrame({"range": ranges, "sd": deviations}).sort_values(["range", "sd"], ascending=False)
    named = first.drop_duplicates("item").set_index("item")
    return [
        {
            "exam": str(named.at[item, "exam"]),
            "segmentation": str(named.at[item, "segmentation"]),
            "view": str(named.at[item, "view"]),
            "range": float(row["range"]),
            "ratings": {str(rater): float(stars) for rater, stars in both.loc[item].dropna().items()},
        }
        for item, row in order.head(TO_DISCUSS).iterrows()
        if row["range"] > 0
    ]

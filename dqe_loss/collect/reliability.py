"""What ratings are worth, as plain nested dictionaries: what ``reliability.json`` holds and the page shows."""

import numpy as np
import pandas as pd

from dqe_loss.collect.each_rater import rater_numbers, retest
from dqe_loss.collect.needed import needed_cases, needed_raters
from dqe_loss.collect.raters_together import agreement_numbers
from dqe_loss.collect.report_settings import Numbers, ReportSettings
from dqe_loss.metrics.variance_components import variance_components

TO_DISCUSS = 10
"""Cases that are listed, those with the widest disagreement first."""


def reliability(judgments: pd.DataFrame, settings: ReportSettings) -> Numbers:
    """All numbers of a set of ratings.

    Args:
        judgments: as `dqe_loss.collect.judgments.read_judgments` returns them.
        settings: how numbers are made.

    Returns:
        Counts; ``agreement``: each with ``value``, ``low``, ``high`` (NaN where not defined); ``deviations``
        (standard, of ``items``, ``raters`` and the ``rest``); a row for each of the ``raters``; ``retest``;
        ``by_quality``; ``needed``; ``discuss``.
    """
    first = judgments[~judgments["repeat"]]
    wide = first.pivot(index="item", columns="rater", values="stars")
    exam_of = first.drop_duplicates("item").set_index("item")["exam"].reindex(wide.index)
    shared = wide.notna().sum(axis=1) > 1
    both, exams = wide[shared], exam_of[shared]
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
        "agreement": agreement_numbers(both, exams, settings),
        "deviations": variances,
        "raters": rater_numbers(judgments, wide, settings),
        "retest": retest(judgments, settings.step),
        "by_quality": _by_quality(both, settings),
        "needed": {
            "wanted": settings.wanted,
            **needed_raters(variances, settings.wanted),
            "cases": needed_cases(variances, settings.seed),
        },
        "discuss": _to_discuss(both, first),
    }


def _by_quality(both: pd.DataFrame, settings: ReportSettings) -> list[Numbers]:
    """How far raters are apart on bad, middling and good segmentations (by their mean, to the nearest step)."""
    means, deviations = both.mean(axis=1), both.std(axis=1)
    ranges = both.max(axis=1) - both.min(axis=1)
    low, step = settings.scale[0], settings.step
    return [
        {
            "stars": low + step * float(place),
            "segmentations": len(part),
            "deviation": float(np.sqrt((deviations[part.index] ** 2).mean())),
            "range": float(ranges[part.index].mean()),
        }
        for place, part in means.groupby(np.floor((means - low) / step + 0.5))
    ]


def _to_discuss(both: pd.DataFrame, first: pd.DataFrame) -> list[Numbers]:
    """The cases that raters are furthest apart on."""
    ranges = both.max(axis=1) - both.min(axis=1)
    deviations = both.std(axis=1)
    order = pd.DataFrame({"range": ranges, "sd": deviations}).sort_values(["range", "sd"], ascending=False)
    named = first.drop_duplicates("item").set_index("item")
    return [
        {
            **{name: str(named.at[item, name]) for name in ("exam", "segmentation", "view")},
            "range": float(row["range"]),
            "ratings": {str(rater): float(stars) for rater, stars in both.loc[item].dropna().items()},
        }
        for item, row in order.head(TO_DISCUSS).iterrows()
        if row["range"] > 0
    ]

"""How far raters agree on what at least two of them have rated, with intervals by exam."""

from itertools import combinations

import numpy as np
import pandas as pd

from dqe_loss.collect.report_settings import Array, Numbers, ReportSettings
from dqe_loss.metrics.agreement import MINIMUM_EXAMS, draw_exams, middle
from dqe_loss.metrics.krippendorff import alpha_of, coincidences
from dqe_loss.metrics.variance_components import variance_components


def agreement_numbers(both: pd.DataFrame, exams: pd.Series, settings: ReportSettings) -> Numbers:
    """Agreement on what at least two have rated, with intervals by exam."""
    names = ("alpha", "icc_single", "icc_mean", "exact", "within_one", "difference")
    count = int(exams.nunique())
    if both.empty:
        return {name: dict.fromkeys(("value", "low", "high"), np.nan) for name in names} | {"raters_per_case": 0.0}
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
    rows = np.stack(_pair_statistics(values, settings.step))
    totals = weights @ rows.T
    found = {
        "alpha": alphas,
        "icc_single": components.icc(),
        "icc_mean": components.icc(per_case),
        **{name: totals[:, i] / totals[:, 0] for i, name in enumerate(names[3:], 1)},
    }
    return {name: _interval(value, count) for name, value in found.items()} | {"raters_per_case": per_case}


def _pair_statistics(values: Array, step: float) -> tuple[Array, Array, Array, Array]:
    """Of each case: pairs of raters, those that agree, those within one step, and the sum of their differences."""
    count, exact, near, distance = np.zeros((4, len(values)))
    for a, b in combinations(range(values.shape[1]), 2):
        apart = np.abs(values[:, a] - values[:, b])
        there = ~np.isnan(apart)
        apart = np.where(there, apart, 0)
        count += there
        exact += there & (apart < 1e-9)
        near += there & (apart < step + 1e-9)
        distance += apart
    return count, exact, near, distance


def _interval(values: Array, exams: int) -> dict[str, float]:
    """The first value, and the middle 95 % of the others; none with few exams, or where half are not defined."""
    low, high = middle(values[1:]) if exams >= MINIMUM_EXAMS else (float("nan"), float("nan"))
    return {"value": float(values[0]), "low": low, "high": high}

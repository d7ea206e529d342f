"""How many raters and cases a study needs for a wanted precision, from the variances that were measured."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from dqe_loss.collect.report_settings import Array

RATERS = (2, 3, 5, 8, 12)
CASES = (25, 50, 100, 200, 400)
WANTED_ICC = 0.1
"""Half the width of the 95 % interval of ICC(2,1) that counts as known (our choice)."""
_SIMULATIONS = 400
_MOST = 200


def needed_raters(deviations: Mapping[str, float], wanted: float) -> dict[str, Any]:
    """How exact the mean of k raters is, and how many are needed.

    Args:
        deviations: standard deviations in stars: of the ``raters``' means, and of the ``rest``.
        wanted: standard error of a segmentation's mean rating, in stars.

    Returns:
        ``errors``: number of raters to standard error; ``raters``: the least number with an error of at most the
        wanted one, None if that is above 200 or cannot be known.
    """
    single = float(np.hypot(deviations["raters"], deviations["rest"]))
    known = np.isfinite(single)
    count = int(np.ceil((single / wanted) ** 2 - 1e-9)) if known else _MOST + 1
    return {
        "errors": {str(k): single / np.sqrt(k) for k in (1, *RATERS)},
        "raters": max(count, 1) if count <= _MOST else None,
    }


def needed_cases(deviations: Mapping[str, float], seed: int) -> list[dict[str, Any]]:
    """How exactly a study would know its own reliability, by simulation.

    Args:
        deviations: standard deviations in stars of ``items``, ``raters`` and ``rest``; studies are drawn with them,
            normally distributed, each case rated by each rater.
        seed: of the simulation.

    Returns:
        For each number of raters: ``half_width`` of the 95 % interval of ICC(2,1) by number of cases, and the least
        number of ``CASES`` for which it is at most `WANTED_ICC` (None: more raters are needed, for no number of cases
        makes up for few raters). Empty where a variance is not known.
    """
    known = [deviations[name] for name in ("items", "raters", "rest")]
    if not np.isfinite(known).all() or not any(known):
        return []
    rng = np.random.default_rng(seed)
    rows = []
    for raters in RATERS:
        widths = {str(n): _half_width(deviations, n, raters, rng) for n in CASES}
        enough = [n for n in CASES if widths[str(n)] <= WANTED_ICC]
        rows.append({"raters": raters, "half_width": widths, "cases": enough[0] if enough else None})
    return rows


def _half_width(deviations: Mapping[str, float], cases: int, raters: int, rng: np.random.Generator) -> float:
    shape = (_SIMULATIONS, cases, raters)
    values = deviations["items"] * rng.standard_normal((*shape[:2], 1))
    values = values + deviations["raters"] * rng.standard_normal((shape[0], 1, raters))
    icc = _icc(values + deviations["rest"] * rng.standard_normal(shape))
    low, high = np.nanquantile(icc, (0.025, 0.975))
    return float(high - low) / 2


def _icc(values: Array) -> Array:
    """ICC(2,1) of full tables (R, cases, raters), by the mean squares of the analysis of variance."""
    _, n, k = values.shape
    mean = values.mean((1, 2), keepdims=True)
    of_cases, of_raters = values.mean(2, keepdims=True), values.mean(1, keepdims=True)
    rows = k * ((of_cases - mean) ** 2).sum((1, 2)) / (n - 1)
    columns = n * ((of_raters - mean) ** 2).sum((1, 2)) / (k - 1)
    rest = ((values - of_cases - of_raters + mean) ** 2).sum((1, 2)) / ((n - 1) * (k - 1))
    icc: Array = (rows - rest) / (rows + (k - 1) * rest + k * (columns - rest) / n)
    return icc

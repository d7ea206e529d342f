"""Bias, noise and steadiness of each rater, and why one is to be talked with."""

from typing import Any

import numpy as np
import pandas as pd

from dqe_loss.collect.report_settings import Numbers, ReportSettings
from dqe_loss.metrics.latent_raters import fit_latent

NOTABLE_BIAS = 0.5
"""Steps of the scale from the mean of all raters beyond which a rater is pointed out (our choice), if the interval
agrees."""
NOTABLE_SPREAD = 1.5
"""Times the other raters' median noise that a rater's whole interval must be above to be pointed out (our choice)."""
OTHERS_TO_COMPARE = 2
"""Other raters below which nobody is called noisy: of two who disagree, it could be either."""


def rater_numbers(judgments: pd.DataFrame, wide: pd.DataFrame, settings: ReportSettings) -> list[Numbers]:
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
        numbers["retest"] = retest(judgments[judgments["rater"] == rater], settings.step)
        rows.append(numbers)
    for numbers in rows:
        others = [row["spread"]["value"] for row in rows if row is not numbers]
        numbers["remarks"] = _remarks(numbers, others, settings.step)
    return rows


def _fitted_raters(judgments: pd.DataFrame, settings: ReportSettings) -> dict[Any, dict[str, float]]:
    """Bias and noise from what was judged at least twice.

    What one rater judged once says something of noise only through the model's guess of how good segmentations are;
    where most get the highest stars, that guess made steady raters noisy.
    """
    often = judgments[judgments.groupby("item")["stars"].transform("size") > 1]
    if often["stars"].nunique() < 2:  # without any disagreement, the noise would be what the model supposes
        return {}
    fit = fit_latent(often["item"], often["rater"], often["stars"], groups=often["exam"], scale=settings.scale)
    return {rater: row.to_dict() for rater, row in fit.raters.iterrows()}


_ENDS = {"value": "", "low": "_low", "high": "_high"}


def _remarks(rater: Numbers, spreads: list[float], step: float) -> list[str]:
    """Why a rater is to be talked with; nothing of one who shares no case with another."""
    bias, spread, remarks = rater["bias"], rater["spread"], []
    if not rater["shared"]:
        return ["shares no case with another rater"]
    if bias["value"] > NOTABLE_BIAS * step and bias["low"] > 0:
        remarks.append("more lenient than the others")
    if bias["value"] < -NOTABLE_BIAS * step and bias["high"] < 0:
        remarks.append("more severe than the others")
    known = [one for one in spreads if np.isfinite(one)]
    if len(known) >= OTHERS_TO_COMPARE and spread["low"] > NOTABLE_SPREAD * np.median(known):
        remarks.append("noisier than the others")
    if _is_negative(rater["r_with_others"], rater["shared"]):
        remarks.append("rates the other way round than the others")
    return remarks


def _is_negative(r: float, cases: int) -> bool:
    """Whether a correlation is below 0, by the 95 % interval of Fisher's transformation."""
    if not abs(r) < 1:
        return r == -1
    return cases > 3 and bool(np.arctanh(r) + 1.96 / np.sqrt(cases - 3) < 0)


def retest(judgments: pd.DataFrame, step: float) -> Numbers:
    """How far a rater's second look is from the first.

    Args:
        judgments: of one rater, or of all.
        step: of the scale.

    Returns:
        ``pairs``: how many were looked at twice; ``sd`` of a single rating; ``exact`` agreement, and that
        ``within_one`` step; ``shift`` from first to second look. NaN where nothing was.
    """
    first = judgments[~judgments["repeat"]].set_index(["item", "rater"])["stars"]
    again = judgments[judgments["repeat"]].groupby(["item", "rater"])["stars"].first()
    apart = (again - first.reindex(again.index)).dropna()
    return {
        "pairs": len(apart),
        "sd": float(np.sqrt((apart**2).mean() / 2)),
        "exact": float((apart.abs() < 1e-9).mean()),
        "within_one": float((apart.abs() < step + 1e-9).mean()),
        "shift": float(apart.mean()),
    }

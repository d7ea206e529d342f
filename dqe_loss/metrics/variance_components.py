"""What ratings vary by: segmentations, raters, and the rest; and the intraclass correlations that follow.

The model is Shrout and Fleiss's second: rating = mean + segmentation + rater + rest, raters and segmentations drawn at
random ("Intraclass correlations: uses in assessing rater reliability", 1979). Raters may be missing: the components are
those of Henderson's first method (Searle, Casella, McCulloch, "Variance Components", 1992, chapter 5), which in a full
table are those of the analysis of variance.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class VarianceComponents:
    """Variances, each ``(R,)``: a value for each resample. Those of the components are not cut at 0.

    Attributes:
        items: of what is rated.
        raters: of the raters' means.
        rest: of a single rating beside that.
    """

    items: Array
    raters: Array
    rest: Array

    def icc(self, raters: float = 1) -> Array:
        """ICC(2,1), or ICC(2,k): reliability of a rating, or of the mean of k ratings by different raters."""
        noise = self.raters + self.rest
        with np.errstate(invalid="ignore", divide="ignore"):
            correlation: Array = self.items / (self.items + noise / raters)
        return correlation


def variance_components(values: Array, weights: Array | None = None) -> VarianceComponents:
    """Estimate the components.

    Args:
        values: ``(items, raters)``, NaN where a rater has not rated; items with a single rating say nothing and may be
            left out.
        weights: ``(R, items)``, how often each item counts in each of R resamples; once if None.

    Returns:
        The components; NaN where they cannot be told apart, as with a single rater.
    """
    known = ~np.isnan(values)
    given = np.where(known, values, 0)
    w = np.ones((1, len(values))) if weights is None else np.asarray(weights, np.float64)
    per_item, sums = known.sum(1).astype(np.float64), given.sum(1)
    used = per_item > 0
    w, known, given, per_item, sums = (
        w[:, used],
        known[used].astype(np.float64),
        given[used],
        per_item[used],
        sums[used],
    )
    per_rater, rater_sums = w @ known, w @ given
    total = per_rater.sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        squares = {
            "all": w @ (given**2).sum(1),
            "items": w @ (sums**2 / per_item),
            "raters": np.where(per_rater > 0, rater_sums**2 / per_rater, 0).sum(1),
            "mean": rater_sums.sum(1) ** 2 / total,
        }
        # How often a component's variance is in the expectation of each of these, all in units of one rating.
        items, raters = w.sum(1), (per_rater > 0).sum(1)
        n_items, n_raters = (w @ per_item**2) / total, (per_rater**2).sum(1) / total
        ones = np.ones_like(total)
        expected = {
            "all": (total, total, total),
            "items": (total, items, items),
            "raters": (raters * ones, total, raters * ones),
            "mean": (n_items, n_raters, ones),
        }
    names = ("items", "raters", "all")
    left = np.stack(
        [np.stack([expected[n][c] - expected["mean"][c] for c in range(3)], -1) for n in names], 1
    )  # (R, equations, components)
    right = np.stack([squares[n] - squares["mean"] for n in names], -1)
    found = np.full(right.shape, np.nan)
    regular = np.isfinite(left).all((1, 2)) & (np.abs(np.linalg.det(np.nan_to_num(left))) > 1e-9)
    if regular.any():
        found[regular] = np.linalg.solve(left[regular], right[regular][..., None])[..., 0]
    return VarianceComponents(*found.T)

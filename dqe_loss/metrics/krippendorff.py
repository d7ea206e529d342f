"""Krippendorff's alpha of ordinal ratings: 1 is perfect agreement, 0 what chance gives; raters may be missing.

After K. Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011). Libraries that have it are under the GPL.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dqe_loss.extras import needs_extra

with needs_extra("train"):
    import pandas as pd

Array = NDArray[np.float64]


def coincidences(items: ArrayLike, values: ArrayLike) -> tuple[Array, Array]:
    """How often two raters of an item gave each pair of values; what `alpha_of` takes.

    Args:
        items: ``(N,)`` what was rated.
        values: ``(N,)`` what was given; their order counts, not their distances.

    Returns:
        ``(U, V, V)`` for each item that at least two have rated; and ``(U,)`` which item that is, in the order of
        ``pandas.factorize``.
    """
    rated, _ = pd.factorize(np.asarray(items, dtype=object))
    levels, given = np.unique(np.asarray(values, np.float64), return_inverse=True)
    counts = np.zeros((int(rated.max(initial=-1)) + 1, len(levels)))
    np.add.at(counts, (rated, given), 1)
    raters = counts.sum(1)
    kept = np.flatnonzero(raters > 1)
    counts, raters = counts[kept], raters[kept]
    pairs = counts[:, :, None] * counts[:, None, :] - np.eye(len(levels)) * counts[:, :, None]
    return pairs / (raters - 1)[:, None, None], kept.astype(np.float64)


def alpha_of(pairs: Array, weights: Array | None = None) -> Array:
    """Ordinal alpha.

    Args:
        pairs: as of `coincidences`.
        weights: ``(R, U)``, how often each item counts in each of R resamples; once if None.

    Returns:
        ``(R,)``; NaN where nothing was rated twice, or nothing differs.
    """
    items, levels, _ = pairs.shape
    weights = np.ones((1, items)) if weights is None else np.asarray(weights, np.float64)
    observed = (weights @ pairs.reshape(items, levels * levels)).reshape(-1, levels, levels)
    sizes = observed.sum(2)
    below = sizes.cumsum(1) - sizes / 2  # the middle of each value's ranks
    distance = (below[:, :, None] - below[:, None, :]) ** 2
    total = sizes.sum(1)
    by_chance = (sizes[:, :, None] * sizes[:, None, :] * distance).sum((1, 2))
    found = (observed * distance).sum((1, 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        alpha: Array = np.where(by_chance > 0, 1 - (total - 1) * found / by_chance, np.nan)
    return alpha


def ordinal_alpha(items: ArrayLike, values: ArrayLike) -> float:
    """Krippendorff's alpha of ordinal ratings.

    Args:
        items: ``(N,)`` what was rated.
        values: ``(N,)`` what was given, by different raters within an item.

    Returns:
        Alpha, at most 1; NaN where nothing was rated twice, or all values are the same.

    Example:
        >>> round(ordinal_alpha([0, 0, 1, 1, 2, 2], [1, 1, 2, 3, 5, 5]), 3)
        0.949
    """
    pairs, _ = coincidences(items, values)
    return float(alpha_of(pairs)[0]) if len(pairs) else float("nan")

"""Learn what stars mean in Dice: isotonic regression, and a conformal lower bound that holds group by group.

Groups are sources, such as hospitals or data sets. What a map is worth shows on a group that it has not seen, and there
alone: masks of one exam, and exams of one scanner, resemble each other.

*The bound.* The masks of each group are judged by a map of the other groups; how far their Dice falls short of the
estimate has a conformal quantile for each group. The width is the largest of these. So each group is covered, and if
groups are exchangeable, a new one's quantile is no larger than the largest of G with a probability of G / (G + 1) (the
view of two-layer conformal prediction: Dunn, Wasserman and Ramdas 2022, arXiv 1809.07441). The price is a bound that is
wider than that of all masks together, which holds on average and may fail one group always.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dqe_loss.extras import import_extra
from dqe_loss.surrogate.dice_map import DiceMap

IsotonicRegression: Any = import_extra("sklearn.isotonic", "train").IsotonicRegression

LEAST_GROUPS = 3
"""One is left out to judge a bound, another to make it, and the map must come from one at least."""

_BEND = 0.02  # Dice by which leaving out knots may change a map; what stars leave open is ten times as much
_DIGITS = 6  # of what is kept, and of what counts as the same


class _Masks(NamedTuple):
    stars: NDArray[np.float64]
    dice: NDArray[np.float64]
    groups: NDArray[np.str_]

    def where(self, chosen: NDArray[np.bool_]) -> "_Masks":
        return _Masks(self.stars[chosen], self.dice[chosen], self.groups[chosen])

    def names(self) -> list[str]:
        return sorted(set(self.groups.tolist()))


def fit_dice_map(
    stars: ArrayLike,
    dice: ArrayLike,
    groups: Sequence[str],
    level: float = 0.9,
    *,
    learned_from: str = "",
    center: str = "mask",
) -> DiceMap:
    """Fit a map from stars to mean Dice with a lower bound, as this module describes it.

    All groups weigh the same, however many masks they have. The coverage of a group is measured with a map and a width
    that come from the other groups alone.

    Args:
        stars: mean stars of each mask, ``(N,)``, from a surrogate that learned nothing from the mask's group. Otherwise
            estimate, width and coverage are all too good.
        dice: each mask's mean Dice over the regions with its reference, ``(N,)`` in [0, 1].
        groups: each mask's source: three or more, with at least ``level / (1 - level)`` masks each (nine at 90 %).
        level: share of a group's masks whose Dice is to reach the bound.
        learned_from: what the masks are, in words.
        center: where the rated planes lay, see `DiceMap`.

    Returns:
        The map.

    Raises:
        ValueError: lengths differ, numbers are missing or out of range, or there are too few groups or masks.
    """
    masks = _Masks(np.asarray(stars, float), np.asarray(dice, float), np.asarray(groups, str))
    _check(masks, level)
    # Stars that differ by less are the same; scikit-learn divides by their difference, and gets NaN of the smallest.
    masks = masks._replace(stars=masks.stars.round(_DIGITS))
    coverage = {}
    for name in masks.names():
        own = masks.groups == name
        reached = masks.dice[own] >= _map_of(masks.where(~own), level).lower_bound(masks.stars[own]) - 10.0**-_DIGITS
        coverage[name] = round(float(reached.mean()), 4)
    return replace(_map_of(masks, level), center=center, learned_from=learned_from, coverage=coverage)


def conformal_quantile(scores: ArrayLike, level: float) -> float:
    """The smallest of N scores that a further one, exchangeable with them, does not exceed with probability ``level``.

    That is the ``ceil((N + 1) * level)``-th; infinity where N is too small for the level.
    """
    ranked = np.sort(np.asarray(scores, float))
    rank = math.ceil(round((len(ranked) + 1) * level, 9))  # 10 * 0.9 is 9, whatever floats make of it
    return float(ranked[rank - 1]) if rank <= len(ranked) else math.inf


def _map_of(masks: _Masks, level: float) -> DiceMap:
    """The map, with a width from maps that did not see the group whose quantile they gave."""
    quantiles = [0.0]
    for name in masks.names():
        own = masks.groups == name
        seen = _fit(masks.where(~own))
        quantiles.append(conformal_quantile(np.interp(masks.stars[own], *seen) - masks.dice[own], level))
    knots, estimates = _fit(masks)
    return DiceMap(tuple(knots.tolist()), tuple(estimates.tolist()), round(max(quantiles), _DIGITS), level)


def _fit(masks: _Masks) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Knots of a monotone map, in stars and Dice: the centers of isotonic regression's steps.

    Lines between centers fit better than its steps do (centered isotonic regression: Oron and Flournoy 2017,
    arXiv 1701.05964).
    """
    _, group, count = np.unique(masks.groups, return_inverse=True, return_counts=True)
    weight = 1 / count[group]
    isotonic = IsotonicRegression(y_min=0, y_max=1)
    fitted = isotonic.fit_transform(masks.stars, masks.dice, sample_weight=weight).round(_DIGITS)
    estimates, step = np.unique(fitted, return_inverse=True)
    centers = (np.bincount(step, weight * masks.stars) / np.bincount(step, weight)).round(_DIGITS)
    knots, first = np.unique(centers, return_index=True)
    kept = _bends(knots, estimates[first])
    return knots[kept], estimates[first][kept]


def _bends(x: NDArray[np.float64], y: NDArray[np.float64]) -> list[int]:
    """Indices of points that a line through them needs to stay within `_BEND` of all (Douglas and Peucker)."""
    if len(x) < 3:
        return list(range(len(x)))
    away = np.abs(np.interp(x, x[[0, -1]], y[[0, -1]]) - y)
    farthest = int(away.argmax())
    if away[farthest] <= _BEND:
        return [0, len(x) - 1]
    left, right = _bends(x[: farthest + 1], y[: farthest + 1]), _bends(x[farthest:], y[farthest:])
    return left + [farthest + index for index in right[1:]]


def _check(masks: _Masks, level: float) -> None:
    shapes = [part.shape for part in masks]
    if masks.stars.ndim != 1 or len(set(shapes)) > 1:
        raise ValueError(f"expected stars, Dice and groups of N masks, got the shapes {', '.join(map(str, shapes))}")
    if not 0 < level < 1:
        raise ValueError(f"the level must be between 0 and 1, such as 0.9, got {level}")
    for what, fits in (
        ("finite stars", np.isfinite(masks.stars)),
        ("a Dice in [0, 1]", (masks.dice >= 0) & (masks.dice <= 1)),
    ):
        if not fits.all():
            bad = int(np.flatnonzero(~fits)[0])
            raise ValueError(
                f"expected {what} for each mask, got stars {masks.stars[bad]:g} and Dice {masks.dice[bad]:g} for mask "
                f"{bad} ({(~fits).sum()} such in all); leave out masks without a rating or a reference"
            )
    names = masks.names()
    if len(names) < LEAST_GROUPS:
        raise ValueError(
            f"expected masks of {LEAST_GROUPS} groups or more, got {len(names)} ({', '.join(names) or 'none'}): a "
            "bound is made and judged on groups that its map has not seen; take smaller groups, such as exams"
        )
    needed = math.ceil(round(level / (1 - level), 9))  # from as many on `conformal_quantile` is finite
    counts = {name: int((masks.groups == name).sum()) for name in names}
    if few := [f"{name} ({count})" for name, count in counts.items() if count < needed]:
        raise ValueError(
            f"a bound at {level:.0%} needs {needed} masks or more of each group; too few: {', '.join(few)}. Join "
            "groups, add masks, or lower the level"
        )

"""The lowest threshold on stars at which few of what is kept is unacceptable, with a stated confidence.

Learn then Test (Angelopoulos et al. 2021, arXiv 2110.01052): thresholds are tested from strict to lax, in an order that
does not depend on the labels, each by the exact binomial test (that of Clopper and Pearson's bound) of "more than
``error_rate`` of what is kept here is unacceptable". The first test that cannot reject ends it. As the order is fixed,
no test needs a correction: with probability ``confidence`` over the labeled exams no threshold is accepted wrongly.

It holds for any surrogate, good or bad, if the labeled exams are exchangeable with those that are curated: a random
sample of the same data. It needs one judgment an exam (`dqe_loss.curate.labeled_sample.draw_judged`): two masks of one
exam are not independent.

MAPIE 1.6 has this procedure too (``BinaryClassificationController``, precision, ``fwer_method="fixed_sequence"``). It
recovers the number of failures as ``ceil(n * (1 - precision))``, where rounding adds one in 40 % of cases, and asks
for a classifier's probabilities; SciPy's exact test is nearer to the point.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest

Array = NDArray[np.float64]

STEPS = 20
"""Number of thresholds that are tested at most."""


@dataclass(frozen=True)
class TriedThreshold:
    """What was found at one threshold.

    Attributes:
        threshold: stars at or above which a mask is kept.
        kept: how many of the labeled exams' masks are.
        unacceptable: how many of those are unacceptable.
        p_value: of the hypothesis that the rate among kept masks is above the error rate.
        upper: Clopper and Pearson's upper bound of that rate at the same confidence, for this threshold by itself.
        passed: whether the hypothesis is rejected, so that the threshold may be used.
    """

    threshold: float
    kept: int
    unacceptable: int
    p_value: float
    upper: float
    passed: bool


def check_levels(error_rate: float, confidence: float) -> None:
    """Check that both are probabilities that can be asked for.

    Raises:
        ValueError: naming the one that is not.
    """
    for name, value in (("error rate", error_rate), ("confidence", confidence)):
        if not 0 < value < 1:
            raise ValueError(f"expected the {name} between 0 and 1, such as 0.1, got {value:g}")


def minimum_labels(error_rate: float, confidence: float) -> int:
    """How many kept masks, all acceptable, it takes at least to show the error rate with the confidence.

    Example:
        >>> minimum_labels(0.1, 0.9), minimum_labels(0.05, 0.95)
        (22, 59)
    """
    check_levels(error_rate, confidence)
    return math.ceil(math.log(1 - confidence) / math.log(1 - error_rate))


def order_thresholds(stars: ArrayLike, labeled: int, error_rate: float, confidence: float) -> list[float]:
    """Thresholds to test, from strict to lax: quantiles of the stars of exams that have *no* label.

    The first keeps about twice as many labeled masks as `minimum_labels`, so that a few failures are forgiven; less
    where there are fewer labels, down to a margin of two standard deviations of that count. The last keeps all.

    Args:
        stars: ``(N,)`` of masks without a label; -inf for those that no threshold keeps.
        labeled: number of labeled masks that will be tested.
        error_rate: the rate that is to be shown.
        confidence: the confidence to show it with.

    Returns:
        Falling thresholds, each once; none if no star is finite.
    """
    needed = minimum_labels(error_rate, confidence)
    every = np.asarray(stars, dtype=np.float64)
    values = np.sort(every[np.isfinite(every)])[::-1]
    if not len(values):
        return []
    first = float(np.clip(labeled / 2, needed + 2 * math.sqrt(needed), 2 * needed)) / max(labeled, 1)
    # A share of all masks: those that no threshold keeps are never reached.
    ranks = np.ceil(np.linspace(min(first, 1.0), 1.0, STEPS) * len(every)).astype(int).clip(1, len(values))
    return [float(value) for value in dict.fromkeys(values[ranks - 1].tolist())]


def try_thresholds(
    stars: ArrayLike, unacceptable: ArrayLike, thresholds: Sequence[float], error_rate: float, confidence: float
) -> list[TriedThreshold]:
    """Test thresholds in their order until one fails.

    Args:
        stars: ``(N,)`` of the labeled masks, one an exam; -inf for one that no threshold keeps.
        unacceptable: ``(N,)`` whether each is unacceptable.
        thresholds: from strict to lax, chosen without a look at the labels.
        error_rate: highest share of unacceptable ones among the kept.
        confidence: probability, over the draw of labeled exams, that no threshold passes wrongly.

    Returns:
        The tests up to the first failure, it included. `TriedThreshold.passed` of the last but one (or the last) is the
        threshold to use.

    Raises:
        ValueError: if the arrays differ in length, hold NaN, or the thresholds do not fall.

    Example:
        >>> tests = try_thresholds([5.0] * 30 + [3.0] * 9, [False] * 30 + [True] * 9, [4.0, 2.0], 0.1, 0.9)
        >>> [(test.threshold, test.kept, test.unacceptable, test.passed) for test in tests]
        [(4.0, 30, 0, True), (2.0, 39, 9, False)]
    """
    check_levels(error_rate, confidence)
    given, bad = np.asarray(stars, dtype=np.float64), np.asarray(unacceptable, dtype=bool)
    if given.ndim != 1 or given.shape != bad.shape or np.isnan(given).any():
        raise ValueError(f"expected stars, not NaN, and a label for each, got the shapes {given.shape} and {bad.shape}")
    if any(later >= earlier for earlier, later in pairwise(thresholds)):
        raise ValueError(f"expected thresholds from strict to lax, each once, got {list(thresholds)}")
    tests = []
    for threshold in thresholds:
        tests.append(_try(threshold, bad[given >= threshold], error_rate, confidence))
        if not tests[-1].passed:
            break
    return tests


def chosen_threshold(tests: Sequence[TriedThreshold]) -> TriedThreshold | None:
    """The laxest threshold that passed, or None."""
    return next((test for test in reversed(tests) if test.passed), None)


def _try(threshold: float, kept: NDArray[np.bool_], error_rate: float, confidence: float) -> TriedThreshold:
    count, failures = len(kept), int(kept.sum())
    if not count:
        return TriedThreshold(threshold, 0, 0, 1.0, 1.0, False)
    result = binomtest(failures, count, error_rate, alternative="less")
    upper = result.proportion_ci(confidence, method="exact").high
    return TriedThreshold(
        threshold, count, failures, float(result.pvalue), float(upper), bool(result.pvalue <= 1 - confidence)
    )

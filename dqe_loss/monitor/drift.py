"""Watch a stream of stars: has the mean, or the share of bad segmentations, departed from a reference window?

A test after every exam must not be one that is right nineteen times in twenty, or it cries wolf every other week. What
is bounded here is the number of exams until a false alarm: at least ``patience`` on average, whatever the distribution
of the stars and however small the reference window.

How: under no change, all stars so far, those of the reference and the new ones, are exchangeable. The rank of a new
exam among all before it, with ties broken at random, is then uniform on (0, 1) and independent of the ranks before it
(conformal p-values; Vovk, Gammerman and Shafer 2005). On each rank a bet is placed that pays 1 on average, and the bets
are collected as Shiryaev and Roberts do, ``R <- (1 + R) * bet``. ``R - n`` is a martingale, so that R reaches a limit
after at least that many exams on average (e-detectors; Shin, Ramdas and Rinaldo 2024, arXiv 2203.03532).
"""

import bisect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dqe_loss.extras import needs_extra

with needs_extra("report"):
    from scipy import special

SHIFTS = (0.5, 1.0, 2.0)
"""Shifts of the mean that bets are placed on, in standard deviations of the reference."""
FACTORS = (2.0, 4.0, 8.0)
"""Growths of the share of bad segmentations that bets are placed on."""
CHARTS = ("mean fell", "mean rose", "more below threshold")
"""What is watched for, each with a third of the false alarms."""
LEAST_REFERENCE = 20


@dataclass(frozen=True)
class Alarm:
    """What departed from the reference, and when.

    Attributes:
        chart: one of `CHARTS`.
        exam: number of the exam, from 0, after which it was seen.
        since: number of the exam with which the departure probably began.
        evidence: the statistic that reached its limit.
        limit: that limit.
    """

    chart: str
    exam: int
    since: int
    evidence: float
    limit: float


class DriftWatch:
    """A watch over stars that come in one by one.

    Args:
        reference: stars of a time when all was well, (N,); NaN where a segmentation could not be rated.
        threshold: stars below which a segmentation counts as bad. To be set beforehand, not after a look at the stars.
        patience: number of exams until a false alarm, on average, that is put up with.
        seed: of the draws that break ties.

    Raises:
        ValueError: the reference is too small, or an option out of range.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> watch = DriftWatch(rng.normal(5, 0.3, 100))
        >>> [alarm.chart for star in rng.normal(4.4, 0.3, 40) if (alarm := watch.add(star))][:1]
        ['mean fell']
    """

    def __init__(
        self,
        reference: Sequence[float] | NDArray[np.float64],
        *,
        threshold: float = 3.0,
        patience: int = 5000,
        seed: int = 0,
    ) -> None:
        stars = np.asarray(reference, float)
        if stars.ndim != 1 or np.isfinite(stars).sum() < LEAST_REFERENCE or np.isinf(stars).any():
            raise ValueError(
                f"expected a reference of at least {LEAST_REFERENCE} exams with finite stars, "
                f"got {int(np.isfinite(stars).sum())}"
            )
        if patience < 1 or not np.isfinite(threshold):
            raise ValueError(f"expected a patience >= 1 and a finite threshold, got {patience} and {threshold}")
        self.threshold, self.limit = threshold, float(len(CHARTS) * patience)
        self._rng = np.random.default_rng(seed)
        self._sorted = sorted(stars[np.isfinite(stars)].tolist())
        self._bad = int((~(stars >= threshold)).sum())
        self._all = len(stars)
        self.exams = 0
        # A column for each bet; their average is what is compared with the limit.
        self._collected = np.zeros((len(CHARTS), len(SHIFTS)))
        # Where log R, counted without the ones that are added, was lowest: there the departure probably began.
        self._walk = np.zeros(len(CHARTS))
        self._lowest = np.zeros(len(CHARTS))
        self._since = [0] * len(CHARTS)

    def add(self, stars: float) -> Alarm | None:
        """Take in the next exam.

        Args:
            stars: its mean stars; NaN if it could not be rated, which counts as below the threshold.

        Returns:
            An alarm if a statistic has reached its limit with this exam; it then starts anew.
        """
        bets = np.ones_like(self._collected)
        rated = not np.isnan(stars)
        if rated:
            score = special.ndtri(self._rank(float(stars)))
            bets[0] = [np.exp(-shift * score - shift**2 / 2) for shift in SHIFTS]
            bets[1] = [np.exp(shift * score - shift**2 / 2) for shift in SHIFTS]
        bets[2] = self._bets_on_share(bad=not stars >= self.threshold)
        self._collected = (1 + self._collected) * bets
        evidence = self._collected.mean(1)
        self._find_beginning(bets)
        self.exams += 1
        over = np.flatnonzero(evidence >= self.limit)
        if not over.size:
            return None
        chart = int(over[np.argmax(evidence[over])])
        alarm = Alarm(CHARTS[chart], self.exams - 1, self._since[chart], float(evidence[chart]), self.limit)
        self._collected[:] = 0
        self._walk[:] = self._lowest[:] = 0
        self._since = [self.exams] * len(CHARTS)
        return alarm

    def _rank(self, stars: float) -> float:
        """Conformal p-value of the next exam among all before it, in (0, 1); small for few stars."""
        below = bisect.bisect_left(self._sorted, stars)
        ties = bisect.bisect_right(self._sorted, stars) - below
        self._sorted.insert(below, stars)
        rank = (below + self._draw() * (ties + 1)) / len(self._sorted)
        return min(max(rank, 1e-12), 1 - 1e-12)

    def _bets_on_share(self, bad: bool) -> NDArray[np.float64]:
        """Bets that pay more for a bad segmentation, in fair proportion to its odds.

        The rank of ``not bad`` among the same of all before is uniform too; bets are on a rank below the share so far.
        """
        self._all += 1
        # Bad ones come first: this one's rank is among them, or among the others.
        first, width = (0, self._bad + 1) if bad else (self._bad, self._all - self._bad)
        rank = (first + self._draw() * width) / self._all
        self._bad += bad
        share = (self._bad - bad + 1) / (self._all + 1)
        factors = np.minimum(FACTORS, 0.9 / share)
        if rank < share:
            return factors
        return (1 - factors * share) / (1 - share)

    def _draw(self) -> float:
        return float(self._rng.random())

    def _find_beginning(self, bets: NDArray[np.float64]) -> None:
        """Remember with which exam each chart's evidence began to grow."""
        self._walk += np.log(np.maximum(bets[:, 1], 1e-300))
        for chart in np.flatnonzero(self._walk <= self._lowest):
            self._lowest[chart], self._since[chart] = self._walk[chart], self.exams + 1


def find_alarms(watch: DriftWatch, stars: Iterable[float]) -> list[Alarm]:
    """All alarms that a series of stars gives; after each the watch starts anew, with the same reference."""
    return [alarm for value in stars if (alarm := watch.add(float(value)))]

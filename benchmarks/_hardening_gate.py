"""Stars from their ingredients: what a gate leaves of the network's stars, for any of its options.

The rating itself is `dqe_loss.surrogate` and `dqe_loss.surrogate.refiner`; here it is done again on stored sums, so
that options can be compared without measuring anew. `_hardening_measures.check_ingredients` holds the two together.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dqe_loss.surrogate.agreement import SMOOTHING
from dqe_loss.surrogate.refiner import RefinerConfig

Array = NDArray[np.float64]
LOWEST, HIGHEST = 1.0, 6.0


@dataclass(frozen=True)
class Gate:
    """How agreement lowers stars; see `RefinerConfig`.

    Attributes:
        full_marks: agreement from which on a mask keeps all of its stars.
        survey_full_marks: the same of the survey's agreement.
        exponent: of the agreement below it.
    """

    full_marks: float = RefinerConfig.full_marks
    exponent: float = RefinerConfig.exponent
    survey_full_marks: float = RefinerConfig.survey_full_marks

    def share(self, agreement: Array) -> Array:
        """What share of its stars a mask keeps: the agreement's shape, in [0, 1]."""
        return np.minimum(agreement / self.full_marks, 1) ** self.exponent

    def survey_share(self, agreement: Array) -> Array:
        """The same of a survey's agreement."""
        return np.minimum(agreement / self.survey_full_marks, 1) ** self.exponent

    def stars(self, network: Array, agreement: Array, survey: Array | None = None) -> Array:
        """Mean stars of the views.

        Args:
            network: the network's own stars ``(N, 3)``.
            agreement: of each view's plane ``(N, 3)``.
            survey: of the whole exam ``(N,)``; the share of it is the most that a view may keep. None looks at the
                rated planes only.

        Returns:
            ``(N,)``.
        """
        share = self.share(agreement)
        if survey is not None:
            share = np.minimum(share, self.survey_share(survey)[:, None])
        return (LOWEST + (np.clip(network, LOWEST, HIGHEST) - LOWEST) * share).mean(1)


def agreement_of(sums: Array) -> Array:
    """Agreement of a mask and a refined mask, see `dqe_loss.surrogate.agreement.agreement`.

    Args:
        sums: ``(..., 3, 2)``: for each region the voxels that both have, and the sum of what either has.

    Returns:
        ``(...)`` in [0, 1]; 1 where there is nothing in either.
    """
    both, total = sums[..., 0], sums[..., 1]
    size = total / 2
    counts = size / (size + SMOOTHING)
    present = counts.sum(-1)
    mean = (counts * 2 * both / np.maximum(total, 1e-6)).sum(-1) / np.maximum(present, 1e-6)
    return np.where(present > 0, mean, 1.0)


def region_agreement(sums: Array) -> Array:
    """Dice of each region of sums ``(..., 3, 2)``: ``(..., 3)``; NaN where there is nothing in either."""
    with np.errstate(invalid="ignore"):
        return np.asarray(2 * sums[..., 0] / sums[..., 1])

"""Stars from their ingredients: what a gate leaves of the network's stars, for any of its options.

The rating itself is `dqe_loss.surrogate` and `dqe_loss.surrogate.refiner`; here it is done again on stored sums, so
that options can be compared without measuring anew. `_hardening_measures.check_ingredients` holds the two together.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from dqe_loss.surrogate.agreement import Overlap
from dqe_loss.surrogate.agreement import agreement_of as mean_over_regions
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
        share = np.minimum(agreement / self.full_marks, 1) ** self.exponent
        if survey is not None:
            most = np.minimum(survey / self.survey_full_marks, 1) ** self.exponent
            share = np.minimum(share, most[:, None])
        return (LOWEST + (np.clip(network, LOWEST, HIGHEST) - LOWEST) * share).mean(1)


def agreement_of(sums: Array) -> Array:
    """Agreement of a mask and a refined mask, see `dqe_loss.surrogate.agreement.agreement_of`.

    Args:
        sums: ``(..., 3, 2)``: for each region the voxels that both have, and the sum of what either has.

    Returns:
        ``(...)`` in [0, 1]; 1 where there is nothing in either.
    """
    planes = torch.from_numpy(sums).reshape(-1, *sums.shape[-2:])
    found: Array = mean_over_regions(Overlap(*planes.unbind(-1))).numpy()
    return found.reshape(sums.shape[:-2])


def region_agreement(sums: Array) -> Array:
    """Dice of each region of sums ``(..., 3, 2)``: ``(..., 3)``; NaN where there is nothing in either."""
    with np.errstate(invalid="ignore"):
        return np.asarray(2 * sums[..., 0] / sums[..., 1])

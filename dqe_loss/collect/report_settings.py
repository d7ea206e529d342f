"""How the numbers of a report are made, and what they come as."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqe_loss.metrics.agreement import RESAMPLES

Numbers = dict[str, Any]
Array = NDArray[np.float64]

WANTED = 0.3
"""Of a step of the scale: the standard error that is wanted of a segmentation's mean, if nobody says (our choice)."""


@dataclass(frozen=True)
class ReportSettings:
    """How numbers are made.

    Attributes:
        scale: worst and best value that could be given.
        step: distance of two neighboring values that the raters could give.
        wanted: standard error of a segmentation's mean rating that is wanted, in stars.
        resamples: of the exams, behind the intervals.
        seed: of resamples and simulations.
    """

    scale: tuple[float, float] = (1.0, 6.0)
    step: float = 1.0
    wanted: float = WANTED
    resamples: int = RESAMPLES
    seed: int = 0

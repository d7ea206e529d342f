"""Intervals of what differs from seed to seed and from person to person."""

import numpy as np

from dqe_loss.metrics.agreement import draw_exams

DRAWS = 10_000


def resampled(values: np.ndarray, draws: int = DRAWS) -> np.ndarray:
    """Means ``(draws,)`` of seeds × persons, either drawn with replacement."""
    seeds, persons = (draw_exams(count, draws, seed) / count for seed, count in enumerate(values.shape))
    return np.einsum("ds,sp,dp->d", seeds, values, persons, optimize=True)

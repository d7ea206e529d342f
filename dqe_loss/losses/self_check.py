"""A self-check that finds most mix-ups: do the targets themselves get the stars that expert masks get?"""

import torch
from torch import Tensor

from dqe_loss.core.checks import tell

LOW_SHARE = 0.3
"""Share of the scale below which the mean stars of targets mean that something is mixed up (2.5 of 1 to 6 stars), by a
surrogate with a refiner.

Of eight exams of a source that their refiner never saw the expert masks get 4.7 stars (4.6 in crops of 128 voxels, 4.7
with z-scores), with an axis flipped 1.4 to 1.7, with two axes swapped 2.4, with another exam's mask 1.5. Modalities in
another order get 3.9 to 4.0, too many to be found by this alone. Published weights alone give all of these 4.5 to 4.7
stars, and are asked for no verdict.
"""
FIRST_LOOK = 16
"""Exams before the first verdict: single expert masks do get 1 star."""


def low_stars(scale: tuple[float, float]) -> float:
    """Mean stars of targets on a scale below which something must be mixed up."""
    return scale[0] + LOW_SHARE * (scale[1] - scale[0])


class TargetStars:
    """The running mean of the targets' stars. A low one is told, once, with the usual causes.

    Args:
        scale: lowest and highest stars.

    Looked at after `FIRST_LOOK` exams, and whenever there are four times as many: the device is waited for then only.
    """

    def __init__(self, scale: tuple[float, float] = (1.0, 6.0)) -> None:
        self._low = low_stars(scale)
        self._stars: Tensor | None = None
        self._exams = 0
        self._next_look = FIRST_LOOK
        self._told = False

    def add(self, stars: Tensor, rated: Tensor) -> None:
        """Take in a batch.

        Args:
            stars: of each target ``(B,)``.
            rated: which of them could be rated, boolean ``(B,)``.

        Warns:
            UserWarning: if the mean is below `LOW_SHARE` of the scale.
        """
        sums = torch.stack((torch.where(rated, stars, torch.zeros_like(stars)).sum(), rated.sum().to(stars.dtype)))
        self._stars = sums if self._stars is None else self._stars.to(sums) + sums
        self._exams += len(stars)
        if self._told or self._exams < self._next_look:
            return
        self._next_look *= 4
        total, count = self._stars.tolist()
        if count < FIRST_LOOK / 2 or total / count >= self._low:
            return
        self._told = True
        tell(
            f"the targets themselves get {total / count:.1f} stars on average over {count:.0f} exams, where expert "
            f"masks get more than {self._low:g}: DQELoss is probably not given what it expects. Usual causes: "
            "modalities in another order (modalities=), regions or labels in another order (region_order=, "
            "label_scheme=), axes turned or flipped between image and target, an image of another exam, intensities "
            "that are clipped"
        )

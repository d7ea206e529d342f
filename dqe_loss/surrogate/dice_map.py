"""What a checkpoint's stars mean in Dice: a map that was learned from references, and a lower bound beside it.

It says nothing of how humans would rate (contract C12), and it holds for the kinds of masks that it was learned from.
`dqe_loss.evaluate.dice_calibration` fits it; a checkpoint carries it
(`dqe_loss.surrogate.config.SurrogateConfig.dice_map`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

DICE_COLUMNS = ("dice", "dice_low")
"""What `DiceMap.tell` calls its numbers, in tables too."""


CARD_TITLE = "**What the stars mean.**"


@dataclass(frozen=True)
class DiceMap:
    """A monotone, piecewise linear map from an exam's mean stars to mean Dice over the regions, with a lower bound.

    Attributes:
        stars: its knots, rising; below the first and above the last the map is flat.
        dice: mean Dice at each knot, in [0, 1], never falling.
        width: how far below the estimate the bound lies, in [0, 1].
        level: the share of masks of a group, in (0, 1), whose Dice is to reach the bound.
        center: where the rated planes lay, as the rated table's column ``center`` says it. Stars that were taken
            elsewhere are other stars, and the map does not hold for them.
        learned_from: the masks and exams that it was learned from, in words.
        coverage: the share of each group's masks whose Dice reached a bound that had seen nothing of the group.
    """

    stars: tuple[float, ...]
    dice: tuple[float, ...]
    width: float
    level: float = 0.9
    center: str = "mask"
    learned_from: str = ""
    coverage: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check that it is such a map.

        Raises:
            ValueError: naming the field and what it must be.
        """
        stars, dice = np.asarray(self.stars, float), np.asarray(self.dice, float)
        if stars.ndim != 1 or stars.shape != dice.shape or not len(stars):
            raise ValueError(f"a map needs as many stars as Dice, one or more, got {len(stars)} and {len(dice)}")
        if not (np.isfinite(stars).all() and (np.diff(stars) > 0).all()):
            raise ValueError(f"the stars of a map's knots must be finite and rise, got {self.stars}")
        if not (_are_shares(dice) and (np.diff(dice) >= 0).all()):
            raise ValueError(f"the Dice of a map's knots must be in [0, 1] and never fall, got {self.dice}")
        if not _are_shares([self.width, *self.coverage.values()]):
            raise ValueError(f"width and coverage must be in [0, 1], got {self.width} and {self.coverage}")
        if not 0 < self.level < 1:
            raise ValueError(f"the level must be between 0 and 1, such as 0.9, got {self.level}")

    def holds_for(self, centers: Sequence[str]) -> bool:
        """Whether it was learned from stars that were taken through these places."""
        return self.center == " ".join(centers)

    def estimate(self, stars: ArrayLike) -> NDArray[np.float64]:
        """Mean Dice in [0, 1] that masks of these stars have, of any shape; NaN where stars are NaN."""
        estimate: NDArray[np.float64] = np.asarray(np.interp(np.asarray(stars, float), self.stars, self.dice))
        return estimate

    def lower_bound(self, stars: ArrayLike) -> NDArray[np.float64]:
        """``max(0, estimate - width)``, of any shape: what the Dice of a share `level` of masks reaches."""
        return np.maximum(self.estimate(stars) - self.width, 0)

    def tell(self, stars: ArrayLike) -> dict[str, NDArray[np.float64]]:
        """Estimate and lower bound under the names of `DICE_COLUMNS`."""
        return dict(zip(DICE_COLUMNS, (self.estimate(stars), self.lower_bound(stars)), strict=True))

    def describe(self) -> str:
        """Say in one line what the two numbers are."""
        learned = f" ({self.learned_from})" if self.learned_from else ""
        return (
            f"dice: mean Dice that the stars stand for; dice_low: what the Dice of {self.level:.0%} of masks reaches; "
            f"learned from references{learned}, not from humans, and valid for masks of the kinds learned from"
        )

    def card(self) -> str:
        """What a checkpoint's card says of the map, in Markdown."""
        measured = ", ".join(f"{name} {share:.0%}" for name, share in self.coverage.items())
        return (
            f"{CARD_TITLE} They are told in Dice, too ({self.describe()}). The bound lies {self.width:.2f} below the "
            f"estimate. Share of masks that reach one that has not seen their group: {measured or 'not measured'}.\n"
        )


def _are_shares(values: Iterable[float]) -> bool:
    return all(0 <= value <= 1 for value in values)  # NaN is not

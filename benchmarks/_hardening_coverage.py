"""How often masks reach the conformal bound of their mean Dice, with a map that saw nothing of their group."""

from _hardening_groups import PHANTOMS
from _hardening_pool import Pooled
from _hardening_ship import dice_map_of

from dqe_loss.evaluate.dice_calibration import LEAST_GROUPS


def measure_coverage(pooled: Pooled) -> dict[str, float]:
    """Share of each group's expert, natural and corrupted masks whose mean Dice reaches the bound.

    Each group is judged by a map and a width of the other groups (`fit_dice_map`), from stars of refiners that saw none
    of the masks' groups.

    Returns:
        By group; empty with fewer groups than that takes.
    """
    if len(set(pooled.masks["group"]) - {PHANTOMS}) < LEAST_GROUPS:
        return {}
    return dict(dice_map_of(pooled).coverage)

"""How often masks reach the conformal bound of their mean Dice, with a map that saw nothing of their group."""

from _hardening_figures import JUDGED
from _hardening_groups import PHANTOMS
from _hardening_pool import Pooled, stars_of

from dqe_loss.evaluation.dice_map import LEAST_GROUPS, fit_dice_map


def measure_coverage(pooled: Pooled, level: float = 0.9) -> dict[str, float]:
    """Share of each group's expert, natural and corrupted masks whose mean Dice reaches the bound.

    Each group is judged by a map and a width of the other groups (`fit_dice_map`), from stars of readers that saw none
    of the masks' groups.

    Returns:
        By group; empty with fewer groups than that takes.
    """
    masks = pooled.masks[pooled.masks["kind"].isin(JUDGED) & (pooled.masks["group"] != PHANTOMS)]
    if masks["group"].nunique() < LEAST_GROUPS:
        return {}
    stars = stars_of(masks, pooled.gate)
    return dict(fit_dice_map(stars.to_numpy(), masks["dice"].to_numpy(), masks["group"].tolist(), level).coverage)

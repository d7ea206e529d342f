"""The figures of a cross-validation that come from units, attacks, phantoms and timing, each with its goal."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from _hardening_attacks import GUARDS
from _hardening_figures import Figure, Goal, extreme
from _hardening_units import RAW, SCORED

from dqe_loss.task import REGIONS

LEFT = {"TC": 0.9, "WT": 0.95, "ET": 0.85}
"""Dice that an attack from the expert's mask is to leave."""
REACHED = 0.85
"""Mean Dice in the rated planes that an attack from a shifted mask is to reach."""
RISE = 0.01
"""By which it is to rise at least: more than rounding."""
LEVEL = 0.87
"""Share of a group's masks whose Dice is to reach a bound of 90 %."""
COST_MS = 70.0


def unit_figures(units: pd.DataFrame, stars: pd.Series) -> list[Figure]:
    """How far other units move the stars of the expert's masks.

    Args:
        units: see `_hardening_pool.Pooled`.
        stars: of each row.
    """
    raw = units["name"] == RAW
    moved = (stars - units["exam"].map(dict(zip(units.loc[raw, "exam"], stars[raw], strict=True)))).abs()
    kinds = {
        "one modality x 4 or / 4, stars moved": ~raw & ~units["name"].isin(SCORED),
        **{f"{name}, stars moved": units["name"] == name for name in SCORED},
    }
    return [extreme(Goal(what, 0.3, False), moved[rows], units[rows]) for what, rows in kinds.items()]


def attack_figures(attacks: pd.DataFrame) -> list[Figure]:
    """What attacks leave of the expert's mask, and make of a shifted one, by guard and place; goals with the guard on.

    Args:
        attacks: see `_hardening_pool.Pooled`.
    """
    found = []
    for guard in GUARDS:
        goal = (lambda limit: limit) if guard == "on" else (lambda _: math.nan)
        for place in ("volume", "planes"):
            rows = attacks[(attacks["guard"] == guard) & (attacks["place"] == place)]
            expert, shifted = (rows[rows["start"] == start] for start in ("reference", "shifted"))
            where = f"guard {guard}, {place}"
            if not expert.empty:
                for region, limit in LEFT.items():
                    left = Goal(f"attack from the expert's mask, Dice {region} left ({where})", goal(limit))
                    found.append(extreme(left, expert[f"after_{region}"], expert))
            if not shifted.empty:
                after, before = (shifted[[f"{when}_{r}" for r in REGIONS]].mean(axis=1) for when in ("after", "before"))
                rise = Goal(f"attack from a shifted mask, rise of mean Dice ({where})", goal(RISE))
                found.append(extreme(rise, after - before, shifted))
                limit = goal(REACHED) if place == "planes" else math.nan
                end = Goal(f"attack from a shifted mask, mean Dice reached ({where})", limit)
                found.append(extreme(end, after, shifted))
    return found


def phantom_figure(rows: pd.DataFrame, stars: pd.Series) -> Figure:
    """How far right masks of phantoms are from the published stars."""
    distance = (stars - rows["published"]).abs()
    return extreme(Goal("right masks of phantoms, furthest from the published stars", 0.3, False), distance, rows)


def coverage_figure(coverage: Mapping[str, float]) -> Figure:
    """Share of masks whose mean Dice reaches the conformal bound, by group; pooled is the lowest."""
    lowest = min(coverage.values(), default=math.nan)
    return Figure(Goal("coverage of the conformal bound at 90 %, lowest of the groups", LEVEL), lowest, coverage, {})


def cost_figures(cost: Mapping[str, Any]) -> list[Figure]:
    """Milliseconds of processor time of three planes on one core.

    Of several refiners the fastest, as a busy machine only slows down.
    """
    goals: Sequence[tuple[str, float]] = (("refiner", COST_MS), ("network", math.nan))
    found = []
    for part, limit in goals:
        fastest = min((timing[part]["fastest_ms"] for timing in cost.values()), default=math.nan)
        found.append(Figure(Goal(f"{part}, three planes on one core, ms", limit, False), fastest, {}, {}))
    return found

"""Means and differences of arms, with the plan's intervals."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from _intervals import resampled
from design import ALL_ROTATIONS, ROTATIONS, Design

from dqe_loss.metrics.agreement import middle

MEASURES = ("dice", "surface_dice", "hd95", "stars", "second")
LESIONS = "lesion_dice"
"""Measured of gliomas alone."""


def table_of(runs: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """A row for each run and person: both sides of a person are averaged."""
    keys = ["setting", "labelled", "arm", "seed", "person"]
    table = pd.DataFrame([{key: run[key] for key in keys[:4]} | exam for run in runs for exam in run["exams"]])
    return table.groupby(keys, as_index=False)[measures_of(table)].mean()


def complete_rotations(runs: Sequence[dict[str, Any]], design: Design) -> list[str]:
    """The rotations of a design all of whose runs are there."""
    there = {(run["setting"], run["labelled"], run["arm"], run["seed"]) for run in runs}
    missing = {run.setting for run in design.planned() if (run.setting, run.labelled, run.arm, run.seed) not in there}
    settings = dict.fromkeys(setting for setting, _ in design.plan)
    return [setting for setting in settings if setting in ROTATIONS and setting not in missing]


def pooled(runs: Sequence[dict[str, Any]], rotations: Sequence[str]) -> list[dict[str, Any]]:
    """Runs of some rotations as those of one setting: nobody is tested in two of them."""
    return [run | {"setting": ALL_ROTATIONS} for run in runs if run["setting"] in rotations]


def measures_of(table: pd.DataFrame) -> list[str]:
    """What was measured."""
    return [*MEASURES, *([LESIONS] if LESIONS in table.columns else [])]


def values_of(table: pd.DataFrame, setting: str, labelled: int, arm: str, measure: str) -> pd.DataFrame:
    """Seeds × persons."""
    chosen = table[(table["setting"] == setting) & (table["labelled"] == labelled) & (table["arm"] == arm)]
    return chosen.pivot(index="seed", columns="person", values=measure)


def difference(table: pd.DataFrame, setting: str, labelled: int, arm: str, other: str, measure: str) -> dict[str, Any]:
    """Mean difference of two arms over the seeds that both have, with its 95 % interval.

    Differences are taken person by person within a seed; then 10,000 draws of persons and of seeds, independently.
    ``above`` and ``below`` count the persons whose mean over seeds is above and below 0.
    """
    one, two = (values_of(table, setting, labelled, name, measure) for name in (arm, other))
    seeds = one.index.intersection(two.index)
    values = (one.loc[seeds] - two.loc[seeds]).to_numpy()
    return {
        "setting": setting,
        "labelled": labelled,
        "arms": [arm, other],
        "measure": measure,
        "difference": values.mean(),
        "interval": middle(resampled(values)),
        "seeds": len(seeds),
        "persons": values.shape[1],
        "above": int((values.mean(0) > 0).sum()),
        "below": int((values.mean(0) < 0).sum()),
        "by_seed": values.mean(1),
    }


def closed(table: pd.DataFrame, setting: str, labelled: int, arm: str) -> float:
    """Share of the gap from a to h that an arm closes, in mean Dice."""
    low, high, own = (values_of(table, setting, labelled, name, "dice").to_numpy().mean() for name in ("a", "h", arm))
    return float((own - low) / (high - low))

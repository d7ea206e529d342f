"""Means and differences of arms, with the plan's intervals."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from _intervals import resampled
from design import ALL_ROTATIONS, ROTATIONS

from dqe_loss.metrics.agreement import middle

MEASURES = ("dice", "surface_dice", "hd95", "stars", "second")
LESIONS = "lesion_dice"
"""Measured of gliomas alone."""


def table_of(runs: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """A row for each run and person: both sides of a person are averaged; rotations of gliomas are put together."""
    rows = [
        {key: run[key] for key in ("labelled", "arm", "seed")} | {"setting": pooled(run["setting"])} | exam
        for run in runs
        for exam in run["exams"]
    ]
    keys = ["setting", "labelled", "arm", "seed", "person"]
    table = pd.DataFrame(rows)
    return table.groupby(keys, as_index=False)[measures_of(table)].mean()


def pooled(setting: str) -> str:
    """The setting that is reported: nobody is tested in two rotations."""
    return ALL_ROTATIONS if setting in ROTATIONS else setting


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
        "by_seed": values.mean(1),
    }


def closed(table: pd.DataFrame, setting: str, labelled: int, arm: str) -> float:
    """Share of the gap from a to h that an arm closes, in mean Dice."""
    low, high, own = (values_of(table, setting, labelled, name, "dice").to_numpy().mean() for name in ("a", "h", arm))
    return float((own - low) / (high - low))

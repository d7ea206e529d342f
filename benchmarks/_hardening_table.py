"""The table of a hardening: each measure for the published weights and for those that never saw the exam."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from _hardening_measures import correlation
from _report import markdown_table

from dqe_loss.evaluation.audit.verdict import Thresholds, judge

GOOD = 0.8
"""Mean region Dice from which on a natural mask counts as good."""


def table(measured: Mapping[str, Mapping[str, Any]]) -> str:
    """A row for each measure and exam, in Markdown."""
    rows = []
    for exam, by_checkpoint in measured.items():
        columns = {
            name: _measures(exam, numbers, by_checkpoint["published"]) for name, numbers in by_checkpoint.items()
        }
        for measure, target in TARGETS.items():
            row = {"exam": exam, "measure": measure}
            rows.append(row | {name: found[measure] for name, found in columns.items()} | {"target": target})
    return markdown_table(rows)


TARGETS = {
    "r of stars and mean Dice, natural masks": ">= 0.93",
    "best absurd mask below the reference": ">= 1.5",
    "worst ladder (Spearman)": "<= -0.8",
    "ladders above -0.8": "0",
    "largest rise in a ladder": "",
    "Dice WT/TC/ET after an attack from the reference": ">= .9/.85/.85",
    "change of Dice by an attack from the shifted mask": "> 0",
    "the same from nothing": "",
    "cosine with Dice's gradient": "",
    "good natural masks, farthest from the published stars": "<= 0.5",
}
"""What is measured, and what was aimed at."""


def _measures(exam: str, numbers: Mapping[str, Any], published: Mapping[str, Any]) -> dict[str, Any]:
    attacks, natural = numbers["attacks"], numbers["natural"]
    core, whole, enhancing = attacks["reference"]["after"]["planes"]
    ladders = {
        f"{name} ({which})": rungs[which]
        for name, rungs in numbers["ladders"]["ladders"].items()
        for which in rungs
        if rungs[which]["visible"] <= Thresholds().ladder_visible
    }
    worst = max(ladders, key=lambda name: ladders[name]["spearman"])
    failing = sorted(name for name, rungs in ladders.items() if rungs["spearman"] > Thresholds().ladder_spearman)
    (absurd,) = judge("absurd", {exam: numbers["absurd"]})
    good = [
        abs(row["mask"] - other["mask"])
        for row, other in zip(natural, published["natural"], strict=True)
        if np.mean(row["dice"]) >= GOOD
    ]
    values = (
        f"{correlation(natural):.2f} ({len(natural)} masks)" if len(natural) > 2 else None,
        f"{absurd.measured:.2f} ({absurd.where.rpartition(',')[0]})" if absurd.measured is not None else None,
        f"{ladders[worst]['spearman']:.2f} ({worst})",
        f"{len(failing)} of {len(ladders)}",
        max(rungs["rise"] for rungs in ladders.values()),
        "/".join(f"{value:.2f}" for value in (whole, core, enhancing)),
        _change(attacks["shifted"]),
        _change(attacks["empty"]),
        float(np.mean([mask["cosine"] for mask in numbers["direction"]["masks"].values()])),
        max(good) if good else None,
    )
    return dict(zip(TARGETS, values, strict=True))


def _change(attack: Mapping[str, Any]) -> float:
    """Of mean Dice in the rated planes."""
    return float(np.mean(attack["after"]["planes"]) - np.mean(attack["before"]["planes"]))

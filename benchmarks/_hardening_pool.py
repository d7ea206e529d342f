"""What a cross-validation has measured so far, pooled into tables: a row for each mask, change of units, and attack."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from _hardening_attacks import GUARDS, pairs
from _hardening_gate import HIGHEST, LOWEST, Gate, agreement_of, region_agreement
from _hardening_groups import Group
from _hardening_record import ATTACKS, COST, MASKS, READER, measured_path

from dqe_loss.core.slicing import VIEWS
from dqe_loss.task import REGIONS

Json = dict[str, Any]
NETWORK, AGREEMENT, TRUE = (tuple(f"{what}_{view}" for view in VIEWS) for what in ("network", "agreement", "true"))
"""Columns: the network's stars before the gate, and the agreement with the refiner and with the reference."""


@dataclass(frozen=True)
class Pooled:
    """All that is there.

    Attributes:
        masks: a row for each mask: ``exam``, ``group``, ``name``, ``kind``, ``error``, ``severity``, ``dice_TC`` to
            ``dice_ET``, ``dice`` (their mean), ``planes``, ``published`` (mean stars, cut to the scale), `NETWORK`,
            `AGREEMENT`, ``survey``, `TRUE`, ``true_survey``, and the refiner's agreement by region in the rated planes
            (``views_TC`` ...) and the survey (``survey_TC`` ...).
        units: a row for each exam and change of units: ``exam``, ``group``, ``name``, ``published``, `NETWORK`,
            `AGREEMENT`, ``survey``.
        attacks: a row for each attack and place (``planes``, ``volume``): ``exam``, ``group``, ``start``, ``guard``,
            ``place``, ``before_TC`` ... ``after_ET``.
        cost: milliseconds of three planes: refiner -> part -> figures.
        gate: that of the refiners.
        missing: what is not there yet, in words.
    """

    masks: pd.DataFrame
    units: pd.DataFrame
    attacks: pd.DataFrame
    cost: Json
    gate: Gate
    missing: tuple[str, ...] = ()


def pool(out: Path, groups: Sequence[Group]) -> Pooled:
    """Read what is there.

    Raises:
        ValueError: nothing is there, or a refiner's files were measured with different checkpoints.
    """
    masks: list[Json] = []
    units: list[Json] = []
    attacks: list[Json] = []
    missing: list[str] = []
    cost: Json = {}
    gates: set[Gate] = set()
    for group in groups:
        checkpoints: dict[str, str] = {}
        for source in group.sources:
            where = {"exam": source.name, "group": group.name}
            found = _Files(out, group.refiner, source.name, checkpoints)
            base, own = found.read(MASKS, "published"), found.read(READER)
            if base is None or own is None:
                missing.append(f"measures of {source.name}")
            else:
                gates.add(Gate(**own["gate"]))
                masks += [where | row for row in mask_rows(base, own)]
                units += [where | row for row in unit_rows(base, own)]
            for start, guard in pairs(GUARDS):
                attack = found.read(f"{ATTACKS}/{start}_{guard}")
                if attack is None:
                    missing.append(f"attack from {start}, guard {guard}, of {source.name}")
                else:
                    attacks += [where | {"start": start, "guard": guard} | row for row in attack_rows(attack)]
            if (timing := found.read(COST)) is not None:
                cost[group.refiner] = timing
    if not masks:
        raise ValueError(f"expected measures under {out / 'measured'}, found none; run --stages teach measure first")
    if len(gates) > 1:
        raise ValueError(f"expected refiners with one gate, got {', '.join(map(str, gates))}; measure anew")
    tables = [pd.DataFrame(rows) for rows in (masks, units, attacks)]
    return Pooled(*tables, cost, gates.pop(), tuple(missing))


def mask_rows(base: Json, own: Json) -> Iterator[Json]:
    """A row for each mask of one exam, from what depends on no refiner and what does."""
    for row in base["masks"]:
        seen = own["masks"][row["name"]]
        yield {
            **{key: row[key] for key in ("name", "kind", "error", "severity", "planes")},
            **_by_region("dice", row["dice"]),
            "dice": float(np.mean(row["dice"])),
            "published": _mean_stars(row["published"]),
            **_ingredients(seen),
            **dict(zip(TRUE, agreement_of(np.array(row["views"])).tolist(), strict=True)),
            "true_survey": float(agreement_of(np.array(row["survey"]).sum(0))),
            **_by_region("views", _summed_agreement(seen["views"])),
            **_by_region("survey", _summed_agreement(seen["survey"])),
        }


def unit_rows(base: Json, own: Json) -> Iterator[Json]:
    """A row for each change of units of one exam's expert mask."""
    for name, seen in own["units"].items():
        yield {"name": name, "published": _mean_stars(base["units"][name]), **_ingredients(seen)}


def attack_rows(attack: Json) -> Iterator[Json]:
    """A row for each place where Dice was taken."""
    for place in ("planes", "volume"):
        before, after = (_by_region(when, attack[when][place]) for when in ("before", "after"))
        yield {"place": place, **before, **after}


def stars_of(rows: pd.DataFrame, gate: Gate, *, thorough: bool = True, oracle: bool = False) -> pd.Series:
    """Mean stars of rows of masks or units.

    Args:
        rows: see `Pooled`.
        gate: its options.
        thorough: whether the survey counts.
        oracle: whether the reference itself is the refined mask: the most that a gate can do.
    """
    views, survey = (TRUE, "true_survey") if oracle else (AGREEMENT, "survey")
    network, agreement = (rows[list(columns)].to_numpy(float) for columns in (NETWORK, views))
    stars = gate.stars(network, agreement, rows[survey].to_numpy(float) if thorough else None)
    return pd.Series(stars, rows.index)


def _ingredients(seen: Json) -> Json:
    return {
        **dict(zip(NETWORK, seen["network"], strict=True)),
        **dict(zip(AGREEMENT, agreement_of(np.array(seen["views"])).tolist(), strict=True)),
        "survey": float(agreement_of(np.array(seen["survey"]).sum(0))),
    }


def _by_region(what: str, values: Sequence[float]) -> Json:
    return dict(zip((f"{what}_{region}" for region in REGIONS), values, strict=True))


def _summed_agreement(sums: list[Any]) -> list[float]:
    found: list[float] = region_agreement(np.array(sums).sum(0)).tolist()
    return found


def _mean_stars(views: Sequence[float]) -> float:
    return float(np.clip(views, LOWEST, HIGHEST).mean())


@dataclass(frozen=True)
class _Files:
    """The files of one exam; notes which checkpoint each was measured with."""

    out: Path
    refiner: str
    exam: str
    checkpoints: dict[str, str]

    def read(self, stage: str, refiner: str = "") -> Json | None:
        path = measured_path(self.out, stage, self.exam, refiner or self.refiner)
        if not path.is_file():
            return None
        kept: Json = json.loads(path.read_text())
        checkpoint = kept["key"].get("checkpoint")
        if checkpoint is not None:
            self.checkpoints[checkpoint] = str(path)
        if len(self.checkpoints) > 1:
            raise ValueError(
                f"expected the measures of {self.refiner} with one checkpoint, got several: "
                f"{', '.join(self.checkpoints.values())}; run --stages measure attack cost, or delete the older ones"
            )
        return kept

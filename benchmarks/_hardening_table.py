"""The tables of a cross-validation, in Markdown and JSON, generated from what was measured."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from _hardening_figures import Figure, absurd_margin, figures, natural_r, pooled_r
from _hardening_goals import attack_figures, cost_figures, coverage_figure, phantom_figure, unit_figures
from _hardening_groups import PHANTOMS
from _hardening_masks import EXPERT, KINDS
from _hardening_pool import Pooled, stars_of
from _hardening_tune import tune
from _report import markdown_table, write_json

from dqe_loss.outputs import write_together
from dqe_loss.task import REGIONS

READINGS = {
    "thorough": {"thorough": True},
    "three planes": {"thorough": False},
    "oracle": {"thorough": True, "oracle": True},
}
"""Stars that are compared: as `rate` gives them, without the survey, and with the reference itself as the refined mask
of the refiner, which is the most that this gate can reach."""


@dataclass(frozen=True)
class Line:
    """A figure of the hardened stars, and the same of other stars beside it.

    Attributes:
        figure: of thorough stars.
        beside: pooled, by name of the stars.
    """

    figure: Figure
    beside: Mapping[str, float]


def lines_of(pooled: Pooled, coverage: Mapping[str, float], *, phantoms: bool = False) -> list[Line]:
    """All figures of the exams, or of the phantoms.

    Args:
        pooled: what was measured.
        coverage: share of each group's masks that reach the conformal bound; empty where it is not known.
        phantoms: which of the two.
    """
    gate = pooled.gate
    masks, units, attacks = (_part(table, phantoms) for table in (pooled.masks, pooled.units, pooled.attacks))
    readings = {name: stars_of(masks, gate, **how) for name, how in READINGS.items()}
    compared = readings | {"published": masks["published"]}
    lines = _beside({name: figures(masks, stars) for name, stars in compared.items()})
    scored = {name: stars_of(units, gate, **READINGS[name]) for name in ("thorough", "three planes")}
    scored["published"] = units["published"]
    lines += _beside({name: unit_figures(units, stars) for name, stars in scored.items()})
    lines += [Line(figure, {}) for figure in (attack_figures(attacks) if len(attacks) else [])]
    if phantoms:
        expert = masks[masks["kind"] == EXPERT]
        right = {name: [phantom_figure(expert, stars[expert.index])] for name, stars in readings.items()}
        return lines + _beside(right)
    lines += [Line(coverage_figure(coverage), {})] if coverage else []
    return lines + [Line(figure, {}) for figure in cost_figures(pooled.cost)]


def line_rows(lines: Sequence[Line], groups: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of the main table."""
    rows = []
    for line in lines:
        figure = line.figure
        worst = f"{figure.worst[1]:.3g} ({figure.worst[0]})" if figure.worst else None
        row = {"measure": figure.goal.measure, "goal": str(figure.goal), "measured": figure.pooled}
        row |= {"met": _met(figure)} | {group: figure.groups.get(group) for group in groups if len(groups) > 1}
        rows.append({key: _known(value) for key, value in (row | {"worst exam": worst} | dict(line.beside)).items()})
    return rows


def exam_rows(pooled: Pooled) -> list[dict[str, Any]]:
    """A row for each exam: the expert's stars and agreement by region, how stars follow Dice, absurd masks."""
    masks = pooled.masks.assign(stars=stars_of(pooled.masks, pooled.gate))
    masks["three"] = stars_of(masks, pooled.gate, thorough=False)
    rows = []
    for exam, own in masks.groupby("exam", sort=False):
        expert = own[own["kind"] == EXPERT].iloc[0]
        row = {"exam": exam, "published": expert["published"], "three planes": expert["three"]}
        row |= {"thorough": expert["stars"]}
        row |= {
            f"agreement {where}, TC/WT/ET": "/".join(f"{expert[f'{key}_{region}']:.2f}" for region in REGIONS)
            for where, key in (("in three planes", "views"), ("in the survey", "survey"))
        }
        row |= {"r": pooled_r(own), "natural r": natural_r(own), "absurd below": absurd_margin(own)}
        rows.append({key: _known(value) for key, value in row.items()})
    return rows


def tuning_rows(table: pd.DataFrame, best: int = 5) -> list[dict[str, Any]]:
    """The best gates of a grid, and all that were judged by what they had not seen."""
    grid = table[table["judged"] == "all"].sort_values("shortfall", kind="stable").head(best)
    rows = pd.concat([grid, table[table["judged"] != "all"]])
    return [{str(key): _known(value) for key, value in row.items()} for row in rows.to_dict("records")]


def write_results(results: Path, pooled: Pooled, machine: Mapping[str, Any], coverage: Mapping[str, float]) -> str:
    """Write ``hardening.json`` and ``table.md``; returns the latter."""
    gate, exams = pooled.gate, _part(pooled.masks, phantoms=False)
    groups = list(dict.fromkeys(exams["group"]))
    lines = lines_of(pooled, coverage) if len(exams) else []
    synthetic = lines_of(pooled, {}, phantoms=True) if (pooled.masks["group"] == PHANTOMS).any() else []
    tuned = {name: tune(exams, **how) for name, how in READINGS.items()} if len(exams) else {}
    counts = exams["kind"].value_counts()
    sections = [
        f"Masks: {', '.join(f'{counts.get(kind, 0)} {kind}' for kind in KINDS)}. Gate: full marks {gate.full_marks:g} "
        f"(survey {gate.survey_full_marks:g}), "
        f"exponent {gate.exponent:g}. *Measured* and the groups: thorough stars of refiners that saw no exam of the "
        "group; *three planes*: without the survey; *oracle*: the reference in place of the refined mask.",
        markdown_table(line_rows(lines, groups)) if lines else "",
        "## Phantoms, by the refiner of all exams\n" if synthetic else "",
        markdown_table(line_rows(synthetic, [PHANTOMS])) if synthetic else "",
        "## By exam\n",
        markdown_table(exam_rows(pooled)),
        "## Options of the gate\n" if tuned else "",
        *(f"{name}:\n\n{markdown_table(tuning_rows(table))}" for name, table in tuned.items()),
        f"Missing: {len(pooled.missing)} measures, such as {pooled.missing[0]}." if pooled.missing else "",
    ]
    text = "\n\n".join(section for section in sections if section) + "\n"
    payload = {
        "machine": machine,
        "gate": asdict(gate),
        "figures": [_plain(line) for line in lines],
        "phantoms": [_plain(line) for line in synthetic],
        "exams": exam_rows(pooled),
        "tuning": {name: table.to_dict("records") for name, table in tuned.items()},
        "missing": pooled.missing,
    }
    results.mkdir(parents=True, exist_ok=True)
    write_json(results / "hardening.json", payload)
    write_together({results / "table.md": text.encode()})
    return text


def _beside(columns: Mapping[str, Sequence[Figure]]) -> list[Line]:
    """Lines of the first column's figures, the others' pooled values beside them."""
    (_, first), *others = columns.items()
    return [Line(figure, {name: found[place].pooled for name, found in others}) for place, figure in enumerate(first)]


def _part(rows: pd.DataFrame, phantoms: bool) -> pd.DataFrame:
    return rows[(rows["group"] == PHANTOMS) == phantoms] if len(rows) else rows


def _met(figure: Figure) -> str | None:
    if math.isnan(figure.goal.limit) or math.isnan(figure.pooled):
        return None
    return "no" if figure.goal.short(figure.pooled) else "yes"


def _plain(line: Line) -> dict[str, Any]:
    figure = line.figure
    return {
        "measure": figure.goal.measure,
        "goal": str(figure.goal),
        "measured": figure.pooled,
        "groups": figure.groups,
        "exams": figure.exams,
        "beside": line.beside,
    }


def _known(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value

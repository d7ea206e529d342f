"""What a curation leaves: lists, numbers, and the guarantee in words, with what it rests on."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dqe_loss.curate.curation import Calibration, Curation, CurationSettings
from dqe_loss.curate.decide import DECISIONS
from dqe_loss.data.tables.rated import ORIGIN, paths_of
from dqe_loss.data.tables.table import relative_path
from dqe_loss.data.tables.warning_kinds import describe_aside
from dqe_loss.metrics.failure import failure_detection
from dqe_loss.outputs import encode
from dqe_loss.task import Task

LISTS = {"keep": "kept.csv", "review": "review.csv", "drop": "dropped.csv"}
"""File of each decision."""


def lists(curation: Curation, folder: Path) -> dict[str, bytes]:
    """The lists of kept, reviewed and dropped segmentations: name to CSV, the worst rated first, paths relative."""
    files = {}
    for decision, name in LISTS.items():
        rows = curation.table[curation.table["decision"] == decision].sort_values(
            ["stars", "exam", "segmentation"], na_position="first"
        )
        listed = relative_paths(rows, folder, curation.task).drop(columns="stars")
        files[name] = encode(listed.to_csv(index=False, lineterminator="\n"))
    return files


def relative_paths(table: pd.DataFrame, folder: Path, task: Task) -> pd.DataFrame:
    """The table with paths relative to a folder, as they survive a move of both."""
    columns = paths_of(task)
    return table.assign(**{column: [relative_path(value, folder) for value in table[column]] for column in columns})


def numbers(curation: Curation, path: Path, settings: CurationSettings) -> dict[str, Any]:
    """The content of ``curation.json``: what was asked for, the threshold, the counts, the guarantee."""
    table, rule = curation.table, curation.rule
    counts = table["decision"].value_counts()
    finite = {name: None if isinstance(v, float) and np.isinf(v) else v for name, v in asdict(rule).items()}
    return {
        "table": str(path),
        **{name: str(table[name].iloc[0]) for name in ORIGIN},
        "settings": {name: str(v) if isinstance(v, Path) else v for name, v in asdict(settings).items()},
        "rule": finite,
        "segmentations": len(table),
        "exams": int(table["exam"].nunique()),
        **{decision: int(counts.get(decision, 0)) for decision in DECISIONS},
        "kept_exams": int(table.loc[table["decision"] == "keep", "exam"].nunique()),
        "guarantee": _guarantee(curation, curation.calibration, settings) if curation.calibration else None,
    }


def as_json(content: Mapping[str, Any]) -> bytes:
    """As the content of a file."""
    return encode(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def labeled_stars(curation: Curation, calibration: Calibration) -> tuple[pd.Series, pd.Series]:
    """Risk (1 - quality) and deciding stars of the labeled rows that have stars."""
    stars = curation.table["stars"].loc[calibration.labels.table.index].dropna()
    return 1 - calibration.labels.table.loc[stars.index, "quality"], stars


def statement(curation: Curation, calibration: Calibration, settings: CurationSettings) -> str:
    """The guarantee, or that there is none, in one sentence or two."""
    chosen, unit = calibration.chosen, str(curation.table["unit"].iloc[0])
    level = f"{settings.error_rate:.3g}"
    aside = describe_aside(settings.accept_warnings)
    warned = f" and without {aside}" if aside else ""
    if chosen is None:
        first = calibration.trials[0]
        return (
            f"No threshold could be shown to keep the rate of unacceptable segmentations at {level} or below with "
            f"confidence {settings.confidence:.3g}, and nothing is kept. The strictest one tried, "
            f"{first.threshold:.2f} {unit}, keeps {first.kept} of the judged, {first.unacceptable} of them "
            "unacceptable: a rate up to "
            f"{first.upper:.2f}. Label more exams, ask for less, or doubt that these stars find failures here."
        )
    what = "best rated segmentation of an exam" if settings.per_exam == "best" else "segmentation"
    return (
        f"With confidence {settings.confidence:.3g}, a {what} with at least {chosen.threshold:.2f} {unit}{warned} is "
        f"unacceptable with a probability of {level} or less. Of {len(calibration.judged)} judged exams, one "
        f"segmentation each, {chosen.kept} are kept there, {chosen.unacceptable} of them unacceptable."
    )


def assumptions(calibration: Calibration, settings: CurationSettings) -> list[str]:
    """What the guarantee rests on, and what it does not say."""
    of = calibration.labels
    drawn = (
        "It speaks of the best rated segmentation of an exam"
        if settings.per_exam == "best"
        else "It speaks of one segmentation drawn from those of an exam, each exam counting once"
    )
    texts = [
        "The labeled exams are a random sample of those that are curated, chosen without a look at their stars. "
        "Labels of another center, scanner or algorithm, or of the cases that looked odd, guarantee nothing here.",
        f"Acceptable means {of.quality} of {of.acceptable_from:g} or above, as the labels have it.",
        f"{drawn}, and of the data that these exams were drawn from: among the finite number kept here the rate "
        "differs by chance, and in a part of them, one center say, it can be higher.",
        "The confidence is over the draw of the labeled exams. Error rate, confidence and seed were chosen once: to "
        "try several and take the one that pleases voids it.",
    ]
    if calibration.left_out:
        texts.append(
            f"{calibration.left_out} labeled exams are left out, for their best rated segmentation has no label: that "
            "is harmless only if labels were given without regard to quality."
        )
    if settings.budget is not None:
        texts.append(
            "The budget of a center keeps the best of those at or above the threshold; the rate is of them all."
        )
    return texts


def _guarantee(curation: Curation, calibration: Calibration, settings: CurationSettings) -> dict[str, Any]:
    risk, stars = labeled_stars(curation, calibration)
    chosen = calibration.chosen
    return {
        "reached": chosen is not None,
        "statement": statement(curation, calibration, settings),
        "assumptions": assumptions(calibration, settings),
        "error_rate": settings.error_rate,
        "confidence": settings.confidence,
        "quality": calibration.labels.quality,
        "acceptable_from": calibration.labels.acceptable_from,
        "labels": len(calibration.labels.table),
        "judged_exams": len(calibration.judged),
        "left_out_exams": calibration.left_out,
        "chosen": asdict(chosen) if chosen else None,
        "tests": [asdict(trial) for trial in calibration.trials],
        "failure_detection": {
            name: None if np.isnan(v) else v for name, v in asdict(failure_detection(risk, stars)).items()
        },
    }


def summary(content: Mapping[str, Any], curation: Curation, settings: CurationSettings) -> str:
    """What the command prints, on one line."""
    threshold = curation.rule.threshold
    at = f" at {threshold:.2f} {content['unit']} or above" if np.isfinite(threshold) else ""
    text = (
        f"Kept {content['keep']:,} of {content['segmentations']:,} segmentations{at}, {content['review']:,} to review, "
        f"{content['drop']:,} dropped."
    )
    if content["guarantee"] and content["guarantee"]["reached"]:
        text += (
            f" Unacceptable among the kept: {settings.error_rate:.3g} or less, with confidence "
            f"{settings.confidence:.3g}, if the labeled exams are a random sample of these."
        )
    return text

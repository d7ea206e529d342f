"""A whole evaluation: from ratings and exams to numbers, and a row for each segmentation."""

from collections.abc import Iterable, Sequence
from importlib.metadata import version
from typing import TypeVar

import pandas as pd
from tqdm import tqdm

from dqe_loss.data.file_names import file_at
from dqe_loss.evaluate.given_ratings import RatedPart, wide_ratings
from dqe_loss.evaluate.predictions import Rate, rate_rated_exam, rate_referenced_exam, read_volumes, volumes_of
from dqe_loss.evaluate.referenced_exams import ReferencedExam
from dqe_loss.evaluate.summary import Bootstrap, Numbers, compare_with_ratings, compare_with_references
from dqe_loss.surrogate.config import SurrogateConfig
from dqe_loss.surrogate.describe import describe_ratings, star_unit, unit_of_kind
from dqe_loss.task import LabelScheme, Task

LIBRARIES = ("dqe_loss", "torch", "monai", "numpy", "scipy", "scikit-learn", "pandas", "matplotlib")
_Item = TypeVar("_Item")


def evaluate_ratings(
    part: RatedPart, rate: Rate, scheme: LabelScheme, bootstrap: Bootstrap, task: Task
) -> tuple[Numbers, pd.DataFrame]:
    """Rate what raters have rated.

    Returns:
        The numbers, and a row for each segmentation.
    """
    groups = [rows for _, rows in part.table.groupby("exam", sort=False)]
    rows = pd.concat([rate_rated_exam(exam, rate, scheme, task) for exam in _progress(groups, "rated exams")])
    rated = rows.join(wide_ratings(part.table, task))
    train = None
    if part.train is not None:
        train = wide_ratings(part.train, task)
        files = _progress(train.index.get_level_values("segmentation"), "volumes to fit")
        train[list(volumes_of(task))] = [read_volumes(file_at(file), scheme) for file in files]
    kind = str(part.table["kind"].iloc[0])
    numbers = {
        "tables": [str(file) for file in part.files],
        "kind": kind,
        "unit": unit_of_kind(kind),
        "split": str(part.split) if part.split else None,
        "part": part.part if part.split else None,
        "baselines_fitted_to": "all the other exams, in turn" if train is None else "the training exams of the split",
    }
    return numbers | compare_with_ratings(rated, part.table, train, bootstrap, task), rated.reset_index()


def evaluate_references(
    exams: Sequence[ReferencedExam],
    rate: Rate,
    scheme: LabelScheme,
    tolerance: float,
    bootstrap: Bootstrap,
    task: Task,
) -> tuple[Numbers, pd.DataFrame]:
    """Rate what has a reference.

    Returns:
        The numbers, and a row for each segmentation.
    """
    progress = _progress(exams, "exams with a reference")
    rows = pd.concat([rate_referenced_exam(e, rate, scheme, tolerance, task) for e in progress], ignore_index=True)
    names = list(dict.fromkeys(exam.names[0] for exam in exams))
    return {"names": names, "tolerance_mm": tolerance} | compare_with_references(rows, bootstrap, task), rows


def describe_evaluation(checkpoint: str, config: SurrogateConfig, scheme: LabelScheme, bootstrap: Bootstrap) -> Numbers:
    """What has been evaluated, and how: the head of ``evaluation.json``."""
    return {
        "checkpoint": checkpoint,
        "description": describe_ratings(config, checkpoint),
        "kind_of_ratings": config.kind_of_ratings,
        "unit": star_unit(config),
        "config": config.to_dict(),
        "label_scheme": scheme.name,
        "bootstrap": {"by": "exam", "level": 0.95, "resamples": bootstrap.resamples, "seed": bootstrap.seed},
        "versions": {library: version(library) for library in LIBRARIES},
    }


def _progress(items: Iterable[_Item], what: str) -> Iterable[_Item]:
    progress: Iterable[_Item] = tqdm(items, desc=what, unit="", leave=False, disable=None)
    return progress

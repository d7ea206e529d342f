"""The rows of a ratings table that simulated raters fill for the masks of one exam."""

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dqe_loss.data.corruption import Step, describe_steps
from dqe_loss.data.exam_files import ExamPaths
from dqe_loss.data.file_names import written
from dqe_loss.data.tables.table import origin_columns
from dqe_loss.simulate.raters import make_raters, simulate_judgments
from dqe_loss.task import Task

METRIC = "metric"
"""Rater and kind of ratings that are metric stars themselves."""
_STREAM = 1  # of randomness; that of the masks is another one


def judge_masks(
    exam: ExamPaths,
    paths: Sequence[Path],
    plans: Sequence[Sequence[Step]],
    stars: Sequence[list[float]],
    raters: int,
    seed: int,
    task: Task,
) -> pd.DataFrame:
    """Rows of the ratings table: a judgment for each segmentation, view and rater.

    Args:
        exam: the exam.
        paths: where its segmentations are written.
        plans: the errors of each.
        stars: metric stars of each in the task's views.
        raters: how many simulated raters judge; 0 leaves metric stars as they are.
        seed: of the raters.
        task: what is rated.
    """
    if not raters:
        return pd.DataFrame(_rows(exam, paths, plans, stars, stars, METRIC, METRIC, task))
    rows = []
    for number, rater in enumerate(make_raters(raters, seed, task.stars), 1):
        # A stream for each rater: the judgments of the first ones are the same for any number of raters.
        rng = np.random.default_rng([seed, zlib.crc32(exam.name.encode()), _STREAM, number])
        judged = simulate_judgments(rater, stars, rng, task.stars).tolist()
        rows += _rows(exam, paths, plans, stars, judged, rater.name, "simulated", task)
    return pd.DataFrame(rows)


def _rows(
    exam: ExamPaths,
    paths: Sequence[Path],
    plans: Sequence[Sequence[Step]],
    stars: Sequence[Sequence[float]],
    judged: Sequence[Sequence[float]],
    rater: str,
    kind: str,
    task: Task,
) -> list[dict[str, Any]]:
    """One rater's rows."""
    rows = []
    for path, steps, values, judgments in zip(paths, plans, stars, judged, strict=True):
        for view, value, judgment in zip(task.views, values, judgments, strict=True):
            row: dict[str, Any] = {"exam": exam.name, "segmentation": written(str(path))}
            row |= {modality: written(str(image)) for modality, image in exam.images.items()}
            row |= {"rater": rater, "view": view, "stars": judgment, "kind": kind}
            row |= {"corruption": describe_steps(steps), "metric_stars": f"{value:.4f}"}
            rows.append(row | origin_columns(task))
    return rows

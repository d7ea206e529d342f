"""A whole evaluation: from ratings and exams to numbers, figures and files."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
from matplotlib.figure import Figure
from tqdm import tqdm

from dqe_loss.data.discovery.named_exams import TABLES, find_named_exams
from dqe_loss.data.exam_files import ExamPaths
from dqe_loss.data.file_names import file_at
from dqe_loss.data.split import read_split
from dqe_loss.data.tables.ratings import read_ratings
from dqe_loss.data.tables.ratings_scheme import scheme_of
from dqe_loss.data.tables.table import relative_path
from dqe_loss.evaluate.predictions import (
    Rate,
    ReferencedExam,
    columns_of,
    find_referenced_exam,
    rate_rated_exam,
    rate_referenced_exam,
    read_volumes,
    volumes_of,
    wide_ratings,
)
from dqe_loss.evaluate.report import render_report, report_tables
from dqe_loss.evaluate.summary import Bootstrap, Numbers, compare_with_ratings, compare_with_references
from dqe_loss.outputs import encode, json_ready
from dqe_loss.surrogate.config import SurrogateConfig
from dqe_loss.surrogate.describe import describe_ratings, star_unit, unit_of_kind
from dqe_loss.task import GLIOMA, LabelScheme, Task
from dqe_loss.tasks.reading import task_from_dict
from dqe_loss.viz import plots as draw
from dqe_loss.viz.html import as_text

LIBRARIES = ("dqe_loss", "torch", "monai", "numpy", "scipy", "scikit-learn", "pandas", "matplotlib")
FIGURES = (
    "figure_2_predicted_vs_rated",
    "figure_3_bland_altman",
    "figure_4_rating_range",
    "figure_5_stars_vs_dice",
    "risk_coverage",
)
"""File stems of the figures; the numbers are the paper's."""

_Item = TypeVar("_Item")


@dataclass(frozen=True)
class RatedPart:
    """The ratings that are evaluated, and those that the baselines are fitted to.

    Attributes:
        table: rows of the ratings table that are evaluated.
        train: rows of the training exams; None to leave one exam out.
        split: file of the split, or None.
        part: its part.
        files: the tables.
    """

    table: pd.DataFrame
    train: pd.DataFrame | None
    split: Path | None
    part: str
    files: tuple[Path, ...]

    def scheme(self, said: str | None, task: Task) -> LabelScheme:
        """The label maps' scheme; see `dqe_loss.data.tables.ratings_scheme.scheme_of`."""
        return scheme_of(self.table, said, task)


def read_rated_part(files: Sequence[Path], split: Path | None, part: str, task: Task = GLIOMA) -> RatedPart:
    """Read ratings tables, and choose the exams of one part of a split.

    Args:
        files: tables of one kind of rating.
        split: CSV with the columns ``exam`` and ``split``; without one all exams are evaluated.
        part: ``"train"``, ``"validation"`` or ``"test"``.
        task: what was rated.

    Returns:
        The part.

    Raises:
        ValueError: a file cannot be used, or no exam is in the part.
    """
    table = read_ratings(files, task)
    if not split:
        return RatedPart(table, None, None, part, tuple(files))
    parts = read_split(split, table["exam"].unique())
    where = table["exam"].map(parts)
    if not (where == part).any():
        counts = table.groupby(where)["exam"].nunique()
        found = ", ".join(f"{name} ({count} exams)" for name, count in counts.items())
        raise ValueError(f"{split}: no exam of the ratings is in the part {part!r}, found {found}; choose with --part")
    # Evaluated on the training part itself, the baselines are as blind to each exam as without a split.
    train = table[where == "train"] if part != "train" and (where == "train").any() else None
    return RatedPart(table[where == part], train, split, part, tuple(files))


def find_referenced_exams(
    folders: Sequence[Path], references: Sequence[str], task: Task = GLIOMA
) -> list[ReferencedExam]:
    """Find all exams, and leave out those with nothing to compare; see `find_referenced_exam`.

    Raises:
        ValueError: an exam cannot be used, two have one name, or none is left.
    """
    named: list[Path | ExamPaths] = []
    for folder in folders:
        named += find_named_exams([folder], task) if _is_data_set(folder, task) else [folder]
    found = [exam for one in named if (exam := find_referenced_exam(one, references, task))]
    names = [exam.paths.name for exam in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(
            f"--exams names more than one exam {', '.join(twice)}; give each once, in a folder of its name"
        )
    if not found:
        raise ValueError("no exam of --exams has a segmentation beside its reference; there is nothing to compare")
    return found


def _is_data_set(path: Path, task: Task) -> bool:
    return path.suffix.lower() in TABLES or bool(task.files.images)


def evaluate_ratings(
    part: RatedPart, rate: Rate, scheme: LabelScheme, bootstrap: Bootstrap, task: Task = GLIOMA
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
    task: Task = GLIOMA,
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


def draw_figures(
    evaluation: Numbers, rated: pd.DataFrame | None, referenced: pd.DataFrame | None, task: Task = GLIOMA
) -> dict[str, Figure]:
    """All figures that there is data for, by the names of `FIGURES`."""
    predicted_label = (
        f"predicted rating ({evaluation['unit']}, mean of {len(task.views)} views)"
        if len(task.views) > 1
        else f"predicted rating ({evaluation['unit']})"
    )
    figures = {}
    if rated is not None:
        kind, unit = evaluation["ratings"]["kind"], evaluation["ratings"]["unit"]
        stars = rated["stars_mean"]
        labels: dict[str, Any] = {"predicted_label": predicted_label, "rated_label": f"{kind} rating ({unit})"}
        labels["scale"] = task.stars
        title = f"Predicted and {kind} ratings"
        figures[FIGURES[0]] = draw.plot_predicted_against_rated(stars, rated["rated_mean"], title=title, **labels)
        figures[FIGURES[1]] = draw.plot_bland_altman(stars, rated["rated_mean"], title=title, **labels)
        spread = [rated[f"rated_{name}"] for name in ("lowest", "mean", "highest")]
        figures[FIGURES[2]] = draw.plot_against_range(stars, *spread, title=title, **labels)
    if referenced is not None:
        figures[FIGURES[3]] = draw.plot_stars_against_overlap(
            referenced["stars_mean"],
            referenced["dice_mean"],
            referenced["exam"].tolist(),
            stars_label=predicted_label,
            overlap_label=f"Dice with the reference (mean of {', '.join(task.regions)})",
            title=f"Predicted {evaluation['unit']} and overlap",
            scale=task.stars,
        )
        figures[FIGURES[4]] = draw.plot_risk_coverage(
            (1 - referenced["dice_mean"]).clip(lower=0),
            {column: referenced[f"stars_{column}"] for column in columns_of(task)},
            stars_label=f"predicted {evaluation['unit']}",
            title=f"Finding failures by predicted {evaluation['unit']}",
        )
    return figures


def evaluation_files(
    evaluation: Numbers, rated: pd.DataFrame | None, referenced: pd.DataFrame | None, folder: Path
) -> dict[str, bytes]:
    """All files of an evaluation: name to content."""
    ready = json_ready(evaluation)
    task = task_from_dict(evaluation["config"]["task"])
    figures = draw_figures(evaluation, rated, referenced, task)
    files = {f"{name}.{kind}": draw.save_figure(f, kind) for name, f in figures.items() for kind in ("png", "svg")}
    page = render_report(ready, {name: files[f"{name}.svg"] for name in figures})
    return files | {
        "evaluation.json": encode(json.dumps(ready, indent=2, ensure_ascii=False, allow_nan=False) + "\n"),
        "predictions.csv": _predictions(evaluation, rated, referenced, folder),
        "index.html": encode(page),
    }


def summary_text(evaluation: Numbers) -> str:
    """What the command prints."""
    tables = report_tables(evaluation)
    shown = [as_text(tables[name]) for name in ("agreement", "pearson", "failure", "exams") if name in tables]
    return "\n\n".join((evaluation["description"], *shown))


def _predictions(
    evaluation: Numbers, rated: pd.DataFrame | None, referenced: pd.DataFrame | None, folder: Path
) -> bytes:
    """A row for each segmentation; paths of rated ones are relative to the folder, as in a ratings table."""
    parts = []
    if rated is not None:
        paths = [relative_path(path, folder) for path in rated["segmentation"]]
        parts.append(rated.assign(segmentation=paths, rated_kind=evaluation["ratings"]["kind"]))
    if referenced is not None:
        parts.append(referenced)
    named = [p.assign(against="ratings" if "rated_mean" in p else "reference", unit=evaluation["unit"]) for p in parts]
    table = pd.concat(named, ignore_index=True)
    first = ["against", "exam", "segmentation", "unit"]
    ordered = table[first + [column for column in table if column not in first]]
    return encode(ordered.to_csv(index=False, float_format="%.5f", lineterminator="\n"))


def _progress(items: Iterable[_Item], what: str) -> Iterable[_Item]:
    progress: Iterable[_Item] = tqdm(items, desc=what, unit="", leave=False, disable=None)
    return progress

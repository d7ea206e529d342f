"""What an evaluation writes and prints: numbers, a table, figures, a page, and a summary."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from dqe_loss.data.tables.table import relative_path
from dqe_loss.evaluate.predictions import columns_of
from dqe_loss.evaluate.report import render_report, report_tables
from dqe_loss.evaluate.summary import Numbers
from dqe_loss.outputs import encode, json_ready
from dqe_loss.task import Task
from dqe_loss.tasks.reading import task_from_dict
from dqe_loss.viz.agreement_plots import plot_against_range, plot_bland_altman, plot_predicted_against_rated
from dqe_loss.viz.html import as_text
from dqe_loss.viz.overlap_plots import plot_risk_coverage, plot_stars_against_overlap
from dqe_loss.viz.plots import save_figure

FIGURES = (
    "figure_2_predicted_vs_rated",
    "figure_3_bland_altman",
    "figure_4_rating_range",
    "figure_5_stars_vs_dice",
    "risk_coverage",
)
"""File stems of the figures; the numbers are the paper's."""


def draw_figures(
    evaluation: Numbers, rated: pd.DataFrame | None, referenced: pd.DataFrame | None, task: Task
) -> dict[str, Figure]:
    """All figures that there is data for, by the names of `FIGURES`."""
    predicted_label = (
        f"predicted stars ({evaluation['unit']}, mean of {len(task.views)} views)"
        if len(task.views) > 1
        else f"predicted stars ({evaluation['unit']})"
    )
    figures = {}
    if rated is not None:
        kind, unit = evaluation["ratings"]["kind"], evaluation["ratings"]["unit"]
        stars = rated["stars_mean"]
        labels: dict[str, Any] = {"predicted_label": predicted_label, "rated_label": f"{kind} rating ({unit})"}
        labels["scale"] = task.stars
        title = f"Predicted and {kind} ratings"
        figures[FIGURES[0]] = plot_predicted_against_rated(stars, rated["rated_mean"], title=title, **labels)
        figures[FIGURES[1]] = plot_bland_altman(stars, rated["rated_mean"], title=title, **labels)
        spread = [rated[f"rated_{name}"] for name in ("lowest", "mean", "highest")]
        figures[FIGURES[2]] = plot_against_range(stars, *spread, title=title, **labels)
    if referenced is not None:
        figures[FIGURES[3]] = plot_stars_against_overlap(
            referenced["stars_mean"],
            referenced["dice_mean"],
            referenced["exam"].tolist(),
            stars_label=predicted_label,
            overlap_label=f"Dice with the reference (mean of {', '.join(task.regions)})",
            title=f"Predicted {evaluation['unit']} and overlap",
            scale=task.stars,
        )
        figures[FIGURES[4]] = plot_risk_coverage(
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
    files = {f"{name}.{kind}": save_figure(f, kind) for name, f in figures.items() for kind in ("png", "svg")}
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

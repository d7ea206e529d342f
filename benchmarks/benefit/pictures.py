"""The test persons who gain and lose most by an arm, drawn for the eye.

Run after the study: ``python benchmarks/benefit/pictures.py --data FOLDER --out pictures``, of the gliomas with
``--task glioma``. Gains are means over the seeds that both arms have; what is drawn is the first seed's. The pictures
show the exams themselves.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd
import torch
import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from analysis import table_of, values_of
from design import GLIOMA_STUDY, HIPPOCAMPUS_STUDY, ROTATIONS, SAME, Run
from exams import Cohort, Exam
from gliomas import read_gliomas
from hippocampi import read_hippocampi
from network import load_network, segment
from refiners import loss_checkpoint
from report import finished_runs
from training import Study

from dqe_loss import load_surrogate
from dqe_loss.data.exams import read_exam
from dqe_loss.harden.masks import as_labels
from dqe_loss.rate.rate_exam import rate_exam
from dqe_loss.viz.planes import plot_planes


@dataclass(frozen=True)
class PictureOptions:
    """Options of the command line."""

    data: Path
    """Folder with ``images`` and ``labels``, or of the gliomas' exams."""
    out: Path
    """Folder of the pictures; made if it is not there."""
    work: Path = Path("runs/benefit")
    """Folder of the study."""
    task: Literal["hippocampus", "glioma"] = "hippocampus"
    """Which part of the study."""
    settings: tuple[str, ...] = ()
    """Settings of the runs; ``same``, or of the gliomas every rotation, if not given."""
    labelled: int = 3
    """Labelled persons of the runs."""
    arms: tuple[str, str] = ("d", "a")
    """The arm, and that which it is compared with."""
    count: int = 3
    """Persons of either kind."""


def label_map(regions: torch.Tensor, cohort: Cohort) -> torch.Tensor:
    """The regions ``(R, X, Y, Z)`` that are judged as labels ``(X, Y, Z)`` of the task."""
    judged = torch.zeros_like(regions)
    judged[cohort.channels] = regions[cohort.channels]
    return as_labels(judged, cohort.task)


def chosen(options: PictureOptions, study: Study) -> dict[tuple[str, int], float]:
    """Settings and persons who lose and gain most, with their mean difference."""
    table = table_of(finished_runs(study.design, options.work))
    gains = {}
    for setting in options.settings or ((SAME,) if options.task == "hippocampus" else ROTATIONS):
        one, two = (values_of(table, setting, options.labelled, arm, "dice") for arm in options.arms)
        gains |= {(setting, person): gain for person, gain in (one - two).dropna().mean().items()}
    apart = pd.Series(gains, dtype=float).sort_values()
    return {**apart.head(options.count).to_dict(), **apart.tail(options.count).to_dict()}


def draw(study: Study, options: PictureOptions, setting: str, exam: Exam, gain: float) -> None:
    """Draws the reference and what the two arms' networks of the first seed make of an exam."""
    cohort = study.cohort
    runs = {arm: Run(setting, options.labelled, arm, study.design.seeds[0]) for arm in options.arms}
    regions = {"reference": exam.regions} | {
        arm: segment(load_network(cohort, options.work, run), exam, cohort.side) for arm, run in runs.items()
    }
    shown = read_exam(exam.paths, task=cohort.task, warn=False)
    shown.segmentations.clear()
    shown.segmentations.update({name: label_map(one, cohort).numpy() for name, one in regions.items()})
    surrogate = load_surrogate(loss_checkpoint(setting, cohort, options.work))  # taught already
    what = f"Dice of {' − '.join(options.arms)}, mean over seeds and the person's exams"
    caption = f"{exam.name}: {what}: {gain:+.3f}".replace(": -", ": −")
    figure = plot_planes(shown, rate_exam(shown, surrogate, thorough=False), caption=caption, task=cohort.task)
    file = options.out / f"{gain:+.3f}-{exam.name}.png"
    figure.savefig(file, dpi=110)
    print(file)


def main(options: PictureOptions) -> None:
    """Draws and writes the pictures."""
    if options.task == "glioma":
        study = Study(read_gliomas(options.data), GLIOMA_STUDY, options.work)
    else:
        study = Study(read_hippocampi(options.data), HIPPOCAMPUS_STUDY, options.work)
    options.out.mkdir(parents=True, exist_ok=True)
    for (setting, person), gain in chosen(options, study).items():
        exam = next(exam for exam in study.cohort.exams if exam.person == person)
        draw(study, options, setting, exam, gain)


if __name__ == "__main__":
    main(tyro.cli(PictureOptions, description=__doc__))

"""The test persons who gain and lose most by an arm, drawn for the eye.

Run after the study: ``python benchmarks/benefit/pictures.py --data FOLDER --out pictures``. Gains are means over the
seeds; what is drawn is the first seed's. The pictures show the exams themselves.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from analysis import table_of, values_of
from design import HIPPOCAMPUS_STUDY, SAME, Run
from exams import Exam
from hippocampi import read_hippocampi
from network import load_network, segment
from refiners import loss_checkpoint
from report import finished_runs
from torch import Tensor
from training import Study

from dqe_loss import load_surrogate
from dqe_loss.data.exams import read_exam
from dqe_loss.rate.rate_exam import rate_exam
from dqe_loss.viz.planes import plot_planes


@dataclass(frozen=True)
class PictureOptions:
    """Options of the command line."""

    data: Path
    """Folder with ``images`` and ``labels``."""
    out: Path
    """Folder of the pictures; made if it is not there."""
    work: Path = Path("runs/benefit")
    """Folder of the study."""
    setting: str = SAME
    """Setting of the runs."""
    labelled: int = 3
    """Labelled persons of the runs."""
    arms: tuple[str, str] = ("d", "a")
    """The arm, and that which it is compared with."""
    count: int = 3
    """Persons of either kind."""


def label_map(regions: Tensor, judged: list[int]) -> np.ndarray:
    """Regions ``(3, X, Y, Z)`` as labels of the two parts that are judged: anterior 1, posterior 2."""
    anterior, posterior = regions[judged].numpy()
    return np.select([anterior, posterior], [np.uint8(1), np.uint8(2)], np.uint8(0))


def chosen(options: PictureOptions) -> dict[int, float]:
    """Persons who lose and gain most, with their mean difference."""
    table = table_of(finished_runs(HIPPOCAMPUS_STUDY, options.work))
    one, two = (values_of(table, options.setting, options.labelled, arm, "dice") for arm in options.arms)
    apart = (one - two).dropna().mean().sort_values()
    return {**apart.head(options.count).to_dict(), **apart.tail(options.count).to_dict()}


def segmentation(study: Study, options: PictureOptions, arm: str, exam: Exam) -> Tensor:
    """What the arm's network of the first seed makes of an exam: regions ``(3, X, Y, Z)``."""
    run = Run(options.setting, options.labelled, arm, 0)
    return segment(load_network(study.cohort, options.work, run), exam, study.cohort.side)


def main(options: PictureOptions) -> None:
    """Draws and writes the pictures."""
    cohort = read_hippocampi(options.data)
    study = Study(cohort, HIPPOCAMPUS_STUDY, options.work)
    surrogate = load_surrogate(loss_checkpoint(options.setting, cohort, options.work))  # taught already
    options.out.mkdir(parents=True, exist_ok=True)
    for person, gain in chosen(options).items():
        exam = next(exam for exam in cohort.exams if exam.person == person)
        shown = read_exam(exam.paths, task=cohort.task, warn=False)
        regions = {"reference": exam.regions} | {arm: segmentation(study, options, arm, exam) for arm in options.arms}
        shown.segmentations.clear()
        shown.segmentations.update({name: label_map(one, cohort.channels) for name, one in regions.items()})
        caption = f"{exam.name}: Dice of {' − '.join(options.arms)}, mean over seeds and sides: {gain:+.3f}"
        figure = plot_planes(shown, rate_exam(shown, surrogate, thorough=False), caption=caption, task=cohort.task)
        file = options.out / f"{gain:+.3f}-{exam.name}.png"
        figure.savefig(file, dpi=110)
        print(file)


if __name__ == "__main__":
    main(tyro.cli(PictureOptions, description=__doc__))

"""Why the loss gains what it gains: how good the refiner's own opinion of the networks' segmentations is.

Run after the study: ``python benchmarks/benefit/opinion.py --data FOLDER``. It was written once the first figures of
the study were known, and is no part of the plan. No network can gain much from a judge that knows no better than it.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from _report import machine
from _results import markdown_table, write_json
from arms import own, refine
from design import HIPPOCAMPUS_STUDY, OTHER, SAME, Run
from exams import ROOT, Cohort, Exam
from hippocampi import read_hippocampi
from network import load_network, stored_at
from planes import planes_of
from refiners import loss_checkpoint
from torch import nn
from training import Study

from dqe_loss import Surrogate, load_surrogate, rate_segmentation
from dqe_loss.metrics.overlap import region_dice

NETWORKS = ((SAME, 3, "a"), (SAME, 3, "d"), (SAME, 3, "t"), (OTHER, 3, "a"), (OTHER, 3, "d"), (OTHER, 3, "t"))
"""Setting, labelled persons and arm of the networks whose segmentations are looked at."""


@dataclass(frozen=True)
class OpinionOptions:
    """Options of the command line."""

    data: Path
    """Folder with ``images`` and ``labels``."""
    work: Path = Path("runs/benefit")
    """Folder of the study."""
    out: Path = ROOT / "benchmarks" / "results" / "benefit_opinion.json"
    """Where the figures go."""


@torch.no_grad()
def look(exam: Exam, network: nn.Module, surrogate: Surrogate, cohort: Cohort) -> dict[str, float]:
    """Dice of a network's segmentation and of the refiner's opinion of it, and what the loss makes of its planes."""
    planes = planes_of([exam], cohort.side)
    mask = own(network, planes)
    refined = refine(surrogate, planes.raw, mask)
    found = (mask > 0.5).flatten(1).any(1)
    x, y = exam.raw.shape[1:3]
    opinion = (refined.regions > 0.5).movedim(0, -1)[:, :x, :y]
    opinion[..., ~found] = False  # in planes in which the network finds nothing, the loss is never asked
    own_mask = (mask > 0.5).movedim(0, -1)[:, :x, :y]
    judged = cohort.channels
    truth = exam.regions[None, judged]
    best = surrogate.config.stars[1]
    stars = rate_segmentation(surrogate, planes.raw[found], mask[found] > 0.5)[:, 0]
    return {
        "dice": float(region_dice(own_mask[None, judged], truth).mean()),
        "dice_opinion": float(region_dice(opinion[None, judged], truth).mean()),
        "full_marks": float((stars > best - 0.05).float().mean()),
        "sure": float(refined.sure[found].float().mean()),
    }


def rows_of(study: Study) -> list[dict[str, Any]]:
    """A row for each kind of network: means over seeds and test exams."""
    rows = []
    for setting, labelled, arm in NETWORKS:
        surrogate = load_surrogate(loss_checkpoint(setting, study.cohort, study.work))
        runs = [Run(setting, labelled, arm, seed) for seed in study.design.seeds]
        if not all(stored_at(study.work, run).is_file() for run in runs):
            continue
        seen = []
        for run in runs:
            network = load_network(study.cohort, study.work, run)
            tested = study.cohort.of(study.cohort.parts[setting].test)
            seen += [look(exam, network, surrogate, study.cohort) for exam in tested]
        means = {key: sum(row[key] for row in seen) / len(seen) for key in seen[0]}
        rows.append({"setting": setting, "labelled": labelled, "arm": arm} | means)
    return rows


def main(options: OpinionOptions) -> None:
    """Looks, prints the table and writes the figures."""
    torch.set_num_threads(1)
    rows = rows_of(Study(read_hippocampi(options.data), HIPPOCAMPUS_STUDY, options.work))
    write_json(options.out, {"rows": rows, "machine": machine()})
    print(markdown_table(rows))


if __name__ == "__main__":
    main(tyro.cli(OpinionOptions, description=__doc__))

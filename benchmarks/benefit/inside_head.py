"""Gliomas: Dice of the stored networks' segmentations with all that lies outside of the head cut away.

Run after the study: ``python benchmarks/benefit/inside_head.py --data FOLDER``. The pictures asked for it: networks
that were trained on planes with tumor also paint where there is no head, some arms less than others.
"""

import sys
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from _results import markdown_table, write_json
from analysis import complete_rotations, difference, pooled, table_of
from design import ALL_ROTATIONS, GLIOMA_STUDY, Run
from exams import ROOT, Cohort
from gliomas import LABELLED, read_gliomas
from network import load_network, segment
from report import finished_runs

from dqe_loss.metrics.overlap import region_dice


@dataclass(frozen=True)
class HeadOptions:
    """Options of the command line."""

    data: Path
    """Folder of the gliomas' exams."""
    work: Path = Path("runs/benefit")
    """Folder of the study."""
    arms: tuple[str, ...] = ("a", "ad", "d", "b")
    """Arms whose segmentations are cut; those of the differences that the plan names, if not given."""
    out: Path = ROOT / "benchmarks" / "results" / "benefit_glioma_head.json"
    """Where the figures go."""


def cut(run: dict[str, Any], cohort: Cohort, work: Path) -> dict[str, Any]:
    """A finished run with the Dice of what lies in the head; ``outside`` is the share of its voxels that do not."""
    network = load_network(cohort, work, Run(run["setting"], run["labelled"], run["arm"], run["seed"]))
    rows = []
    for row in run["exams"]:
        exam = next(one for one in cohort.exams if one.name == row["exam"])
        found = segment(network, exam, cohort.side)
        kept = found & (exam.raw != 0).any(0)
        dice = region_dice(kept[None, cohort.channels], exam.regions[None, cohort.channels]).mean()
        rows.append(row | {"dice": float(dice), "outside": float(1 - kept.sum() / found.sum().clamp(min=1))})
    return run | {"exams": rows}


def main(options: HeadOptions) -> None:
    """Cuts, prints the differences and writes the figures."""
    done = finished_runs(GLIOMA_STUDY, options.work)
    rotations = complete_rotations(done, GLIOMA_STUDY)
    cohort, runs = read_gliomas(options.data), []
    for run in done:
        if run["setting"] in rotations and run["arm"] in options.arms:
            runs.append(cut(run, cohort, options.work))
            outside = sum(row["outside"] for row in runs[-1]["exams"]) / len(run["exams"])
            print(f"{run['setting']} {run['arm']} {run['seed']}: {100 * outside:.0f} % outside the head", flush=True)
    table = table_of([*runs, *pooled(runs, rotations)])
    pairs = [difference(table, ALL_ROTATIONS, LABELLED, *pair, "dice") for pair in combinations(options.arms, 2)]
    print(markdown_table([{"arms": " − ".join(row["arms"]), "Dice": row["difference"]} for row in pairs]))
    write_json(options.out, {"rotations": rotations, "pairs": pairs, "runs": runs})


if __name__ == "__main__":
    main(tyro.cli(HeadOptions, description=__doc__))

"""Does the loss make segmentations better? The study of ``docs/results/benefit.md``.

Run: ``python benchmarks/benefit --data FOLDER`` (the hippocampi of the Medical Segmentation Decathlon), and then
``python benchmarks/benefit --task glioma --data FOLDER`` (exams named as in BraTS), which takes over the weights that
the first has chosen. Refiners, warm-ups and runs that are there are kept, so that a study that was stopped goes on.
``--shard 0/2`` and ``--shard 1/2`` share the runs among two processes, once weights and refiners are there. Without
``--data`` nothing is run, and what has run so far is told.
"""

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from _results import write_json
from design import GLIOMA_STUDY, HIPPOCAMPUS_STUDY, SAME, TUNING_SEEDS, TUNING_STEPS, WEIGHTS, Run
from exams import ROOT
from gliomas import read_gliomas
from hippocampi import read_hippocampi
from judges import judge
from network import stored_at
from report import finished_runs, summarize
from training import Study, train

TUNED_ON = 20
"""Unlabelled persons by whose labels the weights are chosen."""


@dataclass(frozen=True)
class BenefitOptions:
    """Options of the command line."""

    data: Path | None = None
    """Folder with ``images`` and ``labels``, or of the gliomas' exams; without it nothing is run."""
    task: Literal["hippocampus", "glioma"] = "hippocampus"
    """Which part of the study."""
    work: Path = Path("runs/benefit")
    """Folder of refiners, warm-ups and runs."""
    out: Path = ROOT / "benchmarks" / "results"
    """Folder of the figures: ``benefit.json`` and ``benefit_glioma.json``."""
    shard: str = "0/1"
    """Which of how many processes this is; they share the runs."""


def tried(work: Path) -> dict[str, dict[str, list[float]]]:
    """Mean Dice of each seed by arm and weight, as far as it is there."""
    file = work / "tuned.json"
    return json.loads(file.read_text()) if file.is_file() else {}


def tune(study: Study, work: Path) -> None:
    """Try the weights of each unlabelled term, on persons who are not tested."""
    found = tried(work)
    for arm, weights in WEIGHTS.items():
        for weight in weights:
            scores = found.setdefault(arm, {}).setdefault(str(weight), [])
            for seed in TUNING_SEEDS[len(scores) :]:
                network = train(study, Run(SAME, 3, arm, seed), {arm: weight}, TUNING_STEPS)
                rows = judge(study, SAME, network, study.cohort.parts[SAME].unlabelled[:TUNED_ON])
                scores.append(sum(row["dice"] for row in rows) / len(rows))
                write_json(work / "tuned.json", found)
                print(f"tuned {arm} {weight:g} seed {seed}: Dice {scores[-1]:.4f}", flush=True)


def chosen(found: dict[str, dict[str, list[float]]]) -> dict[str, float]:
    """The best weight of each term."""
    return {arm: float(max(scores, key=lambda weight: sum(scores[weight]))) for arm, scores in found.items()}


def run_all(study: Study, weights: dict[str, float], options: BenefitOptions) -> None:
    """Every run of this process that is not there yet."""
    number, of = map(int, options.shard.split("/"))
    for run in study.design.planned()[number::of]:
        file = options.work / "runs" / f"{run.name}.json"
        if file.is_file():
            continue
        start = time.process_time()
        network = train(study, run, weights)
        trained = time.process_time() - start
        rows = judge(study, run.setting, network, study.cohort.parts[run.setting].test)
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.save(network.state_dict(), stored_at(options.work, run))
        write_json(file, vars(run) | {"exams": rows, "train_seconds": trained})
        print(f"{run.name}: Dice {sum(row['dice'] for row in rows) / len(rows):.4f} ({trained:.0f} s)", flush=True)


def main(options: BenefitOptions) -> None:
    """Runs what is missing, prints the table and writes the figures."""
    torch.set_num_threads(1)
    gliomas = options.task == "glioma"
    design = GLIOMA_STUDY if gliomas else HIPPOCAMPUS_STUDY
    out = options.out / ("benefit_glioma.json" if gliomas else "benefit.json")
    study = None
    if options.data is not None:
        study = Study((read_gliomas if gliomas else read_hippocampi)(options.data), design, options.work)
    if gliomas:
        weights = json.loads((options.out / "benefit.json").read_text())["weights"]
    else:
        if study is not None:
            tune(study, options.work)
        weights = {"tried": tried(options.work), "chosen": chosen(tried(options.work))}
    if study is not None:
        print(weights["chosen"])
        run_all(study, weights["chosen"], options)
    runs = finished_runs(design, options.work)
    if not runs:
        raise SystemExit(f"no run in {options.work} yet; give --data")
    print(summarize(runs, weights, design, out))


if __name__ == "__main__":
    main(tyro.cli(BenefitOptions, description=__doc__))

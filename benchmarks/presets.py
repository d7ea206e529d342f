"""Table 1 of the paper on simulated ratings: every preset trained and evaluated on the same split.

Run: ``python -m dqe_loss.simulate --phantoms 75 --out runs/simulated`` and then
``python benchmarks/presets.py --ratings runs/simulated/ratings.csv``. The paper trains each row for 500 epochs in two
hours of a GPU; ``--epochs`` says what the machine allows, and the table says it too. Trainings run side by side, one
thread each, and go on where they stopped.
"""

import contextlib
import json
import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tyro
from _cells import Tick, run_cells
from _report import markdown_table

from dqe_loss.data.split import split_exams, write_split
from dqe_loss.data.tables.ratings import read_ratings
from dqe_loss.evaluate import command as evaluate
from dqe_loss.train.config import PRESETS, TrainConfig
from dqe_loss.train.plane_cache import PlaneCache, fill_cache
from dqe_loss.train.run_folder import RunFolder
from dqe_loss.train.train_surrogate import train_surrogate

PAPER = {
    "sgd": (0.65, 0.88, 0.64),
    "adamw": (0.59, 0.80, 0.62),
    "ranger21": (0.60, 0.83, 0.58),
    "densenet201": (0.59, 0.80, 0.63),
    "minmax": (0.57, 0.82, 0.61),
    "paper": (0.51, 0.80, 0.66),
}
"""MAE, RMSE and r of the paper's Table 1, on 15 exams with human ratings."""


@dataclass(frozen=True)
class PresetsOptions:
    """Train and evaluate presets on one table of ratings.

    Attributes:
        ratings: The table, with simulated or human ratings.
        presets: Which presets.
        epochs: Passes over the training planes, for every preset.
        long: PRESET=EPOCHS for presets that run longer.
        batch: Planes per step.
        micro_batch: Planes per forward pass.
        test: Share of the exams to test on; the paper's 15 of 75.
        seed: Of split and training.
        workers: Trainings at a time.
        runs: Folder of the runs and of the cached planes.
        out: Folder for the JSON file and the table.
    """

    ratings: Path
    presets: tuple[str, ...] = (*PAPER, "finetune")
    epochs: int = 500
    long: tuple[str, ...] = ()
    batch: int = 80
    micro_batch: int = 20
    test: float = 0.2
    seed: int = 0
    workers: int = 1
    runs: Path = Path("runs/presets")
    out: Path = Path("benchmarks/results/presets")


def main() -> None:
    """Train, evaluate, print the table."""
    arguments = tyro.cli(PresetsOptions, description=__doc__)
    unknown = set(arguments.presets) - set(PRESETS)
    if unknown:
        sys.exit(f"unknown presets {', '.join(sorted(unknown))}; expected {', '.join(PRESETS)}")
    longer = dict(item.split("=") for item in arguments.long)
    arguments.runs.mkdir(parents=True, exist_ok=True)
    split = arguments.runs / "split.csv"
    table = read_ratings([arguments.ratings])
    write_split(split_exams(table["exam"], validation=0, test=arguments.test, seed=arguments.seed), split)
    shared = {name: getattr(arguments, name) for name in ("batch", "micro_batch", "seed")}
    planes = arguments.runs / "planes"
    common = {"ratings": (arguments.ratings,), "split": split, "cache": planes, "workers": 0, "save_every": 1, **shared}
    cells = {
        name: replace(
            PRESETS[name][1], **common, out=arguments.runs / name, epochs=int(longer.get(name, arguments.epochs))
        )
        for name in arguments.presets
    }
    for preset in {config.normalization: config for config in cells.values()}.values():
        fill_cache(PlaneCache(planes, preset.surrogate(), preset.label_scheme), table)
    settings = {"ratings": str(arguments.ratings), "judgments": len(table), "test": arguments.test, **shared}
    path = arguments.out / "presets.json"
    results = run_cells(train_and_evaluate, cells, path=path, settings=settings, workers=arguments.workers)
    text = markdown_table(make_rows(results))
    (arguments.out / "table.md").write_text(text + "\n")
    print(text)


def train_and_evaluate(config: TrainConfig, tick: Tick) -> dict[str, Any]:
    """One preset: train (or go on), evaluate on the test part; what it says goes to a file in its folder."""
    folder = RunFolder(config.out)
    config.out.mkdir(parents=True, exist_ok=True)
    with (config.out / "output.txt").open("a") as log, contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
        if not folder.last.exists() and train_surrogate(replace(config, resume=folder.state.exists())) != 0:
            raise KeyboardInterrupt
        report = config.out / "evaluation"
        arguments = [str(folder.last), "--ratings", *map(str, config.ratings), "--split", str(folder.split)]
        if evaluate.main([*arguments, "--part", "test", "--out", str(report)]) != 0:
            raise RuntimeError(f"the evaluation of {folder.last} failed, see {config.out / 'output.txt'}")
    tick(1)
    numbers = json.loads((report / "evaluation.json").read_text())["ratings"]
    loss = folder.log.read_text().splitlines()[-1].split(",")[1]
    return {"epochs": config.epochs, "last_training_loss": float(loss), "ratings": numbers}


def make_rows(results: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for each preset, and those for the baselines and the raters themselves."""
    rows = []
    for name, result in results.items():
        mean = result["ratings"]["views"]["mean"]
        rows.append({"preset": name, "epochs": result["epochs"], **_errors(mean["surrogate"]), **_paper(name)})
    if rows:
        rows += [{"preset": name, **_errors(mean[name])} for name in ("constant mean", "linear in volume")]
        rows.append({"preset": "a simulated rater, the others", "MAE": mean["raters"]["mae"]})
    return rows


def _errors(numbers: dict[str, Any]) -> dict[str, Any]:
    return {label: _shown(numbers[metric]) for metric, label in (("mae", "MAE"), ("rmse", "RMSE"), ("pearson", "r"))}


def _shown(number: dict[str, Any]) -> str | None:
    if number["value"] is None:
        return None
    interval = "" if number["low"] is None else f" ({number['low']:.2f} to {number['high']:.2f})"
    return f"{number['value']:.2f}{interval}"


def _paper(name: str) -> dict[str, str]:
    if name not in PAPER:
        return {}
    return {"paper's MAE, RMSE, r (human ratings)": ", ".join(f"{value:.2f}" for value in PAPER[name])}


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()

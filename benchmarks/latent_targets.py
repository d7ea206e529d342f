"""Do surrogates learn more from corrected ratings? ``dqe train --target latent`` against ``mean``, judged by the truth.

Run: ``python benchmarks/latent_targets.py``. Synthetic exams of the task ``blobs`` have segmentations whose true stars
are known (metric stars). Four raters who do not exist, of unequal bias and noise, rate those of the training exams: all
four each segmentation, or two of them, drawn at random; and, to compare, four raters of equal noise. A small network
learns from the latent targets and from the mean, with the same weights to begin with and the same order of planes, and
is compared with the true stars of exams that nothing has learned from. A run that was stopped goes on.
"""

import contextlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import tyro
from _cells import Tick, run_cells
from _report import markdown_table, write_json

from dqe_loss.data.split import split_exams, write_split
from dqe_loss.data.tables.ratings import mean_ratings, read_ratings, write_ratings
from dqe_loss.evaluate import command as evaluate
from dqe_loss.simulate import command as simulate
from dqe_loss.task import BLOBS
from dqe_loss.train import command as train
from dqe_loss.train.dataset import latent_ratings

ROOT = Path(__file__).resolve().parents[1]
TARGETS = ("mean", "latent")
BIAS = [-0.6, 0.0, 0.2, 0.4]
"""Stars that each rater gives more than others; they add up to 0."""
UNEQUAL, EQUAL = [0.3, 0.5, 1.2, 1.8], [0.8, 0.8, 0.8, 0.8]
"""Standard deviations of a single rating, in stars."""
DESIGNS = {
    "unequal raters, all rate everything": (UNEQUAL, 4),
    "unequal raters, two rate each": (UNEQUAL, 2),
    "equal raters, all rate everything": (EQUAL, 4),
}
"""Noise of the raters, and how many of them rate a segmentation."""


@dataclass(frozen=True)
class LatentOptions:
    """Options of the command line."""

    phantoms: int = 40
    """Synthetic exams, a quarter of which nothing learns from."""
    segmentations: int = 3
    """Segmentations of each, the reference among them."""
    seeds: int = 3
    """Draws of the raters' noise and of the training."""
    epochs: int = 10
    """Passes over the training planes."""
    architecture: str = "resnet10"
    """Network that learns the ratings."""
    work: Path = Path("runs/latent_targets")
    """Folder of exams, tables and runs."""
    out: Path = ROOT / "benchmarks" / "results" / "latent_targets.json"
    """Where the figures go."""


@dataclass(frozen=True)
class Training:
    """A network to train and to judge.

    Attributes:
        design: key of `DESIGNS`.
        target: one of `TARGETS`.
        seed: of raters and training.
        options: of the command line.
    """

    design: str
    target: str
    seed: int
    options: LatentOptions

    @property
    def folder(self) -> Path:
        """Of the run."""
        return self.options.work / f"{list(DESIGNS).index(self.design)}-{self.target}-{self.seed}"


def main(options: LatentOptions) -> None:
    """Trains what is missing, prints the table and writes the figures."""
    work = options.work
    if not (work / "truth" / "ratings.csv").is_file():
        words = f"--task blobs --phantoms {options.phantoms} --segmentations {options.segmentations} --raters 0"
        _must(simulate.main([*words.split(), "--workers", "1", "--out", str(work / "truth")]), "simulate")
    truth = read_ratings([work / "truth" / "ratings.csv"], BLOBS)
    write_split(split_exams(truth["exam"], validation=0, test=0.25, seed=0), work / "split.csv")
    cells = {
        f"{design}; {target}; {seed}": Training(design, target, seed, options)
        for design in DESIGNS
        for seed in range(options.seeds)
        for target in TARGETS
    }
    names = ("phantoms", "segmentations", "epochs", "architecture")
    settings: dict[str, Any] = {name: getattr(options, name) for name in names}
    designs = {name: {"noise": list(noise), "rate_each": count} for name, (noise, count) in DESIGNS.items()}
    settings |= {"bias": list(BIAS), "designs": designs}
    results = run_cells(train_and_judge, cells, path=options.out, settings=settings, workers=1)
    rows = summarize(results)
    write_json(options.out, json.loads(options.out.read_text()) | {"summary": rows})
    print(markdown_table(rows))


def rate(truth: pd.DataFrame, design: str, seed: int) -> pd.DataFrame:
    """Ratings of all views together by the raters of a design, as a table for training.

    Args:
        truth: the true stars of each view.
        design: key of `DESIGNS`.
        seed: of the noise, and of who rates what.
    """
    noise, count = DESIGNS[design]
    rng = np.random.default_rng(seed)
    paths = ["exam", "segmentation", *BLOBS.modalities]
    rows = []
    for row in truth.groupby(paths, sort=False)["stars"].mean().reset_index().to_dict("records"):
        felt = row["stars"] + np.array(BIAS) + np.array(noise) * rng.standard_normal(len(noise))
        for rater in sorted(rng.permutation(len(noise))[:count].tolist()):
            given = float(np.clip(np.rint(felt[rater]), *BLOBS.stars))
            rows.append(row | {"rater": f"simulated-{rater}", "view": "", "stars": given, "kind": "simulated"})
    return pd.DataFrame(rows).assign(task=BLOBS.name)


def train_and_judge(one: Training, tick: Tick) -> dict[str, Any]:
    """Train a network, and compare it with the true stars of the exams held out."""
    torch.set_num_threads(1)  # of small networks a second one is no faster, and beside other jobs far slower
    options, folder = one.options, one.folder
    truth_file, split_file = options.work / "truth" / "ratings.csv", options.work / "split.csv"
    truth = read_ratings([truth_file], BLOBS)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_ratings(rate(truth, one.design, one.seed), folder / "ratings.csv", BLOBS)
    words = f"paper --task blobs --architecture {options.architecture} --normalization head_mean --optimizer adamw"
    words += f" --target {one.target} --epochs {options.epochs} --seed {one.seed} --batch 30 --micro-batch 30"
    words += " --workers 0 --augmentation.no-enabled --validation 0"
    where = ["--ratings", folder / "ratings.csv", "--split", split_file, "--cache", options.work / "planes"]
    with (folder / "output.txt").open("w") as log, contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
        _must(train.main([*words.split(), *map(str, where), "--out", str(folder / "run")]), "train")
        given = [folder / "run" / "surrogate.safetensors", "--ratings", truth_file, "--split", split_file]
        _must(evaluate.main([*map(str, given), "--resamples", "100", "--out", str(folder / "report")]), "evaluate")
    tick(1)
    numbers = json.loads((folder / "report" / "evaluation.json").read_text())["ratings"]["views"]["mean"]["surrogate"]
    found = {name: numbers[name]["value"] for name in ("mae", "rmse", "pearson")}
    return found | {"target_rmse": target_error(folder / "ratings.csv", split_file, truth, one.target)}


def target_error(ratings: Path, split: Path, truth: pd.DataFrame, target: str) -> float:
    """How far the targets of the training part are from the true stars: root mean square."""
    parts = pd.read_csv(split).set_index("exam")["split"]
    table = read_ratings([ratings], BLOBS)
    taught = table[table["exam"].map(parts) == "train"]
    targets = latent_ratings(taught, BLOBS) if target == "latent" else mean_ratings(taught, BLOBS)
    found = targets.groupby("segmentation")["stars"].mean()
    true = truth.groupby("segmentation")["stars"].mean()
    return float(np.sqrt(((found - true.reindex(found.index)) ** 2).mean()))


def summarize(results: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for each design and target: means over seeds, and in how many of them latent came out ahead."""
    rows = []
    for design in DESIGNS:
        own = {t: [r for name, r in results.items() if name.startswith(f"{design}; {t};")] for t in TARGETS}
        for target, found in own.items():
            means = pd.DataFrame(found)[["target_rmse", "rmse", "mae", "pearson"]].mean()
            rows.append({"raters": design, "target": target, **means.to_dict()})
        ahead = sum(a["rmse"] < b["rmse"] for a, b in zip(own["latent"], own["mean"], strict=True))
        rows[-1]["ahead"] = f"{ahead} of {len(own['mean'])}"
    return rows


def _must(code: int, command: str) -> None:
    if code != 0:
        raise RuntimeError(f"dqe {command} failed; see output.txt in the run's folder")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main(tyro.cli(LatentOptions, description=__doc__))

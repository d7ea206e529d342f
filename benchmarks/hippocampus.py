"""A second task: are the machinery's stars worth as much on the hippocampus as on gliomas? Held out by person.

Run: ``python benchmarks/hippocampus.py --data FOLDER`` (folders ``images`` and ``labels`` of the Medical Segmentation
Decathlon's Task04). Simulate, train, harden, evaluate and audit, each by its command, as a lab would; what is done is
kept, and a run that was stopped goes on. Left and right of one person never lie in two parts.
"""

import json
import resource
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tyro
from _report import machine
from _results import markdown_table, write_json
from sklearn.metrics import roc_auc_score

from dqe_loss.surrogate.checkpoint import assemble, load_surrogate, save_surrogate, weights_of
from dqe_loss.surrogate.config import NO_NETWORK
from dqe_loss.surrogate.network import Surrogate

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "examples"))
import split_by_person as split  # noqa: E402

BAD = 0.7
"""Mean Dice below which a mask counts as a failure."""
GOOD = 0.9
"""Mean Dice from which on a mask counts as good."""
FULL_MARKS = {"beside a network": 0.6, "alone": 0.92}
"""Agreement from which on a mask keeps its stars. A network that was taught ratings lowers them by itself, so that the
gate beside it must do less: chosen on the persons by whom the best states are chosen, among .92, .8, .7, .6 and .5."""


@dataclass(frozen=True)
class HippocampusOptions:
    """Options of the command line."""

    data: Path
    """Folder with ``images`` and ``labels``."""
    task: Path = ROOT / "examples" / "tasks" / "hippocampus.yaml"
    """The task's file."""
    work: Path = Path("runs/hippocampus")
    """Folder of simulations, checkpoints and reports."""
    out: Path = ROOT / "benchmarks" / "results" / "hippocampus.json"
    """Where the figures go."""
    test_share: float = 0.3
    """Share of the persons that nothing learns from."""
    choice_share: float = 0.1
    """Share of the persons by which the best states are chosen."""
    seed: int = 0
    """Seed of the split."""
    segmentations: int = 4
    """Rated segmentations of each taught exam, the reference among them."""
    unseen_segmentations: int = 6
    """The same of each held-out exam."""
    epochs: int = 8
    """Passes of the training over its planes."""
    architecture: str = "resnet18"
    """Network that learns the ratings."""
    steps: int = 1500
    """Steps of the hardening."""
    audited: int = 2
    """Held-out persons whose exam is audited."""
    attack_steps: int = 100
    """Steps of each attack."""


@dataclass(frozen=True)
class Chain:
    """The commands, one after the other, in a folder.

    Attributes:
        options: of the command line.
    """

    options: HippocampusOptions

    def run(self, stage: str, *arguments: str | Path) -> None:
        """Run a command unless its stage is done, and note its minutes."""
        record = self.options.work / "stages.json"
        done = json.loads(record.read_text()) if record.is_file() else {}
        if stage in done:
            return
        start, before = time.perf_counter(), _cpu_seconds()
        subprocess.run([sys.executable, "-m", "dqe_loss", *map(str, arguments)], check=True, cwd=self.options.work)
        cpu, wall = (_cpu_seconds() - before) / 60, (time.perf_counter() - start) / 60
        done[stage] = {"command": f"dqe {arguments[0]}", "minutes": wall, "cpu_minutes": cpu}
        write_json(record, done)

    def minutes(self) -> dict[str, dict[str, float]]:
        """Minutes of each stage by the clock, and of a processor core: others may use the machine, too."""
        stages = json.loads((self.options.work / "stages.json").read_text())
        return {
            stage: {"clock": round(found["minutes"], 1), "core": round(found["cpu_minutes"], 1)}
            for stage, found in stages.items()
        }


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def write_tables(options: HippocampusOptions) -> dict[str, Any]:
    """Tables of paths and the split; returns how many persons and exams are in each part."""
    shares = options.choice_share, options.test_share
    table = split.write_tables(split.SplitOptions(options.task, options.data, options.work, *shares, options.seed))
    taught, tested = table[table["part"] != "test"], table[table["part"] == "test"]
    audited = tested.iloc[:: max(1, len(table) // 20)].head(options.audited)
    for name, rows in (("taught", taught), ("audited", audited)):
        rows.drop(columns=["person", "part"]).to_csv(options.work / f"{name}.csv", index=False)
    counts = table.groupby("part").agg(persons=("person", "nunique"), exams=("exam", "nunique"))
    return {str(part): {str(k): int(v) for k, v in row.items()} for part, row in counts.iterrows()}


def write_variants(hardened: Path, work: Path) -> None:
    """The hardened checkpoint with the marks of the gate alone, and that gate without the network: nobody has rated."""
    start = load_surrogate(hardened)
    assert start.config.refiner is not None  # it was hardened
    marks = FULL_MARKS["alone"]
    config = replace(start.config, refiner=replace(start.config.refiner, full_marks=marks, survey_full_marks=marks))
    alone = replace(config, architecture=NO_NETWORK, kind_of_ratings="metric")
    for name, variant in (("strict", assemble(config, weights_of(start))), ("gate", Surrogate(alone, start.refiner))):
        out = work / f"{name}.safetensors"
        if not out.is_file():
            save_surrogate(variant, out)


def measure(folder: Path) -> dict[str, float]:
    """What an evaluation says of held-out masks: those with errors, against Dice; good ones, against their ratings."""
    table = pd.read_csv(folder / "predictions.csv")
    compared = table[table["against"] == "reference"]
    stars, dice = compared["stars_mean"], compared["dice_mean"]
    rated = table[table["against"] == "ratings"]
    references = rated[rated["segmentation"].str.contains("-seg-reference")]
    ratings = rated.assign(off=(rated["stars_mean"] - rated["rated_mean"]).abs())
    good = ratings[ratings["rated_mean"] >= 1 + 5 * GOOD]
    return {
        "masks": len(compared),
        "exams": int(compared["exam"].nunique()),
        "r": float(np.corrcoef(stars, dice)[0, 1]),
        "auc": float(roc_auc_score(dice < BAD, -stars)),
        "failures": float((dice < BAD).mean()),
        "mae": float(ratings["off"].mean()),
        "good_off": float(good["off"].mean()),
        "good_off_most": float(good["off"].max()),
        "good_within_half": float((good["off"] <= 0.5).mean()),
        "reference_stars": float(references["stars_mean"].mean()),
        "reference_lowest": float(references["stars_mean"].min()),
    }


def attacked(folder: Path) -> dict[str, Any]:
    """What an audit says: verdicts, and Dice of each region that attacks leave of the expert's mask."""
    audit = json.loads((folder / "audit.json").read_text())
    runs = [
        run
        for exam in audit["parts"]["exploitation"]["exams"].values()
        for planes in exam["attacks"]["reference"].values()
        for guard, run in planes.items()
        if guard == "on"
    ]
    left = np.array([run["after"]["planes"] for run in runs])
    volume = np.array([run["after"]["volume"] for run in runs])
    told = ("what", "measured", "limit", "passed")
    checks = [{key: check[key] for key in told} for part in audit["parts"].values() for check in part["checks"]]
    return {
        "exams": len(audit["exams"]),
        "left_mean": float(left.mean()),
        "left_lowest": float(left.min()),
        "left_volume_mean": float(volume.mean()),
        "regions": audit["config"]["task"]["regions"],
        "left_by_region": left.mean(0).tolist(),
        "passed": {name: part["passed"] for name, part in audit["parts"].items()},
        "checks": checks,
    }


def store(options: HippocampusOptions, chain: Chain, counts: dict[str, Any], found: dict[str, Any]) -> None:
    """Write what is known so far."""
    settings = {name: getattr(options, name) for name in ("epochs", "architecture", "steps", "seed")}
    result = {
        "parts": counts,
        "settings": settings | {"bad": BAD, "good": GOOD},
        "minutes": chain.minutes(),
        "checkpoints": found,
        "machine": machine(),
    }
    write_json(options.out, result)


def main(options: HippocampusOptions) -> None:
    """Runs what is missing, prints the table and writes the figures."""
    options = replace(options, work=options.work.resolve(), task=options.task.resolve(), out=options.out.resolve())
    counts = write_tables(options)
    chain, task = Chain(options), ("--task", options.task)
    chain.run(
        "simulate", "simulate", *task, "--exams", "taught.csv", "--segmentations", options.segmentations,
        "--raters", "3", "--workers", "2", "--out", "simulated",
    )  # fmt: skip
    chain.run(
        "simulate, held out", "simulate", *task, "--exams", "test.csv", "--segmentations", options.unseen_segmentations,
        "--raters", "0", "--seed", "1", "--workers", "2", "--out", "unseen",
    )  # fmt: skip
    chain.run(
        "train", "train", "paper", *task, "--ratings", "simulated/ratings.csv", "--split", "split.csv", "--out",
        "trained", "--architecture", options.architecture, "--normalization", "head_mean", "--optimizer", "adamw",
        "--epochs", options.epochs, "--batch", "60", "--micro-batch", "30", "--workers", "0",
        "--augmentation.no-enabled", "--save-every", "1",
        *(["--resume"] if (options.work / "trained" / "state.pt").is_file() else []),
    )  # fmt: skip
    marks = str(FULL_MARKS["beside a network"])
    chain.run(
        "harden", "harden", *task, "--checkpoint", "trained/best.safetensors", "--exams", "train.csv",
        "--held-out", "validation.csv", "--out", "hardened", "--steps", options.steps, "--errors", "12", "--save-every",
        "250", "--exponent", "1", "--full-marks", marks, "--survey-full-marks", marks, "--workers", "0",
        "--no-natural", *(["--resume"] if (options.work / "hardened" / "state.pt").is_file() else []),
    )  # fmt: skip
    write_variants(options.work / "hardened" / "surrogate.safetensors", options.work)
    found: dict[str, Any] = {}
    store(options, chain, counts, found)
    checkpoints = {
        "hardened": "hardened/surrogate.safetensors",
        "gate alone": "gate.safetensors",
        "strict": "strict.safetensors",
        "trained": "trained/best.safetensors",
    }
    for name, checkpoint in checkpoints.items():
        folder = f"evaluated-{name.replace(' ', '-')}"
        chain.run(
            f"evaluate, {name}", "evaluate", checkpoint, "--ratings", "unseen/ratings.csv", "--exams",
            "unseen/ratings.csv", "--reference", "*-seg-reference", "--resamples", "200", "--out", folder,
        )  # fmt: skip
        found[name] = measure(options.work / folder)
        store(options, chain, counts, found)
    for name in ("hardened", "gate alone"):
        folder = f"audited-{name.replace(' ', '-')}"
        chain.run(
            f"audit, {name}", "audit", checkpoints[name], "--exams", "audited.csv", "--attack-steps",
            options.attack_steps, "--out", folder,
        )  # fmt: skip
        found[name]["audit"] = attacked(options.work / folder)
        store(options, chain, counts, found)
    rows = [{"checkpoint": name} | {k: v for k, v in one.items() if k != "audit"} for name, one in found.items()]
    print(markdown_table(rows))
    print(json.dumps(chain.minutes()))


if __name__ == "__main__":
    main(tyro.cli(HippocampusOptions, description=__doc__))

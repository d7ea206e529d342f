"""Does the loss do a network on another task good or harm? Small U-Nets on hippocampi, tested on persons never seen.

Run after ``benchmarks/hippocampus.py``: ``python benchmarks/hippocampus_training.py --work FOLDER``. Dice alone against
Dice + w * DQELoss, on volumes (3D) and on single planes (2D), several seeds that share the initial weights and the
order of exams, compared person by person. A finished training is kept, and a run that was stopped goes on.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import tyro
from _intervals import resampled
from _report import machine
from _results import markdown_table, write_json
from monai.losses import DiceLoss
from monai.networks.nets import BasicUNet
from monai.transforms import ResizeWithPadOrCrop
from torch import Tensor, nn

from dqe_loss import DQELoss, LossSum, load_surrogate, regions_from_labels
from dqe_loss.data.discovery.named_exams import find_named_exams
from dqe_loss.data.exams import read_exam
from dqe_loss.metrics.agreement import middle
from dqe_loss.metrics.overlap import region_dice
from dqe_loss.task import Task

ROOT = Path(__file__).resolve().parents[1]
SIZE = (48, 64, 48)
"""Voxels that images are padded to, or cut to around their middle."""
KINDS = {"volumes": 3, "planes": 2}


@dataclass(frozen=True)
class TrainingOptions:
    """Options of the command line."""

    work: Path = Path("runs/hippocampus")
    """Folder of ``benchmarks/hippocampus.py``: tables of paths, checkpoints."""
    checkpoint: str = "hardened/surrogate.safetensors"
    """The surrogate in the loss."""
    weights: tuple[float, ...] = (0.0, 0.03, 0.1, 0.3)
    """Weights of the surrogate's term; 0 is Dice alone."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Seeds of the trainings."""
    kinds: tuple[str, ...] = ("volumes", "planes")
    """Volumes, planes, or both."""
    warmup: int = 60
    """Steps with Dice alone, before the term comes in."""
    steps: int = 90
    """Steps after that."""
    persons: int = 24
    """Held-out persons that are tested."""
    taught: int = 60
    """Exams to train on."""
    out: Path = ROOT / "benchmarks" / "results" / "hippocampus_training.json"
    """Where the figures go."""


@dataclass(frozen=True)
class Volumes:
    """Exams in memory.

    Attributes:
        names: of the exams.
        images: raw intensities ``(N, 1, X, Y, Z)``.
        regions: ``(N, R, X, Y, Z)``, float.
    """

    names: list[str]
    images: Tensor
    regions: Tensor


def fit(volume: Tensor) -> Tensor:
    """A volume ``(X, Y, Z)`` padded with 0, or cut, to `SIZE` around its middle."""
    return torch.as_tensor(ResizeWithPadOrCrop(SIZE)(volume[None])).as_subclass(Tensor)[0]


def read(table: Path, task: Task, count: int, one_a_person: bool = False) -> Volumes:
    """Exams of a table of paths, evenly chosen."""
    found = find_named_exams([table], task)
    if one_a_person:
        persons = {(int(exam.name.rpartition("_")[2]) + 1) // 2: exam for exam in reversed(found)}
        found = [exam for _, exam in sorted(persons.items())]
    chosen = [found[i] for i in np.linspace(0, len(found) - 1, min(count, len(found))).round().astype(int)]
    images, labels = [], []
    for paths in chosen:
        exam = read_exam(paths, task=task, warn=False)
        images.append(fit(torch.from_numpy(exam.image[0].astype(np.float32))))
        labels.append(fit(torch.from_numpy(next(iter(exam.segmentations.values())))))
    regions = regions_from_labels(torch.stack(labels)[:, None], task.scheme()).float()
    return Volumes([paths.name for paths in chosen], torch.stack(images)[:, None], regions)


def normalized(images: Tensor) -> Tensor:
    """Each image in units of its own mean and spread."""
    space = tuple(range(2, images.ndim))
    return (images - images.mean(space, keepdim=True)) / images.std(space, keepdim=True).clamp(min=1e-6)


def network_of(kind: str, regions: int, seed: int) -> nn.Module:
    """A small U-Net; a seed gives the same weights."""
    torch.manual_seed(seed)
    return BasicUNet(KINDS[kind], 1, regions, features=(8, 8, 16, 32, 48, 8), norm=("instance", {"affine": True}))


def run(kind: str, weight: float, seed: int, taught: Volumes, unseen: Volumes, options: TrainingOptions) -> Any:
    """Train one network, and test it; mean Dice of each held-out person."""
    surrogate = load_surrogate(options.work / options.checkpoint)
    network = network_of(kind, taught.regions.shape[1], seed)
    criterion = LossSum(DiceLoss(sigmoid=True))
    if weight:
        views = ("axial",) if kind == "planes" else None
        criterion = criterion + weight * DQELoss(surrogate, warmup=options.warmup, views=views)
    total = options.warmup + options.steps
    optimizer = torch.optim.Adam(network.parameters(), 5e-3)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: 1.0 if step < options.warmup else max((total - step) / options.steps, 0.02)
    )
    rng = np.random.default_rng(seed)
    for _ in range(total):
        image, regions = batch_of(kind, taught, rng)
        given = normalized(image)
        logits = network(given[..., 0])[..., None] if kind == "planes" else network(given)
        loss = criterion(logits, regions, image=image)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return {"kind": kind, "weight": weight, "seed": seed, "dice": test(kind, network, unseen)}


def batch_of(kind: str, taught: Volumes, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Two volumes, or eight axial planes through hippocampi as volumes one voxel thick."""
    chosen = rng.choice(len(taught.names), 2 if kind == "volumes" else 8, replace=False)
    image, regions = taught.images[chosen], taught.regions[chosen]
    if kind == "volumes":
        return image, regions
    planes = [rng.choice(np.flatnonzero(one[0].any(0).any(0).numpy())) for one in regions]
    cut = [(i[..., z : z + 1], r[..., z : z + 1]) for i, r, z in zip(image, regions, planes, strict=True)]
    return torch.stack([i for i, _ in cut]), torch.stack([r for _, r in cut])


@torch.no_grad()
def test(kind: str, network: nn.Module, unseen: Volumes) -> dict[str, float]:
    """Mean Dice over the regions of each exam."""
    network.eval()
    found = {}
    for name, image, regions in zip(unseen.names, unseen.images, unseen.regions, strict=True):
        if kind == "planes":
            planes = normalized(image[None].movedim(-1, 0)[:, 0])
            logits = network(planes).movedim(0, -1)[None]
        else:
            logits = network(normalized(image[None]))
        found[name] = float(region_dice(logits > 0, regions[None]).mean())
    return found


def summarize(trainings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for each kind and weight: mean Dice, and its difference from Dice alone, by seed and person, with 95 %."""
    rows = []
    keys = ("kind", "weight", "seed")
    table = pd.DataFrame(
        [{k: t[k] for k in keys} | {"exam": e, "dice": dice} for t in trainings for e, dice in t["dice"].items()]
    )
    for (kind, weight), part in table.groupby(["kind", "weight"], sort=False):
        alone = table[(table["kind"] == kind) & (table["weight"] == 0)]
        pairs = part.merge(alone, on=["seed", "exam"], suffixes=("", "_alone"))
        pairs["gain"] = pairs["dice"] - pairs["dice_alone"]
        apart = pairs.pivot(index="seed", columns="exam", values="gain")
        row = {"kind": kind, "weight": weight, "seeds": int(part["seed"].nunique()), "dice": float(part["dice"].mean())}
        if weight and min(apart.shape) > 1:
            values = apart.to_numpy()
            row |= {"difference": values.mean(), "interval": middle(resampled(values)), "persons": values.shape[1]}
        rows.append(row)
    return rows


def main(options: TrainingOptions) -> None:
    """Runs the trainings that are missing, prints the table and writes the figures."""
    options = replace(options, work=options.work.resolve(), out=options.out.resolve())
    torch.set_num_threads(1)
    task = load_surrogate(options.work / options.checkpoint).config.task
    taught = read(options.work / "train.csv", task, options.taught)
    unseen = read(options.work / "test.csv", task, options.persons, one_a_person=True)
    stored = json.loads(options.out.read_text())["trainings"] if options.out.is_file() else []
    done = {(t["kind"], t["weight"], t["seed"]) for t in stored}
    settings = {name: getattr(options, name) for name in ("warmup", "steps", "persons", "taught", "checkpoint")}
    for seed in options.seeds:  # so that whenever it is stopped, weights are compared over the same seeds
        for kind in options.kinds:
            for weight in options.weights:
                if (kind, weight, seed) in done:
                    continue
                stored.append(run(kind, weight, seed, taught, unseen, options))
                result = {"settings": settings, "rows": summarize(stored), "trainings": stored}
                write_json(options.out, result | {"machine": machine()})
    print(markdown_table(summarize(stored)))


if __name__ == "__main__":
    main(tyro.cli(TrainingOptions, description=__doc__))

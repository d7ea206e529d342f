"""From a configuration to a network and planes: all that can be wrong with the input shows here, before training."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from dqe_loss.data.split import PARTS, read_split, split_exams
from dqe_loss.data.tables.ratings import read_ratings
from dqe_loss.data.tables.ratings_scheme import scheme_of
from dqe_loss.processes import Processes
from dqe_loss.surrogate.checkpoint import load_surrogate, refiner_weights
from dqe_loss.surrogate.config import SurrogateConfig
from dqe_loss.surrogate.network import build_network
from dqe_loss.task import GLIOMA
from dqe_loss.tasks.reading import check_task, decisive_values
from dqe_loss.train.card import describe_data
from dqe_loss.train.config import TrainConfig
from dqe_loss.train.dataset import MicroBatches, RatedPlane, rated_planes
from dqe_loss.train.plane_cache import PlaneCache, fill_cache

# A continuation may run elsewhere, and be watched otherwise; all else makes it another training.
_FREE = ("task", "ratings", "out", "resume", "split", "cache", "device", "workers", "save_every")


@dataclass(frozen=True)
class PreparedTraining:
    """What a training needs.

    Attributes:
        surrogate: what it leads to.
        kind: kind of the ratings.
        network: where it starts, on the CPU.
        refiner: the weights of the pretrained refiner, named as in a checkpoint; empty if there is none.
        split: exam to part.
        planes: the planes of each part.
        fingerprint: what a continuation must share, JSON-ready.
    """

    surrogate: SurrogateConfig
    kind: str
    network: nn.Module
    refiner: dict[str, Tensor]
    split: dict[str, str]
    planes: dict[str, list[RatedPlane]]
    fingerprint: dict[str, Any]


def prepare_training(config: TrainConfig, where: Processes, former_split: Path | None = None) -> PreparedTraining:
    """Read and check all input of a training, and fill the cache of planes.

    Args:
        config: the training.
        where: this process among its like; process 0 fills the cache.
        former_split: split of the run that is resumed, which comes before any other.

    Returns:
        The network and the planes.

    Raises:
        ValueError: if something does not fit; cheap checks come first, reading exams last.
        OSError: if the cache cannot be written.
    """
    task = config.settled
    surrogate, network, refiner = start_network(config)
    table = read_ratings(config.ratings, task)
    config = replace(config, label_scheme=scheme_of(table, config.label_scheme, task).name)
    split = _split(config, table, former_split)
    part = table["exam"].map(split)
    tables = {name: table[part == name] for name in PARTS}
    expected = rated_planes(tables["train"], defaultdict(Path), config.targets, task)
    MicroBatches(len(expected), config.batch, config.micro_batch, world=where.world)

    if config.pretrained is None:
        center_output(network, sum(plane.stars for plane in expected) / len(expected))

    kind, data = str(table["kind"].iloc[0]), describe_data(table, split)
    if surrogate.data:
        data += f"; started from a network that had learned from {surrogate.data}"
    if refiner:
        data = f"{kind} ratings: {data}; the refiner is carried over unchanged"
    versions = {name: version(name) for name in ("dqe_loss", "torch", "monai", "numpy")}
    surrogate = replace(surrogate, kind_of_ratings="hybrid" if refiner else kind, data=data, versions=versions)

    cache = PlaneCache(config.cache or config.out / "planes", surrogate, task.scheme(config.label_scheme))
    entries = fill_cache(cache, table) if where.first else {}
    where.wait()
    if not where.first:
        entries = fill_cache(cache, table, progress=False)
    planes = {
        name: rated_planes(rows, entries, config.targets if name == "train" else "mean", task)
        for name, rows in tables.items()
    }
    return PreparedTraining(
        surrogate, kind, network, refiner, split, planes, _fingerprint(config, surrogate, planes["train"], refiner)
    )


def start_network(config: TrainConfig) -> tuple[SurrogateConfig, nn.Module, dict[str, Tensor]]:
    """A network to train, random by the seed or pretrained, its configuration, and the weights of a refiner.

    A pretrained refiner is carried over as it is: it knows references, and ratings teach it nothing.

    Raises:
        FileNotFoundError: if there is no such checkpoint.
        ValueError: if the architecture is no 2D classifier, or the checkpoint does not fit the head.
    """
    torch.manual_seed(config.seed)
    refiner: dict[str, Tensor] = {}
    if config.pretrained is None:
        surrogate = config.surrogate()
        network = build_network(surrogate)
    else:
        start = load_surrogate(config.pretrained)
        check_task(
            config.settled, start.config.task, config.pretrained, "leave --pretrained out, or give the same --task"
        )
        surrogate = replace(
            start.config,
            head=config.head,
            field_of_view=config.field_of_view or start.config.task.field_of_view,
            seed=config.seed,
            dice_map=None,  # what the stars of other weights meant
        )
        network = build_network(surrogate)
        refiner = refiner_weights(start)
        _copy_weights(start.network, start.config.head, network, config)
    _check_output(surrogate, network)
    return surrogate, network, refiner


def center_output(network: nn.Module, stars: float) -> None:
    """Let a fresh network begin at the mean rating (our choice): Ranger21's bounded steps would take epochs to it."""
    last = [layer for layer in network.modules() if isinstance(layer, nn.Linear) and layer.out_features == 1]
    if last and last[-1].bias is not None:
        nn.init.constant_(last[-1].bias, stars)


def _copy_weights(source: nn.Module, head: str, network: nn.Module, config: TrainConfig) -> None:
    if head == config.head:
        network.load_state_dict(source.state_dict())
    elif head == "regression":
        network.get_submodule("backbone").load_state_dict(source.state_dict())
    else:
        raise ValueError(f"{config.pretrained} has an ordinal head, use --head ordinal")


def _check_output(surrogate: SurrogateConfig, network: nn.Module) -> None:
    """MONAI has networks of the same arguments that are no classifiers: tell before an hour of reading exams."""
    channels = next(parameter for parameter in network.parameters() if parameter.ndim == 4).shape[1]
    expected = (1, 1) if surrogate.head == "regression" else (1, round(surrogate.stars[1] - surrogate.stars[0]))
    network.eval()
    with torch.no_grad():
        output = network(torch.zeros(1, channels, *surrogate.field_of_view))
    network.train()
    if not isinstance(output, torch.Tensor) or tuple(output.shape) != expected:
        raise ValueError(
            f"{surrogate.architecture} gives no number for a plane; expected a classifier such as resnet18"
        )


def _split(config: TrainConfig, table: pd.DataFrame, former: Path | None) -> dict[str, str]:
    given, exams = former or config.split, set(table["exam"])
    if given is None:
        return split_exams(exams, validation=config.validation, test=config.test, seed=config.seed)
    split = read_split(given, exams)
    if not any(split[exam] == "train" for exam in exams):
        raise ValueError(f"{given}: none of the exams of the ratings is in train")
    return {exam: part for exam, part in split.items() if exam in exams}


def _fingerprint(
    config: TrainConfig, surrogate: SurrogateConfig, planes: Sequence[RatedPlane], refiner: Mapping[str, Tensor]
) -> dict[str, Any]:
    listed = "\n".join(f"{plane.entry.name} {plane.view} {plane.stars!r}" for plane in planes)
    options = {f.name: str(getattr(config, f.name)) for f in fields(config) if f.name not in _FREE}
    options |= {"field_of_view": str(surrogate.field_of_view), "normalization": surrogate.normalization}
    if surrogate.task != GLIOMA:
        options["task"] = json.dumps({**decisive_values(surrogate.task), "lesion": surrogate.task.lesion})
    found = {**options, "training planes": hashlib.sha256(listed.encode()).hexdigest()[:16]}
    if refiner:  # read anew by a continuation: it must be the same
        weights = b"".join(tensor.numpy().tobytes() for tensor in refiner.values())
        found["refiner"] = hashlib.sha256(weights).hexdigest()[:16]
    return found

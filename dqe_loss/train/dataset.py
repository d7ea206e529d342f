"""Training planes in an order and with an augmentation that depend on the seed alone.

Every random number of a training is drawn from (seed, epoch, index): neither the number of workers nor of processes,
nor an interruption, changes what the network sees.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from dqe_loss.core.planes import join_planes
from dqe_loss.data.augmentation.augment import AugmentationConfig, augment
from dqe_loss.data.tables.ratings import JUDGED, judgments_by_view, mean_ratings, paths_of
from dqe_loss.metrics.latent_raters import fit_latent
from dqe_loss.surrogate.config import SurrogateConfig
from dqe_loss.task import GLIOMA, Task
from dqe_loss.train.plane_cache import read_planes


@dataclass(frozen=True)
class RatedPlane:
    """A plane and its stars.

    Attributes:
        exam: name of the exam.
        segmentation: path of the rated label map, as the table has it.
        view: the view.
        entry: file of the plane cache.
        stars: what the network should say.
    """

    exam: str
    segmentation: str
    view: str
    entry: Path
    stars: float


def latent_ratings(table: pd.DataFrame, task: Task) -> pd.DataFrame:
    """The quality of each rated view, as `dqe_loss.metrics.latent_raters` estimates it from these rows alone.

    A judgment of all views is one judgment, whose estimate counts in each view. Qualities are relative to the mean of
    these raters: what they all have in common is not corrected.

    Args:
        table: rows of a ratings table, as `dqe_loss.data.tables.ratings.read_ratings` returns it: those to learn from,
            and no others, for raters must not be judged by what is held out.
        task: what was rated.

    Returns:
        As of `dqe_loss.data.tables.ratings.mean_ratings`, with the estimates for ``stars``, within the scale.
    """
    judged = table[list(JUDGED)].agg("\0".join, axis=1)
    fit = fit_latent(judged, table["rater"], table["stars"], groups=table["exam"], scale=task.stars)
    quality = fit.items["quality"].reindex(judged).to_numpy()
    weight = 1 / fit.items["sd"].reindex(judged).to_numpy() ** 2
    single = table.assign(quality=quality, weight=weight).drop_duplicates(list(JUDGED))
    keys = ["exam", *paths_of(task), "view"]
    # A view may have been judged by itself and together with the others: the surer estimate counts more.
    estimates = judgments_by_view(single, task)
    estimates = estimates.assign(weighted=estimates["quality"] * estimates["weight"])
    sums = estimates.groupby(keys, sort=False)[["weighted", "weight"]].sum()
    stars = (sums["weighted"] / sums["weight"]).clip(*task.stars).rename("stars").reset_index()
    return mean_ratings(table, task).drop(columns="stars").merge(stars, on=keys, how="left")


_TARGETS: dict[str, Callable[[pd.DataFrame, Task], pd.DataFrame]] = {
    "mean": mean_ratings,
    "individual": judgments_by_view,
    "latent": latent_ratings,
}


def rated_planes(
    table: pd.DataFrame, entries: Mapping[str, Path], targets: str = "mean", task: Task = GLIOMA
) -> list[RatedPlane]:
    """What there is to learn from a table of ratings.

    Args:
        table: as `dqe_loss.data.tables.ratings.read_ratings` returns it.
        entries: segmentation to file of the cache, as `dqe_loss.train.plane_cache.fill_cache` returns it.
        targets: ``"mean"``: each rated plane once with its raters' mean (the paper); ``"individual"``: once for each
            judgment, as upstream's newer weights were trained; ``"latent"``: once with `latent_ratings` of this table.
        task: what was rated.

    Returns:
        The planes in the table's order.
    """
    rows = _TARGETS[targets](table, task)
    return [
        RatedPlane(r["exam"], r["segmentation"], r["view"], entries[r["segmentation"]], float(r["stars"]))
        for r in rows.to_dict("records")
    ]


class PlaneDataset(Dataset[tuple[Tensor, Tensor]]):
    """Rated planes as the network takes them.

    Args:
        planes: the planes.
        config: how the surrogate encodes the mask.
        augmentation: None for the planes as they are; without flips of what is no lesion, or a left part would be
            taken for a right one.
        seed: of the augmentation.

    An item is asked for by (epoch, index) and is a plane ``(C, H, W)`` and its stars, a scalar, both float32.
    """

    def __init__(
        self,
        planes: Sequence[RatedPlane],
        config: SurrogateConfig,
        augmentation: AugmentationConfig | None = None,
        seed: int = 0,
    ) -> None:
        if augmentation is not None and not config.task.lesion:
            augmentation = replace(augmentation, flip_probability=0.0)
        self.planes, self.config, self.augmentation, self.seed = list(planes), config, augmentation, seed

    def __len__(self) -> int:
        """Number of planes."""
        return len(self.planes)

    def __getitem__(self, item: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """The plane of an index as augmented in an epoch."""
        epoch, index = item
        plane = self.planes[index]
        scans, regions = read_planes(plane.entry, plane.view, self.config.task)
        if self.augmentation is not None:
            scans, regions = augment(scans, regions, self.augmentation, seed=(self.seed, epoch, index))
        return join_planes(self.config, scans, regions), torch.tensor(plane.stars, dtype=torch.float32)


class MicroBatches(Sampler[list[tuple[int, int]]]):
    """Which planes each forward pass of one epoch takes, for one of several processes.

    Each epoch's permutation is cut into global batches, and these into micro-batches; process r of n takes the
    micro-batches r, r + n, ... of each batch. What is left over at the end of an epoch waits for the next one.

    Args:
        planes: number of planes.
        batch: planes per global batch.
        micro_batch: planes per forward pass; divides the batch.
        seed: of the order.
        rank: this process.
        world: number of processes; divides the number of micro-batches.

    Raises:
        ValueError: if the numbers do not divide, or there are fewer planes than a batch takes.
    """

    def __init__(
        self, planes: int, batch: int, micro_batch: int, *, seed: int = 0, rank: int = 0, world: int = 1
    ) -> None:
        if batch % (micro_batch * world):
            raise ValueError(
                f"batch must be a multiple of micro_batch x processes, got {batch} and {micro_batch} x {world}; "
                f"try --micro-batch {max(batch // (2 * world), 1)}"
            )
        if planes < batch:
            raise ValueError(f"there are {planes} planes to train on, fewer than a batch of {batch}; give --batch less")
        self.planes, self.batch, self.micro_batch = planes, batch, micro_batch
        self.seed, self.rank, self.world = seed, rank, world
        self.epoch, self.first_step = 0, 0

    @property
    def steps(self) -> int:
        """Steps of the optimizer in an epoch."""
        return self.planes // self.batch

    @property
    def per_step(self) -> int:
        """Micro-batches of a step that this process computes."""
        return self.batch // (self.micro_batch * self.world)

    def __len__(self) -> int:
        """Micro-batches of this process in what is left of the epoch."""
        return (self.steps - self.first_step) * self.per_step

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        """Lists of (epoch, index), from `first_step` on."""
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.planes).tolist()
        for step in range(self.first_step, self.steps):
            for part in range(self.rank, self.batch // self.micro_batch, self.world):
                start = step * self.batch + part * self.micro_batch
                yield [(self.epoch, index) for index in order[start : start + self.micro_batch]]

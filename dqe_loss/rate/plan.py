"""What a run rates: which exams there are, in which state their files are, and what every row depends on."""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dqe_loss.core.centers import told_centers
from dqe_loss.data.discovery.cohort import FoundExam
from dqe_loss.data.discovery.data_set import find_data_set
from dqe_loss.data.discovery.nnunet import is_nnunet, leave_out_unlabeled
from dqe_loss.data.file_names import printable, written
from dqe_loss.data.tables.table import origin_columns, relative_path
from dqe_loss.surrogate.checkpoint import fingerprint
from dqe_loss.surrogate.config import SurrogateConfig
from dqe_loss.surrogate.describe import star_unit
from dqe_loss.surrogate.network import Surrogate
from dqe_loss.surrogate.survey import is_surveyed
from dqe_loss.task import GLIOMA, LabelScheme, Task
from dqe_loss.tasks.reading import label_values


@dataclass(frozen=True)
class RatePlan:
    """What is rated, and how.

    Attributes:
        data: a tree of exams, a data set of nnU-Net, or a table of paths.
        out: the table to write, ``.csv`` or ``.parquet``.
        checkpoint: name of the surrogate.
        label_scheme: of the label maps, by name; the task's default if None.
        predictions: folders with segmentations to rate instead of the exams' own.
        channels: modalities of nnU-Net's channels, if ``dataset.json`` does not say.
        workers: threads that read ahead.
        retry: whether to rate again what failed.
        centers: where the planes lie, see `dqe_loss.core.centers.CENTERS`.
        thorough: whether to survey the whole volume, if the surrogate has a refiner.
        rank: number of this process.
        world: number of processes.
        task: what is rated.
        best: folder for the best mask of each exam, if they are to be chosen (`dqe_loss.rate.best`).
    """

    data: Path
    out: Path
    checkpoint: str
    label_scheme: str | None = None
    predictions: tuple[Path, ...] = ()
    channels: tuple[str, ...] = ()
    workers: int = 2
    retry: bool = False
    centers: tuple[str, ...] = ("mask",)
    thorough: bool = True
    rank: int = 0
    world: int = 1
    task: Task = GLIOMA
    best: Path | None = None

    @property
    def scheme(self) -> LabelScheme:
        """The label scheme."""
        return self.task.scheme(self.label_scheme)

    def told(self, config: SurrogateConfig) -> tuple[str, ...]:
        """What the table says of where stars come from, see `dqe_loss.core.centers.told_centers`."""
        return told_centers(self.centers, is_surveyed(config, self.thorough))

    def origin(self, surrogate: Surrogate) -> dict[str, str]:
        """What the stars are: the columns that are the same in all rows."""
        origin = origin_of(surrogate, self.checkpoint, self.scheme, self.told(surrogate.config))
        return origin | origin_columns(self.task)

    def settings(self, surrogate: Surrogate) -> dict[str, Any]:
        """What a continuation must share, JSON-ready. A checkpoint is what it does, whatever its name."""
        folder = self.out.parent
        origin = self.origin(surrogate)
        del origin["checkpoint"]
        labels = {} if self.task == GLIOMA else {"labels": label_values(self.scheme)}
        return {
            **origin,
            **labels,
            "data": relative_path(written(str(self.data)), folder),
            "predictions": [relative_path(written(str(path)), folder) for path in self.predictions],
            "channels": list(self.channels),
        }


def origin_of(surrogate: Surrogate, checkpoint: str, scheme: LabelScheme, told: Sequence[str]) -> dict[str, str]:
    """What stars are, by the columns `dqe_loss.data.tables.rated.ORIGIN`.

    Args:
        surrogate: that gives them.
        checkpoint: what the user calls it.
        scheme: of the label maps.
        told: where the planes lie, as `dqe_loss.core.centers.told_centers` says it.
    """
    return {
        "label_scheme": scheme.name,
        "unit": star_unit(surrogate.config),
        "center": " ".join(told),
        "checkpoint": printable(Path(checkpoint).name),
        "checkpoint_sha256": fingerprint(surrogate),
    }


def find_planned_exams(plan: RatePlan) -> list[FoundExam]:
    """Find the exams of a plan, in the order of names: the same in every process.

    Of nnU-Net's data sets with predictions, those exams that were predicted: its test cases, or a fold. Without, those
    that have a segmentation.

    Raises:
        ValueError: if there are none, or nnU-Net's labels could be of either order, or are of another than said.
    """
    cases = find_data_set(plan.data, plan.label_scheme, plan.predictions, plan.channels, plan.task)
    return leave_out_unlabeled(cases, plan.data) if is_nnunet(plan.data) and not plan.predictions else cases


def stamp(case: FoundExam, folder: Path) -> str:
    """A checksum of an exam's files by path, size and time: another prediction of the same name is another exam.

    Args:
        case: the exam.
        folder: what paths are relative to, so that a data set and its table may move together.
    """
    files = {**case.images, **{f"mask {name}": path for name, path in case.masks.items()}}
    states = [[name, relative_path(written(str(path)), folder), *_size_and_time(path)] for name, path in files.items()]
    return hashlib.sha256(json.dumps([case.error, states]).encode()).hexdigest()[:16]


def _size_and_time(path: Path) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except OSError:  # one that is missing or may not be read is told when the exam's turn comes
        return -1, -1
    return status.st_size, status.st_mtime_ns

"""Planes once, epochs many: rated planes are extracted once and kept on disk, memory-mapped.

A full exam takes 0.3 s to decompress and holds the three planes that matter; an epoch must not pay that again. Files
are keyed by content: the bytes of the exam's files and all that shapes a plane, so that a changed file or another
normalization can never be served from the cache.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import pandas as pd
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from tqdm import tqdm

from dqe_loss.core.labels import LabelScheme, SchemeLike
from dqe_loss.core.labels import label_scheme as find_scheme
from dqe_loss.core.mask import LabelMask, center_of_mask
from dqe_loss.core.planes import presented_planes
from dqe_loss.core.slicing import VIEW_AXIS
from dqe_loss.data.exam_files import ExamPaths
from dqe_loss.data.exams import read_exam
from dqe_loss.data.file_names import file_at
from dqe_loss.data.label_sets import LABELS, LabelSurvey
from dqe_loss.outputs import write_together
from dqe_loss.surrogate.config import SurrogateConfig
from dqe_loss.task import GLIOMA, Task
from dqe_loss.tasks.reading import decisive_values, label_values

_FORMAT = 1
"""To be raised when planes of the same content change."""

Planes = tuple[Tensor, Tensor]
"""Scans ``(C, H, W)`` float32 in [0, 1], and regions ``(R, H, W)`` boolean, of one plane."""


@dataclass(frozen=True)
class PlaneCache:
    """Rated planes of segmentations, kept in a folder.

    Attributes:
        folder: where they are kept: 2.9 MB for a segmentation's three planes. Several trainings may share it.
        config: says how planes are scaled and padded; neither architecture nor encoding matters.
        label_scheme: scheme of the label maps.
    """

    folder: Path
    config: SurrogateConfig
    label_scheme: SchemeLike | None = None

    @property
    def scheme(self) -> LabelScheme:
        """The label scheme; the task's default if none was named."""
        return find_scheme(self.label_scheme, self.config.task)

    def key(self, paths: ExamPaths) -> str:
        """Name of the entry of an exam and its only segmentation: a hash of all that its planes depend on."""
        recipe = {
            "format": _FORMAT,
            "label_scheme": self.scheme.name,
            "modalities": self.config.modalities,
            "normalization": self.config.normalization,
            "percentiles": self.config.percentiles,
            "field_of_view": self.config.field_of_view,
            "files": [_hash(path, path.stat().st_mtime_ns, path.stat().st_size) for path in _files(paths)],
        }
        if self.config.task != GLIOMA:
            recipe["task"] = decisive_values(self.config.task)
            recipe["labels"] = label_values(self.scheme)
        return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:32]

    def find(self, paths: ExamPaths) -> Path | None:
        """The entry's file, if it is there and whole."""
        path = self.folder / f"{self.key(paths)}.safetensors"
        if not path.is_file():
            return None
        try:
            with safe_open(path, framework="pt"):
                return path
        except (SafetensorError, OSError):
            return None  # cut short by a full disk or a kill: made anew

    def add(self, exams: Sequence[ExamPaths]) -> list[Path]:
        """Extract the planes of segmentations of one exam, reading its images once.

        Args:
            exams: the same exam with one segmentation each.

        Returns:
            The entries' files.

        Raises:
            ExamError: if a file cannot be read (see `read_exam`).
            ValueError: if a plane does not fit the field of view.
            OSError: if the folder cannot be written.
        """
        segmentations = tuple(paths.segmentations[0] for paths in exams)
        exam = read_exam(
            replace(exams[0], segmentations=segmentations), label_scheme=self.scheme, task=self.config.task
        )
        image = torch.from_numpy(exam.image)[None]
        entries = []
        for single, (name, labels) in zip(exams, exam.segmentations.items(), strict=True):
            scans, regions = self._extract(image, torch.from_numpy(labels)[None, None])
            path = self.folder / f"{self.key(single)}.safetensors"
            metadata = {LABELS: " ".join(map(str, exam.present[name]))}
            write_together({path: save({"scans": scans, "regions": regions}, metadata)})
            entries.append(path)
        return entries

    def _extract(self, image: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        mask, task = LabelMask(labels, self.scheme), self.config.task
        center = center_of_mask(mask, hard=True, regions=task.centers)
        channels = self.config.channels()
        planes = [
            presented_planes(self.config, image, mask, center[:, VIEW_AXIS[view], None], view, channels)
            for view in task.views
        ]
        scans, regions = (torch.stack([pair[i][0, 0] for pair in planes]).contiguous() for i in (0, 1))
        return scans, regions


def fill_cache(cache: PlaneCache, table: pd.DataFrame, progress: bool = True) -> dict[str, Path]:
    """Extract the planes of all segmentations of a table of ratings that the cache lacks.

    Args:
        cache: the cache; its folder is made.
        table: as `dqe_loss.data.tables.ratings.read_ratings` or `mean_ratings` returns it.
        progress: whether to show a progress bar.

    Returns:
        Path of each segmentation, as the table has it, to its entry.

    Raises:
        ExamError: if a file cannot be read; what is done by then stays in the cache.
        OSError: if the folder cannot be written.

    Warns:
        UserWarning: the exams' labels are mixed, see `dqe_loss.data.label_sets.LabelSurvey`.
    """
    survey, task = LabelSurvey(cache.scheme), cache.config.task
    cache.folder.mkdir(parents=True, exist_ok=True)
    entries: dict[str, Path] = {}
    unique = table.drop_duplicates(["exam", "segmentation"])
    for name, rows in tqdm(unique.groupby("exam", sort=False), "planes", unit="exam", disable=not progress):
        missing = []
        for row in rows.to_dict("records"):
            images = {modality: file_at(row[modality]) for modality in task.modalities}
            paths = ExamPaths(images, (file_at(row["segmentation"]),), str(name), task.planar)
            entry = cache.find(paths)
            if entry is None:
                missing.append((row["segmentation"], paths))
            else:
                entries[row["segmentation"]] = entry
        if missing:
            segmentations, exams = zip(*missing, strict=True)
            entries.update(zip(segmentations, cache.add(exams), strict=True))
        survey.add(str(name), {label for file in rows["segmentation"] for label in _labels(entries[file])})
    return entries


def read_planes(entry: Path, view: str, task: Task = GLIOMA) -> Planes:
    """One plane of an entry; nothing but its own bytes are read.

    Raises:
        OSError: if the entry is gone or damaged.
    """
    index = task.views.index(view)
    try:
        with safe_open(entry, framework="pt") as file:
            return file.get_slice("scans")[index], file.get_slice("regions")[index]
    except (SafetensorError, OSError) as error:
        raise OSError(f"{entry}: a cached plane is gone or damaged ({error}); delete it and start again") from error


def _labels(entry: Path) -> list[int]:
    """Labels that occur in an entry's segmentation; none in those of former versions, which did not note them."""
    with safe_open(entry, framework="pt") as file:
        return [int(label) for label in (file.metadata() or {}).get(LABELS, "").split()]


def _files(paths: ExamPaths) -> list[Path]:
    return [Path(path) for path in (*paths.images.values(), *paths.segmentations)]


@lru_cache(maxsize=100_000)
def _hash(path: Path, modified: int, size: int) -> str:
    """Hash of a file's content; time and size are there to forget a file that changes while the process runs."""
    return hashlib.sha256(path.read_bytes()).hexdigest()

"""The exams of an audit: image, reference, brain, and another exam's mask to put in its place."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dqe_loss.core.labels import regions_from_labels
from dqe_loss.data.corruption import as_canonical
from dqe_loss.data.corruption.label_maps import Labels, Mask
from dqe_loss.data.discovery.named_exams import find_named_exams
from dqe_loss.data.exam_checks import head_of
from dqe_loss.data.exam_files import ExamPaths, choose_reference
from dqe_loss.data.exams import read_exam
from dqe_loss.data.label_files import read_labels
from dqe_loss.data.nifti import ExamError
from dqe_loss.data.phantom import PHANTOMS, phantom_of
from dqe_loss.task import GLIOMA, LabelScheme, Task

FIRST_PHANTOM = 1000
"""Seed of the first phantom: far from those that `dqe_loss.simulate` begins with, which surrogates are trained on."""
STRANGER = 999
"""Seed of the phantom whose mask stands for another exam's where an exam is audited alone."""


@dataclass(frozen=True)
class ExamSource:
    """Where an exam comes from.

    Attributes:
        name: what to call it.
        paths: its files, the reference the only segmentation; None for a phantom.
        seed: the phantom's seed.
        label_scheme: scheme of the reference; the task's default if None.
        task: what is segmented.
        field_of_view: height and width in voxels that each plane must fit; not asked if None.
    """

    name: str
    paths: ExamPaths | None = None
    seed: int = 0
    label_scheme: str | None = None
    task: Task = GLIOMA
    field_of_view: tuple[int, int] | None = None

    @property
    def scheme(self) -> LabelScheme:
        """The label scheme."""
        return self.task.scheme(self.label_scheme)


@dataclass(frozen=True)
class AuditedExam:
    """One exam, ready for the audit.

    Attributes:
        name: what to call it.
        image: raw intensities ``(1, C, X, Y, Z)``.
        labels: reference in the task's canonical scheme, uint8 (X, Y, Z).
        brain: where there is brain, bool (X, Y, Z).
        other: another exam's reference in the same scheme, or None.
        other_name: whose.
        present: labels that occur in the reference as it is stored.
        task: what is segmented.
        affine: of the files, for pictures; None for a phantom, which runs LPS.
    """

    name: str
    image: Tensor
    labels: Labels
    brain: Mask
    other: Labels | None = None
    other_name: str | None = None
    present: tuple[int, ...] = ()
    task: Task = GLIOMA
    affine: NDArray[np.float64] | None = None

    @property
    def regions(self) -> Tensor:
        """The reference as boolean regions ``(1, R, X, Y, Z)``."""
        return self.as_regions(self.labels)

    def as_regions(self, labels: Labels) -> Tensor:
        """Any label map in the canonical scheme as boolean regions ``(1, R, X, Y, Z)`` on the image's device."""
        return regions_from_labels(torch.from_numpy(labels)[None, None].to(self.image.device), self.task.canonical)

    def rng(self, seed: int, stream: str) -> np.random.Generator:
        """Randomness that depends on the seed, the exam and what it is for, never on the order of the work."""
        return np.random.default_rng([seed, zlib.crc32(self.name.encode()), zlib.crc32(stream.encode())])


def phantom_sources(count: int, first: int = FIRST_PHANTOM, task: Task = GLIOMA) -> list[ExamSource]:
    """Synthetic exams.

    Raises:
        ValueError: if there are none of the task.
    """
    seeds = range(first, first + count)
    return [ExamSource(phantom_of(task).name(seed), seed=seed, task=task) for seed in seeds]


def find_sources(
    folders: Sequence[Path], references: Sequence[str], label_scheme: str | None = None, task: Task = GLIOMA
) -> list[ExamSource]:
    """Find exams and the reference of each.

    Args:
        folders: the exams, as `dqe_loss.data.discovery.named_exams.find_named_exams` takes them.
        references: names, ends or patterns of references (`dqe_loss.data.exam_files.match_reference`); each exam must
            have exactly one that fits; empty where each exam has one segmentation.
        label_scheme: scheme of the references; the task's default if None.
        task: what an exam holds.

    Raises:
        ValueError: there is no exam, no reference, more than one, or two exams have one name.
    """
    sources: list[ExamSource] = []
    for paths in find_named_exams(folders, task):
        reference = choose_reference(paths.folder, paths.segmentations, references)
        if paths.name in {source.name for source in sources}:
            raise ValueError(f"--exams names more than one exam {paths.name}; give each once, in a folder of its name")
        alone = replace(paths, segmentations=(reference,))
        sources.append(ExamSource(paths.name, alone, label_scheme=label_scheme, task=task))
    return sources


def find_stranger(source: ExamSource, sources: Sequence[ExamSource]) -> str | None:
    """Name of the exam whose mask stands for another exam's: the next one, or a phantom; see `read_audited_exam`."""
    place = next(i for i, other in enumerate(sources) if other.name == source.name)
    following = [*sources[place + 1 :], *sources[:place]]
    if following:
        return following[0].name
    return PHANTOMS[source.task.name].name(STRANGER) if source.task.name in PHANTOMS else None


def read_audited_exam(
    source: ExamSource, sources: Sequence[ExamSource] | None = None, device: str = "cpu"
) -> AuditedExam:
    """Read an exam, and the mask of the next one (of a phantom if there is no other exam).

    Args:
        source: the exam.
        sources: all exams of the audit; None for the exam alone, without another one's mask.
        device: where the image goes.

    Returns:
        The case; without another mask where none has the exam's shape.

    Raises:
        ExamError: a ValueError: a file cannot be used, or the reference is empty.
        ValueError: there are no phantoms of the task.
    """
    present: tuple[int, ...] = ()
    task, affine = source.task, None
    if source.paths is None:
        phantom = phantom_of(task).make(source.seed)
        image, labels = phantom.image, phantom.segmentations["reference"]
    else:
        exam = read_exam(source.paths, label_scheme=source.scheme, task=task, field_of_view=source.field_of_view)
        (stored,) = exam.segmentations.values()
        (present,) = exam.present.values()
        image, labels, affine = exam.image, as_canonical(stored, source.scheme), exam.affine
    if not labels.any():
        file = source.paths.segmentations[0] if source.paths else source.name
        raise ExamError(f"{file}: expected a reference with {task.subject}, found none; leave the exam out")
    volume = torch.from_numpy(image)[None].contiguous().to(device)
    case = AuditedExam(source.name, volume, labels, head_of(image, task), None, None, present, task, affine)
    if sources is None:
        return case
    others = {other.name: other for other in sources}
    if task.name in PHANTOMS:
        others[PHANTOMS[task.name].name(STRANGER)] = ExamSource("", seed=STRANGER, task=task)
    name = find_stranger(source, sources)
    other = _read_reference(others[name], labels.shape) if name else None
    return replace(case, other=other, other_name=name if other is not None else None)


def _read_reference(source: ExamSource, shape: tuple[int, ...]) -> Labels | None:
    """A reference by itself; None if its shape is another."""
    if source.paths is None:
        phantom = phantom_of(source.task)
        return phantom.make(source.seed).segmentations["reference"] if shape == phantom.size else None
    stored: Labels = read_labels(source.paths.segmentations[0], source.scheme).stored
    return as_canonical(stored, source.scheme) if stored.shape == shape else None

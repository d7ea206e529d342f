"""The exams of an audit: image, reference, brain, and another exam's mask to put in its place."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dqe_loss.core.labels import regions_from_labels
from dqe_loss.data.corruption import as_brats23
from dqe_loss.data.corruption.shapes import Labels, Mask
from dqe_loss.data.exam_files import ExamPaths, choose_reference, find_exam
from dqe_loss.data.exams import read_exam
from dqe_loss.data.label_files import read_labels
from dqe_loss.data.nifti import ExamError
from dqe_loss.data.phantom import SIZE, make_phantom

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
        label_scheme: scheme of the reference.
    """

    name: str
    paths: ExamPaths | None = None
    seed: int = 0
    label_scheme: str = "brats"


@dataclass(frozen=True)
class AuditedExam:
    """One exam, ready for the audit.

    Attributes:
        name: what to call it.
        image: raw intensities ``(1, 4, X, Y, Z)``.
        labels: reference in the scheme ``"brats23"``, uint8 (X, Y, Z).
        brain: where there is brain, bool (X, Y, Z).
        other: another exam's reference in the same scheme, or None.
        other_name: whose.
        present: labels that occur in the reference as it is stored.
    """

    name: str
    image: Tensor
    labels: Labels
    brain: Mask
    other: Labels | None = None
    other_name: str | None = None
    present: tuple[int, ...] = ()

    @property
    def regions(self) -> Tensor:
        """The reference as boolean regions ``(1, 3, X, Y, Z)``."""
        return self.as_regions(self.labels)

    def as_regions(self, labels: Labels) -> Tensor:
        """Any label map in ``"brats23"`` as boolean regions ``(1, 3, X, Y, Z)`` on the image's device."""
        return regions_from_labels(torch.from_numpy(labels)[None, None].to(self.image.device), "brats23")

    def rng(self, seed: int, stream: str) -> np.random.Generator:
        """Randomness that depends on the seed, the exam and what it is for, never on the order of the work."""
        return np.random.default_rng([seed, zlib.crc32(self.name.encode()), zlib.crc32(stream.encode())])


def phantom_sources(count: int, first: int = FIRST_PHANTOM) -> list[ExamSource]:
    """Synthetic exams."""
    return [ExamSource(f"phantom-{seed}", seed=seed) for seed in range(first, first + count)]


def find_sources(folders: Sequence[Path], references: Sequence[str], label_scheme: str = "brats") -> list[ExamSource]:
    """Find exams and the reference of each.

    Args:
        folders: the exams' folders, as `dqe_loss.data.exam_files.find_exam` reads them.
        references: names, ends or patterns of references (`dqe_loss.data.exam_files.match_reference`); each exam must
            have exactly one that fits.
        label_scheme: scheme of the references.

    Raises:
        ValueError: there is no exam, no reference, more than one, or two exams have one name.
    """
    sources: list[ExamSource] = []
    for folder in folders:
        paths = find_exam(folder)
        reference = choose_reference(Path(folder), paths.segmentations, references)
        if paths.name in {source.name for source in sources}:
            raise ValueError(f"--exams names more than one exam {paths.name}; give each once, in a folder of its name")
        sources.append(ExamSource(paths.name, replace(paths, segmentations=(reference,)), label_scheme=label_scheme))
    return sources


def find_stranger(source: ExamSource, sources: Sequence[ExamSource]) -> str | None:
    """Name of the exam whose mask stands for another exam's: the next one, or a phantom; see `read_audited_exam`."""
    place = next(i for i, other in enumerate(sources) if other.name == source.name)
    following = [*sources[place + 1 :], *sources[:place]]
    return following[0].name if following else f"phantom-{STRANGER}"


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
        ValueError: a file cannot be used, or the reference holds no tumor.
    """
    present: tuple[int, ...] = ()
    if source.paths is None:
        phantom = make_phantom(source.seed)
        image, labels = phantom.image, phantom.segmentations["reference"]
    else:
        exam = read_exam(source.paths, label_scheme=source.label_scheme)
        (stored,) = exam.segmentations.values()
        (present,) = exam.present.values()
        image, labels = exam.image, as_brats23(stored, source.label_scheme)
    if not labels.any():
        file = source.paths.segmentations[0] if source.paths else source.name
        raise ExamError(f"{file}: expected a reference with tumor, found none; leave the exam out")
    # Negative intensities occur in real exams, so that brain is what is not 0.
    volume = torch.from_numpy(image)[None].contiguous().to(device)
    case = AuditedExam(source.name, volume, labels, (image != 0).any(0), present=present)
    if sources is None:
        return case
    others = {other.name: other for other in sources} | {f"phantom-{STRANGER}": ExamSource("", seed=STRANGER)}
    name = find_stranger(source, sources)
    other = _read_reference(others[name], labels.shape) if name else None
    return replace(case, other=other, other_name=name if other is not None else None)


def _read_reference(source: ExamSource, shape: tuple[int, ...]) -> Labels | None:
    """A reference by itself; None if its shape is another."""
    if source.paths is None:
        return make_phantom(source.seed).segmentations["reference"] if shape == SIZE else None
    stored: Labels = read_labels(source.paths.segmentations[0], source.label_scheme).stored
    return as_brats23(stored, source.label_scheme) if stored.shape == shape else None

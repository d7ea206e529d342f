"""Exams as the benchmarks take them: image, and the regions of the segmentation that counts as the reference."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from dqe_loss import regions_from_labels
from dqe_loss.data.exam_files import choose_reference_name, match_reference
from dqe_loss.data.exams import Exam, read_exam
from dqe_loss.data.phantom import make_phantom

PHANTOM = "phantom"
REFERENCES = ("seg-expert", "seg-BraTS23_1", "seg-fusion_mav", "reference")
"""Names that references have in public exams; the last is the phantom's."""


@dataclass(frozen=True)
class ReferenceExam:
    """An exam with its reference.

    Attributes:
        name: what to call it.
        image: raw intensities ``(1, 4, X, Y, Z)`` in the stored type.
        regions: boolean reference ``(1, 3, X, Y, Z)``.
    """

    name: str
    image: Tensor
    regions: Tensor

    def to(self, device: str) -> "ReferenceExam":
        """The exam on another device."""
        return ReferenceExam(self.name, self.image.to(device), self.regions.to(device))


def exam_name(source: str) -> str:
    """Name of an exam, without reading it.

    Args:
        source: ``"phantom-SEED"`` or an exam's folder.
    """
    return source if source.startswith(f"{PHANTOM}-") else Path(source).resolve().name


@lru_cache(maxsize=1)
def load_reference_exam(source: str, references: tuple[str, ...]) -> ReferenceExam:
    """Make a phantom or read an exam; the last one is kept.

    Args:
        source: ``"phantom-SEED"`` or an exam's folder.
        references: see `find_reference`.

    Raises:
        ValueError: if the exam has several segmentations and none, or more than one, fits.
    """
    if source.startswith(f"{PHANTOM}-"):
        exam = make_phantom(int(source.removeprefix(f"{PHANTOM}-")))
    else:
        exam = read_exam(Path(source))
    labels = torch.from_numpy(exam.segmentations[find_reference(exam, references)])
    image = torch.from_numpy(exam.image)
    return ReferenceExam(exam_name(source), image[None].contiguous(), regions_from_labels(labels[None, None]))


def find_reference(exam: Exam, references: tuple[str, ...]) -> str:
    """The first of several names, ends or patterns (`match_reference`) that an exam has, or its only segmentation."""
    names = list(exam.segmentations)
    for wanted in references:
        if match_reference(names, [wanted]):
            return choose_reference_name(exam.name, names, [wanted])
    return names[0] if len(names) == 1 else choose_reference_name(exam.name, names, references)

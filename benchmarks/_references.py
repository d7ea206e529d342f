"""Exams as the benchmarks take them: with one segmentation that counts as the reference."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from dqe_loss.audit.audited_exam import AuditedExam, ExamSource, read_audited_exam
from dqe_loss.data.exam_files import choose_reference_name, find_exam, match_reference, unique_names

PHANTOM = "phantom"
REFERENCES = ("seg-expert", "seg-BraTS23_1", "seg-fusion_mav", "reference")
"""Names that references have in public exams; the last is the phantom's."""


def exam_name(source: str) -> str:
    """Name of an exam, without reading it.

    Args:
        source: ``"phantom-SEED"`` or an exam's folder.
    """
    return source if source.startswith(f"{PHANTOM}-") else Path(source).resolve().name


@lru_cache(maxsize=1)
def load_reference_exam(source: str, references: tuple[str, ...], device: str = "cpu") -> AuditedExam:
    """Make a phantom or read an exam; the last one is kept.

    Args:
        source: ``"phantom-SEED"`` or an exam's folder.
        references: see `find_reference`.
        device: where the image goes.

    Raises:
        ValueError: if the exam has several segmentations and none, or more than one, fits, or there is no tumor.
    """
    if source.startswith(f"{PHANTOM}-"):
        return read_audited_exam(ExamSource(source, seed=int(source.removeprefix(f"{PHANTOM}-"))), device=device)
    paths = find_exam(Path(source))
    names = unique_names(paths.segmentations)
    chosen = paths.segmentations[names.index(find_reference(paths.name, names, references))]
    return read_audited_exam(ExamSource(exam_name(source), replace(paths, segmentations=(chosen,))), device=device)


def find_reference(exam: str, names: Sequence[str], references: Sequence[str]) -> str:
    """The first of several names, ends or patterns (`match_reference`) that an exam has, or its only segmentation."""
    for wanted in references:
        if match_reference(names, [wanted]):
            return choose_reference_name(exam, names, [wanted])
    return names[0] if len(names) == 1 else choose_reference_name(exam, names, references)

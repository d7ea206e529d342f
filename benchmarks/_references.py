"""Exams as the benchmarks take them: with one segmentation that counts as the reference."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from dqe_loss.audit.audited_exam import AuditedExam, ExamSource, read_audited_exam
from dqe_loss.data.exam_files import ExamPaths, choose_reference_name, find_exam, match_reference, unique_names
from dqe_loss.data.exams import Exam, read_exam
from dqe_loss.data.phantom import make_phantom

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
    paths = reference_paths(Path(source), references)
    return read_audited_exam(ExamSource(exam_name(source), paths), device=device)


def reference_paths(folder: Path, references: Sequence[str]) -> ExamPaths:
    """An exam with its reference as the only segmentation; see `find_reference`."""
    paths = find_exam(folder)
    names = unique_names(paths.segmentations)
    chosen = paths.segmentations[names.index(find_reference(paths.name, names, references))]
    return replace(paths, segmentations=(chosen,))


def read_with_references(folders: Sequence[Path], references: Sequence[str], phantoms: int) -> list[tuple[Exam, str]]:
    """Exams, each with the name of its reference.

    Args:
        folders: of the exams; none for phantoms.
        references: what each exam's reference is called, see `find_reference`; the first of each if empty.
        phantoms: how many, if there are no folders.
    """
    exams = [read_exam(find_exam(folder)) for folder in folders] or [make_phantom(seed) for seed in range(phantoms)]
    wanted = references or [next(iter(exam.segmentations)) for exam in exams]
    return [
        (exam, find_reference(exam.name, list(exam.segmentations), (name,)))
        for exam, name in zip(exams, wanted, strict=True)
    ]


def find_reference(exam: str, names: Sequence[str], references: Sequence[str]) -> str:
    """The first of several names, ends or patterns (`match_reference`) that an exam has, or its only segmentation."""
    for wanted in references:
        if match_reference(names, [wanted]):
            return choose_reference_name(exam, names, [wanted])
    return names[0] if len(names) == 1 else choose_reference_name(exam, names, references)

"""The masks that a cross-validation judges: the expert's, natural ones, graded errors, and absurd ones."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from dqe_loss.audit.absurd import absurd_masks
from dqe_loss.audit.audited_exam import AuditedExam, ExamSource
from dqe_loss.data.corruption import CORRUPTIONS, as_canonical, corrupt
from dqe_loss.data.corruption.label_maps import Labels
from dqe_loss.data.exams import read_exam
from dqe_loss.evaluate.referenced_exams import find_all_segmentations
from dqe_loss.task import GLIOMA

SEVERITIES = (0.1, 0.3, 0.6, 1.0)
KINDS = ("expert", "natural", "whole tumor only", "corrupted", "absurd")
EXPERT, NATURAL, WHOLE_ONLY, CORRUPTED, ABSURD = KINDS
"""Kinds of masks. Those of the whole tumor only have no core, so that mean Dice does not judge them: they count apart,
by the Dice of the whole tumor alone."""
WHOLE_ONLY_FOLDER = "wt-only/"
"""Where an exam has them."""


@dataclass(frozen=True)
class JudgedMask:
    """A mask to judge.

    Attributes:
        name: unique within the exam.
        kind: one of `KINDS`.
        error: name of the corruption, or the mask's own name.
        severity: of the corruption, else NaN.
        labels: label map in ``"brats23"``, uint8 (X, Y, Z).
    """

    name: str
    kind: str
    error: str
    severity: float
    labels: Labels


def judged_masks(case: AuditedExam, source: ExamSource, seed: int) -> Iterator[JudgedMask]:
    """All masks of an exam, the expert's first.

    Each mask's randomness depends on the seed, the exam and the mask's name alone. An error that changes nothing, such
    as a shift of an empty region, and a copy of the reference under another name are left out.
    """
    yield JudgedMask("expert", EXPERT, "expert", np.nan, case.labels)
    for name, labels in natural_masks(source).items():
        kind = WHOLE_ONLY if name.startswith(WHOLE_ONLY_FOLDER) else NATURAL
        if kind == WHOLE_ONLY:  # one label, whatever its number
            labels = (labels > 0) * np.uint8(2)  # edema
        if not np.array_equal(labels, case.labels):
            yield JudgedMask(name, kind, name, np.nan, labels)
    for error in CORRUPTIONS:
        if error == "other" and case.other is None:
            continue
        for severity in SEVERITIES:
            name = f"{error} {severity:g}"
            rng = case.rng(seed, name)
            labels = corrupt(case.labels, [(error, severity)], rng=rng, brain=case.brain, other=case.other)
            if not np.array_equal(labels, case.labels):
                yield JudgedMask(name, CORRUPTED, error, severity, labels)
    for name, labels in absurd_masks(case, case.rng(seed, "absurd")).items():
        yield JudgedMask(f"absurd: {name}", ABSURD, name, np.nan, labels)


def natural_masks(source: ExamSource) -> dict[str, Labels]:
    """All segmentations of an exam but its reference, by their paths in its folder, in ``"brats23"``."""
    if source.paths is None:
        return {}
    (reference,) = source.paths.segmentations
    found = find_all_segmentations(reference.parent, (reference.name,), GLIOMA)
    others = replace(found.paths, segmentations=found.paths.segmentations[1:])
    exam = read_exam(others, label_scheme=source.label_scheme, warn=False)
    maps = (as_canonical(labels, source.label_scheme) for labels in exam.segmentations.values())
    return dict(zip(found.names[1:], maps, strict=True))

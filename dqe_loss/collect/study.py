"""A study: which segmentations are shown, to whom and how.

What was once shown stays as it is: a study can be extended by new segmentations and raters, never changed. A mask,
or an image of another size, that is not as it was when the study began is refused before a rater sees it.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from dqe_loss.data.discovery.cohort import FoundExam
from dqe_loss.data.exam_files import ExamPaths
from dqe_loss.data.file_names import file_at, written
from dqe_loss.task import GLIOMA, LabelScheme, Task

Mode = Literal["stars", "pairs"]


@dataclass(frozen=True)
class Case:
    """A segmentation that is shown.

    Attributes:
        exam: name of its exam.
        segmentation: its name within the exam.
        images: each of the task's modalities to its file, as text (`dqe_loss.data.file_names`), absolute.
        mask: the label map, likewise.
        stamp: checksum of the mask, and the sizes of the images.
    """

    exam: str
    segmentation: str
    images: Mapping[str, str]
    mask: str
    stamp: str

    @property
    def key(self) -> str:
        """What tells the case from all others, for names of files: equal masks of two exams have one stamp."""
        return hashlib.sha256(f"{sorted(self.images.items())}{self.mask}{self.stamp}".encode()).hexdigest()[:16]

    def paths(self, task: Task) -> ExamPaths:
        """The files as `dqe_loss.data.exams.read_exam` takes them."""
        images = {modality: file_at(path) for modality, path in self.images.items()}
        return ExamPaths(images, (file_at(self.mask),), self.exam, task.planar)


@dataclass(frozen=True)
class StudyDesign:
    """How a study asks; the same for as long as it runs.

    Attributes:
        mode: ``"stars"``: each segmentation by itself. ``"pairs"``: which of two of an exam is better.
        seed: of every rater's order.
        repeats: share of the cases that a rater sees a second time, unannounced.
        label_scheme: of the label maps; the task's default if empty.
        kind: what the ratings are (contract C12): ``"human"``, or ``"simulated"`` where a program answers.
        title: heading of the page.
        instructions: what a rater reads before the first case.
        tags: remarks that a rater can give with a key or a click.
        task: what is rated: scans, regions and their colors, views, scale.
    """

    mode: Mode = "stars"
    seed: int = 0
    repeats: float = 0.1
    label_scheme: str = ""
    kind: str = "human"
    title: str = "Rate segmentations"
    instructions: str = ""
    tags: tuple[str, ...] = ()
    task: Task = GLIOMA

    @property
    def scheme(self) -> LabelScheme:
        """The label maps' scheme."""
        return self.task.scheme(self.label_scheme or None)


@dataclass(frozen=True)
class Study:
    """A study.

    Attributes:
        design: how it asks.
        cases: what it shows, in the order in which they joined; their place is their number.
        batches: how many cases joined together each time: the order of earlier ones is not touched by later ones.
        training: cases that every rater sees first, whose ratings do not count.
        raters: names.
        versions: of the program, when the study began.
        created: when, ISO 8601.
        reordered: each start with another order than the random one: when, by which stars of which surrogate, and the
            share of random cases.
    """

    design: StudyDesign
    cases: tuple[Case, ...]
    batches: tuple[int, ...]
    training: tuple[Case, ...] = ()
    raters: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    created: str = ""
    reordered: tuple[Mapping[str, Any], ...] = ()

    def extended(self, cases: Sequence[Case], raters: Sequence[str]) -> "Study":
        """The study with further cases and raters; those that it has are left as they are.

        Raises:
            ValueError: a case has the names of one that the study has, and other files.
        """
        known = {(case.exam, case.segmentation): case.stamp for case in self.cases}
        for case in cases:
            if known.get((case.exam, case.segmentation), case.stamp) != case.stamp:
                raise ValueError(
                    f"{case.mask}: the study has another segmentation {case.segmentation} of exam {case.exam}; give "
                    "the study's own --data, or begin another study with another --out"
                )
        new = [case for case in cases if (case.exam, case.segmentation) not in known]
        names = tuple(dict.fromkeys((*self.raters, *raters)))
        batches = (*self.batches, len(new)) if new else self.batches
        return replace(self, cases=(*self.cases, *new), batches=batches, raters=names)


def cases_of(exams: Sequence[FoundExam], task: Task = GLIOMA) -> list[Case]:
    """All segmentations of exams.

    Raises:
        ValueError: an exam's files could not be told apart, or none has a segmentation.
    """
    cases = []
    for exam in exams:
        if exam.error:
            raise ValueError(exam.error)
        for name, mask in exam.masks.items():
            images = {modality: _text(exam.images[modality]) for modality in task.modalities}
            cases.append(Case(exam.name, name, images, _text(mask), stamp_of([*exam.images.values()], mask)))
    if not cases:
        raise ValueError('expected segmentations to rate ("seg" in their names), found none; check --data')
    return cases


def check_files(cases: Sequence[Case]) -> None:
    """See that every file is as it was when its case joined the study.

    Raises:
        ValueError: naming the first that is not.
    """
    changed = [
        case
        for case in cases
        if stamp_of([file_at(path) for path in case.images.values()], file_at(case.mask)) != case.stamp
    ]
    if changed:
        case = changed[0]
        raise ValueError(
            f"{case.mask}: this file, or an image of exam {case.exam}, is not as it was when the study began "
            f"({len(changed)} of {len(cases)} segmentations differ); put it back, or begin another study with another "
            "--out: ratings of two versions must not mix"
        )


def stamp_of(images: Sequence[Path], mask: Path) -> str:
    """What tells a case's files from others: masks are small and are read; of images, the size has to do.

    Returns:
        16 hexadecimal digits; ``"missing: REASON"`` where a file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        digest.update(mask.read_bytes())
        digest.update(str([path.stat().st_size for path in images]).encode())
    except OSError as error:
        return f"missing: {error.strerror}"
    return digest.hexdigest()[:16]


def _text(path: Path) -> str:
    return written(os.path.abspath(path))

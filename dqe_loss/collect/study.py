"""A study: which segmentations are shown, to whom and how.

What was once shown stays as it is: a study can be extended by new segmentations and raters, never changed. A mask or
an image that is not as it was when the study began is refused before a rater sees it.
"""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

from dqe_loss.collect.stamps import BY_CONTENT, content_of, stamp_of
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
        stamp: of its files, as `dqe_loss.collect.stamps.stamp_of` makes it.
    """

    exam: str
    segmentation: str
    images: Mapping[str, str]
    mask: str
    stamp: str

    @property
    def key(self) -> str:
        """What tells the case from all others, wherever its files lie: copies of a mask have one stamp."""
        return hashlib.sha256(repr((self.exam, self.segmentation, self.stamp)).encode()).hexdigest()[:16]

    def stamp_now(self, like: str = BY_CONTENT, content: Callable[[Path], str] = content_of) -> str:
        """The stamp of its files as they are now; for arguments see `dqe_loss.collect.stamps.stamp_of`."""
        return stamp_of([file_at(path) for path in self.images.values()], file_at(self.mask), like, content)

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

    def key_of(self, case: Case) -> str:
        """What tells a drawing of a case from others, for names of files: what it is of, and how it is shown."""
        return hashlib.sha256(repr((case.key, self.scheme, self.task)).encode()).hexdigest()[:16]


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
            before = known.get((case.exam, case.segmentation), case.stamp)
            if before != case.stamp and before != case.stamp_now(before):
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
    content = cache(content_of)
    for exam in exams:
        if exam.error:
            raise ValueError(exam.error)
        for name, mask in exam.masks.items():
            images = {modality: _text(exam.images[modality]) for modality in task.modalities}
            case = Case(exam.name, name, images, _text(mask), "")
            cases.append(replace(case, stamp=case.stamp_now(content=content)))
    if not cases:
        raise ValueError('expected segmentations to rate ("seg" in their names), found none; check --data')
    return cases


def check_files(cases: Sequence[Case]) -> None:
    """See that every file is as it was when its case joined the study.

    Raises:
        ValueError: naming the first that is not.
    """
    content = cache(content_of)
    changed = [case for case in cases if case.stamp_now(case.stamp, content) != case.stamp]
    if changed:
        case = changed[0]
        raise ValueError(
            f"{case.mask}: this file, or an image of exam {case.exam}, is not as it was when the study began "
            f"({len(changed)} of {len(cases)} segmentations differ); put it back, or begin another study with another "
            "--out: ratings of two versions must not mix"
        )


def _text(path: Path) -> str:
    return written(os.path.abspath(path))

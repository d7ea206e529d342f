"""A study: which segmentations are shown, to whom and how, as one file that a report can cite (``study.yaml``).

What was once shown stays as it is: a study can be extended by new segmentations and raters, never changed. A file that
is another than when the study began is told before a rater sees it.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import yaml

from dqe_loss.data.discovery.cohort import FoundExam
from dqe_loss.data.exam_files import ExamPaths
from dqe_loss.data.file_names import file_at, written
from dqe_loss.data.tables.table import absolute_path, relative_path
from dqe_loss.outputs import encode, write_together
from dqe_loss.task import MODALITIES

Mode = Literal["stars", "pairs"]
STUDY = "study.yaml"
FORMAT = 1


@dataclass(frozen=True)
class Case:
    """A segmentation that is shown.

    Attributes:
        exam: name of its exam.
        segmentation: its name within the exam.
        images: modality to file, as text (`dqe_loss.data.file_names`), absolute.
        mask: the label map, likewise.
        stamp: checksum of the mask, and the sizes of the images.
    """

    exam: str
    segmentation: str
    images: Mapping[str, str]
    mask: str
    stamp: str

    @property
    def paths(self) -> ExamPaths:
        """The files as `dqe_loss.data.exams.read_exam` takes them."""
        images = {modality: file_at(self.images[modality]) for modality in MODALITIES}
        return ExamPaths(images, (file_at(self.mask),), self.exam)


@dataclass(frozen=True)
class StudyDesign:
    """How a study asks; the same for as long as it runs.

    Attributes:
        mode: ``"stars"``: each segmentation by itself. ``"pairs"``: which of two of an exam is better.
        seed: of every rater's order.
        repeats: share of the cases that a rater sees a second time, unannounced.
        label_scheme: of the label maps.
        kind: what the ratings are (contract C12): ``"human"``, or ``"simulated"`` where a program answers.
        title: heading of the page.
        instructions: what a rater reads before the first case.
        tags: remarks that a rater can give with a key or a click.
    """

    mode: Mode = "stars"
    seed: int = 0
    repeats: float = 0.1
    label_scheme: str = "brats"
    kind: str = "human"
    title: str = "Rate segmentations"
    instructions: str = ""
    tags: tuple[str, ...] = ()


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
    """

    design: StudyDesign
    cases: tuple[Case, ...]
    batches: tuple[int, ...]
    training: tuple[Case, ...] = ()
    raters: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    created: str = ""

    def extended(self, cases: Sequence[Case], raters: Sequence[str]) -> "Study":
        """The study with further cases and raters; those that it has are left as they are."""
        known = {(case.exam, case.segmentation) for case in self.cases}
        new = [case for case in cases if (case.exam, case.segmentation) not in known]
        names = tuple(dict.fromkeys((*self.raters, *raters)))
        batches = (*self.batches, len(new)) if new else self.batches
        return replace(self, cases=(*self.cases, *new), batches=batches, raters=names)


def cases_of(exams: Sequence[FoundExam]) -> list[Case]:
    """All segmentations of exams.

    Raises:
        ValueError: an exam's files could not be told apart, or one is not there.
    """
    cases = []
    for exam in exams:
        if exam.error:
            raise ValueError(exam.error)
        for name, mask in exam.masks.items():
            images = {modality: _text(exam.images[modality]) for modality in MODALITIES}
            cases.append(Case(exam.name, name, images, _text(mask), _stamp([*exam.images.values()], mask)))
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
        if _stamp([file_at(path) for path in case.images.values()], file_at(case.mask)) != case.stamp
    ]
    if changed:
        case = changed[0]
        raise ValueError(
            f"{case.mask}: this file, or an image of exam {case.exam}, is not as it was when the study began "
            f"({len(changed)} of {len(cases)} segmentations differ); put it back, or begin another study with another "
            "--out: ratings of two versions must not mix"
        )


def write_study(study: Study, folder: Path) -> None:
    """Write ``study.yaml`` atomically, with paths relative to its folder."""
    design = asdict(study.design) | {"tags": list(study.design.tags)}
    content = {
        "format": FORMAT,
        "created": study.created,
        "versions": dict(study.versions),
        **design,
        "raters": list(study.raters),
        "batches": list(study.batches),
        "training": [_case_values(case, folder) for case in study.training],
        "cases": [_case_values(case, folder) for case in study.cases],
    }
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110)
    write_together({folder / STUDY: encode(text)})


def read_study(folder: Path) -> Study:
    """Read ``study.yaml``.

    Raises:
        ValueError: it is not there, damaged, or of a later version of this program.
    """
    path = folder / STUDY
    if not path.is_file():
        raise ValueError(f"{folder}: expected a study ({STUDY}), found none; begin one with dqe collect --data")
    try:
        # The C loader, where there is one, is ten times as fast on hundreds of cases.
        content = yaml.load(path.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        if content["format"] != FORMAT:
            raise ValueError(f"its format is {content['format']}, this program knows {FORMAT}")
        names = StudyDesign.__dataclass_fields__
        design = StudyDesign(**{name: content[name] for name in names} | {"tags": tuple(content["tags"])})
        cases, training = ([_read_case(one, folder) for one in content[key]] for key in ("cases", "training"))
        if sum(content["batches"]) != len(cases):
            raise ValueError("its batches do not add up to its cases")
        return Study(
            design,
            tuple(cases),
            tuple(content["batches"]),
            tuple(training),
            tuple(content["raters"]),
            content["versions"],
            content["created"],
        )
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"{path}: cannot be read ({reason}); restore it from a backup, the journals need it"
        ) from error


def _case_values(case: Case, folder: Path) -> dict[str, Any]:
    paths = {**case.images, "mask": case.mask}
    relative = {name: relative_path(path, folder) for name, path in paths.items()}
    return {"exam": case.exam, "segmentation": case.segmentation, **relative, "stamp": case.stamp}


def _read_case(values: Mapping[str, Any], folder: Path) -> Case:
    images = {modality: absolute_path(values[modality], folder) for modality in MODALITIES}
    return Case(values["exam"], values["segmentation"], images, absolute_path(values["mask"], folder), values["stamp"])


def _text(path: Path) -> str:
    return written(str(path.absolute()))


def _stamp(images: Sequence[Path], mask: Path) -> str:
    """Masks are small and are read; of images, which are not, the size has to do."""
    digest = hashlib.sha256()
    try:
        digest.update(mask.read_bytes())
        digest.update(str([path.stat().st_size for path in images]).encode())
    except OSError as error:
        return f"missing: {error.strerror}"
    return digest.hexdigest()[:16]

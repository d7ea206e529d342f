"""The groups of a cross-validation: exams of one source are judged by a refiner that saw none of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from dqe_loss.audit.audited_exam import ExamSource, find_sources, phantom_sources

GROUPS = (
    "2013=*_2013_*",
    "CBICA=*_CBICA_*",
    "TCIA01=*_TCIA01_*",
    "BraTS2021=BraTS2021_*",
    "first=BraTS-GLI-*,TCGA-*",
)
"""Sources of the exams at hand, as ``NAME=PATTERN[,PATTERN]``; ``first`` are those of the first shipped refiner."""

PHANTOMS = "phantoms"
"""Group of synthetic exams that no refiner was taught on."""
ALL = "all"
"""The refiner that is taught on every exam, and judged on phantoms only."""


@dataclass(frozen=True)
class Group:
    """Exams that are judged by one refiner.

    Attributes:
        name: what to call it.
        refiner: name of the refiner: the group that was left out, or `ALL`.
        sources: the exams to judge.
        strangers: exams among which each finds a stranger's mask (`dqe_loss.audit.audited_exam.read_audited_exam`).
        taught: folders that the refiner is taught on.
    """

    name: str
    refiner: str
    sources: tuple[ExamSource, ...]
    strangers: tuple[ExamSource, ...]
    taught: tuple[Path, ...]


def split_groups(
    folders: Sequence[Path], references: Sequence[str], patterns: Sequence[str], phantoms: int, label_scheme: str
) -> list[Group]:
    """Sort exams into groups by name, and add that of the phantoms.

    Args:
        folders: the exams' folders.
        references: names, ends or patterns of references.
        patterns: ``NAME=PATTERN[,PATTERN]`` for each group; the patterns are those of `fnmatch`.
        phantoms: number of phantoms to judge.
        label_scheme: scheme of the references.

    Returns:
        The groups in the order of their patterns, empty ones left out.

    Raises:
        ValueError: a pattern has no name, or an exam fits none of the groups or more than one.
    """
    known = dict(map(read_pattern, patterns))
    sources = find_sources(folders, references, label_scheme)
    members: dict[str, list[int]] = {name: [] for name in known}
    for place, source in enumerate(sources):
        fitting = [name for name, shapes in known.items() if any(fnmatchcase(source.name, shape) for shape in shapes)]
        if len(fitting) != 1:
            raise ValueError(
                f"expected each exam in one group, got {source.name} in {', '.join(fitting) or 'none'}; "
                "change --groups NAME=PATTERN[,PATTERN], or leave the exam out of --exams"
            )
        members[fitting[0]].append(place)
    groups = []
    for name, places in members.items():
        taught = tuple(Path(folder) for place, folder in enumerate(folders) if place not in places)
        if places:
            groups.append(Group(name, name, tuple(sources[place] for place in places), tuple(sources), taught))
    if phantoms:
        synthetic = tuple(phantom_sources(phantoms))
        groups.append(Group(PHANTOMS, ALL, synthetic, synthetic, tuple(map(Path, folders))))
    return groups


def read_pattern(text: str) -> tuple[str, list[str]]:
    """The name of a group, and the patterns of its exams."""
    name, found, patterns = text.partition("=")
    if not (name and found and patterns) or name in (PHANTOMS, ALL):
        raise ValueError(f"expected a group as NAME=PATTERN[,PATTERN], not named {PHANTOMS} or {ALL}, got {text!r}")
    return name, patterns.split(",")

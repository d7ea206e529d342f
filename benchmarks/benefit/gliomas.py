"""The real case: gliomas of 24 persons from five sources, in three rotations."""

from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
from _hardening_groups import GROUPS, read_pattern
from _references import REFERENCES, reference_paths
from design import ROTATIONS
from exams import Cohort, Parts, read_paths

from dqe_loss.data.exam_files import ExamPaths, find_exam, unique_names
from dqe_loss.tasks.glioma import GLIOMA

LABELLED, TESTED = 3, 4
"""Of the users' 12 exams; the other 5 are unlabelled."""


def read_gliomas(data: Path) -> Cohort:
    """All exams with a reference, in memory (about 2.5 GB).

    Args:
        data: folder of exams named as in BraTS.

    Raises:
        ValueError: an exam is of no known source.
    """
    found = [reference_of(folder) for folder in sorted(data.iterdir()) if folder.is_dir()]
    found = [paths for paths in found if paths is not None]
    names = [paths.name for paths in found]
    return Cohort(
        GLIOMA,
        read_paths(found, GLIOMA, names.index, of_head=True, integers=True),
        rotations(names),
        side=240,
        every=2,
        halvings=2,
        judged=GLIOMA.regions,
        harden=("--reference", *REFERENCES),
        steps=1000,
        lesions=True,
    )


def reference_of(folder: Path) -> ExamPaths | None:
    """An exam with its reference as the only segmentation, if it has one."""
    if not any(name.endswith(REFERENCES) for name in unique_names(find_exam(folder).segmentations)):
        return None
    return reference_paths(folder, REFERENCES)


def source_of(name: str) -> str:
    """The source of an exam, by its name."""
    for source, patterns in map(read_pattern, GROUPS):
        if any(fnmatchcase(name, pattern) for pattern in patterns):
            return source
    raise ValueError(f"expected an exam of {', '.join(GROUPS)}; got {name}")


def rotations(names: list[str]) -> dict[str, Parts]:
    """Who teaches and who uses, three times; drawn once.

    Half of each source's exams use, the other half teach; the halves change sides in the second rotation, and
    others are drawn for the third. Nobody is tested twice.
    """
    rng = np.random.default_rng(24)
    sources: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        sources.setdefault(source_of(name), []).append(place)
    tested: set[int] = set()
    found: dict[str, Parts] = {}
    users: list[int] = []
    for rotation in ROTATIONS:
        if rotation == ROTATIONS[1]:
            users = sorted(set(range(len(names))) - set(users))
        else:
            users = _half_of_each(sources, len(names) // 2, rng)
        teaching = sorted(set(range(len(names))) - set(users))
        fresh = rng.permutation([place for place in users if place not in tested])[:TESTED].tolist()
        tested |= set(fresh)
        others = rng.permutation([place for place in users if place not in fresh]).tolist()
        found[rotation] = Parts(teaching, [], others[:LABELLED], others[LABELLED:], fresh)
    return found


def _half_of_each(sources: dict[str, list[int]], count: int, rng: np.random.Generator) -> list[int]:
    """Half of each source, of odd ones the larger or the smaller half, so that there are as many as asked for."""
    drawn = {source: rng.permutation(places).tolist() for source, places in sources.items()}
    chosen = [place for places in drawn.values() for place in places[: len(places) // 2]]
    odd = [places[len(places) // 2] for places in drawn.values() if len(places) % 2]
    return sorted(chosen + rng.permutation(odd)[: count - len(chosen)].tolist())

"""The best mask of each exam of a rated data set: copied into a folder, with a table of all candidates."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from dqe_loss.data.discovery.cohort import NIFTI, FoundExam
from dqe_loss.data.tables.rated import FORMER, ORIGIN
from dqe_loss.metrics.best_of import MEAN, choose
from dqe_loss.outputs import check_output_folder, encode, write_together
from dqe_loss.resume import claim_folder
from dqe_loss.task import Task

CANDIDATES = "candidates.csv"
"""The table of all candidates."""
SETTINGS = "settings.json"
"""What the folder was made from: another run must not mix its masks in."""
BEST, BEST_IN = "best", "best_in"
"""Columns: whether it was chosen (1 or 0), and the views in which it has the most stars of the exam."""


@dataclass(frozen=True)
class Chosen:
    """What a choice came to.

    Attributes:
        written: exams that have a mask in the folder.
        none: exams of which no mask could be rated.
        alone: exams of which one mask alone could be.
        wins: name of a segmentation to the number of exams of which it is the best, most first.
    """

    written: int
    none: int
    alone: int
    wins: dict[str, int]

    def describe(self, folder: Path) -> str:
        """Say in a line or two what is in the folder."""
        left = "".join(
            f", {count} {what}"
            for count, what in ((self.alone, "of one candidate alone"), (self.none, "without any that could be rated"))
            if count
        )
        wins = ", ".join(f"{name} {count}" for name, count in self.wins.items())
        return f"{folder}: the best mask of {self.written} exams{left}\nbest: {wins or 'none'}"


def begin(folder: Path, cases: Sequence[FoundExam], settings: Mapping[str, Any]) -> None:
    """Claim the folder before any work is done.

    Args:
        folder: where masks are to go; made if need be.
        cases: the exams.
        settings: what all in the folder depends on, JSON-ready.

    Raises:
        ValueError: if no exam has several masks, an exam's name leads out of the folder, or the folder holds something
            else.
    """
    if cases and all(len(case.masks) < 2 for case in cases):
        raise ValueError(
            "--best chooses among several segmentations of an exam, and no exam has more than one; name several "
            "folders, --predictions A B"
        )
    for name in targets(cases).values():
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise ValueError(
                f"--best cannot write under the exam's name {name}, which leads out of {folder}; rename it"
            )
    check_output_folder(folder, "--best")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / SETTINGS).exists():
        raise ValueError(f"{folder}: holds other files; give --best a new or empty folder")
    cure = "give another --best, or delete that folder to begin anew"
    claim_folder(folder / SETTINGS, settings, "best masks", cure, FORMER)


def targets(cases: Sequence[FoundExam]) -> dict[str, str]:
    """Under which name each exam's mask is written, without ending.

    The last part of its name, or the whole, with folders, where another exam ends alike; ``--predictions`` finds both.
    """
    last = {case.name: case.name.rpartition("/")[2] for case in cases}
    ends = Counter(last.values())
    return {name: end if ends[end] == 1 else name for name, end in last.items()}


def write_best(folder: Path, table: pd.DataFrame, cases: Sequence[FoundExam], task: Task) -> Chosen:
    """Copy the best mask of each exam, byte by byte, and write the table of candidates.

    What an earlier run wrote, and does not hold any more, is replaced or removed.

    Args:
        folder: the folder, claimed by `begin`.
        table: rows of all exams, or of those so far, as `dqe_loss.rate.rate_data_set` makes them.
        cases: the exams.
        task: what was rated.

    Raises:
        OSError: if a mask cannot be read or written; each file is there whole or not at all.
    """
    views, names = list(task.views), targets(cases)
    files = {case.name: case.masks for case in cases}
    chosen: dict[str, Any] = {}
    for exam, rows in table[table["error"] == ""].groupby("exam", sort=False):
        stars = rows.set_index("segmentation")[[*views, MEAN]].astype(float)
        chosen[str(exam)] = choose({str(name): dict(row) for name, row in stars.iterrows()})
    places = {}
    _remove_others(folder, names)
    for exam in dict.fromkeys(table["exam"]):
        source = files[exam][chosen[exam].best] if exam in chosen else None
        ending = "" if source is None else NIFTI[0] if source.name.lower().endswith(".gz") else NIFTI[1]
        for other in NIFTI:
            if other != ending:
                (folder / f"{names[exam]}{other}").unlink(missing_ok=True)
        if source is not None:
            places[exam] = f"{names[exam]}{ending}"
            _copy(source, folder / places[exam])
    origin = [column for column in ORIGIN if column in table]
    listed = table[["exam", "segmentation", *views, MEAN, "warnings", "error", *origin]].copy()
    pairs = list(zip(table["exam"], table["segmentation"], strict=True))
    best = [int(exam in chosen and chosen[exam].best == name) for exam, name in pairs]
    best_in = [
        " ".join(view for view in views if exam in chosen and chosen[exam].best_in[view] == name)
        for exam, name in pairs
    ]
    written = [places[exam] if won else "" for (exam, _), won in zip(pairs, best, strict=True)]
    after = 2 + len(views) + 1
    for place, (column, values) in enumerate(((BEST, best), (BEST_IN, best_in), ("file", written)), after):
        listed.insert(place, column, values)
    write_together({folder / CANDIDATES: encode(listed.to_csv(index=False, lineterminator="\n"))})
    wins = Counter(choice.best for choice in chosen.values())
    alone = sum(len(choice.stars) == 1 for choice in chosen.values())
    return Chosen(len(chosen), table["exam"].nunique() - len(chosen), alone, dict(wins.most_common()))


@dataclass(frozen=True)
class BestOfExam:
    """The same of one exam, all of whose masks are rated or none.

    Attributes:
        folder: the folder.
        case: the exam.
        origin: what the stars are, by the columns `ORIGIN`.
        task: what is rated.
    """

    folder: Path
    case: FoundExam
    origin: Mapping[str, str]
    task: Task

    @classmethod
    def begin(
        cls, folder: Path, exam: str, masks: Mapping[str, Path], origin: Mapping[str, str], task: Task
    ) -> "BestOfExam":
        """Claim the folder before any work is done; see `begin` for the errors."""
        case = FoundExam(exam, {}, masks)
        begin(folder, [case], {"exam": exam, **origin})
        return cls(folder, case, origin, task)

    def write(self, stars: Mapping[str, Mapping[str, float]]) -> str:
        """Copy the best mask, list all, and say in a line or two what is there.

        Args:
            stars: of each mask, by view and ``"mean"``.

        Raises:
            OSError: if a mask cannot be read or written.
        """
        same = {"exam": self.case.name, "warnings": "", "error": "", **self.origin}
        rows = [{"segmentation": name, **values, **same} for name, values in stars.items()]
        return write_best(self.folder, pd.DataFrame(rows), [self.case], self.task).describe(self.folder)


def _remove_others(folder: Path, names: Mapping[str, str]) -> None:
    """Remove masks that an earlier run wrote of exams that are gone, or are called otherwise now."""
    if not (folder / CANDIDATES).is_file():
        return
    listed = pd.read_csv(folder / CANDIDATES, dtype=str, keep_default_na=False)
    for exam, file in listed.loc[listed["file"] != "", ["exam", "file"]].itertuples(index=False):
        inside = not Path(file).is_absolute() and ".." not in Path(file).parts
        if inside and file not in [f"{names.get(exam)}{ending}" for ending in NIFTI]:
            (folder / file).unlink(missing_ok=True)


def _copy(source: Path, target: Path) -> None:
    content = source.read_bytes()
    if not (target.is_file() and target.read_bytes() == content):  # what reads the folder sees no change where none is
        target.parent.mkdir(parents=True, exist_ok=True)
        write_together({target: content})

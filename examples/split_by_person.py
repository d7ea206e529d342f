"""Split a data set by person, never by file: tables of paths for training, for choosing and for testing.

The rule by which a file's name tells its person is the data set's own. Here it is that of the hippocampi of the Medical
Segmentation Decathlon, where numbers 2k - 1 and 2k are one person's left and mirrored right side.

    python examples/split_by_person.py examples/tasks/hippocampus.yaml hippocampus --out runs/hippocampus
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import tyro

from dqe_loss.data.discovery.named_exams import find_named_exams
from dqe_loss.data.split import PARTS
from dqe_loss.task import read_task


@dataclass(frozen=True)
class SplitOptions:
    """Split a data set by person into tables of paths.

    Writes train.csv, validation.csv and test.csv, which --exams takes, and split.csv, which --split takes.
    """

    task: tyro.conf.Positional[Path]
    """The task's file, which says how files are named."""
    data: tyro.conf.Positional[Path]
    """Folder of the data set."""
    out: Path = Path("runs/hippocampus")
    """Folder for the tables."""
    validation: float = 0.1
    """Share of the persons by which the best state is chosen."""
    test: float = 0.3
    """Share of the persons that nothing learns from."""
    seed: int = 0
    """Seed of the split."""


def person(exam: str) -> int:
    """Whose exam it is, by the number in its name."""
    return (int(re.findall(r"\d+", exam)[-1]) + 1) // 2


def split_by_person(exams: Sequence[str], options: SplitOptions) -> dict[str, str]:
    """Exam to its part; never two parts for one person."""
    persons = sorted({person(exam) for exam in exams})
    shuffled = np.random.default_rng(options.seed).permutation(persons).tolist()
    tested, chosen = (max(round(share * len(persons)), 1) for share in (options.test, options.validation))
    part = dict.fromkeys(shuffled[:tested], "test") | dict.fromkeys(shuffled[tested : tested + chosen], "validation")
    return {exam: part.get(person(exam), "train") for exam in exams}


def write_tables(options: SplitOptions) -> pd.DataFrame:
    """Write the tables; returns all exams with their person and part."""
    task = read_task(options.task)
    found = find_named_exams([options.data.resolve()], task)
    parts = split_by_person([exam.name for exam in found], options)
    rows = [
        {"exam": e.name, "segmentation": str(e.segmentations[0])} | {m: str(p) for m, p in e.images.items()}
        for e in found
    ]
    table = pd.DataFrame(rows)
    options.out.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        table[table["exam"].map(parts) == part].to_csv(options.out / f"{part}.csv", index=False)
    pd.DataFrame({"exam": list(parts), "split": list(parts.values())}).to_csv(options.out / "split.csv", index=False)
    return table.assign(person=table["exam"].map(person), part=table["exam"].map(parts))


if __name__ == "__main__":
    written = write_tables(tyro.cli(SplitOptions, description=__doc__))
    print(written.groupby("part").agg(persons=("person", "nunique"), exams=("exam", "nunique")))

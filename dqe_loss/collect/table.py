"""From journals to tables, CSV and Parquet: ``ratings`` as ``dqe train`` takes them, ``pairs`` of a study of pairs."""

from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path

import pandas as pd

from dqe_loss.collect.journal import Entry, answers_of, read_entries
from dqe_loss.collect.order import keys_of
from dqe_loss.collect.study import Case, Study
from dqe_loss.collect.study_file import STUDY
from dqe_loss.data.tables.ratings import paths_of
from dqe_loss.data.tables.table import origin_columns, write_table
from dqe_loss.task import Task

JOURNALS = "journal"
RATINGS, PAIRS = "ratings.csv", "pairs.csv"
PAIR_PATHS: tuple[str, ...] = ("first", "second")


def journal_path(folder: Path, rater: str) -> Path:
    """Where a rater's journal is."""
    return folder / JOURNALS / f"{rater}.jsonl"


def read_answers(study: Study, folder: Path) -> dict[str, dict[str, Entry]]:
    """What counts of every rater's journal: rater to trial to answer.

    Raises:
        ValueError: a line cannot be read, or an answer is of another case than the study has.
    """
    answers = {}
    for rater in study.raters:
        path = journal_path(folder, rater)
        answers[rater] = answers_of(read_entries(path))
        for trial, entry in answers[rater].items():
            if not _is_of(study, trial, entry):
                raise ValueError(
                    f"{path}: the answer {trial} is not of a case of this study; {STUDY} is older than the journal, "
                    "or another one: restore the one that belongs to it"
                )
    return answers


def _is_of(study: Study, trial: str, entry: Entry) -> bool:
    """Whether an answer is of what the study shows; earlier journals do not say what was shown."""
    try:
        keys = keys_of(study, entry["cases"], trial.startswith("training/"))
    except IndexError:
        return False
    return "shown" not in entry or tuple(entry["shown"]) == keys


def ratings_table(study: Study, answers: Mapping[str, Mapping[str, Entry]]) -> pd.DataFrame:
    """A row for each judgment that counts; practice does not.

    Returns:
        The columns of a ratings table with absolute paths, ``view`` empty (all views were shown), and ``repeat``
        (0 or 1), ``name`` (of the segmentation in its exam), ``tags``, ``comment``, ``seconds``, ``time``, ``chosen``
        (by ``--next-by disagreement`` ``random`` or ``disagreement``, else empty), ``label_scheme``; ``task`` where it
        is not the built-in one.
    """
    rows = []
    for rater, entry, repeat in _counted(answers):
        case = study.cases[entry["cases"][0]]
        row = {"exam": case.exam, "segmentation": case.mask, **case.images, "rater": rater, "view": ""}
        row |= {"stars": entry["verdict"], "kind": study.design.kind, "repeat": repeat, "name": case.segmentation}
        rows.append(row | _remarks(entry) | {"label_scheme": study.design.scheme.name})
    task = study.design.task
    first = ["exam", "segmentation", *task.modalities, "rater", "view", "stars", "kind", "repeat", "name"]
    last = ["tags", "comment", "seconds", "time", "chosen", "label_scheme"]
    return with_task(pd.DataFrame(rows, columns=[*first, *last]), task)


def pairs_table(study: Study, answers: Mapping[str, Mapping[str, Entry]]) -> pd.DataFrame:
    """A row for each comparison that counts.

    Returns:
        ``exam``, ``first`` and ``second`` (paths; in the order of the study, whatever was at the left), ``first_name``
        and ``second_name``, ``rater``, ``better`` (``first``, ``second``, ``same``), ``left`` (which was at the left),
        ``kind``, ``repeat``, ``tags``, ``comment``, ``seconds``, ``time``, ``task`` as in `ratings_table`.
    """
    rows = []
    for rater, entry, repeat in _counted(answers):
        left, right = entry["cases"]
        sides = {left: "left", right: "right"}
        numbers = sorted((left, right))
        cases: list[Case] = [study.cases[number] for number in numbers]
        better = {sides[numbers[0]]: "first", sides[numbers[1]]: "second", "same": "same"}[entry["verdict"]]
        row = {"exam": cases[0].exam, "first": cases[0].mask, "second": cases[1].mask}
        row |= {"first_name": cases[0].segmentation, "second_name": cases[1].segmentation, "rater": rater}
        row |= {"better": better, "left": "first" if left == numbers[0] else "second", "kind": study.design.kind}
        rows.append(row | {"repeat": repeat} | _remarks(entry))
    first = ["exam", "first", "second", "first_name", "second_name", "rater", "better", "left", "kind", "repeat"]
    return with_task(pd.DataFrame(rows, columns=[*first, "tags", "comment", "seconds", "time"]), study.design.task)


def with_task(table: pd.DataFrame, task: Task) -> pd.DataFrame:
    """The table with columns that name the task and its scale, where it is not the built-in one."""
    return table.assign(**origin_columns(task))


def write_answers(study: Study, folder: Path) -> tuple[Path, int]:
    """Write the table of a study from its journals, as CSV and as Parquet, each atomically.

    Returns:
        The path of the CSV, and how many rows it has.

    Raises:
        ValueError: a journal cannot be read.
        OSError: the table cannot be written.
    """
    answers = read_answers(study, folder)
    if study.design.mode == "pairs":
        table, path, paths = pairs_table(study, answers), folder / PAIRS, PAIR_PATHS
    else:
        table, path, paths = ratings_table(study, answers), folder / RATINGS, paths_of(study.design.task)
    for ending in (".parquet", ".csv"):
        write_table(table, path.with_suffix(ending), paths)
    return path, len(table)


def _counted(answers: Mapping[str, Mapping[str, Entry]]) -> list[tuple[str, Entry, int]]:
    """Rater, answer and repeat (0 or 1) of all that is not practice."""
    return [
        (rater, entry, int(trial.endswith("/again")))
        for rater, own in answers.items()
        for trial, entry in own.items()
        if not trial.startswith("training/")
    ]


def _remarks(entry: Entry) -> dict[str, object]:
    given = datetime.fromtimestamp(entry["time"], timezone.utc).isoformat(timespec="seconds")
    comment = " ".join(str(entry["comment"]).split())
    return {
        "tags": "; ".join(entry["tags"]),
        # A spreadsheet would run what begins like a formula.
        "comment": f"'{comment}" if comment[:1] in ("=", "+", "-", "@") else comment,
        "seconds": entry["seconds"],
        "time": given,
        "chosen": entry.get("chosen", ""),
    }

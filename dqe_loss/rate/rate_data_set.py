"""Rate a data set into a table: each exam once, however often a run is killed, however many processes share it."""

import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
from tqdm import tqdm

from dqe_loss.data.discovery.cohort import FoundExam
from dqe_loss.data.file_names import written
from dqe_loss.data.label_sets import LABELS, LabelSurvey
from dqe_loss.data.tables.rated import columns_of, write_rated
from dqe_loss.data.tables.table import origin_columns
from dqe_loss.data.tables.warning_kinds import to_review
from dqe_loss.processes import StopRequest
from dqe_loss.rate import best
from dqe_loss.rate.journal import Entry, Journal
from dqe_loss.rate.plan import RatePlan, find_planned_exams, stamp
from dqe_loss.rate.read_ahead import read_ahead
from dqe_loss.rate.table_rows import prepare_rows, rate_prepared
from dqe_loss.surrogate.describe import map_for
from dqe_loss.surrogate.network import Surrogate
from dqe_loss.surrogate.rater import Rater
from dqe_loss.task import Task

_SHOWN = 5
_BAR = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_noinv_fmt}]"


@dataclass(frozen=True)
class Outcome:
    """How a run of one process ended.

    Attributes:
        table: the rows of all exams, or of those so far; None where other processes are not done yet.
        left: exams of all processes that have no entry yet.
        rated: exams that this run went through, with or without stars.
        seconds: what that took.
        signal: the signal that stopped it, or None.
        chosen: what the choice of the best masks came to, if there was one and there is a table.
    """

    table: pd.DataFrame | None
    left: int
    rated: int
    seconds: float
    signal: int | None = None
    chosen: best.Chosen | None = None


def rate_data_set(plan: RatePlan, surrogate: Surrogate, rater: Rater | None = None) -> Outcome:
    """Rate this process's share of a data set; write the table if nothing is left to anybody.

    A process never waits for another: whoever finds all exams in the journal writes the table, and the best masks.

    Args:
        plan: what is rated.
        surrogate: the network, on its device.
        rater: the same network in another engine, to rate with.

    Returns:
        What came out. After a signal, a process that is alone writes the rows so far.

    Raises:
        ValueError: if the data set cannot be found, the journal holds a rating of something else, or there is nothing
            to choose among.
        OSError: if the table, the journal or a best mask cannot be written.
    """
    cases = find_planned_exams(plan)
    if plan.best is not None:
        best.begin(plan.best, cases, plan.settings(surrogate))
    journal = Journal.open(plan.out.with_name(plan.out.name + ".journal"), plan.settings(surrogate))
    stamps = {case.name: stamp(case, plan.out.parent) for case in cases}
    share = cases[plan.rank :: plan.world]
    rated, start, survey = 0, time.perf_counter(), LabelSurvey(plan.scheme)
    with StopRequest().listening() as stop, journal.writing(plan.rank) as writer:
        done = {name for name, entry in _current(journal, stamps).items() if not (plan.retry and entry.failed)}
        todo = [case for case in share if case.name not in done]
        with _progress(plan, len(share), len(todo)) as bar:
            prepare = partial(
                prepare_rows,
                surrogate=surrogate,
                scheme=plan.scheme,
                centers=plan.centers,
                thorough=plan.thorough,
                task=plan.task,
            )
            for case, prepared in read_ahead(todo, prepare, plan.workers):
                rows = tuple(rate_prepared(mask, rater or surrogate) for mask in prepared)
                writer.add(Entry(case.name, stamps[case.name], rows), time.time())
                survey.add(case.name, {int(label) for row in rows for label in row.get(LABELS, "").split()})
                rated += 1
                bar.update()
                if stop:
                    break
    seconds = time.perf_counter() - start
    # The own file is closed by now: of two that finish together, at least the later one sees all.
    entries = _current(journal, stamps)
    left = len(cases) - len(entries)
    if left and not (stop and plan.world == 1):
        return Outcome(None, left, rated, seconds, stop.signal)
    origin = plan.origin(surrogate)
    lines = [
        line for case in cases if case.name in entries for line in _lines(case, entries[case.name], origin, plan.task)
    ]
    table = pd.DataFrame(lines, columns=[*columns_of(plan.task), LABELS, *origin_columns(plan.task)])
    if dice_map := map_for(surrogate.config, plan.told(surrogate.config)):
        table = table.assign(**{name: values.round(4) for name, values in dice_map.tell(table["mean"]).items()})
    survey.add_table(table)
    write_rated(table, plan.out, plan.task)
    chosen = None if plan.best is None else best.write_best(plan.best, table, cases, plan.task)
    return Outcome(table, left, rated, seconds, stop.signal, chosen)


def tell(outcome: Outcome, plan: RatePlan, description: str) -> int:
    """Say on standard output and error how a run ended.

    Args:
        outcome: of the run.
        plan: of the run.
        description: what the stars are, in a line.

    Returns:
        Exit code: 0; 1 if the table is whole and a segmentation has no stars; 128 + its number after a signal.
    """
    who = f"rank {plan.rank} of {plan.world}: " if plan.world > 1 else ""
    speed = f"{outcome.rated} exams in {outcome.seconds:.0f} s, {outcome.rated / outcome.seconds:.2f} exams/s"
    print(f"{who}{speed if outcome.rated else 'no exam was left to rate'}")
    code = 0
    if outcome.table is not None:
        print(f"{plan.out}: {description}")
        code = _tell_table(outcome.table)
    if outcome.chosen is not None and plan.best is not None:
        print(outcome.chosen.describe(plan.best))
    if outcome.signal:
        left = f"{outcome.left} exams are left; the same command goes on"
        print(f"{who}stopped by signal {outcome.signal}, {left}", file=sys.stderr)
        return 128 + outcome.signal
    if outcome.left:
        print(f"{who}its share is done, {outcome.left} exams of others are not; who is last writes {plan.out}")
    return code


def _tell_table(table: pd.DataFrame) -> int:
    """Sum a table up; returns 1 if a segmentation has no stars."""
    failed = table[table["error"] != ""]
    warned, to_look_at = (table["warnings"] != "").sum(), (to_review(table["warnings"]) != "").sum()
    print(
        f"{len(table)} segmentations of {table['exam'].nunique()} exams: {len(table) - len(failed)} rated, "
        f"{len(failed)} failed, {warned} with warnings ({to_look_at} to review)"
    )
    for row in failed.head(_SHOWN).to_dict("records"):
        name = "/".join(part for part in (row["exam"], row["segmentation"]) if part)
        print(f"failed: {name}: {row['error']}", file=sys.stderr)
    if len(failed) > _SHOWN:
        print(f"failed: and {len(failed) - _SHOWN} more, see the column error", file=sys.stderr)
    return int(len(failed) > 0)


def _current(journal: Journal, stamps: Mapping[str, str]) -> dict[str, Entry]:
    """Entries of exams whose files are as they were."""
    return {name: entry for name, entry in journal.read().items() if stamps.get(name) == entry.stamp}


def _progress(plan: RatePlan, total: int, todo: int) -> "tqdm[Any]":
    title = f"rank {plan.rank} of {plan.world}" if plan.world > 1 else "exams"
    interval = 0.2 if sys.stderr.isatty() else 60.0  # a log wants a line a minute, not an animation
    return tqdm(
        total=total,
        initial=total - todo,
        desc=title,
        unit="exam",
        mininterval=interval,
        smoothing=0.05,  # the ETA goes by the whole run, nearly
        bar_format=_BAR,
    )


def _lines(case: FoundExam, entry: Entry, origin: Mapping[str, str], task: Task) -> Iterator[dict[str, Any]]:
    """An exam's rows of the table."""
    images = {modality: written(str(case.images.get(modality, ""))) for modality in task.modalities}
    for row in entry.rows:
        mask = written(str(case.masks.get(row["segmentation"], "")))
        yield {"exam": case.name, LABELS: "", **row, **images, "mask": mask, **origin}

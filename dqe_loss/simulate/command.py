"""The command ``python -m dqe_loss.simulate``: simulated ratings for labs that have none yet."""

import signal
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from typing import TYPE_CHECKING, Annotated, Any

import torch
import tyro
from tqdm import tqdm

from dqe_loss.command_line import run_command
from dqe_loss.data.discovery.named_exams import find_named_exams
from dqe_loss.data.exam_files import choose_reference
from dqe_loss.data.label_sets import LabelSurvey
from dqe_loss.extras import import_extra
from dqe_loss.options import ExamFolders, OutFolder, ReferenceNames, SchemeOption, Seed, TaskWithoutCheckpoint
from dqe_loss.outputs import check_output_folder
from dqe_loss.resume import claim_folder
from dqe_loss.task import Task, find_task
from dqe_loss.tasks.scale import levels_of, nearest_level

if TYPE_CHECKING:
    from dqe_loss.simulate.simulate_exam import SimulatedExam

RECORD = "simulation.json"
"""What a folder was simulated with: a run that continues must not mix two simulations."""


@dataclass(frozen=True)
class SimulateArguments:
    """Make simulated ratings: graded segmentation errors, scored against a reference, judged by simulated raters.

    From phantoms (--phantoms) or exams with a reference (--exams and --reference). The table ratings.csv in
    the folder --out is what the training takes. No human gave these stars. Run the same command again to continue.

    Attributes:
        phantoms: Number of synthetic exams to draw.
        first_phantom: Seed of the first phantom; take higher ones for exams that a surrogate has not seen.
        segmentations: Segmentations of each exam, the reference among them.
        raters: Simulated raters; 0 writes metric stars, the overlap itself on the scale of stars.
        workers: Parallel processes. The result does not depend on the number.
    """

    out: Annotated[
        OutFolder, tyro.conf.arg(help="Folder for the table and the segmentations; made if it is not there.")
    ]
    phantoms: int = 0
    first_phantom: int = 0
    exams: ExamFolders = ()
    reference: ReferenceNames = ()
    segmentations: int = 5
    raters: int = 3
    seed: Seed = 0
    label_scheme: SchemeOption = None
    task: TaskWithoutCheckpoint = None
    workers: int = 1


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; exit codes: see `run_command`."""
    return run_command("dqe simulate", SimulateArguments, _run, argv)


def _run(arguments: SimulateArguments) -> None:
    task = find_task(arguments.task)
    _check(arguments, task)
    import_extra("dqe_loss.simulate.simulate_exam", "train")
    from dqe_loss.data.phantom.files import write_phantom
    from dqe_loss.data.tables.ratings import read_ratings, write_ratings
    from dqe_loss.simulate.simulate_exam import SimulationSettings, part_path, simulate_exam

    out = arguments.out
    seeds = range(arguments.first_phantom, arguments.first_phantom + arguments.phantoms)
    exams = _exams(arguments, seeds, task)
    settings = SimulationSettings(
        arguments.segmentations, arguments.raters, arguments.seed, arguments.label_scheme, task
    )
    check_output_folder(out)
    record = settings.record() | {"exams": [exam.paths.name for exam in exams]}
    claim_folder(out / RECORD, record, "a simulation", f"repeat it as {RECORD} there says, or give another --out")
    with _workers(min(arguments.workers, len(exams))) as pool:
        if seeds:
            _each(partial(write_phantom, folder=out / "exams", task=task), seeds, pool, "phantoms")
        survey = LabelSurvey(settings.scheme)
        _each(
            partial(simulate_exam, settings=settings, out=out),
            exams,
            pool,
            "segmentations",
            note=lambda exam, labels: survey.add(exam.paths.name, labels),
        )
    table = read_ratings([part_path(exam.paths.name, out) for exam in exams], task)
    write_ratings(table, out / "ratings.csv", task)
    kind, (low, high) = str(table["kind"].iloc[0]), task.stars
    nearest = nearest_level(table["stars"], task.stars)
    counts = [int((nearest == level).sum()) for level in levels_of(task.stars)]
    whom = f", by {settings.raters} simulated raters" if settings.raters else ""
    print(
        f"{out / 'ratings.csv'}: {len(table)} {kind} ratings of {table['segmentation'].nunique()} segmentations of "
        f"{len(exams)} exam{'s' * (len(exams) > 1)}{whom}\n"
        f"{kind} stars {low:g} to {high:g}: {', '.join(map(str, counts))}"
    )


def _check(arguments: SimulateArguments, task: Task) -> None:
    if (arguments.phantoms > 0) == bool(arguments.exams):
        raise ValueError("expected either --phantoms N (1 or more) or --exams FOLDER ..., found both or neither")
    missing = not arguments.reference and task.files.several
    if arguments.exams and (missing or not all(arguments.reference)):
        raise ValueError("expected --reference NAME with --exams: which file of an exam is its reference, such as seg")
    canonical = {tissue: (label,) for label, tissue in enumerate(task.tissues, 1)}
    labels = task.scheme(arguments.label_scheme).labels
    if arguments.phantoms and not all(labels[tissue][0] == label for tissue, (label,) in canonical.items()):
        raise ValueError(
            f"--label-scheme {arguments.label_scheme} is for --exams; phantoms are labeled {task.canonical}"
        )
    for name, low in (("segmentations", 2), ("raters", 0), ("workers", 1), ("seed", 0), ("first_phantom", 0)):
        if getattr(arguments, name) < low:
            raise ValueError(f"--{name.replace('_', '-')} must be {low} or more, got {getattr(arguments, name)}")


def _exams(arguments: SimulateArguments, seeds: range, task: Task) -> list["SimulatedExam"]:
    """All exams by name; each one's ``others`` begin with the next."""
    from dqe_loss.data.phantom.files import phantom_paths
    from dqe_loss.simulate.simulate_exam import SimulatedExam

    found = [phantom_paths(seed, arguments.out / "exams", task) for seed in seeds]
    for exam in find_named_exams(arguments.exams, task):
        reference = choose_reference(exam.folder, exam.segmentations, arguments.reference)
        found.append(replace(exam, segmentations=(reference,)))
    paths = {exam.name: exam for exam in found}
    if len(paths) < len(found):
        names = Counter(exam.name for exam in found)
        twice = names.most_common(1)[0][0]
        raise ValueError(f"expected exams of different names, found two folders named {twice}; rename one")
    references = [paths[name].segmentations[0] for name in sorted(paths)]
    return [
        SimulatedExam(paths[name], tuple(references[i + 1 :] + references[:i])) for i, name in enumerate(sorted(paths))
    ]


def _workers(count: int) -> AbstractContextManager[ProcessPoolExecutor | None]:
    """Processes for the work, or None where this one does it; spawned, not forked, for torch has threads."""
    if count == 1:
        return nullcontext()
    return ProcessPoolExecutor(count, get_context("spawn"), _start_worker)


def _each(
    function: Callable[[Any], Any],
    jobs: Sequence[Any],
    pool: ProcessPoolExecutor | None,
    title: str,
    note: Callable[[Any, Any], None] = lambda job, result: None,
) -> None:
    """Do all jobs, and note each with its result; the first error ends it."""
    with tqdm(total=len(jobs), desc=title, disable=None) as bar:
        if pool is None:
            for job in jobs:
                note(job, function(job))
                bar.update()
            return
        try:
            futures = {pool.submit(_noting_warnings, function, job): job for job in jobs}
            for future in as_completed(futures):
                result, messages = future.result()
                for message in messages:
                    warnings.warn(message, stacklevel=2)
                note(futures[future], result)
                bar.update()
        except BrokenProcessPool as error:
            raise OSError(
                "a worker was killed, perhaps for want of memory; run the same command again to continue, with fewer "
                "--workers"
            ) from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends the work
    torch.set_num_threads(1)


def _noting_warnings(function: Callable[[Any], Any], job: Any) -> tuple[Any, list[str]]:
    """Do a job and return its result and its warnings, for the parent to show them as one line each."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        result = function(job)
    return result, [str(warning.message) for warning in caught if issubclass(warning.category, UserWarning)]

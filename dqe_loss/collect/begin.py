"""Begin a study, or go on with one: what the command's options mean for what is there already."""

from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

from dqe_loss.collect.arguments import CollectArguments
from dqe_loss.collect.links import check_raters
from dqe_loss.collect.study import Case, Study, StudyDesign, cases_of, check_files
from dqe_loss.collect.study_file import design_values
from dqe_loss.data.discovery.data_set import find_data_set
from dqe_loss.resume import check_same
from dqe_loss.task import Task, find_task
from dqe_loss.tasks.reading import check_task

_LIBRARIES = ("dqe_loss", "numpy", "starlette", "uvicorn", "pillow")


def study_of(arguments: CollectArguments, begun: Study | None) -> tuple[Study, int]:
    """The study of a command line: the one that was begun with what joins it, or a new one. Nothing is written.

    Args:
        arguments: what the command asks for.
        begun: the study of its folder; None if there is none.

    Returns:
        The study, and how many segmentations of the data set are not part of it.

    Raises:
        ValueError: there is none and the options begin none, or they do not fit the one that is there.
        OSError: a file cannot be read.
    """
    folder = arguments.out
    if begun is None and arguments.data is None:
        raise ValueError(f"{folder}: holds no study yet; begin one with --data FOLDER and --raters NAME ...")
    task = find_task(arguments.task) if begun is None or arguments.task else begun.design.task
    if begun is not None:
        cure = "leave --task out, or give another --out"  # answers of both would stand in one journal
        check_task(task, begun.design.task, f"{folder}: the study", cure)
    design = _design(arguments, task)
    scheme = arguments.label_scheme or (begun.design.label_scheme if begun else None)
    cases, training = [], []
    if arguments.data is not None:
        cases = cases_of(find_data_set(arguments.data, scheme, arguments.predictions, task=task), task)
    if arguments.training is not None:
        training = cases_of(find_data_set(arguments.training, scheme, task=task), task)
    if begun is None:
        return begin_study(design, cases, training, arguments.raters), 0
    former = begun.training
    if training and [case.stamp_now(old.stamp) for case, old in zip(training, former, strict=False)] != [
        old.stamp for old in former
    ]:
        raise ValueError(f"{folder}: the study began with other practice cases; leave --training out")
    return go_on(begun, folder, design, cases, arguments.raters, arguments.extend)


def _design(arguments: CollectArguments, task: Task) -> StudyDesign:
    """What the options ask for; a label scheme that was not said is the task's default."""
    try:
        text = arguments.instructions.read_text(encoding="utf-8-sig") if arguments.instructions else ""
    except UnicodeDecodeError as error:
        raise ValueError(f"{arguments.instructions}: expected text in UTF-8 ({error}); save it again") from error
    said = {one.name: getattr(arguments, one.name) for one in fields(StudyDesign) if one.name != "instructions"}
    scheme = task.scheme(arguments.label_scheme).name if arguments.label_scheme else ""
    return StudyDesign(**said | {"label_scheme": scheme, "instructions": text, "task": task})


def begin_study(design: StudyDesign, cases: Sequence[Case], training: Sequence[Case], raters: Sequence[str]) -> Study:
    """A new study.

    Raises:
        ValueError: there are no raters, a name will not do, or a file is not there.
    """
    if not raters:
        raise ValueError("expected at least one rater; name them with --raters")
    check_raters(raters)
    _check_there([*cases, *training])
    versions = {library: version(library) for library in _LIBRARIES}
    created = datetime.now(timezone.utc).isoformat(timespec="seconds")
    design = replace(design, label_scheme=design.scheme.name)  # told in the file
    return Study(design, tuple(cases), (len(cases),), tuple(training), tuple(raters), versions, created)


def go_on(
    study: Study, folder: Path, design: StudyDesign, cases: Sequence[Case], raters: Sequence[str], extend: bool
) -> tuple[Study, int]:
    """Go on with a study that was begun, and add what is new.

    Args:
        study: what was begun.
        folder: of the study, for errors.
        design: what the command asks for; what is as by default asks for nothing.
        cases: what is in the data set now; may be none.
        raters: names, old or new.
        extend: whether new segmentations join the study.

    Returns:
        The study, and how many segmentations of the data set are not part of it.

    Raises:
        ValueError: the design or a case's files are others, a file has changed, or a name will not do.
    """
    default = design_values(StudyDesign())
    asked = {name: value for name, value in design_values(design).items() if value != default[name]}
    check_same(folder, design_values(study.design), asked, "a study", "leave the option out, or give another --out")
    check_files([*study.cases, *study.training])
    longer = study.extended(cases, raters)
    check_raters(longer.raters)
    left_out = len(longer.cases) - len(study.cases)
    if not extend:
        return replace(longer, cases=study.cases, batches=study.batches), left_out
    _check_there(longer.cases)
    return longer, 0


def _check_there(cases: Sequence[Case]) -> None:
    if missing := [case for case in cases if case.stamp.startswith("missing")]:
        raise ValueError(f"{missing[0].mask}: this file, or an image of its exam, is not there; check --data")

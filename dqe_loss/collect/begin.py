"""Begin a study, or go on with one: what the command's options mean for what is there already."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

from dqe_loss.collect.links import check_raters
from dqe_loss.collect.study import STUDY, Case, Study, StudyDesign, check_files, read_study, write_study
from dqe_loss.resume import check_same

_LIBRARIES = ("dqe_loss", "numpy", "starlette", "uvicorn", "pillow")


def begin_study(
    folder: Path, design: StudyDesign, cases: Sequence[Case], training: Sequence[Case], raters: Sequence[str]
) -> Study:
    """Write a new study.

    Raises:
        ValueError: there are no raters, or a name will not do.
        OSError: the folder cannot be written.
    """
    if not raters:
        raise ValueError("expected at least one rater; name them with --raters")
    check_raters(raters)
    versions = {library: version(library) for library in _LIBRARIES}
    created = datetime.now(timezone.utc).isoformat(timespec="seconds")
    study = Study(design, tuple(cases), (len(cases),), tuple(training), tuple(raters), versions, created)
    folder.mkdir(parents=True, exist_ok=True)
    write_study(study, folder)
    return study


def go_on(
    folder: Path, design: StudyDesign | None, cases: Sequence[Case], raters: Sequence[str], extend: bool
) -> tuple[Study, int]:
    """Read a study that was begun, and add what is new.

    Args:
        folder: of the study.
        design: what the command asks for; None if it does not say.
        cases: what is in the data set now; may be none.
        raters: names, old or new.
        extend: whether new segmentations join the study.

    Returns:
        The study, and how many segmentations of the data set are not part of it.

    Raises:
        ValueError: the design is another, a file has changed, or a name will not do.
    """
    study = read_study(folder)
    if design is not None:
        before, now = (asdict(d) | {"tags": list(d.tags)} for d in (study.design, design))
        check_same(folder, before, now, "a study", "leave the option out, or give another --out")
    check_files([*study.cases, *study.training])
    longer = study.extended(cases, raters)
    check_raters(longer.raters)
    left_out = len(longer.cases) - len(study.cases)
    if not extend:
        longer = replace(longer, cases=study.cases, batches=study.batches)
    if longer != study:
        write_study(longer, folder)
    return longer, 0 if extend else left_out


def is_begun(folder: Path) -> bool:
    """Whether a folder holds a study."""
    return (folder / STUDY).is_file()

"""From the folders that a hardening is given to prepared exams: what cannot work is refused before any is read."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from dqe_loss.audit.audited_exam import ExamSource, find_sources, phantom_sources, read_audited_exam
from dqe_loss.data.corruption import as_canonical
from dqe_loss.data.corruption.label_maps import Labels
from dqe_loss.data.discovery.cohort import FoundExam, with_predictions
from dqe_loss.data.exams import read_exam
from dqe_loss.data.label_sets import LabelSurvey
from dqe_loss.data.phantom import PHANTOMS
from dqe_loss.evaluate.referenced_exams import find_all_segmentations
from dqe_loss.harden.config import HardenConfig
from dqe_loss.harden.taught_exams import TaughtExam, prepare_exam
from dqe_loss.task import LabelScheme, Task

FIRST_PHANTOM = 5000
"""Seed of the first phantom: far from those of simulations and audits."""
PHANTOM_ERRORS = 4
"""A phantom gets wrong masks for one in so many of a real exam's: it is seen less often."""


def find_taught(
    config: HardenConfig, task: Task, field_of_view: tuple[int, int] | None = None
) -> tuple[list[ExamSource], list[ExamSource]]:
    """Find the exams to teach on, phantoms last, and those that are held out.

    Args:
        config: the hardening.
        task: what an exam holds.
        field_of_view: that each exam's planes must fit; not asked if None.

    Raises:
        ValueError: an option lacks another one, an exam has no reference, or is both taught on and held out.
    """
    if config.reference and not (config.exams or config.held_out):
        raise ValueError("--reference needs --exams: a refiner learns from the reference of that name")
    for option, folders in (("--exams", config.exams), ("--held-out", config.held_out)):
        if folders and not config.reference and task.files.several:
            raise ValueError(f"{option} needs --reference: say which segmentation of an exam is its reference")
    if config.add_predictions and not config.exams:
        raise ValueError("--add-predictions needs --exams: a refiner learns from their references where they are wrong")
    phantoms = config.phantoms if task.name in PHANTOMS else 0
    if not config.exams and not phantoms:
        raise ValueError("expected exams to teach on; give --exams and --reference, or --phantoms")
    taught, held_out = (
        [
            replace(source, field_of_view=field_of_view)
            for source in find_sources(folders, config.reference, config.label_scheme, task)
        ]
        for folders in (config.exams, config.held_out)
    )
    both = sorted({source.name for source in taught} & {source.name for source in held_out})
    if both:
        raise ValueError(f"{', '.join(both)}: taught on and held out; name an exam in --exams or in --held-out")
    return taught + phantom_sources(phantoms, FIRST_PHANTOM, task), held_out


def find_predictions(config: HardenConfig, sources: Sequence[ExamSource]) -> dict[str, list[Path]]:
    """The masks of networks that ``--add-predictions`` names: files of each exam that has any.

    Args:
        config: the hardening.
        sources: all exams, taught on and held out; phantoms have none.

    Raises:
        ValueError: a folder is not there, or holds no mask of any exam.
    """
    if not config.add_predictions:
        return {}
    cases = [FoundExam(source.name, source.paths.images, {}) for source in sources if source.paths is not None]
    predicted = with_predictions(cases, config.add_predictions)
    files = {case.name: [path for path in case.masks.values() if path.is_file()] for case in predicted}
    there = sum(map(len, files.values()))
    print(f"{there} predictions of {sum(map(bool, files.values()))} of {len(cases)} exams are added", flush=True)
    return files


def prepare_exams(
    config: HardenConfig,
    sources: Sequence[ExamSource],
    survey: LabelSurvey,
    task: Task,
    predictions: Mapping[str, Sequence[Path]] | None = None,
) -> list[TaughtExam]:
    """Prepare each exam, or find what was prepared before.

    Args:
        config: the hardening.
        sources: the exams.
        survey: told of each exam's labels.
        task: what is segmented.
        predictions: what `find_predictions` found.

    Raises:
        ValueError: an exam or a prediction cannot be used.
        OSError: the folder of prepared exams cannot be written.
    """
    exams = []
    for source in sources:
        synthetic = source.paths is None
        case = read_audited_exam(source)
        survey.add(case.name, case.present)
        exam = prepare_exam(
            case,
            config.prepared,
            errors=max(config.errors // PHANTOM_ERRORS, 1) if synthetic else config.errors,
            natural=_natural(source, task.scheme(config.label_scheme)) if config.natural else (),
            synthetic=synthetic,
            seed=config.seed,
            predictions=_read(source, (predictions or {}).get(source.name, ()), task.scheme(config.label_scheme)),
        )
        added = f" and {exam.predicted} predictions" if exam.predicted else ""
        print(f"{source.name}: {len(exam.stock)} masks{added} besides the reference", flush=True)
        exams.append(exam)
    return exams


def _natural(source: ExamSource, scheme: LabelScheme) -> list[Labels]:
    """All segmentations of an exam's folder but its reference, in the canonical scheme."""
    if source.paths is None or source.paths.segmentations[0].parent != source.paths.folder:
        return []  # a reference that lies elsewhere has a data set's other references beside it
    # By its whole name: what the user gave may fit a mask in a folder below, too.
    (reference,) = source.paths.segmentations
    found = find_all_segmentations(reference.parent, [reference.name], source.task)
    return _read(source, found.paths.segmentations[1:], scheme)


def _read(source: ExamSource, files: Sequence[Path], scheme: LabelScheme) -> list[Labels]:
    """Masks of an exam, in the canonical scheme."""
    if source.paths is None or not files:
        return []
    exam = read_exam(replace(source.paths, segmentations=tuple(files)), label_scheme=scheme, task=source.task)
    return [as_canonical(labels, scheme) for labels in exam.segmentations.values()]

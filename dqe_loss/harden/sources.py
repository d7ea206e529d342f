"""From the folders that a hardening is given to prepared exams: what cannot work is refused before any is read."""

from collections.abc import Sequence
from dataclasses import replace

from dqe_loss.audit.audited_exam import ExamSource, find_sources, phantom_sources, read_audited_exam
from dqe_loss.data.corruption import as_canonical
from dqe_loss.data.corruption.shapes import Labels
from dqe_loss.data.exams import read_exam
from dqe_loss.data.label_sets import LabelSurvey
from dqe_loss.data.phantom import PHANTOMS
from dqe_loss.evaluate.predictions import find_all_segmentations
from dqe_loss.harden.config import HardenConfig
from dqe_loss.harden.taught_exams import TaughtExam, prepare_exam
from dqe_loss.task import GLIOMA, LabelScheme, Task

FIRST_PHANTOM = 5000
"""Seed of the first phantom: far from those of simulations and audits."""
PHANTOM_ERRORS = 4
"""A phantom gets wrong masks for one in so many of a real exam's: it is seen less often."""


def find_taught(config: HardenConfig, task: Task = GLIOMA) -> tuple[list[ExamSource], list[ExamSource]]:
    """Find the exams to teach on, phantoms last, and those that are held out.

    Raises:
        ValueError: an option lacks another one, an exam has no reference, or is both taught on and held out.
    """
    if config.reference and not (config.exams or config.held_out):
        raise ValueError("--reference needs --exams: a refiner learns from the reference of that name")
    for option, folders in (("--exams", config.exams), ("--held-out", config.held_out)):
        if folders and not config.reference and task == GLIOMA:
            raise ValueError(f"{option} needs --reference: say which segmentation of an exam is its reference")
    phantoms = config.phantoms if task.name in PHANTOMS else 0
    if not config.exams and not phantoms:
        raise ValueError("expected exams to teach on; give --exams and --reference, or --phantoms")
    taught, held_out = (
        find_sources(folders, config.reference, config.label_scheme, task)
        for folders in (config.exams, config.held_out)
    )
    both = sorted({source.name for source in taught} & {source.name for source in held_out})
    if both:
        raise ValueError(f"{', '.join(both)}: taught on and held out; name an exam in --exams or in --held-out")
    return taught + phantom_sources(phantoms, FIRST_PHANTOM, task), held_out


def prepare_exams(
    config: HardenConfig, sources: Sequence[ExamSource], survey: LabelSurvey, task: Task = GLIOMA
) -> list[TaughtExam]:
    """Prepare each exam, or find what was prepared before.

    Args:
        config: the hardening.
        sources: the exams.
        survey: told of each exam's labels.
        task: what is segmented.

    Raises:
        ValueError: an exam cannot be used.
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
        )
        print(f"{source.name}: {len(exam.stock)} masks besides the reference", flush=True)
        exams.append(exam)
    return exams


def _natural(source: ExamSource, scheme: LabelScheme) -> list[Labels]:
    """All segmentations of an exam's folder but its reference, in the canonical scheme."""
    if source.paths is None or source.paths.segmentations[0].parent != source.paths.folder:
        return []  # a reference that lies elsewhere has a data set's other references beside it
    # By its whole name: what the user gave may fit a mask in a folder below, too.
    (reference,) = source.paths.segmentations
    found = find_all_segmentations(reference.parent, [reference.name], source.task)
    others = replace(found.paths, segmentations=found.paths.segmentations[1:])
    exam = read_exam(others, label_scheme=scheme)
    return [as_canonical(labels, scheme) for labels in exam.segmentations.values()]

"""The command ``python -m dqe_loss.evaluate``: how well a surrogate agrees with raters, and with references."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

import tyro

from dqe_loss import options
from dqe_loss.command_line import check_device, run_command
from dqe_loss.data.label_sets import LabelSurvey
from dqe_loss.extras import import_extra
from dqe_loss.outputs import check_output_folder, write_together
from dqe_loss.rate.rate_exam import rate_exam
from dqe_loss.surrogate.checkpoint import load_surrogate
from dqe_loss.tasks.reading import settle_task

_EXAMS = tyro.conf.arg(
    help='Exams\' folders, with a reference and other segmentations, also in subfolders ("seg" in their names).'
)


@dataclass(frozen=True)
class EvaluateArguments:
    """Say how well a surrogate agrees with raters (--ratings), with references (--exams), or with both.

    Writes numbers (evaluation.json), a row for each segmentation (predictions.csv), the paper's figures as PNG and
    SVG, and all of it on one page (index.html).

    Attributes:
        ratings: Tables of ratings (CSV or Parquet), all of one kind: human, simulated or metric.
        split: Split of the exams (CSV with the columns exam, split). Default: evaluate all exams.
        part: Part of the split to evaluate; the baselines are fitted to the part "train".
        tolerance: Tolerance of surface Dice, in mm.
        resamples: Bootstrap resamples of the exams behind the confidence intervals.
    """

    checkpoint: tyro.conf.Positional[options.CheckpointName]
    out: options.OutFolder
    ratings: options.Files = ()
    split: options.OptionalFile = None
    part: Literal["train", "validation", "test"] = "test"
    exams: Annotated[options.ExamFolders, _EXAMS] = ()
    reference: options.ReferenceNames = ()
    tolerance: float = 2.0
    label_scheme: options.SchemeOption = None
    task: options.TaskOption = None
    thorough: options.Thorough = True
    device: options.DeviceName = "cpu"
    resamples: int = 2000
    seed: Annotated[options.Seed, tyro.conf.arg(help="Seed of the resamples.")] = 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; exit codes: see `run_command`."""
    return run_command("dqe evaluate", EvaluateArguments, _run, argv)


def _run(arguments: EvaluateArguments) -> None:
    _check(arguments)
    check_device(arguments.device)
    run, written = (import_extra(f"dqe_loss.evaluate.{name}", "train") for name in ("evaluation", "files"))
    from dqe_loss.data.tables.ratings_scheme import scheme_of
    from dqe_loss.evaluate.given_ratings import read_rated_part
    from dqe_loss.evaluate.referenced_exams import find_referenced_exams
    from dqe_loss.evaluate.summary import Bootstrap

    surrogate = load_surrogate(arguments.checkpoint).to(arguments.device)
    task = settle_task(arguments.task, surrogate.config.task, arguments.checkpoint)
    bootstrap = Bootstrap(arguments.resamples, arguments.seed)
    part = read_rated_part(arguments.ratings, arguments.split, arguments.part, task) if arguments.ratings else None
    scheme = scheme_of(part.table, arguments.label_scheme, task) if part else task.scheme(arguments.label_scheme)
    exams = find_referenced_exams(arguments.exams, arguments.reference, task) if arguments.exams else None
    rate = LabelSurvey(scheme).watch(
        partial(rate_exam, surrogate=surrogate, label_scheme=scheme, thorough=arguments.thorough)
    )
    evaluation = run.describe_evaluation(arguments.checkpoint, surrogate.config, scheme, bootstrap)
    evaluation["ratings"], rated = run.evaluate_ratings(part, rate, scheme, bootstrap, task) if part else (None, None)
    evaluation["references"], referenced = (
        run.evaluate_references(exams, rate, scheme, arguments.tolerance, bootstrap, task) if exams else (None, None)
    )
    files = written.evaluation_files(evaluation, rated, referenced, arguments.out)
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_together({arguments.out / name: content for name, content in files.items()})
    # Figures of an earlier evaluation in this folder would pass for figures of this one.
    for stale in {f"{name}.{kind}" for name in written.FIGURES for kind in ("png", "svg")} - set(files):
        (arguments.out / stale).unlink(missing_ok=True)
    print(f"{written.summary_text(evaluation)}\n\nAll of it: {arguments.out / 'index.html'}")


def _check(arguments: EvaluateArguments) -> None:
    """Refuse what cannot work before anything is read."""
    if not arguments.ratings and not arguments.exams:
        raise ValueError("expected --ratings TABLE, or --exams FOLDER with --reference NAME, or both; found neither")
    if bool(arguments.exams) != bool(arguments.reference):
        given, missing = ("--exams", "--reference") if arguments.exams else ("--reference", "--exams")
        raise ValueError(f"{given} needs {missing}: exams are compared with the reference of that name")
    if arguments.split and not arguments.ratings:
        raise ValueError("--split needs --ratings: it says which exams of the table are evaluated")
    if not 0 <= arguments.tolerance < float("inf"):
        raise ValueError(f"--tolerance is a distance in mm, 0 or above, got {arguments.tolerance:g}")
    if arguments.resamples < 1 or arguments.seed < 0:
        raise ValueError(
            f"--resamples must be 1 or above and --seed 0 or above, got {arguments.resamples} and {arguments.seed}"
        )
    check_output_folder(arguments.out)

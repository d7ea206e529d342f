"""The command ``python -m dqe_loss.curate``: which segmentations of a rated data set to keep, to review, to drop."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Literal

import tyro

from dqe_loss.command_line import run_command
from dqe_loss.data.tables.warning_kinds import REVIEW, check_kinds
from dqe_loss.extras import import_extra
from dqe_loss.options import OptionalCount, OptionalFile, OptionalName, OutFolder, Seed, TaskWithoutCheckpoint
from dqe_loss.outputs import check_output_folder, encode, write_together
from dqe_loss.task import find_task

PAGE = "index.html"
_Number = Annotated[float | None, tyro.conf.arg(metavar="STARS", help_behavior_hint="")]
_Share = Annotated[float | None, tyro.conf.arg(metavar="SHARE", help_behavior_hint="")]


@dataclass(frozen=True)
class CurateArguments:
    """Say which segmentations of a rated data set to keep, to review and to drop.

    The table is one of dqe_loss.rate. The threshold is given (--threshold), a share of the table (--quantile), or
    chosen by a labeled subset so that few of what is kept is unacceptable (--labels). With none of them the worst
    rated tenth is put aside.

    Segmentations with a warning that needs a review are put aside, too: an affine that differs, voxels other than
    1 mm, one image given as two modalities, a file named as another modality, an empty region, tumor at the border or
    as large as a third of the head: in each, mask or stars may be wrong. Warnings about what is usual in good data
    (another grid than BraTS's, a harmless header) are reported only.

    Writes the lists kept.csv, review.csv and dropped.csv (the table's columns, and why), numbers (curation.json),
    and a page with pictures (index.html).

    Attributes:
        table: Rated table (CSV or Parquet).
        threshold: Keep segmentations with at least so many stars.
        quantile: Put aside this share of the segmentations, the worst rated.
        labels: Choose the threshold from labels of a random sample of the exams: a table with the columns exam,
            segmentation and a quality.
        quality: Column of --labels that holds the quality, from 0 to 1. Default: acceptable (0 or 1).
        acceptable_from: Minimum quality of an acceptable segmentation. Default: 1.
        error_rate: With --labels, the highest share of unacceptable segmentations among the kept that is allowed.
        confidence: Confidence of that guarantee.
        start: First threshold to try with --labels. Default: chosen from the stars of exams without a label.
        stars: Stars that decide: the mean of the views, the lowest of them, or one view's.
        per_exam: Decide on each segmentation by itself (all), or keep at most the best one of each exam (best).
        margin: Distance below the threshold that still counts as near it, in steps of the scale (a star, from 1 to 6).
        drop_below: Drop segmentations with fewer stars without a review.
        accept_warnings: Keep segmentations despite these warnings (names: in brackets in the table's column warnings);
            without a name, despite any.
        budget: Keep at most so many segmentations of each center (hospital), the best ones.
        center_column: The table's column that names the center.
        center_pattern: Regular expression whose first group is the center in an exam's name. Default: its first folder.
        pictures: Maximum number of segmentations that are pictured on the page: those not kept, worst first, then a
            random sample of the kept.
    """

    table: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="TABLE")]
    out: OutFolder
    threshold: _Number = None
    quantile: _Share = None
    labels: OptionalFile = None
    quality: OptionalName = None
    acceptable_from: _Share = None
    error_rate: float = 0.1
    confidence: float = 0.9
    start: _Number = None
    seed: Annotated[Seed, tyro.conf.arg(help="Seed of the draw of one labeled segmentation an exam.")] = 0
    stars: Literal["mean", "lowest", "axial", "coronal", "sagittal"] = "mean"
    per_exam: Literal["all", "best"] = "all"
    margin: float = 0.25
    drop_below: _Number = None
    accept_warnings: Annotated[
        tuple[str, ...] | None, tyro.conf.arg(metavar=f"[{{{'|'.join(REVIEW)}}} ...]", help_behavior_hint="")
    ] = None
    budget: OptionalCount = None
    center_column: OptionalName = None
    center_pattern: Annotated[str | None, tyro.conf.arg(metavar="REGEX", help_behavior_hint="")] = None
    pictures: int = 300
    task: TaskWithoutCheckpoint = None


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; exit code 1 if ``--labels`` shows no threshold to do, else see `run_command`."""
    return run_command("dqe curate", CurateArguments, _run, argv)


def _run(arguments: CurateArguments) -> int:
    _check(arguments)
    task = find_task(arguments.task)
    run = import_extra("dqe_loss.curate.curation", "train")
    record = import_extra("dqe_loss.curate.lists_and_numbers", "train")
    page = import_extra("dqe_loss.curate.page", "train")
    given = {
        field.name: getattr(arguments, field.name) for field in fields(run.CurationSettings) if field.name != "task"
    }
    by_default = arguments.threshold is None and not arguments.labels and arguments.budget is None
    if by_default and arguments.quantile is None:
        given["quantile"] = 0.1
    if arguments.center_pattern is None:
        del given["center_pattern"]
    accepted = arguments.accept_warnings
    given["accept_warnings"] = () if accepted is None else accepted or REVIEW
    settings = run.CurationSettings(**given)

    curation = run.curate(arguments.table, settings, task)
    content = record.numbers(curation, arguments.table, settings)
    files = record.lists(curation, arguments.out) | {"curation.json": record.as_json(content)}
    arguments.out.mkdir(parents=True, exist_ok=True)
    # The page takes its time, for it reads exams; one of an earlier curation would pass for the page of these lists.
    (arguments.out / PAGE).unlink(missing_ok=True)
    write_together({arguments.out / name: text for name, text in files.items()})
    html = page.curation_page(curation, arguments.table, settings, arguments.pictures, arguments.out)
    write_together({arguments.out / PAGE: encode(html)})
    print(record.summary(content, curation, settings), f"All of it: {arguments.out / PAGE}")
    guarantee = content["guarantee"]
    if guarantee and not guarantee["reached"]:
        print(f"dqe curate: {guarantee['statement']}", file=sys.stderr)
        return 1
    return 0


def _check(arguments: CurateArguments) -> None:
    """Refuse what cannot work before anything is read."""
    ways = {"--threshold": arguments.threshold, "--quantile": arguments.quantile, "--labels": arguments.labels}
    named = [name for name, value in ways.items() if value is not None]
    if len(named) > 1:
        raise ValueError(f"expected one of {', '.join(ways)}, found {' and '.join(named)}; leave the others out")
    needs = {"--quality": arguments.quality, "--acceptable-from": arguments.acceptable_from, "--start": arguments.start}
    idle = [name for name, value in needs.items() if value is not None]
    if idle and not arguments.labels:
        raise ValueError(f"{' and '.join(idle)} need --labels TABLE")
    if (arguments.center_column or arguments.center_pattern) and arguments.budget is None:
        raise ValueError("--center-column and --center-pattern need --budget N: they say what it is counted by")
    if arguments.center_column and arguments.center_pattern:
        raise ValueError("expected one of --center-column and --center-pattern, found both")
    if arguments.budget is not None and arguments.budget < 1:
        raise ValueError(f"--budget must be 1 or above, got {arguments.budget}")
    if arguments.margin < 0 or arguments.pictures < 0 or arguments.seed < 0:
        raise ValueError("--margin, --pictures and --seed must be 0 or above")
    check_kinds(arguments.accept_warnings or ())
    check_output_folder(arguments.out)

"""What ``dqe collect``, ``dqe collect import`` and ``dqe collect report`` take."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from dqe_loss import options

_NAMES = tyro.conf.arg(metavar="NAME [NAME ...]", help_behavior_hint="")
_TASK = tyro.conf.arg(
    metavar="NAME|FILE",
    help_behavior_hint="",
    help="What is segmented: a task of this package (glioma, blobs), or a .yaml or .json file that describes one. "
    "By default that of the study, or glioma where there is none.",
)


@dataclass(frozen=True)
class CollectArguments:
    """Collect stars: serve a page where experts rate segmentations, and write their ratings as a table.

    Begins a study in the folder --out, or continues the one that is there (then --out is enough). Each rater gets a
    link of their own. Every answer is on disk before the next case shows; the table is ratings.csv, or pairs.csv.
    "dqe collect import TABLE" reads ratings made elsewhere, "dqe collect report FOLDER" says what ratings are worth.

    Attributes:
        out: Folder of the study.
        data: Folder of a data set, or a table (.csv, .parquet) with the columns exam, segmentation and
            the task's modalities.
        predictions: Folders with a file for each exam of --data, named like the exam: shown instead of its own.
        raters: Raters' names; more can join later.
        mode: Stars for each segmentation, or which of two segmentations of an exam is better.
        repeats: Share of the cases that each rater sees a second time, unannounced.
        training: Folder of exams that every rater sees first, as practice; these ratings do not count. Only when a
            study begins.
        tags: Remarks that a rater can give with a key, such as "rim missed".
        title: Heading of the page.
        instructions: Text file that raters read first; blank lines part paragraphs.
        kind: Say simulated where a program answers; whatever is learned from the ratings is named so.
        extend: Let segmentations of --data that are new join the study that was begun.
        next_by: Order of the cases: random, or first those that the surrogate and the raters disagree about.
        stars: Table of dqe rate for the same data, for --next-by disagreement.
        random_share: Share of cases in random order with --next-by disagreement.
        host: Interface to listen on; 0.0.0.0 lets other machines of the network in.
        port: TCP port.
        certificate: Certificate (PEM) for HTTPS.
        key: Key of the certificate (PEM).
        workers: Processes that draw pictures. Default: one for each core.
        draw_only: Draw the pictures, and do not serve.
    """

    out: options.OutFolder
    data: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER|FILE", help_behavior_hint="")] = None
    raters: Annotated[tuple[str, ...], _NAMES] = ()
    predictions: options.Folders = ()
    mode: Literal["stars", "pairs"] = "stars"
    repeats: float = 0.1
    training: options.OptionalFolder = None
    tags: Annotated[tuple[str, ...], tyro.conf.arg(metavar="TEXT [TEXT ...]", help_behavior_hint="")] = ()
    title: str = "Rate segmentations"
    instructions: options.OptionalFile = None
    kind: Literal["human", "simulated"] = "human"
    seed: Annotated[options.Seed, tyro.conf.arg(help="Seed of every rater's order.")] = 0
    label_scheme: options.SchemeOption = None
    task: Annotated[options.TaskOption, _TASK] = None
    extend: bool = False
    next_by: Literal["random", "disagreement"] = "random"
    stars: options.OptionalFile = None
    random_share: float = 0.3
    host: str = "127.0.0.1"
    port: int = 8765
    certificate: options.OptionalFile = None
    key: options.OptionalFile = None
    workers: options.OptionalCount = None
    draw_only: bool = False


@dataclass(frozen=True)
class ImportArguments:
    """Read ratings made elsewhere, and write them as a table of ratings.

    With --data the paths of the exams are filled in, so that dqe train takes the table; without, it serves dqe collect
    report alone.

    Attributes:
        source: Table (CSV, Parquet), JSON export of Label Studio, or annotations.csv of 3D Slicer's SegmentationReview.
        out: Table to write, .csv or .parquet.
        format: What the source is. Default: by its ending and content.
        columns: Our column and theirs, such as stars=score rater=reader. Theirs may be a field of a Label Studio task.
        rater: Name of the rater, where the source does not say.
        scale: Worst and best value of the source, mapped to the ends of the task's scale (1 and 6 stars), such as 1 5,
            or 4 1 where 1 is best. Default: values are taken as they are.
        data: Data set whose exams were rated, as dqe rate takes it; found by the names of exam and segmentation.
        kind: What the ratings are. Default: what the source's column kind says, human where it says nothing.
    """

    source: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="FILE")]]
    out: Annotated[Path, tyro.conf.arg(metavar="FILE", help_behavior_hint="(required)")]
    format: Literal["auto", "table", "label-studio", "segmentation-review"] = "auto"
    columns: Annotated[tuple[str, ...], tyro.conf.arg(metavar="OURS=THEIRS ...", help_behavior_hint="")] = ()
    rater: options.OptionalName = None
    scale: Annotated[tuple[float, float] | None, tyro.conf.arg(metavar="WORST BEST", help_behavior_hint="")] = None
    data: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER|FILE", help_behavior_hint="")] = None
    kind: Annotated[Literal["human", "simulated"] | None, tyro.conf.arg(help_behavior_hint="")] = None
    label_scheme: options.SchemeOption = None
    task: Annotated[options.TaskOption, _TASK] = None


@dataclass(frozen=True)
class ReportArguments:
    """Say what ratings are worth: agreement of raters, bias and spread of each, and what more of them would bring.

    Writes reliability.json and one page (index.html).

    Attributes:
        source: Folder of a study, or tables of ratings or pairs (CSV or Parquet).
        out: Folder to write to. Default: report in the folder of the first source.
        by: Column whose values are reported apart, such as the data set or the hospital. Exams of one name are one
            exam, whatever the column says.
        scale: Worst and best value that could be given. Default: those of the task.
        wanted: Wanted precision in stars: standard error of a segmentation's mean rating. Default: 0.3 of a step of
            the scale.
        resamples: Bootstrap resamples of the exams behind the confidence intervals.
    """

    source: tyro.conf.Positional[Annotated[tuple[Path, ...], tyro.conf.arg(metavar="FOLDER|FILE [FILE ...]")]]
    out: options.OptionalFolder = None
    by: options.OptionalName = None
    task: Annotated[options.TaskOption, _TASK] = None
    scale: Annotated[tuple[float, float] | None, tyro.conf.arg(metavar="WORST BEST", help_behavior_hint="")] = None
    wanted: Annotated[float | None, tyro.conf.arg(metavar="STARS", help_behavior_hint="")] = None
    resamples: int = 2000
    seed: Annotated[options.Seed, tyro.conf.arg(help="Seed of resamples and simulations.")] = 0

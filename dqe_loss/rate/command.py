"""The command ``python -m dqe_loss.rate``: stars for the segmentations of one exam, or of a whole data set."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, make_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro

from dqe_loss import options
from dqe_loss.command_line import available_cores, check_device, run_command
from dqe_loss.core.centers import CENTERS, check_centers, told_centers
from dqe_loss.core.mask import LabelMask
from dqe_loss.data.exam_files import ExamPaths, choose_reference_name, find_exam, unique_names
from dqe_loss.data.exams import Exam, open_exam, read_exam
from dqe_loss.explain.files import explain_exam, plan_explanations
from dqe_loss.extras import import_extra
from dqe_loss.outputs import check_outputs, write_together
from dqe_loss.processes import launched, own_device
from dqe_loss.rate.rate_exam import rate_exam
from dqe_loss.surrogate.checkpoint import DEFAULT_CHECKPOINT, load_surrogate
from dqe_loss.surrogate.describe import (
    Ratings,
    describe_dice,
    describe_ratings,
    format_table,
    map_for,
    ratings_as_csv,
    ratings_as_json,
    star_unit,
    with_dice,
)
from dqe_loss.surrogate.lowest import lowest_planes
from dqe_loss.surrogate.network import Surrogate
from dqe_loss.surrogate.rater import Rater
from dqe_loss.surrogate.survey import is_surveyed
from dqe_loss.task import GLIOMA, LabelScheme, Task
from dqe_loss.tasks.reading import settle_task

FIGURE_FORMATS = (".png", ".pdf", ".svg")
TABLE_FORMATS = (".csv", ".parquet")


@dataclass(frozen=True)
class RateOptions:
    """Rate segmentations as the surrogate would, from 1 star (worst) to 6 (best): of one exam, or of a data set.

    One exam is a folder with BraTS file names (--exam) or a file for each modality. A data set (--data and --out) is a
    tree of such folders, a raw data set of nnU-Net, or a table of paths; run the same command again
    to go on after a stop, and under torchrun or srun to share the work out. Exams are expected as in BraTS:
    skull-stripped, 240 x 240 x 155 voxels of 1 mm, arrays in LPS.

    Where a checkpoint holds a map from stars to Dice, there are two more columns: dice, the mean Dice of the regions
    that masks of these mean stars have, and dice_low, which most of them reach (how many, the output says).
    Both were learned from references, not from humans, and are valid for the kinds of masks learned from.

    Exit code: 0; 1 if a segmentation of the data set could not be rated; 2 after an error; 128 + its number after a
    signal.

    Attributes:
        data: Folder of a data set, or a table (.csv, .parquet) with the columns exam, segmentation, and the task's
            modalities.
        out: Table to write for --data, .csv or .parquet; its journal is kept beside it.
        predictions: Folders with a file for each exam of --data, called as the exam: rated instead of its own.
        channels: Modality of each of nnU-Net's channels, if its dataset.json does not say.
        workers: Threads that read ahead for --data. Default: one for each core, at most 8.
        retry: Rate those exams of --data again that failed.
        best: Of several segmentations of an exam, such as those of several --predictions, copy the one with the most
            stars to this folder, called as the exam, and list all candidates there in candidates.csv. Of equal ones
            the first is taken.
        exam: Folder of one exam.
        image: Files of one exam instead of --exam, for any task: MODALITY=FILE for each modality.
        segmentation: Label maps to rate. Default: all in the exam's folder with "seg" in the name.
        center: Where planes lie: through the mask's center (as published), where the task's bright modality is
            brightest, or through the brain's center; of several, each view's lowest stars count.
        engine: What runs the network: openvino is faster on a CPU, and takes seconds to start.
        json: Write the ratings as JSON.
        csv: Write the ratings as CSV.
        figure: Write the rated planes with outlines as .png, .pdf or .svg (needs matplotlib).
        explain: Write where the stars of the planes by themselves would rise with another label, as .png, .pdf, .svg or
            as numbers in .json; a picture for each segmentation, called FILE_SEGMENTATION if there are several.
        reference: With --explain, the segmentation that is true: its name, the end of its name (seg for
            CASE-seg.nii.gz) or a pattern ('*-seg'). The others' errors are shown, and what share of the explanation
            falls on them.
    """

    data: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER|FILE", help_behavior_hint="")] = None
    out: options.OptionalFile = None
    predictions: options.Folders = ()
    channels: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME [NAME ...]", help_behavior_hint="")] = ()
    workers: options.OptionalCount = None
    retry: bool = False
    best: options.OptionalFolder = None
    exam: options.OptionalFolder = None
    image: Annotated[tuple[str, ...], tyro.conf.arg(metavar="MODALITY=FILE ...", help_behavior_hint="")] = ()
    segmentation: options.Files = ()
    label_scheme: options.SchemeOption = None
    task: options.TaskOption = None
    checkpoint: options.CheckpointName = DEFAULT_CHECKPOINT
    center: Annotated[
        tuple[str, ...], tyro.conf.arg(metavar=f"{{{'|'.join(CENTERS)}}} ...", help_behavior_hint="(mask)")
    ] = ("mask",)
    thorough: options.Thorough = True
    device: options.DeviceName = "cpu"
    engine: Literal["torch", "openvino"] = "torch"
    json: options.OptionalFile = None
    csv: options.OptionalFile = None
    figure: options.OptionalFile = None
    explain: options.OptionalFile = None
    reference: options.OptionalName = None


RateArguments = make_dataclass(
    "RateArguments",
    [
        (
            modality,
            Annotated[options.OptionalFile, tyro.conf.arg(help=f"{GLIOMA.title(modality)}, instead of --exam.")],
            None,
        )
        for modality in GLIOMA.modalities
    ],
    bases=(RateOptions,),
    frozen=True,
)
"""The options, with one for each file of the built-in task."""
RateArguments.__doc__ = RateOptions.__doc__


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; exit code 1 if a segmentation of a data set could not be rated, else as of `run_command`."""
    return run_command("dqe rate", RateArguments, _run, argv)


def _run(arguments: RateOptions) -> int:
    return _rate_data(arguments) if arguments.data or arguments.out else _rate_exam(arguments)


def _rate_data(arguments: RateOptions) -> int:
    """Rate a data set, or this process's share of it; returns the exit code."""
    single = ("exam", *GLIOMA.modalities, "image", "segmentation", "json", "csv", "figure", "explain", "reference")
    if given := [name for name in single if getattr(arguments, name)]:
        raise ValueError(f"--{given[0]} is for a single exam, --data and --out for a data set; leave one out")
    if not (arguments.data and arguments.out):
        raise ValueError(f"expected --data and --out, found only --{'data' if arguments.data else 'out'}")
    if arguments.out.suffix not in TABLE_FORMATS:
        raise ValueError(f"{arguments.out}: expected a table that ends in {' or '.join(TABLE_FORMATS)}")
    workers = min(available_cores(), 8) if arguments.workers is None else arguments.workers
    if workers < 1:
        raise ValueError(f"--workers must be 1 or more, got {workers}")
    check_outputs([arguments.out])
    rank, world = launched()
    device = own_device(arguments.device)
    check_device(device)
    run = import_extra("dqe_loss.rate.rate_data_set", "rate")
    from dqe_loss.data.discovery.nnunet import is_nnunet
    from dqe_loss.data.discovery.nnunet_labels import settle_scheme
    from dqe_loss.rate.plan import RatePlan

    surrogate = load_surrogate(arguments.checkpoint).to(device)
    task = settle_task(arguments.task, surrogate.config.task, arguments.checkpoint)
    check_centers(arguments.center, task)
    scheme = task.scheme(arguments.label_scheme).name
    if is_nnunet(arguments.data):
        said, scheme = scheme, settle_scheme(arguments.data, arguments.label_scheme, task)
        if scheme != said:
            told = task.scheme(scheme)
            print(f"{arguments.data / 'dataset.json'}: labels as --label-scheme {scheme} ({told})")
    plan = RatePlan(
        arguments.data,
        arguments.out,
        arguments.checkpoint,
        scheme,
        arguments.predictions,
        arguments.channels,
        workers,
        arguments.retry,
        arguments.center,
        arguments.thorough,
        rank,
        world,
        task,
        arguments.best,
    )
    rater = _in_engine(surrogate, arguments.engine)
    config = surrogate.config
    description = [describe_ratings(config, arguments.checkpoint), *describe_dice(config, plan.told(config))]
    code: int = run.tell(run.rate_data_set(plan, surrogate, rater), plan, "\n".join(description))
    return code


def _rate_exam(arguments: RateOptions) -> int:
    """Rate the segmentations of one exam."""
    many = ("predictions", "channels", "workers", "retry")
    if given := [name for name in many if getattr(arguments, name)]:
        raise ValueError(f"--{given[0]} is for a data set; give it with --data and --out")
    outputs = [path for path in (arguments.json, arguments.csv, arguments.figure) if path]
    check_outputs(outputs)
    if arguments.figure and arguments.figure.suffix.lower() not in FIGURE_FORMATS:
        raise ValueError(f"{arguments.figure}: expected a figure that ends in {' or '.join(FIGURE_FORMATS)}")
    if arguments.figure:
        import_extra("dqe_loss.viz.planes", "report")
    check_device(arguments.device)

    surrogate = load_surrogate(arguments.checkpoint).to(arguments.device)
    task = settle_task(arguments.task, surrogate.config.task, arguments.checkpoint)
    check_centers(arguments.center, task)
    scheme = task.scheme(arguments.label_scheme)
    paths = _exam_paths(arguments, task)
    names, reference = unique_names(paths.segmentations), arguments.reference
    if reference is not None:
        reference = choose_reference_name(str(paths.folder), names, [reference])
    explanations = plan_explanations(arguments.explain, names, reference)
    check_outputs([*outputs, *dict.fromkeys(explanations.values())])
    rater = _in_engine(surrogate, arguments.engine)
    exam = open_exam(paths, label_scheme=scheme, task=task)
    centers = told_centers(arguments.center, is_surveyed(surrogate.config, arguments.thorough))
    masks = dict(zip(names, paths.segmentations, strict=True))
    best = _begin_best(arguments, surrogate, exam.name, masks, scheme, centers)
    stars = rate_exam(exam, rater, scheme, arguments.center, arguments.thorough)
    ratings = with_dice(stars, map_for(surrogate.config, centers))
    caption = f"{exam.name}: {describe_ratings(surrogate.config, arguments.checkpoint)}"
    contents: dict[Path, bytes] = {}
    if arguments.json:
        contents[arguments.json] = ratings_as_json(
            exam.name, ratings, surrogate.config, arguments.checkpoint, scheme.name, centers
        )
    if arguments.csv:
        contents[arguments.csv] = ratings_as_csv(exam.name, ratings, surrogate.config, arguments.checkpoint, centers)
    whole = None
    if arguments.figure or explanations:
        whole = read_exam(paths, label_scheme=scheme, warn=False, task=task)
    if arguments.figure and whole:
        contents[arguments.figure] = _as_figure(whole, ratings, rater, arguments, caption, scheme, task)
    text = "\n".join([caption, *describe_dice(surrogate.config, centers), "", format_table(ratings)])
    if explanations and whole:
        explained, table = explain_exam(
            whole, surrogate, explanations, arguments.checkpoint, reference, scheme.name, arguments.center
        )
        contents |= explained
        text += f"\n\n{table}" if table else ""
    write_together(contents)
    if best is not None:
        text += f"\n\n{best.write(stars)}"
    print(text)
    return 0


def _begin_best(
    arguments: RateOptions,
    surrogate: Surrogate,
    exam: str,
    masks: dict[str, Path],
    scheme: LabelScheme,
    told: Sequence[str],
) -> Any:
    """What is to choose the best mask of a single exam, if that is asked for."""
    if arguments.best is None:
        return None
    plan, best = (import_extra(f"dqe_loss.rate.{name}", "rate") for name in ("plan", "best"))
    origin = plan.origin_of(surrogate, arguments.checkpoint, scheme, told)
    return best.BestOfExam.begin(arguments.best, exam, masks, origin, surrogate.config.task)


def _in_engine(surrogate: Surrogate, engine: str) -> Rater:
    if engine == "torch":
        return surrogate
    rater: Rater = import_extra("dqe_loss.surrogate.openvino", "engine").OpenVINORater(surrogate)
    return rater


def _exam_paths(arguments: RateOptions, task: Task) -> ExamPaths:
    """Find the files from --exam or from the single paths."""
    # A modality of another task may be called as an option that is none of a file, such as image.
    options = {name: getattr(arguments, name) for name in task.modalities if name in GLIOMA.modalities}
    modalities = {name: Path(path) for name, path in options.items() if path}
    for pair in arguments.image:
        name, parted, path = pair.partition("=")
        if not parted or not path or name not in task.modalities:
            raise ValueError(f"--image {pair}: expected MODALITY=FILE, of the modalities {', '.join(task.modalities)}")
        modalities[name] = Path(path)
    own = len(options) == len(task.modalities)
    flags = " ".join(f"--{name}" if own else f"--image {name}=FILE" for name in task.modalities)
    if arguments.exam:
        if modalities:
            raise ValueError(f"expected --exam or {flags}, found both; leave one out")
        paths = find_exam(arguments.exam, task)
        if arguments.segmentation:
            paths = replace(paths, segmentations=arguments.segmentation)
        if not paths.segmentations:
            raise ValueError(
                f'{arguments.exam}: expected a segmentation with "seg" in its name, found none; '
                "give it with --segmentation"
            )
        return paths
    if len(modalities) < len(task.modalities):
        missing = " ".join(f"--{name}" if own else name for name in task.modalities if name not in modalities)
        raise ValueError(f"expected --exam FOLDER or all of {flags}; missing: {missing}")
    if not arguments.segmentation:
        raise ValueError("expected at least one segmentation, found none; give it with --segmentation")
    images = {name: modalities[name] for name in task.modalities}
    return ExamPaths(images, arguments.segmentation, planar=task.planar)


def _as_figure(
    exam: Exam,
    ratings: Ratings,
    rater: Rater,
    arguments: RateOptions,
    caption: str,
    scheme: LabelScheme,
    task: Task,
) -> bytes:
    image = torch.from_numpy(exam.image)[None]
    masks = {name: LabelMask(torch.from_numpy(one)[None, None], scheme) for name, one in exam.segmentations.items()}
    planes = {
        name: lowest_planes(rater, image, mask, arguments.center, thorough=arguments.thorough)
        for name, mask in masks.items()
    }
    figure = import_extra("dqe_loss.viz.planes", "report").plot_planes(
        exam, ratings, label_scheme=scheme, planes=planes, unit=star_unit(rater.config), caption=caption, task=task
    )
    content = io.BytesIO()
    figure.savefig(content, format=str(arguments.figure).rpartition(".")[2].lower(), dpi=130)
    return content.getvalue()

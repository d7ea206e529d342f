"""The stars of one exam: from options to files and a table on the screen."""

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from dqe_loss.command_line import check_device
from dqe_loss.core.centers import told_centers
from dqe_loss.core.mask import LabelMask
from dqe_loss.data.exam_files import ExamPaths, choose_reference_name, find_exam, unique_names
from dqe_loss.data.exams import Exam, open_exam, read_exam
from dqe_loss.explain.files import explain_exam, plan_explanations
from dqe_loss.extras import import_extra
from dqe_loss.outputs import check_outputs, write_together
from dqe_loss.rate.arguments import RateOptions, asked_surrogate, in_engine
from dqe_loss.rate.rate_exam import rate_exam
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

FIGURE_FORMATS = (".png", ".pdf", ".svg")


def rate_one_exam(arguments: RateOptions) -> int:
    """Rate the segmentations of one exam, print their stars, and write what was asked for.

    Returns:
        The exit code, 0.

    Raises:
        ValueError: options do not fit each other, or a file cannot be used.
        OSError: a file cannot be read or written.
    """
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

    surrogate, task = asked_surrogate(arguments, arguments.device)
    scheme = task.scheme(arguments.label_scheme)
    paths = _exam_paths(arguments, task)
    names, reference = unique_names(paths.segmentations), arguments.reference
    if reference is not None:
        reference = choose_reference_name(str(paths.folder), names, [reference])
    explanations = plan_explanations(arguments.explain, names, reference)
    check_outputs([*outputs, *dict.fromkeys(explanations.values())])
    rater = in_engine(surrogate, arguments.engine)
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

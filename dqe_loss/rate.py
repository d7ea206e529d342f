"""The command ``python -m dqe_loss.rate``: stars for the segmentations of one exam."""

import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro

from dqe_loss.checkpoint import load_surrogate
from dqe_loss.command import check_device, import_extra, run_command
from dqe_loss.data.exams import Exam, ExamPaths, find_exam, read_exam, unique_names
from dqe_loss.explain import explain_exam, plan_explanations
from dqe_loss.files import check_outputs, write_together
from dqe_loss.intensity import MODALITIES
from dqe_loss.rating import rate_segmentation
from dqe_loss.slicing import VIEWS
from dqe_loss.stars import (
    Ratings,
    describe_ratings,
    format_table,
    ratings_as_csv,
    ratings_as_json,
    star_unit,
)
from dqe_loss.surrogate import Surrogate, SurrogateConfig

File = Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")]
Files = Annotated[tuple[Path, ...], tyro.conf.arg(metavar="FILE [FILE ...]", help_behavior_hint="")]
FIGURE_FORMATS = (".png", ".pdf", ".svg")


@dataclass(frozen=True)
class Arguments:
    """Rate the segmentations of one exam, as the surrogate would, from 1 star (worst) to 6 (best).

    The exam is a folder with BraTS file names (--exam) or four files (--t1c --t1 --t2 --flair). It is
    expected as in BraTS: skull-stripped, 240 x 240 x 155 voxels of 1 mm, arrays in LPS.

    Attributes:
        exam: Folder of the exam.
        t1c: T1 with contrast agent, instead of --exam.
        t1: Native T1, instead of --exam.
        t2: T2, instead of --exam.
        flair: T2 FLAIR, instead of --exam.
        segmentation: Label maps to rate. Default: all in the exam's folder with "seg" in the name.
        label_scheme: Labels of necrosis, edema, enhancing tumor: brats 1, 2, 3 or 4; brats23 1, 2, 3; brats21
            1, 2, 4; msd and nnunet 2, 1, 3.
        checkpoint: The published weights, or those of a .safetensors or .pth file.
        device: Where the network runs, such as cpu or cuda.
        json: Write the ratings as JSON.
        csv: Write the ratings as CSV.
        figure: Write the rated planes with outlines as .png, .pdf or .svg (needs matplotlib).
        explain: Write where the stars would rise with another label, as .png, .pdf, .svg or as numbers in .json; a
            picture for each segmentation, called FILE_SEGMENTATION if there are several.
        reference: With --explain, the segmentation (its name without .nii.gz) that is true: the others' errors
            are shown, and what share of the explanation falls on them.
    """

    exam: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER", help_behavior_hint="")] = None
    t1c: File = None
    t1: File = None
    t2: File = None
    flair: File = None
    segmentation: Files = ()
    label_scheme: Literal["brats", "brats23", "brats21", "msd", "nnunet"] = "brats"
    checkpoint: Annotated[str, tyro.conf.arg(metavar="brainlesion|FILE")] = "brainlesion"
    device: str = "cpu"
    json: File = None
    csv: File = None
    figure: File = None
    explain: File = None
    reference: Annotated[str | None, tyro.conf.arg(metavar="NAME", help_behavior_hint="")] = None


def rate_exam(exam: Exam, surrogate: Surrogate, label_scheme: str = "brats", device: str = "cpu") -> Ratings:
    """Rate each segmentation of an exam in each view, with the published slicing (``"hard"``).

    Args:
        exam: the exam, as `dqe_loss.data.exams.read_exam` gives it.
        surrogate: the network; it is moved to the device.
        label_scheme: name of the label maps' scheme.
        device: where to compute.

    Returns:
        For each segmentation the stars of the views ``"axial"``, ``"coronal"``, ``"sagittal"``, and their
        ``"mean"``. Not clamped to the scale.
    """
    surrogate = surrogate.to(device)
    image = torch.from_numpy(exam.image)[None].to(device)
    ratings = {}
    # One at a time: a larger batch does not save the network time, and costs memory for the masks.
    for name, labels in exam.segmentations.items():
        mask = torch.from_numpy(labels)[None, None].to(device)
        with torch.no_grad():
            stars = rate_segmentation(surrogate, image, mask, slicing="hard", label_scheme=label_scheme)[0]
        ratings[name] = dict(zip(VIEWS, stars.tolist(), strict=True)) | {"mean": stars.mean().item()}
    return ratings


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: the arguments, without the program's name; those of the process if None.

    Returns:
        Exit code: 0, or 2 after an error, which is one line on standard error; 130 after an interrupt.
    """
    arguments = tyro.cli(Arguments, prog="dqe_loss.rate", args=argv)
    return run_command("dqe_loss.rate", lambda: _run(arguments))


def _run(arguments: Arguments) -> None:
    outputs = [path for path in (arguments.json, arguments.csv, arguments.figure) if path]
    check_outputs(outputs)
    if arguments.figure and arguments.figure.suffix.lower() not in FIGURE_FORMATS:
        raise ValueError(f"{arguments.figure}: expected a figure that ends in {' or '.join(FIGURE_FORMATS)}")
    if arguments.figure:
        import_extra("dqe_loss.figure", "report")
    check_device(arguments.device)

    paths = _exam_paths(arguments)
    explanations = plan_explanations(arguments.explain, unique_names(paths.segmentations), arguments.reference)
    check_outputs([*outputs, *dict.fromkeys(explanations.values())])
    surrogate = load_surrogate(arguments.checkpoint)
    exam = read_exam(paths, label_scheme=arguments.label_scheme)
    ratings = rate_exam(exam, surrogate, arguments.label_scheme, arguments.device)
    caption = f"{exam.name}: {describe_ratings(surrogate.config, arguments.checkpoint)}"
    contents: dict[Path, bytes] = {}
    if arguments.json:
        contents[arguments.json] = ratings_as_json(
            exam.name, ratings, surrogate.config, arguments.checkpoint, arguments.label_scheme
        )
    if arguments.csv:
        contents[arguments.csv] = ratings_as_csv(exam.name, ratings, surrogate.config, arguments.checkpoint)
    if arguments.figure:
        contents[arguments.figure] = _as_figure(exam, ratings, surrogate.config, arguments, caption)
    text = f"{caption}\n\n{format_table(ratings)}"
    if explanations:
        explained, table = explain_exam(
            exam, surrogate, explanations, arguments.checkpoint, arguments.reference, arguments.label_scheme
        )
        contents |= explained
        text += f"\n\n{table}" if table else ""
    write_together(contents)
    print(text)


def _exam_paths(arguments: Arguments) -> ExamPaths:
    """Find the files from --exam or from the single paths."""
    given: dict[str, Path | None] = {modality: getattr(arguments, modality) for modality in MODALITIES}
    modalities = {modality: path for modality, path in given.items() if path}
    flags = " ".join(f"--{modality}" for modality in MODALITIES)
    if arguments.exam:
        if modalities:
            raise ValueError(f"expected --exam or {flags}, found both; leave one out")
        paths = find_exam(arguments.exam)
        if arguments.segmentation:
            paths = replace(paths, segmentations=arguments.segmentation)
        if not paths.segmentations:
            raise ValueError(
                f'{arguments.exam}: expected a segmentation with "seg" in its name, found none; '
                "give it with --segmentation"
            )
        return paths
    if len(modalities) < len(MODALITIES):
        missing = " ".join(f"--{modality}" for modality in MODALITIES if modality not in modalities)
        raise ValueError(f"expected --exam FOLDER or all of {flags}; missing: {missing}")
    if not arguments.segmentation:
        raise ValueError("expected at least one segmentation, found none; give it with --segmentation")
    t1c, t1, t2, flair = (modalities[modality] for modality in MODALITIES)
    return ExamPaths(t1c, t1, t2, flair, arguments.segmentation)


def _as_figure(exam: Exam, ratings: Ratings, config: SurrogateConfig, arguments: Arguments, caption: str) -> bytes:
    figure = import_extra("dqe_loss.figure", "report").plot_planes(
        exam, ratings, label_scheme=arguments.label_scheme, unit=star_unit(config), caption=caption
    )
    content = io.BytesIO()
    figure.savefig(content, format=str(arguments.figure).rpartition(".")[2].lower(), dpi=130)
    return content.getvalue()


if __name__ == "__main__":
    sys.exit(main())

"""The options of ``python -m dqe_loss.rate``, and the surrogate that they ask for."""

from dataclasses import dataclass, make_dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from dqe_loss import options
from dqe_loss.core.centers import CENTERS, check_centers
from dqe_loss.extras import import_extra
from dqe_loss.surrogate.checkpoint import DEFAULT_CHECKPOINT, load_surrogate
from dqe_loss.surrogate.network import Surrogate
from dqe_loss.surrogate.rater import Rater
from dqe_loss.task import GLIOMA, Task
from dqe_loss.tasks.reading import settle_task


@dataclass(frozen=True)
class RateOptions:
    """Rate segmentations as the surrogate would, on its task's scale (1 to 6 stars): of one exam, or of a data set.

    One exam is a folder with BraTS file names (--exam) or a file for each modality. A data set (--data and --out) is a
    tree of such folders, a raw data set of nnU-Net, or a table of paths; run the same command again to resume after a
    stop, and under torchrun or srun to distribute the work. Exams are expected as the checkpoint's task says
    (dqe task FILE shows it); of gliomas as in BraTS: skull-stripped, 240 x 240 x 155 voxels of 1 mm, arrays in LPS.

    Where a checkpoint holds a map from stars to Dice, there are two more columns: dice, the mean Dice of the regions
    that masks of these mean stars have, and dice_low, which most of them reach (how many, the output says).
    Both were learned from references, not from humans, and are valid for masks like those learned from.

    Exit code: 0; 1 if a segmentation of the data set could not be rated; 2 after an error; 128 + its number after a
    signal.

    Attributes:
        data: Folder of a data set, or a table (.csv, .parquet) with the columns exam, segmentation, and the task's
            modalities.
        out: Table of --data to write, .csv or .parquet; a journal of the run is kept beside it.
        predictions: Folders with a file for each exam of --data, named like the exam: rated instead of its own.
        channels: Modality of each of nnU-Net's channels, if its dataset.json does not say.
        workers: Threads that read the exams of --data ahead. Default: one for each core, at most 8.
        retry: Rate the failed exams of --data again.
        best: Of several segmentations of an exam, such as those of several --predictions, copy the one with the most
            stars to this folder, named like the exam, and list all candidates there in candidates.csv. Of equal ones
            the first is taken.
        exam: Folder of one exam.
        image: Files of one exam instead of --exam, for any task: MODALITY=FILE for each modality.
        segmentation: Label maps to rate. Default: all in the exam's folder with "seg" in the name.
        center: Where the planes lie: through the mask's center (mask, as published), where the task's bright modality
            is brightest, or through the brain's center (brain). With several, each view's lowest stars
            count.
        engine: What runs the network: torch, or openvino, which is faster on a CPU and takes seconds to start.
        json: Write the stars as JSON.
        csv: Write the stars as CSV.
        figure: Write the rated planes with outlines as .png, .pdf or .svg (needs matplotlib).
        explain: Write an explanation: in which voxels of the rated planes another label would raise the stars (the
            survey is left out). A picture as .png, .pdf or .svg, or numbers as .json; with several segmentations, a
            picture for each, named FILE_SEGMENTATION.
        reference: With --explain, the reference among the segmentations: its name, the end of its name (seg for
            CASE-seg.nii.gz) or a pattern ('*-seg'). The true errors of the others are shown, and what share of the
            explanation falls on them.
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


def asked_surrogate(arguments: RateOptions, device: str) -> tuple[Surrogate, Task]:
    """The surrogate that options name, on its device, and the task.

    Raises:
        ValueError: it is of another task, or planes cannot lie where they should.
    """
    surrogate = load_surrogate(arguments.checkpoint).to(device)
    task = settle_task(arguments.task, surrogate.config.task, arguments.checkpoint)
    check_centers(arguments.center, task)
    return surrogate, task


def in_engine(surrogate: Surrogate, engine: str) -> Rater:
    """What runs a surrogate's network: itself, or OpenVINO."""
    if engine == "torch":
        return surrogate
    rater: Rater = import_extra("dqe_loss.surrogate.openvino", "engine").OpenVINORater(surrogate)
    return rater

"""Options that several benchmarks share, each with its help once; those of the commands are in `dqe_loss.options`."""

from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro

from dqe_loss.options import Folders

ResultFile = Annotated[Path, tyro.conf.arg(metavar="FILE", help="Where the figures go.")]
Threads = Annotated[int | None, tyro.conf.arg(help="Threads of torch; its own default if not given.")]
AutoDevice = Annotated[Literal["auto", "cpu", "cuda"], tyro.conf.arg(help="Where to run; auto takes a GPU if there.")]
ExamFolder = Annotated[
    Path | None,
    tyro.conf.arg(metavar="FOLDER", help="Folder of an exam; the phantom if not given."),
]
MoreExams = Annotated[Folders, tyro.conf.arg(help="Folders of exams, beside phantoms.")]
FirstReference = Annotated[
    tuple[str, ...],
    tyro.conf.arg(
        help="Names of segmentations that count as the reference: the first that an exam has, or its only one."
    ),
]


def resolved(device: str) -> str:
    """A device with the GPU, if there is one, in place of ``"auto"``."""
    return ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device

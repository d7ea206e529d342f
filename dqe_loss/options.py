"""Options that several commands share: how each is shown and what its help says, once.

A command that means something else by one of them says so with a help of its own::

    exams: Annotated[ExamFolders, tyro.conf.arg(help="Folders of exams, instead of phantoms.")] = ()

Those without help here are described in the docstring of the class that uses them.
"""

from pathlib import Path
from typing import Annotated

import tyro

from dqe_loss.core.label_schemes import describe_schemes

OptionalFile = Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")]
OptionalFolder = Annotated[Path | None, tyro.conf.arg(metavar="FOLDER", help_behavior_hint="")]
OptionalName = Annotated[str | None, tyro.conf.arg(metavar="NAME", help_behavior_hint="")]
OptionalCount = Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="")]
Files = Annotated[tuple[Path, ...], tyro.conf.arg(metavar="FILE [FILE ...]", help_behavior_hint="")]
Folders = Annotated[tuple[Path, ...], tyro.conf.arg(metavar="FOLDER [FOLDER ...]", help_behavior_hint="")]

CheckpointName = Annotated[
    str,
    tyro.conf.arg(
        metavar="hardened|brainlesion|FILE",
        help="hardened (comes with this package), brainlesion (the published weights), or a .safetensors or .pth file.",
    ),
]
OutFolder = Annotated[Path, tyro.conf.arg(metavar="FOLDER", help="Folder to write to; made if it is not there.")]
ExamFolders = Annotated[
    Folders,
    tyro.conf.arg(
        help="Folders of exams whose files are named as their task says (of gliomas as in BraTS), or tables of paths."
    ),
]
ReferenceNames = Annotated[
    tuple[str, ...],
    tyro.conf.arg(
        metavar="NAME [NAME ...]",
        help_behavior_hint="",
        help="Each exam's reference: its name, the end of its name (seg for CASE-seg.nii.gz) or a pattern such as "
        "'*-seg'; several where exams differ.",
    ),
]
SchemeOption = Annotated[
    str | None,
    tyro.conf.arg(
        metavar="NAME",
        help_behavior_hint="",
        help="Which label is which tissue, by the name of one of the task's label schemes; its first by default. Of "
        f"gliomas: {describe_schemes()}.",
    ),
]
TaskOption = Annotated[
    str | None,
    tyro.conf.arg(
        metavar="NAME|FILE",
        help_behavior_hint="",
        help="What is segmented: a task of this package (glioma, blobs), or a .yaml or .json file that describes one. "
        "Default: the checkpoint's task.",
    ),
]
TaskWithoutCheckpoint = Annotated[
    TaskOption,
    tyro.conf.arg(
        metavar="NAME|FILE",
        help_behavior_hint="(default: glioma)",
        help="What is segmented: a task of this package (glioma, blobs), or a .yaml or .json file that describes one.",
    ),
]
"""For commands that read no checkpoint."""
Thorough = Annotated[
    bool,
    tyro.conf.arg(
        help="Let the checkpoint's refiner survey planes all over the head, so that errors far from the rated planes "
        "count. Takes up to a second per segmentation; without a refiner there is no survey."
    ),
]
DeviceName = Annotated[str, tyro.conf.arg(help="Where the network runs, such as cpu or cuda.")]
Seed = Annotated[int, tyro.conf.arg(help="Random seed.")]

RunFolderOption = Annotated[OutFolder, tyro.conf.arg(help="Folder of the run; made if it is not there.")]
Resume = Annotated[bool, tyro.conf.arg(help="Resume the run in the folder from its last saved state.")]
TrainingDevice = Annotated[DeviceName, tyro.conf.arg(help="Where to train; auto takes the GPU if there is one.")]

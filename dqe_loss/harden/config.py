"""All that a hardening depends on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from dqe_loss import options
from dqe_loss.surrogate.config import NO_NETWORK
from dqe_loss.surrogate.refiner import RefinerConfig
from dqe_loss.task import GLIOMA, find_task

_CHECKPOINT = tyro.conf.arg(
    metavar="brainlesion|none|FILE",
    help_behavior_hint="(brainlesion, or none for another --task)",
    help="The surrogate to harden: brainlesion, a file, or none where nobody has rated yet: the refiner alone lowers "
    "the stars then.",
)


BRAINLESION = "brainlesion"


@dataclass(frozen=True)
class HardenConfig:
    """Harden a surrogate: teach it a refiner, on exams with references.

    The checkpoint itself is not changed, so that its judgment is kept; the refiner lowers its stars where the
    scans contradict the mask, and guards its gradient. On two CPU cores about half an hour.

    With --add-predictions, the training of a refiner that the checkpoint already has is continued: from its weights,
    with its architecture and its thresholds.

    Attributes:
        add_predictions: Folders with a network's masks of --exams and --held-out, each file named like its exam. The
            refiner is trained on them beside the other masks, and so learns this network's errors.
        predictions_share: Share of predictions among the masks shown, for exams that have any.
        held_out: Folders of exams with references that are kept out of the training. Each saved state is evaluated on
            them, and the best one becomes the checkpoint.
        phantoms: Number of synthetic exams to add to --exams.
        cache: Folder of prepared exams, which several runs may share. Default: OUT/exams.
        natural: Also train on the exams' other segmentations, good or failed, including those in subfolders.
        errors: Number of wrong masks to make from each exam's reference.
        steps: Steps of the optimizer.
        batch: Planes per step.
        learning_rate: Peak learning rate (AdamW).
        weight_decay: Weight decay (AdamW).
        norm: Normalization layers of the refiner: batch, or instance (slower).
        trust: Weight of the given mask in what the refiner draws: one number for each region (region), a map of them
            (voxel), or none beyond what the network makes of it (none).
        features: Channels of the refiner's five levels and of its last layer.
        attack_from: Share of the steps after which attacks begin; half of every second batch is attacked.
        attack_rounds: Maximum number of rounds of an attack; the limit grows from 1 to this over the training.
        confidence: Minimum probability (0.5 to 1) at which the refiner counts as sure of a voxel. The gradient of the
            stars passes only there.
        full_marks: Minimum agreement (0 to 1) of mask and refined mask in the rated planes at which a mask keeps all
            its stars.
        survey_full_marks: The same threshold for the agreement over the whole head, in the survey.
        exponent: Below the threshold, the stars above the lowest are multiplied by (agreement / threshold) to this
            power.
        workers: Processes that prepare batches; 0 prepares them in the training process. The batches do not depend on
            the number. Default: a quarter of the processor cores; all but one if the training runs on a GPU.
        save_every: Steps between saved states, rows of the log and evaluations on held-out exams. An evaluation takes
            as long as four steps per exam.
    """

    exams: options.ExamFolders = ()
    reference: options.ReferenceNames = ()
    add_predictions: options.Folders = ()
    predictions_share: float = 0.3
    held_out: options.Folders = ()
    phantoms: int = 10
    out: options.RunFolderOption = Path("runs/hardened")
    resume: options.Resume = False
    cache: options.OptionalFolder = None
    checkpoint: Annotated[str | None, _CHECKPOINT] = None
    natural: bool = True
    errors: int = 24
    steps: int = 2400
    batch: int = 12
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    norm: Literal["batch", "instance"] = "batch"
    trust: Literal["region", "voxel", "none"] = "region"
    features: tuple[int, ...] = (16, 32, 64, 96, 128, 16)
    attack_from: float = 0.3
    attack_rounds: int = 3
    confidence: float = 0.8
    full_marks: float = 0.94
    survey_full_marks: float = 0.8
    exponent: float = 3.0
    seed: options.Seed = 0
    label_scheme: options.SchemeOption = None
    task: options.TaskOption = None
    device: options.TrainingDevice = "auto"
    workers: options.OptionalCount = None
    save_every: int = 100

    def __post_init__(self) -> None:
        """Check what a type cannot say.

        Raises:
            ValueError: naming the option, its value and what it may be.
        """
        at_least = {"phantoms": 0, "errors": 1, "steps": 1, "batch": 2, "attack_rounds": 1, "seed": 0, "save_every": 1}
        for name, least in at_least.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if self.workers is not None and self.workers < 0:
            raise ValueError(f"workers must be at least 0, got {self.workers}")
        if self.learning_rate <= 0 or self.weight_decay < 0 or not 0 <= self.attack_from <= 1:
            got = f"{self.learning_rate:g}, {self.weight_decay:g} and {self.attack_from:g}"
            raise ValueError(f"expected learning_rate > 0, weight_decay >= 0 and attack_from in [0, 1], got {got}")
        if not 0 < self.predictions_share <= 1:
            raise ValueError(f"predictions_share must be in (0, 1], got {self.predictions_share:g}")
        self.refiner()

    def refiner(self) -> RefinerConfig:
        """How the refiner is built; see there for the errors."""
        return RefinerConfig(
            self.features,
            self.norm,
            self.trust,
            self.confidence,
            self.full_marks,
            self.survey_full_marks,
            self.exponent,
        )

    @property
    def start(self) -> str:
        """What is hardened: a checkpoint, or `NO_NETWORK`."""
        if self.checkpoint is not None:
            return self.checkpoint
        return NO_NETWORK if self.task is not None and find_task(self.task) != GLIOMA else BRAINLESION

    @property
    def prepared(self) -> Path:
        """Folder of the prepared exams."""
        return self.cache or self.out / "exams"

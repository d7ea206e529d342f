"""All that a training depends on, as one typed value: command line, YAML and model card are views of it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from dqe_loss import options
from dqe_loss.data.augmentation.config import AugmentationConfig
from dqe_loss.surrogate.config import SurrogateConfig
from dqe_loss.task import Task, find_task

_SEED = tyro.conf.arg(help="Seed of the split, the weights, the order of planes and the augmentation.")


@dataclass(frozen=True)
class TrainConfig:
    """Train a surrogate from star ratings.

    Attributes:
        ratings: Tables of ratings (CSV or Parquet), one row per judgment; see dqe_loss.data.tables.ratings.
        architecture: Name of a 2D classifier in monai.networks.nets, such as DenseNet121, DenseNet201, resnet18.
        head: Stars as one number (the paper), or a distribution over them by a cumulative link.
        pretrained: Checkpoint to start from, brainlesion or a file; it sets architecture, normalization and encoding.
        encoding: How the network sees the segmentation: a channel for each region (the paper's "BraTS labels"), or one
            channel of tissue labels.
        normalization: How intensities are scaled: by the plane's joint percentiles 0.5 and 99.5 (percentile), by
            minimum and maximum of each modality (minmax), by each modality's mean over the head, so that its unit does
            not matter (head_mean), or by the task's window (window). Default: window where the task has one, else
            percentile.
        field_of_view: Height and width in voxels to which planes are padded. Default: the task's.
        targets: What to learn: the mean over a plane's raters (mean, as in the paper), each rating by itself
            (individual), or the mean corrected for each rater's bias and precision in the training part (latent).
        optimizer: SGD (momentum 0.95), AdamW, or Ranger21 with its own warm-up and warm-down.
        learning_rate: Learning rate of the optimizer, before Ranger21's own schedule (the paper: 1e-3 for all).
        weight_decay: Weight decay of the optimizer (the presets: the default of AdamW's or Ranger21's paper, 0 for
            SGD).
        epochs: Passes over the training planes (the paper: 500).
        batch: Planes per step of the optimizer, over all processes (the paper: 80).
        micro_batch: Planes per forward pass; fewer take less memory. Batch normalization takes its statistics over
            them, so this number changes the result; the number of processes does not.
        validation: Share of the exams on which the training is only monitored (the paper: none).
        test: Share of the exams held out for the test (the paper: 15 of 75).
        split: Split to use instead of drawing one: a CSV file with the columns exam and split.
        cache: Folder of cached planes, which several runs may share. Default: OUT/planes.
        workers: Processes that augment planes, for each training process. The planes do not depend on the number.
        amp: Train in bfloat16 autocast; used on GPUs only.
        save_every: Epochs between saved states.
        augmentation: Probabilities and magnitudes of the augmentation.
    """

    ratings: options.Files = ()
    out: options.RunFolderOption = Path("runs/surrogate")
    resume: options.Resume = False
    architecture: str = "DenseNet121"
    head: Literal["regression", "ordinal"] = "regression"
    pretrained: Annotated[str | None, tyro.conf.arg(metavar="brainlesion|FILE", help_behavior_hint="")] = None
    encoding: Literal["regions", "tissue"] = "regions"
    normalization: Annotated[
        Literal["percentile", "minmax", "head_mean", "window"] | None, tyro.conf.arg(help_behavior_hint="")
    ] = None
    field_of_view: Annotated[tuple[int, int] | None, tyro.conf.arg(help_behavior_hint="")] = None
    targets: Annotated[Literal["mean", "individual", "latent"], tyro.conf.arg(aliases=["--target"])] = "mean"
    optimizer: Literal["sgd", "adamw", "ranger21"] = "ranger21"
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    epochs: int = 500
    batch: int = 80
    micro_batch: int = 20
    validation: float = 0.1
    test: float = 0.2
    split: options.OptionalFile = None
    seed: Annotated[options.Seed, _SEED] = 0
    label_scheme: options.SchemeOption = None
    task: options.TaskWithoutCheckpoint = None
    cache: options.OptionalFolder = None
    device: options.TrainingDevice = "auto"
    workers: int = 2
    amp: bool = True
    save_every: int = 10
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)

    def __post_init__(self) -> None:
        """Check what a type cannot say.

        Raises:
            ValueError: naming the option, its value and what it may be.
        """
        at_least = {"epochs": 1, "batch": 2, "micro_batch": 2, "save_every": 1, "workers": 0, "seed": 0}
        for name, least in at_least.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if self.learning_rate <= 0 or self.weight_decay < 0:
            got = f"{self.learning_rate:g} and {self.weight_decay:g}"
            raise ValueError(f"expected learning_rate > 0 and weight_decay >= 0, got {got}")
        if self.batch % self.micro_batch:
            raise ValueError(f"batch must be a multiple of micro_batch, got {self.batch} and {self.micro_batch}")

    @property
    def settled(self) -> Task:
        """The task; see `find_task` for the errors."""
        return find_task(self.task)

    def surrogate(self, **known: Any) -> SurrogateConfig:
        """The configuration of the surrogate that comes out; ``known`` sets what only the data tells.

        Raises:
            ValueError: if the task has a window, and another normalization was asked for.
        """
        task = self.settled
        usual: Literal["percentile", "window"] = "percentile" if task.window is None else "window"
        if task.window is not None and self.normalization not in (None, usual):
            raise ValueError(
                f"normalization {self.normalization!r} contradicts the window {task.window} of the task {task.name!r}, "
                "in which its planes are scaled; leave it out (minmax is a preset, too), or the window out of the task"
            )
        return SurrogateConfig(
            task=task,
            modalities=task.modalities,
            stars=task.stars,
            architecture=self.architecture,
            head=self.head,
            encoding=self.encoding,
            normalization=self.normalization or usual,
            field_of_view=self.field_of_view or task.field_of_view,
            seed=self.seed,
            **known,
        )


_PAPER = TrainConfig()

PRESETS: dict[str, tuple[str, TrainConfig]] = {
    "paper": (
        "The paper's best: DenseNet121, Ranger21, percentiles, BraTS regions (Table 1: MAE .51, RMSE .80, r .66).",
        _PAPER,
    ),
    "sgd": (
        "DenseNet121, SGD with momentum 0.95, percentiles, tissue labels (.65, .88, .64).",
        replace(_PAPER, optimizer="sgd", weight_decay=0.0, encoding="tissue"),
    ),
    "adamw": (
        "DenseNet121, AdamW, percentiles, tissue labels (.59, .80, .62).",
        replace(_PAPER, optimizer="adamw", weight_decay=1e-2, encoding="tissue"),
    ),
    "ranger21": (
        "DenseNet121, Ranger21, percentiles, tissue labels (.60, .83, .58).",
        replace(_PAPER, encoding="tissue"),
    ),
    "densenet201": (
        "DenseNet201, Ranger21, percentiles, tissue labels (.59, .80, .63).",
        replace(_PAPER, architecture="DenseNet201", encoding="tissue"),
    ),
    "minmax": (
        "DenseNet121, Ranger21, minimum and maximum of each channel, BraTS regions (.57, .82, .61).",
        replace(_PAPER, normalization="minmax"),
    ),
    "finetune": (
        "Our choice, for few ratings: the published weights, AdamW at 2e-4, 50 epochs.",
        replace(_PAPER, pretrained="brainlesion", optimizer="adamw", learning_rate=2e-4, weight_decay=1e-2, epochs=50),
    ),
}
"""Presets: the six rows of the paper's Table 1 (MAE, RMSE, r there), and one for fine-tuning."""


def to_yaml(config: TrainConfig) -> str:
    """The configuration as YAML, to be read by `from_yaml`."""
    import yaml  # comes with the extra "train", and --help must work without it

    return str(yaml.safe_dump(plain_values(asdict(config)), sort_keys=False))


def from_yaml(path: Path) -> TrainConfig:
    """Read a configuration; fields that the file leaves out keep the paper's values.

    Raises:
        ValueError: if the file is not there, is no YAML, or a field is unknown or of another type.
        ImportError: if a library that reads it is missing.
    """
    try:
        import yaml
        from pydantic import TypeAdapter, ValidationError
    except ModuleNotFoundError as error:
        raise ImportError(f'YAML files need {error.name}; run: pip install "dqe_loss[train]"') from error

    if not path.is_file():
        raise ValueError(f"{path}: expected a configuration in YAML, found nothing there")
    try:
        values = yaml.safe_load(path.read_bytes())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot be read as YAML ({error})") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path}: expected fields and their values, found {type(values).__name__}")
    _check_fields(path, values, asdict(_PAPER))
    try:
        return TypeAdapter(TrainConfig).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise ValueError(f"{path}: {name}: {first['msg']}, got {first['input']!r}") from error


def _check_fields(path: Path, values: Mapping[Any, Any], known: Mapping[str, Any]) -> None:
    """Refuse unknown fields, which pydantic overlooks in dataclasses."""
    unknown = sorted(set(map(str, values)) - set(known))
    if unknown:
        raise ValueError(f"{path}: unknown fields {', '.join(unknown)}; expected {', '.join(known)}")
    for name, value in values.items():
        if isinstance(value, Mapping) and isinstance(known[name], Mapping):
            _check_fields(path, value, known[name])


def plain_values(value: Any) -> Any:
    """A value as YAML knows it: mappings, lists, strings and numbers."""
    if isinstance(value, Mapping):
        return {key: plain_values(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_values(item) for item in value]
    return str(value) if isinstance(value, Path) else value

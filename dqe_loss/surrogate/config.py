"""All that must be known to use a checkpoint (contract C11)."""

from dataclasses import asdict, dataclass, field, fields
from typing import Any

from monai.networks import nets

from dqe_loss.core.intensity import MODALITIES, NORMALIZATIONS
from dqe_loss.surrogate.dice_map import DiceMap
from dqe_loss.surrogate.refiner import SMALLEST_PLANE, ReaderConfig

ENCODINGS = {"regions": 3, "tissue": 1}
"""How the segmentation is presented, and in how many channels: three binary regions, or one channel of labels."""

HEADS = ("regression", "ordinal")
"""What the network puts out: stars (the paper), or a distribution over them (see `dqe_loss.surrogate.ordinal`)."""

KINDS_OF_RATINGS = ("human", "metric", "simulated", "hybrid", "unknown")


@dataclass(frozen=True)
class SurrogateConfig:
    """All that must be known to use a checkpoint (contract C11).

    Attributes:
        architecture: name of a 2D classifier in ``monai.networks.nets``, such as ``DenseNet121``.
        head: ``"regression"`` or ``"ordinal"``.
        encoding: ``"regions"`` (TC, WT, ET: seven input channels) or ``"tissue"`` (one channel: five).
        modalities: order of the image channels that the network was trained with.
        normalization: ``"percentile"``, ``"minmax"`` or ``"head_mean"``, see `dqe_loss.core.intensity.scale_planes`.
        percentiles: lower and upper percentile of the former.
        field_of_view: height and width in voxels (1 mm) that planes are padded to.
        stars: lowest and highest rating of the scale that it learned.
        kind_of_ratings: what it learned from: ``"human"``, ``"metric"`` (computed from overlap with a reference),
            ``"simulated"`` (simulated raters), ``"hybrid"`` (ratings, lowered by what a second reader learned from
            references; ``data`` begins with the kind of these ratings, such as ``"human ratings: "``), or
            ``"unknown"``. Only the first may be called human judgment (contract C12).
        reader: the second reader beside the network, or None (see `dqe_loss.surrogate.refiner`); it takes planes in the
            encoding ``"regions"``.
        center_gradient: whether the stars' gradient reaches where the planes lie, and through it every voxel of the
            tumor core. A guarded surrogate has it off: an optimizer would erode one side of the core to move the
            planes where stars are higher.
        dice_map: what the stars mean in Dice, or None if that is not known. It decides no stars.
        data: what it was trained on, in words.
        seed: seed of the training, if known.
        versions: library versions of the training, name to version.
        notice: attribution that must travel with the weights.
    """

    architecture: str = "DenseNet121"
    head: str = "regression"
    encoding: str = "regions"
    modalities: tuple[str, ...] = MODALITIES
    normalization: str = "percentile"
    percentiles: tuple[float, float] = (0.5, 99.5)
    field_of_view: tuple[int, int] = (240, 240)
    stars: tuple[float, float] = (1.0, 6.0)
    kind_of_ratings: str = "unknown"
    reader: ReaderConfig | None = None
    center_gradient: bool = True
    dice_map: DiceMap | None = None
    data: str = ""
    seed: int | None = None
    versions: dict[str, str] = field(default_factory=dict)
    notice: str = ""

    def __post_init__(self) -> None:
        """Check every choice that has a fixed set of values.

        Raises:
            ValueError: naming the field, the value and what it may be.
        """
        choices = (
            ("head", HEADS),
            ("encoding", tuple(ENCODINGS)),
            ("normalization", NORMALIZATIONS),
            ("kind_of_ratings", KINDS_OF_RATINGS),
        )
        for name, allowed in choices:
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {allowed}, got {getattr(self, name)!r}")
        if sorted(self.modalities) != sorted(MODALITIES):
            raise ValueError(f"modalities must name each of {MODALITIES} once, got {self.modalities}")
        odd_or_small = any(side % 2 or side < SMALLEST_PLANE for side in self.field_of_view)
        if self.reader is not None and (self.encoding != "regions" or odd_or_small):
            raise ValueError(
                f"a second reader takes planes of an even number of voxels, {SMALLEST_PLANE} or more a side, in the "
                f"encoding 'regions', got {self.field_of_view} and {self.encoding!r}"
            )
        if not hasattr(nets, self.architecture):
            raise ValueError(f"monai.networks.nets has no {self.architecture!r}; expected e.g. 'DenseNet121'")

    def to_dict(self) -> dict[str, Any]:
        """The configuration as plain JSON-ready values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "SurrogateConfig":
        """Read what `to_dict` gave, for example from JSON, where tuples have become lists.

        Raises:
            ValueError: if there is a field that this version does not know.
        """
        unknown = set(values) - {f.name for f in fields(cls)}
        if unknown:
            raise ValueError(
                f"the checkpoint's configuration has unknown fields {sorted(unknown)}: it may come from a newer "
                "version of dqe_loss; upgrade to read it"
            )
        read = _with_tuples(values)
        if read.get("reader") is not None:
            read["reader"] = ReaderConfig(**_with_tuples(read["reader"]))
        if read.get("dice_map") is not None:
            read["dice_map"] = DiceMap(**_with_tuples(read["dice_map"]))
        return cls(**read)


def _with_tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}

"""All that must be known to use a checkpoint (contract C11)."""

from dataclasses import asdict, dataclass, field, fields
from typing import Any

from monai.networks import nets

from dqe_loss.core.planes import PlaneFormat
from dqe_loss.surrogate.dice_map import DiceMap
from dqe_loss.surrogate.refiner import SMALLEST_PLANE, RefinerConfig
from dqe_loss.tasks.reading import task_from_dict, task_to_dict

HEADS = ("regression", "ordinal")
"""What the network puts out: stars (the paper), or a distribution over them (see `dqe_loss.surrogate.ordinal`)."""

NO_NETWORK = "none"
"""Architecture of a surrogate that has learned from no ratings: its refiner alone lowers the stars."""

_REFINER_KEY = "reader"
"""Name of the field ``refiner`` in files: the first checkpoints have it, and versions of then read those of today."""

KINDS_OF_RATINGS = ("human", "metric", "simulated", "hybrid", "unknown")


@dataclass(frozen=True)
class SurrogateConfig(PlaneFormat):
    """All that must be known to use a checkpoint (contract C11); how planes are made is said by `PlaneFormat`.

    Attributes:
        architecture: name of a 2D classifier in ``monai.networks.nets``, such as ``DenseNet121``, or ``"none"``: every
            plane gets the most stars, and a refiner lowers them.
        head: ``"regression"`` or ``"ordinal"``.
        stars: lowest and highest rating of the scale that it learned.
        kind_of_ratings: what it learned from: ``"human"``, ``"metric"`` (computed from overlap with a reference),
            ``"simulated"`` (simulated raters), ``"hybrid"`` (ratings, lowered by what a refiner learned from
            references; ``data`` begins with the kind of these ratings, such as ``"human ratings: "``), or
            ``"unknown"``. Only the first may be called human judgment (contract C12).
        refiner: the refiner beside the network, or None (see `dqe_loss.surrogate.refiner`); it takes planes in the
            encoding ``"regions"``.
        dice_map: what the stars mean in Dice, or None if that is not known. It decides no stars.
        data: what it was trained on, in words.
        seed: seed of the training, if known.
        versions: library versions of the training, name to version.
        notice: attribution that must travel with the weights.
    """

    architecture: str = "DenseNet121"
    head: str = "regression"
    stars: tuple[float, float] = (1.0, 6.0)
    kind_of_ratings: str = "unknown"
    refiner: RefinerConfig | None = None
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
        super().__post_init__()
        for name, allowed in (("head", HEADS), ("kind_of_ratings", KINDS_OF_RATINGS)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {allowed}, got {getattr(self, name)!r}")
        odd_or_small = any(side % 2 or side < SMALLEST_PLANE for side in self.field_of_view)
        if self.refiner is not None and (self.encoding != "regions" or odd_or_small):
            raise ValueError(
                f"a refiner takes planes of an even number of voxels, {SMALLEST_PLANE} or more a side, in the "
                f"encoding 'regions', got {self.field_of_view} and {self.encoding!r}"
            )
        if self.architecture != NO_NETWORK and not hasattr(nets, self.architecture):
            raise ValueError(f"monai.networks.nets has no {self.architecture!r}; expected e.g. 'DenseNet121'")

    def to_dict(self) -> dict[str, Any]:
        """The configuration as plain JSON-ready values."""
        values = asdict(self) | {"task": task_to_dict(self.task)}
        return {_REFINER_KEY if name == "refiner" else name: value for name, value in values.items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "SurrogateConfig":
        """Read what `to_dict` gave, for example from JSON, where tuples have become lists.

        Raises:
            ValueError: if there is a field that this version does not know.
        """
        values = {"refiner": None} | {"refiner" if name == _REFINER_KEY else name: v for name, v in values.items()}
        unknown = set(values) - {f.name for f in fields(cls)}
        if unknown:
            raise ValueError(
                f"the checkpoint's configuration has unknown fields {sorted(unknown)}: it may come from a newer "
                "version of dqe_loss; upgrade to read it"
            )
        read = _with_tuples(values)
        if "task" in read:
            read["task"] = task_from_dict(read["task"])
        if read["refiner"] is not None:
            read["refiner"] = RefinerConfig(**_with_tuples(read["refiner"]))
        if read.get("dice_map") is not None:
            dice_map = dict(read["dice_map"])
            if "look" in dice_map:  # as it was once called
                dice_map["center"] = dice_map.pop("look")
            read["dice_map"] = DiceMap(**_with_tuples(dice_map))
        return cls(**read)


def _with_tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}

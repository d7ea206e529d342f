"""Stars in words and files: what the numbers are, as a table, as JSON, as CSV."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from dqe_loss.outputs import encode
from dqe_loss.surrogate.config import SurrogateConfig
from dqe_loss.surrogate.dice_map import DiceMap

Ratings = dict[str, dict[str, float]]
"""Segmentation to view (and ``"mean"``) to stars; some also tell ``"dice"`` and ``"dice_low"`` (`with_dice`)."""


_ORIGINS = {
    "human": "learned from human ratings",
    "metric": "learned from overlap with a reference, not from human ratings",
    "simulated": "learned from simulated raters, not from human ratings",
    "unknown": "which does not say what ratings it learned from",
}


def unit_of_kind(kind: str) -> str:
    """Name what ratings of a kind are counted in: plain stars only if humans gave them (contract C12)."""
    return "stars" if kind == "human" else f"{kind} stars"


def star_unit(config: SurrogateConfig) -> str:
    """Name what a surrogate's ratings are counted in."""
    return unit_of_kind(config.kind_of_ratings)


def describe_ratings(config: SurrogateConfig, checkpoint: str) -> str:
    """Say in one line what the numbers are, on which scale, and where they come from."""
    low, high = config.stars
    origin = _ORIGINS.get(config.kind_of_ratings)
    if origin is None:
        # Of what the network beside the refiner learned from, the data says first.
        learned = _ORIGINS.get(config.data.partition(" ratings: ")[0], _ORIGINS["unknown"])
        origin = f"{learned}, and lowered where a refiner, taught on references, disagrees"
    name = Path(checkpoint).name
    return f"predicted {star_unit(config)}, {low:g} (worst) to {high:g} (best), by {name}, {origin}"


def map_for(config: SurrogateConfig, centers: Sequence[str]) -> DiceMap | None:
    """The map that says what stars taken through these places mean in Dice, if the checkpoint has it."""
    dice_map = config.dice_map
    return dice_map if dice_map is not None and dice_map.holds_for(centers) else None


def describe_dice(config: SurrogateConfig, centers: Sequence[str]) -> list[str]:
    """Lines that say what the columns ``dice`` and ``dice_low`` are, or why a map is not used; none without one."""
    if config.dice_map is None:
        return []
    if map_for(config, centers) is None:
        return [f"no dice: what the stars mean in Dice was learned with --center {config.dice_map.center}"]
    return [config.dice_map.describe()]


def with_dice(ratings: Ratings, dice_map: DiceMap | None) -> Ratings:
    """Ratings that tell ``dice`` and ``dice_low`` of each segmentation, too, if there is a map."""
    if dice_map is None:
        return ratings
    told = {name: dice_map.tell(stars["mean"]) for name, stars in ratings.items()}
    return {name: stars | {key: float(value) for key, value in told[name].items()} for name, stars in ratings.items()}


def format_table(ratings: Mapping[str, Mapping[str, float]]) -> str:
    """Lay ratings out as plain text, a row each."""
    columns = list(next(iter(ratings.values())))
    width = max(len(name) for name in (*ratings, "segmentation"))
    lines = [" ".join([f"{'segmentation':{width}}", *(f"{column:>9}" for column in columns)])]
    for name, stars in ratings.items():
        lines.append(" ".join([f"{name:{width}}", *(f"{stars[column]:9.2f}" for column in columns)]))
    return "\n".join(lines)


def ratings_as_json(
    name: str, ratings: Ratings, config: SurrogateConfig, checkpoint: str, label_scheme: str, centers: Sequence[str]
) -> bytes:
    """Ratings of one exam as JSON, with all that is needed to know what they are."""
    content = {
        "exam": name,
        "checkpoint": checkpoint,
        "kind_of_ratings": config.kind_of_ratings,
        "unit": star_unit(config),
        "scale": list(config.stars),
        "label_scheme": label_scheme,
        "center": list(centers),
        "ratings": ratings,
    }
    if dice_map := map_for(config, centers):
        content["dice"] = dice_map.describe()
    return (json.dumps(content, indent=2) + "\n").encode()


def ratings_as_csv(
    name: str, ratings: Ratings, config: SurrogateConfig, checkpoint: str, centers: Sequence[str]
) -> bytes:
    """Ratings of one exam as CSV, a row for each segmentation."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    views = list(next(iter(ratings.values())))
    writer.writerow(["exam", "segmentation", *views, "unit", "center", "checkpoint"])
    for segmentation, stars in ratings.items():
        values = (f"{stars[view]:.5f}" for view in views)
        writer.writerow([name, segmentation, *values, star_unit(config), " ".join(centers), checkpoint])
    return encode(text.getvalue())

"""The model card: what a checkpoint is, what it learned from, how well it does; in words that go with the file."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dqe_loss.evaluation.agreement import agreement
from dqe_loss.stars import star_unit
from dqe_loss.surrogate import SurrogateConfig
from dqe_loss.training.config import TrainConfig, to_yaml
from dqe_loss.training.dataset import RatedPlane

_ORIGIN = {
    "human": "These stars were given by human raters.",
    "simulated": "These stars are **simulated**: drawn around metric stars (overlap with a reference) by a random "
    "model of raters. No human judged these segmentations, and nothing that this network says is human judgment.",
    "metric": "These stars are **metric stars**, computed from overlap with a reference. No human judged these "
    "segmentations, and nothing that this network says is human judgment.",
}

_CARD = """# {title}

A surrogate that predicts {unit} (1 worst to 6 best) of glioma segmentations from planes of T1c, T1, T2 and FLAIR, made
with dqe_loss after Kofler et al. 2022 (arXiv 2205.10355). Research software, not a medical device.

**Kind of ratings: {kind}.** {origin}

**Data.** {data}

**Agreement on exams it was not trained on** (mean of a segmentation's views against its mean rating, as in the paper):

{metrics}

**Not measured here:** whether it can be fooled. Use it as a loss with the guard on (the default of `DQELoss`).
{notice}
## Configuration

```yaml
{config}```
"""


def describe_data(table: pd.DataFrame, split: Mapping[str, str]) -> str:
    """Say in one sentence what a surrogate was trained on."""
    train = table[table["exam"].map(split) == "train"]
    kind = table["kind"].iloc[0]
    return (
        f"{len(train)} {kind} judgments by {train['rater'].nunique()} raters of {train['segmentation'].nunique()} "
        f"segmentations of {train['exam'].nunique()} exams"
    )


def part_metrics(planes: Sequence[RatedPlane], predicted: NDArray[np.float64]) -> dict[str, float]:
    """Agreement on one part of the split, as the paper counts: views averaged for each segmentation.

    Args:
        planes: the part's planes.
        predicted: ``(N,)`` stars.

    Returns:
        Number of segmentations under ``"segmentations"``, and the numbers of `agreement`.
    """
    rows = pd.DataFrame({"name": [plane.segmentation for plane in planes], "rated": [plane.stars for plane in planes]})
    means = rows.assign(predicted=predicted).groupby("name", sort=False)[["predicted", "rated"]].mean()
    return {"segmentations": len(means), **agreement(means["predicted"], means["rated"])}


def model_card(
    config: TrainConfig,
    surrogate: SurrogateConfig,
    metrics: Mapping[str, Mapping[str, float]] | None,
    *,
    title: str,
) -> str:
    """Write the card in Markdown.

    Args:
        config: the training.
        surrogate: the surrogate that came out.
        metrics: part of the split to what `part_metrics` gave; None while the training goes on.
        title: name of the checkpoint, and which epoch it is of.

    Returns:
        The text.
    """
    if not metrics:
        measured = "None: no such exams." if metrics is not None else "Not computed yet: the training was going on."
        return _fill(config, surrogate, measured, title)
    lines = ["| part | segmentations | MAE | RMSE | r |", "|---|---|---|---|---|"]
    for part, values in metrics.items():
        shown = " | ".join(f"{values[name]:.2f}" for name in ("mae", "rmse", "pearson"))
        lines.append(f"| {part} | {values['segmentations']:.0f} | {shown} |")
    return _fill(config, surrogate, "\n".join(lines), title)


def _fill(config: TrainConfig, surrogate: SurrogateConfig, measured: str, title: str) -> str:
    return _CARD.format(
        title=title,
        unit=star_unit(surrogate),
        kind=surrogate.kind_of_ratings,
        origin=_ORIGIN[surrogate.kind_of_ratings],
        data=surrogate.data[:1].upper() + surrogate.data[1:] + ".",
        metrics=measured,
        notice=f"\n**Notice.** {surrogate.notice}\n" if surrogate.notice else "",
        config=to_yaml(config),
    )

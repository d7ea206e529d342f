"""The model card: what a checkpoint is, what it learned from, how well it does; in words that go with the file."""

from collections.abc import Mapping

import pandas as pd

from dqe_loss.surrogate.config import SurrogateConfig
from dqe_loss.surrogate.describe import star_unit
from dqe_loss.train.config import TrainConfig, to_yaml
from dqe_loss.train.held_out_agreement import Metrics

_ORIGIN = {
    "human": "These stars were given by human raters.",
    "simulated": "These stars are **simulated**: drawn around metric stars (overlap with a reference) by a random "
    "model of raters. No human judged these segmentations, and nothing that this network says is human judgment.",
    "metric": "These stars are **metric stars**, computed from overlap with a reference. No human judged these "
    "segmentations, and nothing that this network says is human judgment.",
    "hybrid": "Two networks give these stars together. The first was trained here, on the ratings named under Data. "
    "The second, a refiner, was not: it was taught on references elsewhere and is carried over unchanged from "
    "the checkpoint that the training started from. It lowers the stars where it disagrees with the mask, which is "
    "overlap as it sees it, no human judgment.",
}

_CARD = """# {title}

A surrogate that predicts {unit} ({worst:g} worst to {best:g} best) of {task} segmentations from planes of {scans}, made
with dqe_loss after Kofler et al. 2022 (arXiv 2205.10355). Research software, not a medical device.

**Kind of ratings: {kind}.** {origin}

**Data.** {data}

**Agreement on exams it was not trained on** (mean of a segmentation's views against its mean rating, as in the paper):

{metrics}

**Not measured here:** whether it can be fooled{refiner}. Use it as a loss with the guard on (the default of `DQELoss`).
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


def model_card(
    config: TrainConfig, surrogate: SurrogateConfig, metrics: Metrics, *, title: str, going_on: bool = False
) -> str:
    """Write the card in Markdown.

    Args:
        config: the training.
        surrogate: the surrogate that came out.
        metrics: what `dqe_loss.train.held_out_agreement.measure` found.
        title: name of the checkpoint, and which epoch it is of.
        going_on: whether the training was not at its end, where exams beside those of the validation are rated.

    Returns:
        The text.
    """
    lines = ["| part | segmentations | MAE | RMSE | r |", "|---|---|---|---|---|"]
    for part, values in metrics.items():
        shown = " | ".join(f"{values[name]:.2f}" for name in ("mae", "rmse", "pearson"))
        lines.append(f"| {part} | {values['segmentations']:.0f} | {shown} |")
    measured = "\n".join(lines) if metrics else "None: no such exams."
    if going_on:
        measured += "\n\nThe training was going on: the exams of the test had not been rated yet."
    return _fill(config, surrogate, measured, title)


def _fill(config: TrainConfig, surrogate: SurrogateConfig, measured: str, title: str) -> str:
    return _CARD.format(
        title=title,
        unit=star_unit(surrogate),
        worst=surrogate.stars[0],
        best=surrogate.stars[1],
        task=surrogate.task.name,
        scans=surrogate.task.list_titles(surrogate.task.modalities),
        kind=surrogate.kind_of_ratings,
        origin=_ORIGIN[surrogate.kind_of_ratings],
        data=surrogate.data[:1].upper() + surrogate.data[1:] + ".",
        metrics=measured,
        refiner="" if surrogate.refiner is None else ", and whether the refiner still fits the network beside it",
        notice=f"\n**Notice.** {surrogate.notice}\n" if surrogate.notice else "",
        config=to_yaml(config),
    )

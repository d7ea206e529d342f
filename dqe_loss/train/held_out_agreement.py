"""How well a surrogate does on rated planes: measured with the very surrogate that is saved."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from dqe_loss.core.pipeline import CPU_BATCH
from dqe_loss.metrics.agreement import agreement
from dqe_loss.surrogate.describe import star_unit
from dqe_loss.surrogate.network import Surrogate, stars_of_output
from dqe_loss.train.dataset import PlaneDataset, RatedPlane

Metrics = Mapping[str, Mapping[str, float]]
"""Part of the split to its agreement; with a refiner to that of each of its kinds of stars."""


@torch.inference_mode()
def rate_rated(surrogate: Surrogate, planes: Sequence[RatedPlane]) -> dict[str, NDArray[np.float64]]:
    """Stars ``(N,)`` of planes as they are.

    Returns:
        The surrogate's stars and, with a refiner, those of the network before the refiner lowers them, each by
        what it is called (without a refiner: ``""``).
    """
    dataset = PlaneDataset(planes, surrogate.config)
    names = [""] if surrogate.refiner is None else [star_unit(surrogate.config), "the network alone"]
    found: dict[str, list[torch.Tensor]] = {name: [] for name in names}
    for start in range(0, len(planes), CPU_BATCH):
        items = [dataset[0, i][0] for i in range(start, min(start + CPU_BATCH, len(planes)))]
        inputs = torch.stack(items).to(surrogate.device, memory_format=torch.channels_last)
        found[names[0]].append(surrogate(inputs).cpu())
        if surrogate.refiner is not None:
            found[names[1]].append(stars_of_output(surrogate.config, surrogate.network(inputs)).cpu())
    return {name: torch.cat(stars).double().numpy() if stars else np.empty(0) for name, stars in found.items()}


def part_metrics(
    part: str, planes: Sequence[RatedPlane], predicted: Mapping[str, NDArray[np.float64]]
) -> dict[str, dict[str, float]]:
    """Agreement on one part of the split, as the paper counts: views averaged for each segmentation.

    Args:
        part: its name.
        planes: the part's planes.
        predicted: what `rate_rated` gave for them.

    Returns:
        Name of the part, with the kind of stars if there are several, to the number of segmentations under
        ``"segmentations"`` and the numbers of `agreement`.
    """
    rows = pd.DataFrame({"name": [plane.segmentation for plane in planes], "rated": [plane.stars for plane in planes]})
    found = {}
    for kind, stars in predicted.items():
        means = rows.assign(predicted=stars).groupby("name", sort=False)[["predicted", "rated"]].mean()
        agrees = agreement(means["predicted"], means["rated"])
        found[f"{part}, {kind}" if kind else part] = {"segmentations": len(means), **agrees}
    return found


def measure(surrogate: Surrogate, parts: Mapping[str, Sequence[RatedPlane]]) -> Metrics:
    """Agreement of a surrogate on the parts of a split that hold any planes."""
    found: dict[str, Mapping[str, float]] = {}
    for part, planes in parts.items():
        if planes:
            found |= part_metrics(part, planes, rate_rated(surrogate, planes))
    return found

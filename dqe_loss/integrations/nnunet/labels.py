"""What an nnU-Net's output channels are: regions or tissues, as ``dataset.json`` names them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dqe_loss.core.label_schemes import LABEL_SCHEMES
from dqe_loss.core.label_schemes import label_scheme as find_scheme
from dqe_loss.core.labels import check_region_order
from dqe_loss.data.discovery.nnunet_labels import described_scheme, kind_of, tissues_of

REGION_OF = {"whole": "WT", "core": "TC", "enhancing": "ET", "cavity": "RC"}
"""A region by what its name means."""


@dataclass(frozen=True)
class NnunetLabels:
    """What prediction and target of an nnU-Net hold.

    Attributes:
        regions: the region of each channel, in training by regions; else empty.
        scheme: label scheme of a target label map, in training by labels.
        tissues: for background and each tissue of the scheme the labels, and so the output channels, that are it; empty
            in training by regions.
    """

    regions: tuple[str, ...] = ()
    scheme: str = "brats"
    tissues: tuple[tuple[int, ...], ...] = ()

    def __str__(self) -> str:
        """In words, for a log."""
        if self.regions:
            return f"regions {', '.join(self.regions)}"
        return f"labels as in {self.scheme} ({LABEL_SCHEMES[self.scheme]})"

    def logits_of(self, output: Tensor) -> Tensor:
        """A network's output as a `DQELoss` takes it: logits of regions, or of background and three tissues.

        A tissue of several labels gets the logarithm of the sum of their exponentials, and a resection cavity counts as
        background: the softmax of the result is the sum of their probabilities, exactly.

        Args:
            output: ``(B, R, ...)`` or ``(B, 1 + L, ...)``.

        Returns:
            ``(B, R, ...)`` or ``(B, 4, ...)``; the output itself where nothing has to be merged.
        """
        if not self.tissues or self.tissues == tuple((label,) for label in range(output.shape[1])):
            return output
        merged = [
            output[:, labels[0]] if len(labels) == 1 else output[:, list(labels)].logsumexp(1)
            for labels in self.tissues
        ]
        return torch.stack(merged, 1)


def read_labels(dataset_json: Mapping[str, Any], regions: tuple[str, ...] = (), scheme: str = "") -> NnunetLabels:
    """What the labels of a data set are.

    Args:
        dataset_json: content of the file.
        regions: the region of each channel, where names do not tell.
        scheme: the label scheme, where names do not tell.

    Raises:
        ValueError: if there are labels to ignore, or names neither tell nor were told what is what.
    """
    labels = dataset_json.get("labels")
    if not isinstance(labels, Mapping) or not labels:
        raise ValueError("dataset.json: expected labels with their names and numbers, found none")
    if "ignore" in labels:
        raise ValueError(
            "dataset.json: has a label to ignore; stars are of whole planes, from which no voxels can be left out. "
            "Train such a data set with nnUNetTrainer, or leave the exams out that are not fully labeled"
        )
    if any(isinstance(number, list | tuple) and len(number) > 1 for number in labels.values()):
        return _read_regions({name: _numbers(value) for name, value in labels.items()}, regions)
    return _read_tissues({name: _numbers(value) for name, value in labels.items()}, scheme)


def _read_regions(labels: Mapping[str, set[int]], said: tuple[str, ...]) -> NnunetLabels:
    named = {name: numbers for name, numbers in labels.items() if numbers != {0}}  # in the order of the channels
    order = said or tuple(REGION_OF.get(kind_of(name) or "", name) for name in named)
    cure = (
        "name them so, such as 'whole tumor', 'tumor core', 'enhancing tumor', or set dqe_regions in a trainer of your "
        "own"
    )
    if len(order) != len(named):
        raise ValueError(f"dqe_regions names {len(order)} regions, {', '.join(order)}, dataset.json {len(named)}")
    try:
        check_region_order(order)
    except ValueError as error:
        raise ValueError(
            f"dataset.json: the regions {', '.join(named)} are not understood as WT, TC and ET, each once; {cure}"
        ) from error
    whole, core, enhancing = (list(named.values())[order.index(name)] for name in ("WT", "TC", "ET"))
    if not enhancing < core < whole:
        raise ValueError(
            f"dataset.json: expected regions within each other, found WT of the labels {sorted(whole)}, TC of "
            f"{sorted(core)}, ET of {sorted(enhancing)}; {cure}"
        )
    return NnunetLabels(regions=order)


def _read_tissues(labels: Mapping[str, set[int]], said: str) -> NnunetLabels:
    scheme = said or described_scheme(tissues_of({name: list(numbers) for name, numbers in labels.items()})) or ""
    present = sorted(set().union(*labels.values()))
    if not scheme:
        raise ValueError(
            f"dataset.json: the labels {', '.join(labels)} do not tell necrosis, edema and enhancing tumor apart; name "
            f"them so, or set dqe_label_scheme in a trainer of your own, to one of {', '.join(LABEL_SCHEMES)}"
        )
    known = find_scheme(scheme)
    tissues = [(0, *(label for label in known.cavity if label in present))]
    tissues += [tuple(label for label in getattr(known, name) if label in present) for name in known.channels]
    if set(present) - set(known.values) or not all(tissues):
        raise ValueError(f"dataset.json: has the labels {present}, but {scheme} has {known}")
    return NnunetLabels(scheme=scheme, tissues=tuple(tissues))


def _numbers(value: Any) -> set[int]:
    return {int(number) for number in (value if isinstance(value, list | tuple) else [value])}

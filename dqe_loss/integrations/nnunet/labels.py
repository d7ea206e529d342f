"""What an nnU-Net's output channels are: a task's regions or tissues, as ``dataset.json`` names them."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dqe_loss.core.labels import check_region_order
from dqe_loss.task import GLIOMA, LabelScheme, Task
from dqe_loss.tasks import glioma_nnunet
from dqe_loss.tasks.from_nnunet import identifier, identifiers, numbers_of
from dqe_loss.tasks.glioma_labels import has_glioma_labels

Labels = Mapping[str, Set[int]]
"""Name to numbers, of background, too."""


@dataclass(frozen=True)
class NnunetLabels:
    """What prediction and target of an nnU-Net hold.

    Attributes:
        regions: the region of each channel, in training by regions; else empty.
        scheme: name of the label scheme of a target label map, in training by labels; else the task's default.
        tissues: for background and each tissue of the scheme the labels, and so the output channels, that are it; empty
            in training by regions.
        described: the scheme in words.
    """

    regions: tuple[str, ...] = ()
    scheme: str = GLIOMA.default_scheme
    tissues: tuple[tuple[int, ...], ...] = ()
    described: str = ""

    def __str__(self) -> str:
        """In words, for a log."""
        if self.regions:
            return f"regions {', '.join(self.regions)}"
        return f"labels as in {self.scheme} ({self.described})"

    def logits_of(self, output: Tensor) -> Tensor:
        """A network's output as a `DQELoss` takes it: logits of regions, or of background and tissues.

        A tissue of several labels gets the logarithm of the sum of their exponentials, and what is in no region counts
        as background: the softmax of the result is the sum of their probabilities, exactly.

        Args:
            output: ``(B, R, ...)`` or ``(B, 1 + L, ...)``.

        Returns:
            ``(B, R, ...)`` or ``(B, 1 + T, ...)``; the output itself where nothing has to be merged.
        """
        if not self.tissues or self.tissues == tuple((label,) for label in range(output.shape[1])):
            return output
        merged = [
            output[:, labels[0]] if len(labels) == 1 else output[:, list(labels)].logsumexp(1)
            for labels in self.tissues
        ]
        return torch.stack(merged, 1)


def read_labels(
    dataset_json: Mapping[str, Any], task: Task = GLIOMA, regions: tuple[str, ...] = (), scheme: str = ""
) -> NnunetLabels:
    """What the labels of a data set are.

    Names are held against the task's regions and tissues, and their titles, whatever their capitals and signs; of the
    built-in task they are free text.

    Args:
        dataset_json: content of the file.
        task: of the checkpoint.
        regions: the region of each channel, where names do not tell.
        scheme: the label scheme, where names do not tell.

    Raises:
        ValueError: if there are labels to ignore, names neither tell nor were told what is what, or labels are not
            those of the task.
    """
    labels = dataset_json.get("labels")
    if not isinstance(labels, Mapping) or not labels:
        raise ValueError("dataset.json: expected labels with their names and numbers, found none")
    if "ignore" in labels:
        raise ValueError(
            "dataset.json: has a label to ignore; stars are of whole planes, from which no voxels can be left out. "
            "Train such a data set with nnUNetTrainer, or leave the exams out that are not fully labeled"
        )
    numbered = {name: set(numbers_of(value)) for name, value in labels.items()}
    if any(len(numbers) > 1 for numbers in numbered.values()):
        return _read_regions(numbered, regions, task)
    return _read_tissues(numbered, scheme, task)


def check_class_order(dataset_json: Mapping[str, Any]) -> None:
    """Check that nnU-Net makes the labels of predicted regions again; nothing where there are no regions.

    It paints region over region, in the order of ``dataset.json``, each with its label of ``regions_class_order``.

    Args:
        dataset_json: content of the file.

    Raises:
        ValueError: if there is no such order, or another label than the true one would be painted.
    """
    numbered = [set(numbers_of(value)) for name, value in dataset_json["labels"].items() if name != "ignore"]
    regions = [numbers for numbers in numbered if numbers != {0}]
    if all(len(numbers) == 1 for numbers in numbered):
        return
    order = dataset_json.get("regions_class_order") or []
    fitting = [min(region - set().union(*regions[i + 1 :]) or region) for i, region in enumerate(regions)]
    cure = f"set it to {fitting}" if _paints(fitting, regions) else "list each region before those inside it"
    if len(order) != len(regions):
        told = f"expected a label for each of the {len(regions)} regions in regions_class_order"
        raise ValueError(f"dataset.json: {told}, found {len(order)}; {cure}")
    if not _paints(order, regions):
        raise ValueError(
            f"dataset.json: with regions_class_order {list(order)} nnU-Net would give what it predicts wrong labels, "
            f"for it paints one region over the other; {cure}"
        )


def _paints(order: Sequence[int], regions: Sequence[Set[int]]) -> bool:
    """Whether each label lies in the same regions as the label that it is painted with."""
    within = {label: [i for i, region in enumerate(regions) if label in region] for label in set().union(*regions)}
    return all(within.get(order[inside[-1]]) == inside for inside in within.values())


def _read_regions(labels: Labels, said: tuple[str, ...], task: Task) -> NnunetLabels:
    named = {name: numbers for name, numbers in labels.items() if numbers != {0}}  # in the order of the channels
    order = said or tuple(_region_named(name, task) or name for name in named)
    wanted = tuple(name for name, _ in task.painting)  # the largest first
    titles = ", ".join(repr(task.title(name)) for name in wanted)
    cure = f"name them so, such as {titles}, or set dqe_regions in a trainer of your own"
    if len(order) != len(named):
        raise ValueError(f"dqe_regions names {len(order)} regions, {', '.join(order)}, dataset.json {len(named)}")
    try:
        check_region_order(order, task.regions)
    except ValueError as error:
        raise ValueError(
            f"dataset.json: the regions {', '.join(named)} are not understood as {', '.join(wanted)} of the task "
            f"{task.name!r}, each once; {cure}"
        ) from error
    own = {name: list(named.values())[order.index(name)] for name in wanted}
    parts = {name: set(task.parts[name]) for name in wanted}
    if any(_relation(own[a], own[b]) != _relation(parts[a], parts[b]) for a in wanted for b in wanted):
        told = ", ".join(f"{name} of the labels {sorted(numbers)}" for name, numbers in own.items())
        raise ValueError(f"dataset.json: expected regions within each other as in the task, found {told}; {cure}")
    return NnunetLabels(order, task.default_scheme)


def _read_tissues(labels: Labels, said: str, task: Task) -> NnunetLabels:
    name, present = said or _scheme_named(labels, task), sorted(set().union(*labels.values()))
    if not name:
        told = "; ".join(f"{name}: {scheme}" for name, scheme in task.label_schemes.items())
        raise ValueError(
            f"dataset.json: the labels {_list(labels)} do not tell which is "
            f"{task.list_titles(task.tissues, 'or')} of the task {task.name!r}, with the numbers of one of its label "
            f"schemes ({told}); name and number them so, or set dqe_label_scheme in a trainer of your own to the scheme"
        )
    scheme = task.scheme(name)
    tissues = [(0, *(label for label in scheme.outside if label in present))]
    tissues += [tuple(label for label in scheme.labels[tissue] if label in present) for tissue in scheme.channels]
    if set(present) - set(scheme.values) or not all(tissues):
        raise ValueError(f"dataset.json: has the labels {present}, but {name} has {scheme}")
    return NnunetLabels((), name, tuple(tissues), str(scheme))


def _region_named(name: str, task: Task) -> str | None:
    """The task's region that a name means."""
    if has_glioma_labels(task):
        return glioma_nnunet.region_named(name)
    return next((region for region in task.regions if identifier(name) in _words(region, task)), None)


def _scheme_named(labels: Labels, task: Task) -> str | None:
    """The first label scheme with the tissues that the names mean."""
    if has_glioma_labels(task):
        return glioma_nnunet.scheme_named(labels)
    try:
        said = {name: labels[own] for own, name in identifiers(labels).items()}
    except ValueError as error:
        raise ValueError(f"dataset.json: {error}") from error

    def agrees(scheme: LabelScheme) -> bool:
        named = [[said[word] for word in _words(tissue, task) if word in said] for tissue in scheme.tissues]
        return all(
            found and all(numbers <= set(scheme.labels[tissue]) for numbers in found)
            for tissue, found in zip(scheme.tissues, named, strict=True)
        )

    return next((name for name, scheme in task.label_schemes.items() if agrees(scheme)), None)


def _words(name: str, task: Task) -> set[str]:
    return {identifier(name), identifier(task.title(name))}


def _relation(one: Set[Any], other: Set[Any]) -> tuple[bool, bool, bool]:
    """Whether one set lies in another, holds it, and shares anything with it."""
    return one <= other, one >= other, bool(one & other)


def _list(labels: Labels) -> str:
    return ", ".join(f"{name} ({', '.join(map(str, sorted(numbers)))})" for name, numbers in labels.items())

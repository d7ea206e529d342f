"""What names in nnU-Net's ``dataset.json`` mean of a glioma: they are free text there."""

from collections.abc import Mapping, Set

from dqe_loss.tasks.glioma_labels import described_scheme, kind_of, tissues_of

REGION_OF = {"whole": "WT", "core": "TC", "enhancing": "ET", "cavity": "RC"}
"""A region by what its name means."""


def region_named(name: str) -> str | None:
    """The region that a name means, such as ``"WT"`` for ``"whole tumour"``."""
    return REGION_OF.get(kind_of(name) or "")


def scheme_named(labels: Mapping[str, Set[int]]) -> str | None:
    """The label scheme that labels with their names and numbers have, if they tell all three tissues."""
    return described_scheme(tissues_of({name: sorted(numbers) for name, numbers in labels.items()}))

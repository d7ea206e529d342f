"""Label schemes of brain-tumor data sets, and what the surrogate sees of them: the three BraTS regions.

Label maps differ between data sets (the enhancing tumor is 3 here and 4 there); the regions do not. Everything
after this file speaks regions: tumor core (TC), whole tumor (WT), enhancing tumor (ET), in that channel order, which
is the order of MONAI's ``ConvertToMultiChannelBasedOnBratsClasses`` and of the published surrogate.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from dqe_loss.slicing import as_signed

REGIONS = ("TC", "WT", "ET")
"""Channel order of every region tensor: tumor core, whole tumor, enhancing tumor."""


@dataclass(frozen=True)
class LabelScheme:
    """Which integers of a label map stand for which tissue.

    Attributes:
        necrosis: label of necrotic and non-enhancing tumor core (NCR, NET).
        edema: label of peritumoral edema (ED).
        enhancing: labels that stand for enhancing tumor (ET); more than one means "either, never both in one map".
    """

    necrosis: int
    edema: int
    enhancing: tuple[int, ...]

    @property
    def values(self) -> tuple[int, ...]:
        """Every label the scheme allows, background included."""
        return (0, self.necrosis, self.edema, *self.enhancing)


LABEL_SCHEMES = {
    "brats": LabelScheme(necrosis=1, edema=2, enhancing=(3, 4)),
    "brats23": LabelScheme(necrosis=1, edema=2, enhancing=(3,)),
    "brats21": LabelScheme(necrosis=1, edema=2, enhancing=(4,)),
    "msd": LabelScheme(necrosis=2, edema=1, enhancing=(3,)),
    "nnunet": LabelScheme(necrosis=2, edema=1, enhancing=(3,)),
}
"""Label schemes by name.

``brats23`` is BraTS 2023 and later, ``brats21`` BraTS 2017 to 2021, ``brats`` either of the two (as the published
surrogate's package reads them), ``msd`` Task01_BrainTumour of the Medical Segmentation Decathlon, ``nnunet`` the
consecutive labels that nnU-Net's own BraTS conversion writes.
"""


def label_scheme(name: str) -> LabelScheme:
    """Look a scheme up by name.

    Raises:
        ValueError: if there is no scheme of that name.
    """
    if name not in LABEL_SCHEMES:
        raise ValueError(f"unknown label scheme {name!r}; expected one of {', '.join(LABEL_SCHEMES)}")
    return LABEL_SCHEMES[name]


def check_labels(labels: Tensor, scheme: str = "brats") -> None:
    """Check that a label map holds nothing but the scheme's labels.

    Args:
        labels: label map of any shape and real dtype; a batch ``(B, 1, X, Y, Z)`` is checked exam by exam.
        scheme: name of the label scheme.

    Raises:
        ValueError: if a value is not a label of the scheme, or if the map holds two labels for enhancing tumor.
    """
    known, labels = label_scheme(scheme), as_signed(labels)
    largest = max(known.values)
    fractional = labels.is_floating_point() and bool((labels != labels.round()).any())  # true of NaN, too
    low, high = (0, 0) if fractional else (bound.item() for bound in labels.aminmax())
    # One pass says most: only the scheme's gaps and its second enhancing label need another look.
    between = [value for value in range(1, int(min(high, largest)) + 1) if value not in known.values]
    if fractional or low < 0 or high > largest or any(bool((labels == value).any()) for value in between):
        present = torch.unique(labels).tolist()
        fitting = [name for name, other in LABEL_SCHEMES.items() if set(present) <= set(other.values)]
        hint = f"the values fit {', '.join(fitting)}" if fitting else "they fit no scheme of this library"
        raise ValueError(
            f"label scheme {scheme!r} has the labels {known.values}, but the label map also holds "
            f"{[value for value in present if value not in known.values][:5]}; {hint}"
        )
    if len(known.enhancing) == 1 or high < max(known.enhancing):
        return
    exams = labels.flatten(1) if labels.ndim == 5 else labels.flatten()[None]
    first, second = ((exams == value).any(1) for value in known.enhancing)
    if (first & second).any():
        raise ValueError(
            f"the label map holds both {' and '.join(map(str, known.enhancing))}, and {scheme!r} takes either as "
            "enhancing tumor, not both; map the labels to one scheme first, then name it (brats23 or brats21)"
        )


def regions_from_labels(labels: Tensor, scheme: str = "brats") -> Tensor:
    """Convert a label map to the three regions.

    The values are not checked here (that costs a device synchronization): see `check_labels`.

    Args:
        labels: label map ``(B, 1, X, Y, Z)`` of any real dtype.
        scheme: name of the label scheme.

    Returns:
        Boolean regions ``(B, 3, X, Y, Z)`` in the order of `REGIONS`.

    Raises:
        ValueError: if the shape or the scheme is not as said.
    """
    if labels.ndim != 5 or labels.shape[1] != 1:
        raise ValueError(f"expected a label map of shape (B, 1, X, Y, Z), got {tuple(labels.shape)}")
    known, labels = label_scheme(scheme), as_signed(labels)
    enhancing = labels == known.enhancing[0]
    for value in known.enhancing[1:]:
        enhancing = enhancing | (labels == value)
    core = enhancing | (labels == known.necrosis)
    whole = core | (labels == known.edema)
    return torch.cat((core, whole, enhancing), dim=1)


def regions_from_tissues(probabilities: Tensor, scheme: str = "brats") -> Tensor:
    """Sum class probabilities to region probabilities, differentiably.

    Args:
        probabilities: ``(B, 4, X, Y, Z)``, background and the scheme's three tissues in ascending order of label:
            a softmax, or a one-hot label map.
        scheme: name of the label scheme that orders the channels.

    Returns:
        Region probabilities ``(B, 3, X, Y, Z)`` in the order of `REGIONS`, in [0, 1] up to rounding.

    Raises:
        ValueError: if the shape or the scheme is not as said.
    """
    if probabilities.ndim != 5 or probabilities.shape[1] != 4:
        raise ValueError(
            "expected probabilities of background and three tissues, shape (B, 4, X, Y, Z), "
            f"got {tuple(probabilities.shape)}"
        )
    known = label_scheme(scheme)
    order = sorted((known.necrosis, known.edema, known.enhancing[0]))
    necrosis, edema, enhancing = (
        probabilities[:, 1 + order.index(label)] for label in (known.necrosis, known.edema, known.enhancing[0])
    )
    core = necrosis + enhancing
    return torch.stack((core, core + edema, enhancing), dim=1)


def tissues_from_regions(regions: Tensor, scheme: str = "brats") -> Tensor:
    """The inverse of `regions_from_tissues`: each voxel's background and tissue probabilities.

    Args:
        regions: ``(B, 3, ...)`` in the order of `REGIONS`, boolean or in [0, 1].
        scheme: name of the label scheme that orders the channels.

    Returns:
        ``(B, 4, ...)``: background and tissues in ascending order of label, floating point.
    """
    known = label_scheme(scheme)
    core, whole, enhancing = (regions if regions.is_floating_point() else regions.float()).unbind(1)
    tissue = {known.necrosis: core - enhancing, known.edema: whole - core, known.enhancing[0]: enhancing}
    return torch.stack([1 - whole, *(tissue[label] for label in sorted(tissue))], 1)


def check_region_order(order: tuple[str, ...]) -> None:
    """Check that region channels are named so that the rated ones can be found.

    Raises:
        ValueError: if ``order`` does not name each of `REGIONS` once, or any other region twice.
    """
    if len(set(order)) != len(order) or not set(REGIONS) <= set(order):
        raise ValueError(
            f"region_order must name each of {REGIONS} once, and may name further regions that are not rated, once "
            f"each; got {tuple(order)}"
        )


def reorder_regions(regions: Tensor, order: tuple[str, ...]) -> Tensor:
    """Take the rated regions out of channels that lie in another order, or hold more than these.

    Args:
        regions: ``(B, R, X, Y, Z)``.
        order: the region of each of the R channels: ``("WT", "TC", "ET")`` for nnU-Net's region-based BraTS heads,
            ``("WT", "TC", "ET", "RC")`` where a resection cavity, which is not rated, comes last.

    Returns:
        ``(B, 3, X, Y, Z)`` in the order TC, WT, ET; the very tensor if it is in that order already.

    Raises:
        ValueError: if ``order`` is not as `check_region_order` wants it, or names another number of channels.
    """
    check_region_order(order)
    if regions.shape[1] != len(order):
        raise ValueError(
            f"region_order names {len(order)} region channels, {tuple(order)}, but got {regions.shape[1]} channels; "
            "name the region of each channel"
        )
    if tuple(order) == REGIONS:
        return regions
    return torch.stack([regions[:, order.index(region)] for region in REGIONS], dim=1)

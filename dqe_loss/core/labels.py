"""What the surrogate sees of a label map: the three BraTS regions.

Label maps differ between data sets (the enhancing tumor is 3 here and 4 there); the regions do not. Everything
after this file speaks regions: tumor core (TC), whole tumor (WT), enhancing tumor (ET), in that channel order, which
is the order of MONAI's ``ConvertToMultiChannelBasedOnBratsClasses`` and of the published surrogate.
"""

import torch
from torch import Tensor

from dqe_loss.core.dtypes import as_signed
from dqe_loss.core.label_schemes import LABEL_SCHEMES, LabelScheme, check_labels, label_scheme
from dqe_loss.task import REGIONS

__all__ = [
    "LABEL_SCHEMES",
    "LabelScheme",
    "check_labels",
    "check_region_order",
    "label_scheme",
    "region_from_labels",
    "regions_from_labels",
    "regions_from_tissues",
    "reorder_regions",
    "tissues_from_regions",
]


def region_from_labels(labels: Tensor, region: str, scheme: str = "brats") -> Tensor:
    """One region of a label map of any shape, boolean; see `regions_from_labels`."""
    known, labels = label_scheme(scheme), as_signed(labels)
    if region == "WT" and not known.cavity:
        return labels > 0  # one look instead of one for each label
    return _among(labels, known.region(region))


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
    enhancing = _among(labels, known.enhancing)
    core = enhancing | _among(labels, known.necrosis)
    return torch.cat((core, core | _among(labels, known.edema), enhancing), dim=1)


def _among(labels: Tensor, values: tuple[int, ...]) -> Tensor:
    found = labels == values[0]
    for value in values[1:]:
        found = found | (labels == value)
    return found


def regions_from_tissues(probabilities: Tensor, scheme: str = "brats") -> Tensor:
    """Sum class probabilities to region probabilities, differentiably.

    Args:
        probabilities: ``(B, 4, X, Y, Z)``, background and the scheme's three tissues in ascending order of label
            (of a tissue with several, the lowest; a cavity is background): a softmax, or a one-hot label map.
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
    tissue = dict(zip(label_scheme(scheme).channels, probabilities[:, 1:].unbind(1), strict=True))
    core = tissue["necrosis"] + tissue["enhancing"]
    return torch.stack((core, core + tissue["edema"], tissue["enhancing"]), dim=1)


def tissues_from_regions(regions: Tensor, scheme: str = "brats") -> Tensor:
    """The inverse of `regions_from_tissues`: each voxel's background and tissue probabilities.

    Args:
        regions: ``(B, 3, ...)`` in the order of `REGIONS`, boolean or in [0, 1].
        scheme: name of the label scheme that orders the channels.

    Returns:
        ``(B, 4, ...)``: background and tissues in ascending order of label, floating point.
    """
    core, whole, enhancing = (regions if regions.is_floating_point() else regions.float()).unbind(1)
    tissue = {"necrosis": core - enhancing, "edema": whole - core, "enhancing": enhancing}
    return torch.stack([1 - whole, *(tissue[name] for name in label_scheme(scheme).channels)], 1)


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

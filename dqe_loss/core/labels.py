"""What the surrogate sees of a label map: the regions of a task.

Label maps differ between data sets (a tissue is 3 here and 4 there); the regions do not. Everything after this file
speaks regions, in the task's order. That of the built-in task is the order of MONAI's
``ConvertToMultiChannelBasedOnBratsClasses`` and of the published surrogate.
"""

from functools import reduce

import torch
from torch import Tensor

from dqe_loss.core.label_schemes import LABEL_SCHEMES, SchemeLike, check_labels, label_scheme
from dqe_loss.core.tensors import as_signed, cannot_wait
from dqe_loss.task import GLIOMA, REGIONS, LabelScheme

__all__ = [
    "LABEL_SCHEMES",
    "LabelScheme",
    "SchemeLike",
    "are_tissues",
    "check_labels",
    "check_region_order",
    "label_scheme",
    "region_from_labels",
    "regions_from_labels",
    "regions_from_tissues",
    "reorder_regions",
    "tissues_from_regions",
]

_DEFAULT = GLIOMA.default_scheme
SUM_TOLERANCE = 1e-2
"""By how much background and tissues, in half precision, may miss a sum of 1."""


def region_from_labels(labels: Tensor, region: str, scheme: SchemeLike = _DEFAULT) -> Tensor:
    """One region of a label map of any shape, boolean; see `regions_from_labels`."""
    known, labels = label_scheme(scheme), as_signed(labels)
    if len(known.parts[region]) == len(known.tissues) and not known.outside:
        return labels > 0  # one look instead of one for each label
    return _among(labels, known.region(region))


def regions_from_labels(labels: Tensor, scheme: SchemeLike = _DEFAULT) -> Tensor:
    """Convert a label map to the task's regions.

    The values are not checked here (that costs a device synchronization): see `check_labels`.

    Args:
        labels: label map ``(B, 1, X, Y, Z)`` of any real dtype.
        scheme: the label scheme; a name is one of the built-in task's.

    Returns:
        Boolean regions ``(B, R, X, Y, Z)`` in the order of the scheme's task.

    Raises:
        ValueError: if the shape or the scheme is not as said.
    """
    if labels.ndim != 5 or labels.shape[1] != 1:
        raise ValueError(f"expected a label map of shape (B, 1, X, Y, Z), got {tuple(labels.shape)}")
    known, labels = label_scheme(scheme), as_signed(labels)
    tissue = {name: _among(labels, known.labels[name]) for name in known.tissues}
    regions = [reduce(torch.logical_or, [tissue[name] for name in names]) for names in known.parts.values()]
    return torch.cat(regions, dim=1)


def _among(labels: Tensor, values: tuple[int, ...]) -> Tensor:
    found = labels == values[0]
    for value in values[1:]:
        found = found | (labels == value)
    return found


def regions_from_tissues(probabilities: Tensor, scheme: SchemeLike = _DEFAULT) -> Tensor:
    """Sum class probabilities to region probabilities, differentiably.

    Args:
        probabilities: ``(B, 1 + T, X, Y, Z)``, background and the scheme's T tissues in ascending order of label (of a
            tissue with several, the lowest; what is in no region is background): a softmax, or a one-hot label map.
        scheme: the label scheme that orders the channels.

    Returns:
        Region probabilities ``(B, R, X, Y, Z)`` in the order of the scheme's task, in [0, 1] up to rounding.

    Raises:
        ValueError: if the shape or the scheme is not as said.
    """
    known = label_scheme(scheme)
    channels = 1 + len(known.tissues)
    if probabilities.ndim != 5 or probabilities.shape[1] != channels:
        raise ValueError(
            f"expected probabilities of background and {len(known.tissues)} tissues, shape (B, {channels}, X, Y, Z), "
            f"got {tuple(probabilities.shape)}"
        )
    tissue = dict(zip(known.channels, probabilities[:, 1:].unbind(1), strict=True))
    return torch.stack([reduce(torch.add, [tissue[name] for name in names]) for names in known.parts.values()], dim=1)


def tissues_from_regions(regions: Tensor, scheme: SchemeLike = _DEFAULT) -> Tensor:
    """The inverse of `regions_from_tissues`: each voxel's background and tissue probabilities.

    Args:
        regions: ``(B, R, ...)`` in the task's order, boolean or in [0, 1].
        scheme: the label scheme that orders the channels.

    Returns:
        ``(B, 1 + T, ...)``: background and tissues in ascending order of label, floating point.

    Raises:
        ValueError: if the task's regions do not tell its tissues apart.
    """
    known = label_scheme(scheme)
    named = dict(
        zip(known.regions, (regions if regions.is_floating_point() else regions.float()).unbind(1), strict=True)
    )
    tissue = tissue_planes(named, known)
    whole = next((named[name] for name, parts in known.parts.items() if len(parts) == len(known.tissues)), None)
    together = reduce(torch.add, tissue.values()) if whole is None else whole
    return torch.stack([1 - together, *(tissue[name] for name in known.channels)], 1)


def are_tissues(channels: Tensor, region_order: tuple[str, ...], scheme: LabelScheme) -> bool:
    """Whether channels are background and tissues, and not regions.

    Their number tells. Where it allows both, as for a whole and its two parts, the values do: background and tissues
    add up to 1 almost everywhere, regions to 0 outside of what is segmented and to more inside.

    Args:
        channels: ``(B, C, ...)``, binary or probabilities.
        region_order: what the channels are, if they are regions.
        scheme: the label scheme, which knows the tissues.

    Returns:
        True for tissues. Where both are possible and the values cannot be looked at (``torch.compile``), False.
    """
    tissue_channels = 1 + len(scheme.tissues)
    if not channels.shape[1] == len(region_order) == len(scheme.regions) == tissue_channels:
        return channels.shape[1] != len(region_order)
    if cannot_wait(channels):
        return False
    total = channels.sum(1, dtype=torch.float32)
    one = (total - 1).abs() <= SUM_TOLERANCE
    sums = one | (total.abs() <= SUM_TOLERANCE)  # 0, too, is background: transforms fill in zeros
    return bool(sums.all()) and int(one.sum()) > one.numel() / 2


def tissue_planes(named: dict[str, Tensor], scheme: LabelScheme) -> dict[str, Tensor]:
    """Each tissue of regions by name, in the task's order of tissues.

    Raises:
        ValueError: if the regions do not tell the tissues apart.
    """
    sums = scheme.sums
    if missing := [tissue for tissue in scheme.tissues if tissue not in sums]:
        raise ValueError(
            f"the regions {', '.join(scheme.regions)} do not tell {', '.join(missing)}; give one channel for each "
            "region, or add regions to the task that tell its tissues apart"
        )
    found = {}
    for tissue in scheme.tissues:
        ordered = sorted(sums[tissue].items(), key=lambda one: -one[1])
        total = named[ordered[0][0]]
        for region, count in ordered[1:]:
            total = total - named[region] if count == -1 else total + count * named[region]
        found[tissue] = total
    return found


def check_region_order(order: tuple[str, ...], regions: tuple[str, ...] = REGIONS) -> None:
    """Check that region channels are named so that the rated ones can be found.

    Raises:
        ValueError: if ``order`` does not name each of the rated ``regions`` once, or any other region twice.
    """
    if len(set(order)) != len(order) or not set(regions) <= set(order):
        raise ValueError(
            f"region_order must name each of {regions} once, and may name further regions that are not rated, once "
            f"each; got {tuple(order)}"
        )


def reorder_regions(regions: Tensor, order: tuple[str, ...], wanted: tuple[str, ...] = REGIONS) -> Tensor:
    """Take the rated regions out of channels that lie in another order, or hold more than these.

    Args:
        regions: ``(B, C, X, Y, Z)``.
        order: the region of each of the C channels, such as nnU-Net's region-based heads have them, or with one that is
            not rated, such as a resection cavity, at the end.
        wanted: the rated regions, in the task's order.

    Returns:
        ``(B, R, X, Y, Z)`` in the order that is wanted; the very tensor if it is in that order already.

    Raises:
        ValueError: if ``order`` is not as `check_region_order` wants it, or names another number of channels.
    """
    check_region_order(order, wanted)
    if regions.shape[1] != len(order):
        raise ValueError(
            f"region_order names {len(order)} region channels, {tuple(order)}, but got {regions.shape[1]} channels; "
            "name the region of each channel"
        )
    if tuple(order) == wanted:
        return regions
    return torch.stack([regions[:, order.index(region)] for region in wanted], dim=1)

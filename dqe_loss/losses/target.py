"""A target in the shapes that data sets have, read as a mask."""

import torch
from torch import Tensor

from dqe_loss.core.checks import check_probabilities, tell
from dqe_loss.core.labels import SUM_TOLERANCE, are_tissues, check_labels
from dqe_loss.core.layout import Layout
from dqe_loss.core.mask import LabelMask, RegionMask
from dqe_loss.core.nesting import ORDERED, fitting_order, misplaced
from dqe_loss.core.tensors import shape_of
from dqe_loss.surrogate.rating import is_label_map
from dqe_loss.task import LabelScheme


def read_target(
    target: Tensor,
    layout: Layout,
    *,
    hard: bool,
    tissues: bool | None = None,
    check: bool = False,
    predicted: bool = False,
) -> LabelMask | RegionMask:
    """Read a target.

    The labels of a map are looked at on a CPU in every call, and where ``check`` says so.

    Args:
        target: label map ``(B, 1, X, Y, Z)`` or ``(B, X, Y, Z)`` (integers where there is one region), regions
            ``(B, R, X, Y, Z)``, one channel for each of the layout's, or one-hot background and tissues
            ``(B, 1 + T, X, Y, Z)``.
        layout: order of region channels, and the scheme of a label map, or of one-hot channels.
        hard: whether mass is counted on the binarized mask.
        tissues: where there are as many tissues and background as regions, which they are; None looks at the values.
        check: whether to look at the values, for which an accelerator must be waited for.
        predicted: whether it may be a network's, whose regions may lie anywhere: their order is not checked then.

    Raises:
        ValueError: if the shape is another, the label map holds values that the scheme has not, or channels do not hold
            what they are taken for.
    """
    region_order, label_scheme = layout.region_order, layout.scheme
    if target.ndim == 4:
        target = target[:, None]  # class indices
    tissue_channels = 1 + len(label_scheme.tissues)
    if target.ndim != 5 or target.shape[1] not in (1, len(region_order), tissue_channels):
        raise ValueError(
            f"expected a target of shape (B, 1, X, Y, Z) (label map), (B, {len(region_order)}, X, Y, Z) (regions) or "
            f"(B, {tissue_channels}, X, Y, Z) (one-hot background and tissues), got {shape_of(target)}"
        )
    if is_label_map(target, len(label_scheme.regions)):
        if check or (target.device.type == "cpu" and not torch.compiler.is_compiling()):
            check_labels(target, label_scheme)
        return LabelMask(target, label_scheme)
    if tissues is None or not target.shape[1] == len(region_order) == tissue_channels:
        tissues = are_tissues(target, region_order, label_scheme)
    mask = RegionMask(target, hard, region_order=region_order, scheme=label_scheme, tissues=tissues)
    if check:
        check_probabilities(target, "the target", "binarize it first")
        total = target.sum(1, dtype=torch.float32)  # 0, too, is background: transforms fill in zeros
        if tissues and bool((total.minimum((total - 1).abs()) > SUM_TOLERANCE).any()):
            raise ValueError(
                f"the target has {tissue_channels} channels that add up to neither 0 nor 1 in a voxel, so they are not "
                "one-hot background and tissues. If the last is nnU-Net's channel of voxels to ignore, leave it out, "
                "as in target[:, :-1] (DQELoss ignores no voxels); if all are regions, name them in region_order="
            )
        if not tissues and not predicted:
            _check_order(target, region_order, label_scheme)
    return mask


def _check_order(target: Tensor, region_order: tuple[str, ...], scheme: LabelScheme) -> None:
    """Check that regions lie in those that hold them.

    Raises:
        ValueError: if they do so in another order alone.

    Warns:
        UserWarning: if they do so in no order, or are too many to tell.
    """
    fitting = fitting_order(target, region_order, scheme)
    if fitting is None:
        tried = ", in no order" if len(region_order) <= ORDERED else ""
        tell(misplaced("the target", region_order, scheme) + tried)
    elif fitting != region_order:
        raise ValueError(f"{misplaced('the target', region_order, scheme)}; they fit region_order={fitting}")

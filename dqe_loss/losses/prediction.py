"""A network's output, read as a mask that can be rated."""

from torch import Tensor

from dqe_loss.core.checks import check_exclusive, check_logits, check_probabilities
from dqe_loss.core.labels import are_tissues
from dqe_loss.core.layout import Layout
from dqe_loss.core.mask import RegionMask
from dqe_loss.core.tensors import shape_of
from dqe_loss.losses.activation import NONE, SIGMOID, SOFTMAX


def read_prediction(
    prediction: Tensor,
    activation: str | None,
    layout: Layout,
    *,
    hard: bool,
    check: bool = False,
) -> RegionMask:
    """Read a network's output.

    Args:
        prediction: regions ``(B, R, X, Y, Z)``, one channel for each of ``region_order``, or background and tissues
            ``(B, 1 + T, X, Y, Z)``. Where these are as many, the activation tells.
        activation: ``"sigmoid"`` (logits of regions), ``"softmax"`` (logits of tissues), ``"none"`` (probabilities), or
            None (logits; the number of channels tells of what).
        layout: order of region channels, and the scheme that orders tissue channels.
        hard: whether mass is counted on the binarized mask.
        check: whether to look at the values, for which an accelerator must be waited for.

    Raises:
        ValueError: if shape, activation and values do not go together.
    """
    channels = prediction.shape[1] if prediction.ndim == 5 else 0
    region_order, label_scheme = layout.region_order, layout.scheme
    tissue_channels = 1 + len(label_scheme.tissues)
    expected = (len(region_order), tissue_channels)
    if channels not in expected:
        unbatched = prediction.shape[0] in expected and (prediction.ndim < 5 or prediction.shape[-1] == 1)
        raise ValueError(
            f"expected a prediction (B, {len(region_order)}, X, Y, Z) of the regions {', '.join(region_order)}, or "
            f"(B, {tissue_channels}, X, Y, Z) of background and tissues, got "
            + (
                f"{tuple(prediction.shape[:4])}; if the batch axis is missing, say logits[None], target[None] and "
                "image[None]"
                if unbatched
                else shape_of(prediction)
            )
            + "; region_order= names channels"
        )
    # Whoever names further regions means regions.
    either = len(region_order) == len(label_scheme.regions) == tissue_channels
    if not either:
        tissues = channels != len(region_order)
    elif activation == NONE:
        tissues = are_tissues(prediction, region_order, label_scheme)
    else:
        tissues = activation == SOFTMAX
    if activation is None and either:
        raise ValueError(
            f"{channels} channels can be the regions {', '.join(region_order)}, or background and tissues: say "
            "DQELoss(sigmoid=True) for logits of regions, DQELoss(softmax=True) for logits of tissues"
        )
    if activation is None:
        activation = SOFTMAX if tissues else SIGMOID
    if activation == (SIGMOID if tissues else SOFTMAX):
        raise ValueError(
            f"{activation}=True does not go with {channels} channels: regions overlap and take sigmoid=True, "
            f"background and {len(label_scheme.tissues)} tissues exclude each other and take softmax=True. If there "
            "are more regions than are rated, such as a resection cavity, name all of them, as in "
            f"region_order={(*label_scheme.regions, 'other')}"
        )
    if check and activation == NONE:
        check_probabilities(
            prediction,
            "the prediction",
            "if they are logits, say so: DiceLoss(sigmoid=True) + 0.1 * DQELoss(), or DQELoss(sigmoid=True)",
        )
        if tissues:
            check_exclusive(prediction)
    elif check:
        check_logits(
            prediction,
            "the prediction",
            "give logits, or say DQELoss(sigmoid=False, softmax=False); to rate a mask there is rate_segmentation",
        )
    return RegionMask(prediction, hard, activation, region_order, label_scheme, tissues)

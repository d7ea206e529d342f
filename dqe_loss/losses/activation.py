"""What the losses of a sum take for a prediction: logits of regions, logits of tissues, or probabilities."""

from collections.abc import Sequence

from torch import nn

from dqe_loss.core.checks import tell

SIGMOID, SOFTMAX, NONE = "sigmoid", "softmax", "none"
"""The activation between what a loss is given and probabilities."""
MEANING = {SIGMOID: "logits of regions", SOFTMAX: "logits of tissues", NONE: "probabilities"}
"""What a prediction is before each activation."""


def settle_activation(told: Sequence[str | None], others: Sequence[nn.Module]) -> str | None:
    """What the losses beside terms of stars apply to the prediction.

    Args:
        told: what each term of stars was told that it is given, or None.
        others: the other losses.

    Returns:
        See `common_activation`; None, too, where it cannot be known and every term of stars was told.

    Raises:
        ValueError: if the others do not agree, or it cannot be known, and a term of stars was not told.

    Warns:
        UserWarning: a term of stars was told something else than the others do.
    """
    try:
        common = common_activation(others)
    except ValueError:
        if None in told:
            raise
        return None
    said = {one for one in told if one is not None}
    if common is not None and said - {common}:
        tell(
            f"a DQELoss was told that the prediction is {' and '.join(MEANING[one] for one in sorted(said))}, but "
            f"the losses beside it take {MEANING[common]}: one of them reads it wrongly"
        )
    return common


def common_activation(losses: Sequence[nn.Module]) -> str | None:
    """The activation that losses apply to the prediction, which is how it must be read beside them.

    Args:
        losses: those that stand in a sum.

    Returns:
        ``"sigmoid"``, ``"softmax"``, ``"none"`` (they take probabilities), or None where no loss says.

    Raises:
        ValueError: if two contradict each other, or a loss has an activation that cannot be known here (``other_act``).
    """
    said: dict[str, str] = {}
    for loss in losses:
        activation = activation_of(loss)
        if activation is not None:
            said.setdefault(activation, type(loss).__name__)
    if len(said) > 1:
        told = " but ".join(f"{name} takes {MEANING[activation]}" for activation, name in said.items())
        raise ValueError(
            f"{told}: DQELoss cannot tell what the prediction is; give all losses the same, or say "
            "DQELoss(sigmoid=True), DQELoss(softmax=True), or both False for probabilities"
        )
    return next(iter(said), None)


def activation_of(loss: nn.Module) -> str | None:
    """The activation that a loss says it applies; None where it does not say.

    Known are the losses of torch, of MONAI (``sigmoid``, ``softmax``, ``pre_sigmoid``, ``use_softmax``), of
    segmentation_models_pytorch (``from_logits`` and ``mode``) and of nnU-Net (``apply_nonlin``), and what wraps one of
    them, as MONAI's compound losses wrap their Dice.

    Raises:
        ValueError: if it is one that cannot be known here (``other_act``).
    """
    for wrapper in ("loss", "dice", "generalized_dice", "dc"):
        wrapped = getattr(loss, wrapper, None)
        if isinstance(wrapped, nn.Module):
            return activation_of(wrapped)
    if isinstance(loss, nn.BCELoss):
        return NONE
    if isinstance(loss, nn.BCEWithLogitsLoss):
        return SIGMOID
    if isinstance(loss, nn.CrossEntropyLoss):
        return SOFTMAX
    if hasattr(loss, "use_softmax"):  # MONAI's focal loss, which takes logits always
        return SOFTMAX if loss.use_softmax else SIGMOID
    if hasattr(loss, "from_logits"):
        multiclass = getattr(loss, "mode", None) == "multiclass"
        return NONE if not loss.from_logits else SOFTMAX if multiclass else SIGMOID
    if hasattr(loss, "apply_nonlin"):
        name = getattr(loss.apply_nonlin, "__name__", type(loss.apply_nonlin).__name__).lower()
        return NONE if loss.apply_nonlin is None else next((kind for kind in (SIGMOID, SOFTMAX) if kind in name), None)
    sigmoid, softmax, other = (
        getattr(loss, f"pre_{name}", getattr(loss, name, None)) for name in ("sigmoid", "softmax", "other_act")
    )
    if sigmoid or softmax:
        return SIGMOID if sigmoid else SOFTMAX
    if (sigmoid, softmax) != (False, False):
        return None
    if other is not None:
        raise ValueError(
            f"{type(loss).__name__} activates the prediction by other_act, so DQELoss cannot tell what it is given; "
            "say DQELoss(sigmoid=True), DQELoss(softmax=True), or both False for probabilities"
        )
    return NONE

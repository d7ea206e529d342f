"""What a sum asks of the terms that need more than prediction and target."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from dqe_loss.losses.gradients import GradientLog


def full_resolution(x: Any) -> Any:
    """A tensor as it is; of a sequence, as deep supervision has them, the first, which has the full resolution.

    Raises:
        TypeError: if it is a mapping, of which nobody knows what is meant.
    """
    if isinstance(x, Mapping):
        raise TypeError(f"expected a tensor or a list of them, got a mapping: pass one of {', '.join(map(str, x))}")
    return x[0] if isinstance(x, list | tuple) else x


class RatingTerm(nn.Module):
    """A loss that takes the image beside prediction and target, and is balanced against the other terms of a sum.

    Attributes:
        activation: what it was told to apply to the prediction: ``"sigmoid"``, ``"softmax"``, ``"none"``, or None.
        max_gradient_ratio: cap on the norm of its gradient at the prediction, per exam, as a fraction of the other
            terms'; None for no cap.
        warmup: number of training steps that a sum leaves it out.
        every: of so many training steps after that, a sum takes it in one, with so many times its gradient.
        gradient_log: what guard and cap did in the last backward pass.
        notes: what else the last training step is to be logged by, name to scalar.
    """

    activation: str | None
    max_gradient_ratio: float | None
    warmup: int
    every: int
    gradient_log: GradientLog
    notes: dict[str, Tensor]

    def evaluate(
        self,
        input: Tensor,
        target: Tensor | None,
        image: Tensor | None,
        origin: Any = None,
        *,
        activation: str | None = None,
        alone: bool = False,
    ) -> Tensor:
        """The loss, as a sum calls it.

        Args:
            input: prediction ``(B, R, X, Y, Z)``, or ``(B, 1 + T, X, Y, Z)`` of background and tissues; of a 2D network
                without Z, as target and image are then.
            target: regions ``(B, R, X, Y, Z)``, label map ``(B, 1, X, Y, Z)`` or ``(B, X, Y, Z)``, or one-hot tissues
                ``(B, 1 + T, X, Y, Z)``, if there is one.
            image: intensities ``(B, C, X, Y, Z)``, if there are any.
            origin: where the prediction lies in target and image, if it is a patch: three integers or ``(B, 3)``.
            activation: what the other terms apply to the prediction, if they say so; see `dqe_loss.losses.activation`.
            alone: whether no other term stands beside it, so that there is neither cap nor warm-up.

        Returns:
            A scalar, or ``(B,)`` without a reduction.
        """
        raise NotImplementedError

    def rest(self, input: Tensor) -> None:
        """Forget what the last step noted: this one goes without the term, see ``every``.

        Args:
            input: its prediction.
        """
        self.notes = {}

    @property
    def checked(self) -> bool:
        """Whether values were looked at in this mode, training or evaluation, in a batch that could tell."""
        raise NotImplementedError

    def check_target(
        self, target: Tensor | None, image: Tensor | None, origin: Any = None, *, activation: str | None = None
    ) -> None:
        """Rate the target itself, while the term warms up: expert masks have many stars, or something is mixed up.

        Its arguments are those of `evaluate`: target ``(B, R, X, Y, Z)``, or a label map ``(B, 1, X, Y, Z)``, and image
        ``(B, C, X, Y, Z)``.
        """
        raise NotImplementedError


class LabelWeightedTerm(nn.Module):
    """A loss of prediction and target that weighs each exam by what its target deserves on its image.

    Its gradient is an ordinary loss's, so that in a sum a `RatingTerm` is capped by it, as by others.

    Attributes:
        notes: what the last training step is to be logged by, name to scalar.
    """

    notes: dict[str, Tensor]

    def evaluate(
        self, input: Any, label: Any, *, whole: Tensor, image: Tensor | None = None, stars: Any = None
    ) -> Tensor:
        """The loss, as a sum calls it.

        Args:
            input: prediction ``(B, R, X, Y, Z)``, or a list of them.
            label: the target that the loss is given, of the prediction's size.
            whole: the full-size target ``(B, R, X, Y, Z)`` or ``(B, 1, X, Y, Z)``, which is rated.
            image: the image ``(B, C, X, Y, Z)`` of the full-size target.
            stars: ``(B,)``, where the targets have been rated already.
        """
        raise NotImplementedError

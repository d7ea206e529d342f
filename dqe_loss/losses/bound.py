"""A loss that is handed the image beforehand, for loops that call ``loss(prediction, target)`` and nothing else."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

_OF_SUMS = ("steps_done", "log", "validation_log", "figures")


class BoundLoss(nn.Module):
    """A loss that takes the image of its next call beforehand.

    Training loops of MONAI's engines, nnU-Net and others call ``loss(prediction, target)``. `bind` hands over what else
    a `DQELoss` needs, for the next call only: an image of another batch would be rated without an error, and be wrong.

    Args:
        loss: called as ``loss(input, target, image=image, origin=origin)``.

    Example:
        >>> import torch
        >>> from monai.losses import DiceLoss
        >>> from dqe_loss import DQELoss
        >>> criterion = (DiceLoss(sigmoid=True) + 0.1 * DQELoss(on_small="pad")).bound()
        >>> logits, target = torch.randn(1, 3, 32, 32, 32, requires_grad=True), torch.zeros(1, 3, 32, 32, 32)
        >>> target[..., 8:20, 8:20, 8:20] = 1
        >>> criterion.bind(image=torch.rand(1, 4, 32, 32, 32))(logits, target).shape
        torch.Size([])
    """

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss: Any = loss
        self._next: tuple[dict[str, Any], Any] | None = None

    def __getattr__(self, name: str) -> Any:
        """`nn.Module`'s, which Python asks where a property finds nothing, too; of those it says why.

        Raises:
            AttributeError: there is no such attribute.
        """
        if name in _OF_SUMS:
            raise AttributeError(
                f"the bound {type(self.loss).__name__} has no {name}, a sum of losses has: bind the sum, as in "
                "criterion = (DiceLoss(sigmoid=True) + 0.1 * DQELoss()).bound()"
            )
        return super().__getattr__(name)

    @property
    def steps_done(self) -> int:
        """`LossSum.steps_done` of the bound sum; may be set."""
        steps: int = self.loss.steps_done
        return steps

    @steps_done.setter
    def steps_done(self, steps: int) -> None:
        _ = self.steps_done  # a loss that counts none says so
        self.loss.steps_done = steps

    @property
    def log(self) -> dict[str, Any]:
        """The bound loss's, such as `LossSum.log`."""
        log: dict[str, Any] = self.loss.log
        return log

    @property
    def validation_log(self) -> dict[str, float]:
        """`LossSum.validation_log` of the bound sum."""
        log: dict[str, float] = self.loss.validation_log
        return log

    @property
    def figures(self) -> dict[str, Tensor]:
        """`LossSum.figures` of the bound sum."""
        figures: dict[str, Tensor] = self.loss.figures
        return figures

    def bind(
        self, *, image: Tensor | None = None, origin: Any = None, target: Any = None, stars: Any = None
    ) -> "BoundLoss":
        """Hand over what the next call needs, in place of anything that waits.

        Args:
            image: the image ``(B, C, X, Y, Z)`` of the next call; only where all stars are known can it be left out.
            origin: where the patch lies in it, if it rates a patch.
            target: the full-size target that the patch lies in, where a loop calls the loss with the patch of it.
            stars: mean stars ``(B,)`` of the labels for a `StarWeighted`, where they are known.

        Returns:
            This loss, so that ``criterion.bind(image=image)(prediction, target)`` can be written.

        Raises:
            ValueError: if there is neither image nor stars.
        """
        if image is None and stars is None:
            raise ValueError("bind(image=image) hands over the image of the next call, got none")
        known = {} if stars is None else {"stars": stars}
        self._next = {"image": image, "origin": origin, **known}, target
        return self

    def forward(self, input: Any, target: Any = None) -> Tensor:
        """The loss with what was bound, which is forgotten then.

        Args:
            input: prediction ``(B, R, X, Y, Z)``, or what else the loss takes, such as a list of them.
            target: target ``(B, R, X, Y, Z)``, or label map ``(B, 1, X, Y, Z)``; what was bound counts before it.

        Returns:
            What the loss gives: a scalar, or ``(B,)`` without a reduction.

        Raises:
            ValueError: if nothing was bound since the last call.
        """
        if self._next is None:
            raise ValueError(
                "no image was bound for this call: a bound image serves one call only, so that a stale one is never "
                "rated; call criterion.bind(image=image) before each loss(prediction, target)"
            )
        (bound, whole), self._next = self._next, None
        value: Tensor = self.loss(input, target if whole is None else whole, **bound)
        return value

    def prepare_batch(
        self,
        image_key: str = "raw",
        origin_key: str | None = None,
        prepare: Callable[..., Any] | None = None,
        target_key: str | None = None,
    ) -> Callable[..., Any]:
        """A function for ``SupervisedTrainer(prepare_batch=...)`` of MONAI, which binds the batch's image.

        Args:
            image_key: where the raw image lies in the batch, such as ``"raw"`` beside the normalized ``"image"``.
            origin_key: where the patches' first voxels ``(B, 3)`` lie in the batch, if patches are rated in place.
            prepare: what makes network input and target of the batch; MONAI's own function if None.
            target_key: where the full-size label lies, if the batch's label is cropped with the patches; without it
                the label must be full-size where there is an ``origin_key``.

        Returns:
            The function, called by the engine as ``prepare_batch(batch, device, non_blocking, **kwargs)``. It raises a
            ValueError if the batch lacks one of the keys, and a TypeError if it has none.
        """

        def prepare_and_bind(batch: Any, device: Any = None, non_blocking: bool = False, **options: Any) -> Any:
            if not isinstance(batch, Mapping):
                raise TypeError(
                    f"expected a batch with keys, such as {image_key!r} for the raw image, got a "
                    f"{type(batch).__name__}: let the data set give dictionaries, or call criterion.bind(image=image) "
                    "in a prepare_batch of your own"
                )
            for option, key in (("image_key", image_key), ("origin_key", origin_key), ("target_key", target_key)):
                if key is not None and key not in batch:
                    raise ValueError(
                        f"the batch has no {key!r}, only {', '.join(map(str, batch))}; say where it lies with "
                        f"prepare_batch({option}=...)"
                    )
            image, target = (
                None if key is None else batch[key].to(device, non_blocking=non_blocking)
                for key in (image_key, target_key)
            )
            self.bind(image=image, target=target, origin=None if origin_key is None else batch[origin_key])
            return (prepare or _default_prepare())(batch, device, non_blocking, **options)

        return prepare_and_bind


def _default_prepare() -> Callable[..., Any]:
    from monai.engines import default_prepare_batch  # late: it looks for ignite

    prepare: Callable[..., Any] = default_prepare_batch
    return prepare

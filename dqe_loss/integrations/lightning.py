"""A Lightning callback that logs what the term does in each step, and keeps its warm-up (extra ``lightning``)."""

import sys
from typing import Any

from torch import nn

from dqe_loss.extras import import_extra
from dqe_loss.losses.bound import BoundLoss
from dqe_loss.losses.sum import LossSum


def _callback() -> Any:
    """The base class of whichever of Lightning's two packages is in use: their classes do not mix."""
    for name in ("lightning.pytorch", "pytorch_lightning"):
        if name in sys.modules:
            return sys.modules[name].Callback
    try:
        return import_extra("pytorch_lightning", "lightning").Callback
    except ImportError:
        return import_extra("lightning.pytorch", "lightning").Callback


Callback: Any = _callback()


class DQECallback(Callback):  # type: ignore[misc]
    """Logs what guard and cap did, step by step, and carries a warm-up over checkpoints.

    After each backward pass it logs `LossSum.figures` by the module: each term's value, ``stars``, ``gradient_ratio``,
    ``guard_kept``, ``skipped`` and, in a warm-up, ``stars_of_target``. They stay on the device until a logger reads
    them. The warm-up's steps are in the callback's state, too: a criterion that hides from ``state_dict`` (in a list,
    or handed over here) resumes its warm-up all the same, and a learning rate finder leaves it where it was.

    The loss needs no callback to work.

    Args:
        criterion: what to watch; the sums of losses that the module holds, if None.
        prefix: what the names in the log begin with.

    Raises:
        ImportError: if Lightning is not installed (raised by the import of this module).

    Example:
        >>> from dqe_loss.integrations.lightning import DQECallback
        >>> trainer = Trainer(callbacks=[DQECallback()])  # doctest: +SKIP
    """

    def __init__(self, criterion: LossSum | BoundLoss | None = None, *, prefix: str = "train/") -> None:
        self.prefix = prefix
        self._given = criterion
        self._criteria: list[LossSum] = []

    def setup(self, trainer: Any, pl_module: nn.Module, stage: str) -> None:
        """Find the criteria.

        Raises:
            ValueError: if there is none.
        """
        places = [pl_module] if self._given is None else [self._given]
        self._criteria = [part for place in places for part in place.modules() if isinstance(part, LossSum)]
        if not self._criteria:
            raise ValueError(
                f"DQECallback finds no sum of losses in {type(pl_module).__name__}: hold one there, self.criterion = "
                "DiceLoss(sigmoid=True) + 0.1 * DQELoss(), or hand it over, DQECallback(criterion)"
            )

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Move a criterion that the module does not hold to the module's device."""
        for criterion in self._criteria:
            criterion.to(pl_module.device)

    # A sanity check validates before the training starts, and ``trainer.validate()`` and ``test()`` without one.
    on_validation_start = on_test_start = on_train_start

    def on_after_backward(self, trainer: Any, pl_module: Any) -> None:
        """Log the step."""
        for i, criterion in enumerate(self._criteria):
            number = f"{i}/" if len(self._criteria) > 1 else ""
            pl_module.log_dict({f"{self.prefix}{number}{name}": one for name, one in criterion.figures.items()})

    def state_dict(self) -> dict[str, Any]:
        """Steps of each criterion."""
        return {"steps_done": [criterion.steps_done for criterion in self._criteria]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Set the steps of each criterion."""
        for criterion, steps in zip(self._criteria, state_dict["steps_done"], strict=False):
            criterion.steps_done = steps

"""How many steps a training has taken, counted from inside a loss."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from weakref import WeakSet

import torch
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook

from dqe_loss.core.checks import tell

CALLS_WITHOUT_OPTIMIZER = 512
"""Calls after which a training is taken for one without ``torch.optim``: hardly any accumulates gradients over as many.
"""


class StepCounter:
    """Counts the optimizer steps that follow upon calls, however many calls a step takes.

    A step of any ``torch.optim.Optimizer`` counts once for all calls since the last one, so that gradient accumulation
    and several calls a step do not hurry the count, and steps of another network's optimizer do not add to it. Where no
    such optimizer steps in `CALLS_WITHOUT_OPTIMIZER` calls, calls are counted instead, and that is told once (not under
    ``torch.compile``); if one steps all the same, what the calls added is taken back.

    The numbers are tensors on the CPU: `torch.compile` would take a Python number for a constant and compile anew for
    each, and reading them waits for no accelerator.

    Attributes:
        steps: steps so far, an integer.
        pending: calls since the last one.
    """

    def __init__(self, steps: int = 0) -> None:
        self.steps = torch.tensor(steps)
        self.pending = torch.tensor(0)
        self._optimizer_seen = False
        self._counts_calls = False
        self._before_calls = steps
        _watch(self)

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Let copies and unpickled counters count on by themselves."""
        self.__dict__.update(state)
        _watch(self)

    def call(self) -> None:
        """Note a call in training."""
        if self._counts_calls:
            self.steps.add_(1)
            return
        self.pending.add_(1)
        if torch.compiler.is_compiling() or self._optimizer_seen or int(self.pending) <= CALLS_WITHOUT_OPTIMIZER:
            return
        tell(
            f"no optimizer of torch.optim has stepped in {CALLS_WITHOUT_OPTIMIZER} calls: from now on the warm-up "
            "counts calls; where that is wrong, set criterion.steps_done"
        )
        self._counts_calls, self._before_calls = True, int(self.steps)
        self.steps.add_(self.pending)
        self.pending.zero_()

    def set(self, steps: int) -> None:
        """Go on from a number of steps."""
        self.steps.fill_(steps)
        self._before_calls = steps

    def note_step(self) -> None:
        """Note an optimizer's step."""
        if self._counts_calls:  # so it was accumulation over many calls
            self.steps.fill_(self._before_calls)
            self.pending.fill_(1)
        self._optimizer_seen, self._counts_calls = True, False
        if int(self.pending):
            self.steps.add_(1)
            self.pending.zero_()


_counters: WeakSet[StepCounter] = WeakSet()
_hooks: list[Any] = []
_uncounted: ContextVar[bool] = ContextVar("uncounted", default=False)


@contextmanager
def uncounted() -> Iterator[None]:
    """Steps in here are none of the training's: an optimizer of something else takes them."""
    token = _uncounted.set(True)
    try:
        yield
    finally:
        _uncounted.reset(token)


def _watch(counter: StepCounter) -> None:
    if not _hooks:
        _hooks.append(register_optimizer_step_post_hook(_note_step))
    _counters.add(counter)


def _note_step(optimizer: Optimizer, arguments: Any, options: Any) -> None:
    if _uncounted.get():
        return
    for counter in _counters:
        counter.note_step()

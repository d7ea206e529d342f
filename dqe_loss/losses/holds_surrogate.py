"""What every loss that rates has: a frozen surrogate, and things to say once."""

from pathlib import Path

import torch

from dqe_loss.core.checks import tell
from dqe_loss.surrogate.checkpoint import load_surrogate
from dqe_loss.surrogate.network import Surrogate, surrogate_on
from dqe_loss.task import Task


class HoldsSurrogate:
    """A loss's surrogate, which is not part of its state: nothing of it is to be saved, synchronized or optimized."""

    def _hold(self, given: str | Path | Surrogate) -> None:
        """Take a surrogate, or load it."""
        # In a tuple, so that torch does not register it.
        self._frozen = (given if isinstance(given, Surrogate) else load_surrogate(given),)
        self._told: set[str] = set()

    @property
    def surrogate(self) -> Surrogate:
        """The frozen network that rates; where someone cast it to half precision, a copy in float32."""
        held = self._frozen[0]
        if held.dtype not in (torch.float32, torch.float64):
            self._frozen = (held := surrogate_on(held, held.device, torch.float32),)
        return held

    @property
    def task(self) -> Task:
        """What is rated."""
        return self.surrogate.config.task

    def _tell_once(self, key: str, message: str) -> None:
        if torch.compiler.is_compiling():
            _tell_while_compiling(message)
        elif key not in self._told:
            self._told.add(key)
            tell(message)


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _tell_while_compiling(message: str) -> None:
    """Warn once a compilation: this runs when the graph is made, and not with it."""
    tell(message)

"""What gives planes stars."""

from typing import Protocol

import torch
from torch import Tensor

from dqe_loss.core.boxes import Box
from dqe_loss.surrogate.config import SurrogateConfig
from dqe_loss.surrogate.refiner import RefinedMask


class Rater(Protocol):
    """A `dqe_loss.Surrogate`, guarded or not, or the same network in another engine."""

    @property
    def config(self) -> SurrogateConfig:
        """How planes are made."""

    @property
    def device(self) -> torch.device:
        """Where planes must lie."""

    def __call__(self, planes: Tensor, *, ceiling: Tensor | None = None, inside: Box | None = None) -> Tensor:
        """Stars ``(N,)`` of planes ``(N, C, H, W)``; see `Surrogate.forward`."""

    def refine(self, planes: Tensor) -> RefinedMask | None:
        """What the refiner would have drawn on planes ``(N, C, H, W)``; None without one."""

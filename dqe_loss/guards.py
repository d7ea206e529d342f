"""STAND-IN until the guards leave `Surrogate.forward`: to be replaced by the real file, which has more in it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from dqe_loss.surrogate import Surrogate, SurrogateConfig


@dataclass(frozen=True)
class GuardedSurrogate:
    """A surrogate whose gradient may move a voxel only to where its second reader is sure that it belongs."""

    surrogate: Surrogate

    @property
    def config(self) -> SurrogateConfig:
        """How planes are made."""
        return self.surrogate.config

    @property
    def device(self) -> torch.device:
        """Where planes must lie."""
        return self.surrogate.device

    def __call__(self, planes: Tensor) -> Tensor:
        """Stars ``(N,)`` of planes ``(N, C, H, W)``."""
        stars: Tensor = self.surrogate(planes)
        return stars

"""The weights of a teaching: those that are taught, and the best so far."""

from copy import deepcopy

from torch import nn

from dqe_loss.surrogate.refiner import Refiner


class Weights(nn.Module):
    """A refiner's weights, kept together so that one state holds them all.

    No moving average of them is kept: on held-out exams one of decay .995 was no better (docs/results/hardening.md).

    Args:
        refiner: the refiner that is taught.
        choose: whether to keep the best, for lack of which the last count.
    """

    def __init__(self, refiner: Refiner, choose: bool) -> None:
        super().__init__()
        self.refiner = refiner
        self.best = deepcopy(refiner) if choose else None

    def keep(self) -> None:
        """Keep the weights as they stand as the best."""
        if self.best is not None:
            self.best.load_state_dict(self.refiner.state_dict())

    def chosen(self, any_best: bool) -> Refiner:
        """The refiner that a teaching leads to: the best if any was found, else the taught one."""
        return self.best if self.best is not None and any_best else self.refiner

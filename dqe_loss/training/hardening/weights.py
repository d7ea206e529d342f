"""The weights of a teaching: those that are taught, their moving average, and the best so far."""

from copy import deepcopy
from typing import cast

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from dqe_loss.second_reader import SecondReader


class Weights(nn.Module):
    """A reader's weights, kept together so that one state holds them all.

    Args:
        reader: the reader that is taught.
        decay: of the exponential moving average of weights and batch statistics, which swings less than what a single
            step leaves; 0 for none.
        choose: whether to keep the best, for lack of which the last count.
    """

    def __init__(self, reader: SecondReader, decay: float, choose: bool) -> None:
        super().__init__()
        self.reader = reader
        self.average: AveragedModel | None = None
        if decay:
            follow = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
            self.average = AveragedModel(reader, multi_avg_fn=follow, use_buffers=True)
        self.best = deepcopy(reader) if choose else None

    @property
    def current(self) -> SecondReader:
        """The reader to be judged and saved: the average, or the taught one where there is none."""
        if self.average is None:
            return self.reader
        return cast(SecondReader, self.average.module)

    def follow(self) -> None:
        """Let the average follow a step of the optimizer."""
        if self.average is not None:
            self.average.update_parameters(self.reader)

    def keep(self) -> None:
        """Keep the current weights as the best."""
        if self.best is not None:
            self.best.load_state_dict(self.current.state_dict())

    def chosen(self, any_best: bool) -> SecondReader:
        """The reader that a teaching leads to: the best if any was found, else the current one."""
        return self.best if self.best is not None and any_best else self.current

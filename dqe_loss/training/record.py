"""The folder of a run: what it shows while it goes, and what it leaves."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from torch import nn
from torch.utils.tensorboard import SummaryWriter

from dqe_loss.checkpoint import save_surrogate
from dqe_loss.files import encode, write_together
from dqe_loss.surrogate import Surrogate, SurrogateConfig
from dqe_loss.training.card import model_card
from dqe_loss.training.config import TrainConfig
from dqe_loss.training.state import Progress

Metrics = Mapping[str, Mapping[str, float]]
"""Part of the split to its agreement."""


@dataclass(frozen=True)
class RunFolder:
    """Where the files of a run are.

    Attributes:
        path: the folder.
    """

    path: Path

    @property
    def state(self) -> Path:
        """All that a continuation needs."""
        return self.path / "state.pt"

    @property
    def config(self) -> Path:
        """The configuration, to be given to the command again."""
        return self.path / "config.yaml"

    @property
    def split(self) -> Path:
        """Which exams are trained on."""
        return self.path / "split.csv"

    @property
    def log(self) -> Path:
        """A row for each epoch."""
        return self.path / "log.csv"

    @property
    def last(self) -> Path:
        """The surrogate after the last epoch: the paper's choice."""
        return self.path / "surrogate.safetensors"

    @property
    def best(self) -> Path:
        """The surrogate of the epoch with the lowest validation MAE."""
        return self.path / "best.safetensors"


class Recorder:
    """Writes a run's log, curves and checkpoints.

    Args:
        config: the training.
        surrogate: what it leads to.
        network: the network on its way.
        folder: where to write.
    """

    def __init__(self, config: TrainConfig, surrogate: SurrogateConfig, network: nn.Module, folder: RunFolder) -> None:
        self.config, self.surrogate, self.network, self.folder = config, surrogate, network, folder
        self._writer: SummaryWriter | None = None

    def record(self, progress: Progress, best: bool) -> None:
        """Note an epoch that has ended, and keep the network if it is the best so far."""
        log = pd.DataFrame(progress.rows).to_csv(index=False, lineterminator="\n")
        write_together({self.folder.log: log.encode()})
        if self._writer is None:  # what a run that was killed wrote beyond its saved state is purged
            self._writer = SummaryWriter(str(self.folder.path / "tensorboard"), purge_step=progress.epoch)
        for name, value in progress.rows[-1].items():
            if name != "epoch":
                self._writer.add_scalar(name, value, progress.epoch)
        self._writer.flush()
        if best:
            why = f"epoch {progress.epoch} (the lowest validation MAE)"
            self.save(self.folder.best, f"{self.config.out.name}, {why}", None)

    def save(self, path: Path, title: str, metrics: Metrics | None) -> None:
        """Write the network as a surrogate, with its model card inside and beside it."""
        card = model_card(self.config, self.surrogate, metrics, title=title)
        frozen = Surrogate(self.surrogate)
        frozen.network.load_state_dict(self.network.state_dict())
        save_surrogate(frozen, path, card=card)
        write_together({path.with_suffix(".md"): encode(card)})

"""The folder of a run: what it shows while it goes, and what it leaves."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from torch.utils.tensorboard import SummaryWriter

from dqe_loss.outputs import check_output_folder, encode, write_together
from dqe_loss.surrogate.checkpoint import save_surrogate
from dqe_loss.surrogate.network import Surrogate
from dqe_loss.train.card import model_card
from dqe_loss.train.config import TrainConfig
from dqe_loss.train.held_out_agreement import Metrics
from dqe_loss.train.saved_state import Progress


@dataclass(frozen=True)
class RunFolder:
    """Where the files of a run are.

    Attributes:
        path: the folder.
    """

    path: Path

    def begin(self, resume: bool) -> None:
        """Make the folder, unless it holds a run that is not to be resumed.

        Raises:
            ValueError: if it does, or it cannot be made or written to.
        """
        if self.state.exists() and not resume:
            raise ValueError(f"{self.path} holds a run already; go on with --resume, or give another --out")
        check_output_folder(self.path)
        self.path.mkdir(parents=True, exist_ok=True)

    def write_log(self, progress: Progress) -> None:
        """Write the rows of all epochs so far."""
        log = pd.DataFrame(progress.rows).to_csv(index=False, lineterminator="\n")
        write_together({self.log: log.encode()})

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
        folder: where to write.
    """

    def __init__(self, config: TrainConfig, folder: RunFolder) -> None:
        self.config, self.folder = config, folder
        self._writer: SummaryWriter | None = None

    def record(self, progress: Progress, surrogate: Surrogate, best: Metrics | None) -> None:
        """Note an epoch that has ended.

        Args:
            progress: how far the training is.
            surrogate: as it is after the epoch.
            best: what was measured of it if it is the best so far, and is to be kept; else None.
        """
        self.folder.write_log(progress)
        if self._writer is None:  # what a run that was killed wrote beyond its saved state is purged
            self._writer = SummaryWriter(str(self.folder.path / "tensorboard"), purge_step=progress.epoch)
        for name, value in progress.rows[-1].items():
            if name != "epoch":
                self._writer.add_scalar(name, value, progress.epoch)
        self._writer.flush()
        if best is not None:
            why = f"epoch {progress.epoch} (the lowest validation MAE)"
            self.save(surrogate, self.folder.best, f"{self.config.out.name}, {why}", best, going_on=True)

    def save(self, surrogate: Surrogate, path: Path, title: str, metrics: Metrics, *, going_on: bool = False) -> None:
        """Write a surrogate, with its model card inside and beside it; `model_card` says what the rest means."""
        card = model_card(self.config, surrogate.config, metrics, title=title, going_on=going_on)
        save_surrogate(surrogate, path, card=card)
        write_together({path.with_suffix(".md"): encode(card)})

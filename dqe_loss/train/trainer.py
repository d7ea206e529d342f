"""The training loop: planes in, weights out; stops and goes on without a trace."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader
from tqdm import tqdm

from dqe_loss.processes import Processes, StopRequest, ignore_signals
from dqe_loss.surrogate.network import Surrogate
from dqe_loss.train.batch_statistics import averaged_batch_statistics
from dqe_loss.train.config import TrainConfig
from dqe_loss.train.dataset import MicroBatches, PlaneDataset, RatedPlane
from dqe_loss.train.held_out_agreement import Metrics, part_metrics, rate_rated
from dqe_loss.train.loss_and_optimizer import build_optimizer, objective
from dqe_loss.train.saved_state import Progress, Row, load_state, save_state
from dqe_loss.train.summed_gradients import summed_gradients


@dataclass
class Trainer:
    """A network on its way.

    Attributes:
        config: the training.
        surrogate: what it leads to, on the device: a copy that is brought up to date where it is rated or saved.
        network: the network, on the device.
        train: planes to learn from.
        validation: planes to watch; may be none.
        where: this process among its like.
        state: file of the state.
        report: called in process 0 at the end of each epoch with progress, the surrogate and, if it is the best so far,
            what was measured of it.
    """

    config: TrainConfig
    surrogate: Surrogate
    network: nn.Module
    train: Sequence[RatedPlane]
    validation: Sequence[RatedPlane]
    where: Processes
    state: Path
    report: Callable[[Progress, Surrogate, Metrics | None], None]

    def __post_init__(self) -> None:
        """Build what one training needs; see `MicroBatches` for the errors of batch sizes."""
        config, where = self.config, self.where
        self.batches = MicroBatches(
            len(self.train), config.batch, config.micro_batch, seed=config.seed, rank=where.rank, world=where.world
        )
        self.optimizer: Optimizer = build_optimizer(self.network, config, self.batches.steps * config.epochs)
        self.progress = Progress()
        augmentation = config.augmentation if config.augmentation.enabled else None
        self.loader = DataLoader(
            PlaneDataset(self.train, self.surrogate.config, augmentation, config.seed),
            batch_sampler=self.batches,
            num_workers=config.workers,
            persistent_workers=config.workers > 0,
            worker_init_fn=ignore_signals,
            pin_memory=where.device.type == "cuda",
        )

    def run(self, fingerprint: Mapping[str, Any], stop: StopRequest) -> bool:
        """Train to the last epoch, or until a stop is asked for.

        Args:
            fingerprint: what a continuation must share with this run.
            stop: looked at after each step; the state is saved before this returns.

        Returns:
            Whether the training is done.
        """
        progress = self.progress
        if self.config.resume:
            progress = self.progress = load_state(self.state, self.network, self.optimizer, fingerprint)
        steps = self.batches.steps
        total, done = steps * self.config.epochs, progress.epoch * steps + progress.step
        with tqdm(total=total, initial=done, unit="step", disable=not self.where.first, smoothing=0.05) as bar:
            while progress.epoch < self.config.epochs:
                if not self._run_epoch(progress, stop, bar):
                    self._save(progress, fingerprint)
                    return False
                self._end_epoch(progress, bar)
                if progress.epoch % self.config.save_every == 0 or progress.epoch == self.config.epochs:
                    self._save(progress, fingerprint)
        return True

    def current(self) -> Surrogate:
        """The surrogate with the network as it stands."""
        self.surrogate.network.load_state_dict(self.network.state_dict())
        return self.surrogate

    def _run_epoch(self, progress: Progress, stop: StopRequest, bar: tqdm) -> bool:
        """Take the steps that are left of the epoch; False if a stop came between."""
        self.network.train()
        self.batches.epoch, self.batches.first_step = progress.epoch, progress.step
        parts = iter(self.loader)
        while progress.step < self.batches.steps:
            progress.loss += self.where.total(self._step(parts, progress)) / self.where.world
            progress.step += 1
            bar.update()
            bar.set_postfix(epoch=progress.epoch + 1, loss=f"{progress.loss / progress.step:.3f}", **_last(progress))
            if self.where.any(bool(stop)):
                return False
        return True

    def _step(self, parts: Iterator[tuple[Tensor, Tensor]], progress: Progress) -> float:
        """One step of the optimizer; returns the mean loss of this process's planes."""
        count, world = self.batches.per_step, self.where.world
        losses = []
        with averaged_batch_statistics(self.network), summed_gradients(self.network, count * world) as add:
            for part in range(count):
                planes, stars = next(parts)
                # Dropout, too, must not depend on processes or interruptions.
                place = (self.config.seed, progress.epoch, progress.step, part * world + self.where.rank)
                torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1)[0]))
                with self._autocast():
                    output = self.network(self._to_device(planes))
                loss = objective(self.surrogate.config, output, stars.to(self.where.device, non_blocking=True))
                loss.backward()  # type: ignore[no-untyped-call]
                add()
                losses.append(loss.detach())
        self.optimizer.step()
        return float(torch.stack(losses).mean())

    def _end_epoch(self, progress: Progress, bar: tqdm) -> None:
        row: Row = {"epoch": progress.epoch + 1, "loss": progress.loss / self.batches.steps}
        best: Metrics | None = None
        surrogate = self.current()
        if self.validation and self.where.first:
            stars = np.array([plane.stars for plane in self.validation])
            predicted = rate_rated(surrogate, self.validation)
            row["validation_mae"] = float(np.abs(next(iter(predicted.values())) - stars).mean())
            if row["validation_mae"] < progress.best:
                best = part_metrics("validation", self.validation, predicted)
                progress.best = row["validation_mae"]
        # Ranger21 schedules the rate by itself and tells it under this name.
        row["learning_rate"] = float(getattr(self.optimizer, "current_lr", self.optimizer.param_groups[0]["lr"]))
        progress.rows.append(row)
        progress.epoch, progress.step, progress.loss = progress.epoch + 1, 0, 0.0
        if self.where.first:
            self.report(progress, surrogate, best)
        self.where.wait()

    def _save(self, progress: Progress, fingerprint: Mapping[str, Any]) -> None:
        if self.where.first:
            save_state(self.state, self.network, self.optimizer, progress, fingerprint)
        self.where.wait()

    def _to_device(self, planes: Tensor) -> Tensor:
        return planes.to(self.where.device, non_blocking=True, memory_format=torch.channels_last)

    def _autocast(self) -> torch.autocast:
        kind = self.where.device.type
        return torch.autocast(kind, torch.bfloat16, enabled=self.config.amp and kind == "cuda")


def _last(progress: Progress) -> dict[str, str]:
    """The last validation MAE for the progress bar."""
    last = progress.rows[-1] if progress.rows else {}
    return {"validation_mae": f"{last['validation_mae']:.3f}"} if "validation_mae" in last else {}

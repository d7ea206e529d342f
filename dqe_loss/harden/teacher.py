"""The teaching of a refiner: planes and masks in, weights out; stops and goes on without a trace."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from dqe_loss.harden.batches import Batch, batches_from, network_threads, threads
from dqe_loss.harden.config import HardenConfig
from dqe_loss.harden.held_out import DISTANCE, judge, judged_planes
from dqe_loss.harden.objective import attack_rounds, learning_rate
from dqe_loss.harden.step import teach
from dqe_loss.harden.taught_exams import TaughtExam
from dqe_loss.harden.weights import Weights
from dqe_loss.processes import StopRequest
from dqe_loss.surrogate.refiner import Refiner
from dqe_loss.task import GLIOMA, Task
from dqe_loss.train.saved_state import Progress, Row, load_state, save_state


@dataclass
class Teacher:
    """A refiner on its way.

    Attributes:
        config: the hardening.
        refiner: the network, on the device.
        exams: what it is taught on.
        held_out: what it is judged on while it is taught; may be none.
        device: where it computes.
        state: file of the state.
        report: called at the end of each row of the log.
        task: what is segmented.
    """

    config: HardenConfig
    refiner: Refiner
    exams: Sequence[TaughtExam]
    held_out: Sequence[TaughtExam]
    device: torch.device
    state: Path
    report: Callable[[Progress], None]
    task: Task = GLIOMA

    def __post_init__(self) -> None:
        """Build what one teaching needs."""
        self.weights = Weights(self.refiner, bool(self.held_out))
        self.judged = judged_planes(self.held_out)
        self.progress = Progress()
        self.optimizer = torch.optim.AdamW(self.refiner.parameters(), weight_decay=self.config.weight_decay)

    def run(self, fingerprint: Mapping[str, Any], stop: StopRequest) -> bool:
        """Teach to the last step, or until a stop is asked for; returns whether it is done.

        Args:
            fingerprint: what a continuation must share with this run.
            stop: looked at after each step; the state is saved before this returns.
        """
        config = self.config
        if config.resume:
            self.progress = load_state(self.state, self.weights, self.optimizer, fingerprint)
        progress = self.progress
        rows: list[Row] = []
        with (
            threads(network_threads(config, self.device)),
            tqdm(total=config.steps, initial=progress.step, unit="step", smoothing=0.05) as bar,
        ):
            batches = batches_from(self.exams, config, progress.step, self.device)
            while progress.step < config.steps and not stop:
                rows.append(self._step(next(batches), progress.step))
                progress.step += 1
                bar.update()
                if progress.step % config.save_every == 0 or progress.step == config.steps:
                    progress.rows.append({"step": progress.step, **_means(rows), **self._judged()})
                    bar.set_postfix({name: f"{value:.3f}" for name, value in progress.rows[-1].items()})
                    rows.clear()
                    self.report(progress)
                    save_state(self.state, self.weights, self.optimizer, progress, fingerprint)
            del batches  # ends the workers
        if rows:
            save_state(self.state, self.weights, self.optimizer, progress, fingerprint)
        return progress.step == config.steps

    def conclude(self) -> int:
        """Give the refiner the weights that the teaching leads to; returns the step that they are of.

        They are those of the saved state with the lowest `DISTANCE` on held-out exams, else the last.
        """
        found = {row[DISTANCE]: int(row["step"]) for row in self.progress.rows if DISTANCE in row}
        step = found.get(self.progress.best)
        self.refiner.load_state_dict(self.weights.chosen(step is not None).state_dict())
        return self.progress.step if step is None else step

    def _judged(self) -> Row:
        """What held-out exams say of the weights as they stand, which are kept if they are the best so far."""
        if not self.judged:
            return {}
        row = judge(self.refiner, self.judged, self.device, self.task)
        if row[DISTANCE] <= self.progress.best:  # of equals the later one has learned more
            self.progress.best = row[DISTANCE]
            self.weights.keep()
        return row

    def _step(self, batch: Batch, step: int) -> Row:
        """One step; returns the loss, Dice of masks and of refined masks about them, and what an attack does."""
        scans, masks, truth = (tensor.to(self.device, non_blocking=True) for tensor in batch)
        rounds, rate = attack_rounds(self.config, step), learning_rate(self.config, step)
        return teach(self.refiner, self.optimizer, (scans, masks, truth), rounds, rate)


def _means(rows: Sequence[Row]) -> Row:
    names = sorted({name for row in rows for name in row})
    return {name: float(np.mean([row[name] for row in rows if name in row])) for name in names}

"""The teaching of a second reader: planes and masks in, weights out; stops and goes on without a trace."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from dqe_loss.processes import StopRequest
from dqe_loss.second_reader import SMOOTHING, SecondReader
from dqe_loss.training.hardening.config import HardenConfig
from dqe_loss.training.hardening.exams import TaughtExam
from dqe_loss.training.hardening.masks import as_regions, draw_mask
from dqe_loss.training.hardening.scenes import draw_scene
from dqe_loss.training.state import Progress, Row, load_state, save_state

VOXEL_WEIGHT = 2.0
"""Of the cross entropy, beside Dice."""
WARM_UP = 0.1
"""Share of the steps in which the learning rate rises; then it falls to 0 as a cosine."""
LARGEST_NORM = 1.0
"""To which gradients are cut."""
ATTACK_SURE = 0.6
"""Probability from which on an attack moves a voxel: less than any reader needs to be sure, to be on the safe side."""

Batch = tuple[Tensor, Tensor, Tensor]
"""Scans ``(N, 4, H, W)``, masks and true regions ``(N, 3, H, W)``."""


def draw_batch(exams: Sequence[TaughtExam], config: HardenConfig, step: int) -> Batch:
    """The planes of a step, which depend on seed and step alone."""
    scans, masks, truths = [], [], []
    for place in range(config.batch):
        rng = np.random.default_rng((config.seed, step, place))
        scene = draw_scene(exams, rng)
        scans.append(scene.scans)
        masks.append(draw_mask(scene, exams, rng))
        truths.append(as_regions(scene.truth))
    return torch.stack(scans), torch.stack(masks), torch.stack(truths)


@torch.no_grad()
def attack(reader: SecondReader, scans: Tensor, masks: Tensor, rounds: int) -> Tensor:
    """Masks as an optimizer of the stars would leave them.

    Stars move a voxel only where the reader contradicts it, and until it no longer does. What Adam reaches in a
    hundred steps, a few rounds of giving in to the reader reach at once.

    Args:
        reader: the reader under attack, in evaluation mode.
        scans: ``(N, 4, H, W)``.
        masks: ``(N, 3, H, W)``, where the attack starts.
        rounds: how often the reader looks anew.

    Returns:
        Masks of the same shape.
    """
    for _ in range(rounds):
        estimate = reader(scans, masks).sigmoid()
        moved = (estimate > ATTACK_SURE) | (estimate < 1 - ATTACK_SURE)
        masks = torch.where(moved, 0.05 + 0.9 * (estimate > 0.5).float(), masks)
    return masks


def teaching_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Dice by plane and region, and cross entropy by voxel: a scalar."""
    probabilities = logits.sigmoid()
    both = (probabilities * truth).sum((-2, -1))
    total = (probabilities + truth).sum((-2, -1))
    dice = (2 * both + SMOOTHING) / (total + SMOOTHING)
    return 1 - dice.mean() + VOXEL_WEIGHT * F.binary_cross_entropy_with_logits(logits, truth)


def learning_rate(config: HardenConfig, step: int) -> float:
    """Of a step: up linearly, down as a cosine."""
    share = (step + 1) / config.steps
    if share <= WARM_UP:
        return config.learning_rate * share / WARM_UP
    return float(config.learning_rate * (1 + np.cos(np.pi * (share - WARM_UP) / (1 - WARM_UP))) / 2)


@dataclass
class Teacher:
    """A reader on its way.

    Attributes:
        config: the hardening.
        reader: the network, on the device.
        exams: what it is taught on.
        device: where it computes.
        state: file of the state.
        report: called at the end of each row of the log.
    """

    config: HardenConfig
    reader: SecondReader
    exams: Sequence[TaughtExam]
    device: torch.device
    state: Path
    report: Callable[[Progress], None]

    def run(self, fingerprint: Mapping[str, Any], stop: StopRequest) -> bool:
        """Teach to the last step, or until a stop is asked for; returns whether it is done.

        Args:
            fingerprint: what a continuation must share with this run.
            stop: looked at after each step; the state is saved before this returns.
        """
        config = self.config
        optimizer = torch.optim.AdamW(self.reader.parameters(), weight_decay=config.weight_decay)
        progress = Progress()
        if config.resume:
            progress = load_state(self.state, self.reader, optimizer, fingerprint)
        rows: list[Row] = []
        with tqdm(total=config.steps, initial=progress.step, unit="step", smoothing=0.05) as bar:
            while progress.step < config.steps and not stop:
                rows.append(self._step(optimizer, progress.step))
                progress.step += 1
                bar.update()
                if progress.step % config.save_every == 0 or progress.step == config.steps:
                    progress.rows.append({"step": progress.step, **_means(rows)})
                    bar.set_postfix({name: f"{value:.3f}" for name, value in _means(rows).items()})
                    rows.clear()
                    self.report(progress)
                    save_state(self.state, self.reader, optimizer, progress, fingerprint)
        if rows:
            save_state(self.state, self.reader, optimizer, progress, fingerprint)
        return progress.step == config.steps

    def _step(self, optimizer: torch.optim.Optimizer, step: int) -> Row:
        """One step; returns the loss, Dice of masks and of opinions about them, and what an attack does."""
        config = self.config
        scans, masks, truth = (tensor.to(self.device) for tensor in draw_batch(self.exams, config, step))
        row: Row = {"mask_dice": _dice(masks, truth)}
        if step % 2 and step >= config.attack_from * config.steps:
            half = len(masks) // 2
            rounds = 1 + int(np.random.default_rng((config.seed, step)).integers(self._most_rounds(step)))
            self.reader.eval()
            attacked = attack(self.reader, scans[:half], masks[:half], rounds)
            row["attack_gain"] = _dice(attacked, truth[:half]) - _dice(masks[:half], truth[:half])
            masks = torch.cat((attacked, masks[half:]))
        self.reader.train()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(config, step)
        logits = self.reader(scans, masks)
        loss = teaching_loss(logits, truth)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.reader.parameters(), LARGEST_NORM)
        optimizer.step()
        return row | {"loss": loss.item(), "opinion_dice": _dice(logits.detach().sigmoid(), truth)}

    def _most_rounds(self, step: int) -> int:
        """Rounds of an attack grow from 1 to their number at the end."""
        begin = self.config.attack_from * self.config.steps
        share = (step - begin) / max(self.config.steps - begin, 1)
        return 1 + round(share * (self.config.attack_rounds - 1))


def _dice(masks: Tensor, truth: Tensor) -> float:
    """Mean over planes and regions of Dice, cut at one half."""
    masks = (masks > 0.5).float()
    both, total = (masks * truth).sum((-2, -1)), (masks + truth).sum((-2, -1))
    return float(((2 * both + SMOOTHING) / (total + SMOOTHING)).mean())


def _means(rows: Sequence[Row]) -> Row:
    names = sorted({name for row in rows for name in row})
    return {name: float(np.mean([row[name] for row in rows if name in row])) for name in names}

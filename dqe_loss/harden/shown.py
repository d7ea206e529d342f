"""Planes that a loss has looked at while a network trained: what its refiner is taught on, between two epochs."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from dqe_loss.core.pipeline import FLAT, Sampling, cut_planes, read_inputs
from dqe_loss.core.planes import split_planes
from dqe_loss.harden.batches import Batch
from dqe_loss.harden.masks import as_labels, as_regions, draw_mask_in_plane
from dqe_loss.harden.scanner import rescan
from dqe_loss.harden.scenes import Scene, draw_grid, warp_labels, warp_scans
from dqe_loss.harden.taught_exams import TaughtExam
from dqe_loss.losses.dqe import DQELoss
from dqe_loss.losses.reads_batches import Prediction
from dqe_loss.surrogate.agreement import agreement
from dqe_loss.surrogate.refiner import Refiner
from dqe_loss.task import Task

HELD_BACK = 4
"""One plane of so many is not taught on, and says what a round was worth."""


class ShownPlane(NamedTuple):
    """A plane.

    Attributes:
        scans: ``(C, H, W)`` in [0, 1], float16.
        mask: what the network made of it, regions ``(R, H, W)`` in [0, 1], float16.
        truth: labels ``(H, W)`` in the task's canonical scheme, uint8.
    """

    scans: Tensor
    mask: Tensor
    truth: Tensor


@dataclass
class ShownPlanes:
    """As many planes as there is room for; of more, each has the same chance to be among them.

    Attributes:
        task: what is segmented.
        room: most planes.
        kept: the planes.
        seen: how many there were.
    """

    task: Task
    room: int
    kept: list[ShownPlane] = field(default_factory=list)
    seen: int = 0

    def add(self, scans: Tensor, masks: Tensor, truth: Tensor, rng: np.random.Generator) -> None:
        """Take planes in.

        Args:
            scans: ``(N, C, H, W)`` in [0, 1].
            masks: regions ``(N, R, H, W)`` in [0, 1].
            truth: regions of the same shape, 0 or 1.
            rng: decides which stay.
        """
        for one in zip(scans.half().cpu(), masks.half().cpu(), truth.cpu(), strict=True):
            plane = ShownPlane(one[0], one[1], as_labels(one[2], self.task))
            place = len(self.kept) if self.seen < self.room else int(rng.integers(self.seen + 1))
            if place < self.room:
                self.kept[place : place + 1] = [plane]
            self.seen += 1

    def clear(self) -> None:
        """Forget all planes."""
        self.kept, self.seen = [], 0

    def split(self) -> tuple[list[ShownPlane], list[ShownPlane]]:
        """Planes to teach on, and those that are held back; all are both if there are too few."""
        if len(self.kept) < HELD_BACK:
            return self.kept, self.kept
        last = HELD_BACK - 1
        return (
            [plane for i, plane in enumerate(self.kept) if i % HELD_BACK != last],
            self.kept[last::HELD_BACK],
        )


def draw_shown(planes: Sequence[ShownPlane], task: Task, size: int, share: float, seed: Sequence[int]) -> Batch:
    """A batch: planes warped and seen by other scanners, with the network's own masks or others.

    Args:
        planes: to draw from.
        task: what is segmented.
        size: planes in the batch.
        share: how often the mask is the network's own; else it is right, or wrong in some way.
        seed: of all that is random, with the place in the batch.
    """
    scans, masks, truths = [], [], []
    nowhere = TaughtExam("", Path(), False, task)  # a scene's exam; nothing is looked at but its task
    for place in range(size):
        rng = np.random.default_rng((*seed, place))
        plane = planes[int(rng.integers(len(planes)))]
        given = plane.scans.float()
        grid = draw_grid(plane.truth, given, rng, task)
        seen, truth = rescan(warp_scans(given, grid), rng, task), warp_labels(plane.truth, grid)
        if rng.random() < share:
            masks.append(warp_scans(plane.mask.float(), grid).clamp(0, 1))
        else:
            masks.append(draw_mask_in_plane(Scene(seen, truth, nowhere, task.views[0], 0, grid), rng))
        scans.append(seen)
        truths.append(truth)
    return torch.stack(scans), torch.stack(masks), as_regions(torch.stack(truths), task)


class Verdict(NamedTuple):
    """How well a refiner judges planes.

    Attributes:
        network: mean agreement of the network's masks and the truth.
        error: mean difference of its agreement with the network's masks and the truth's.
        right: mean agreement with the truth itself.
    """

    network: float
    error: float
    right: float

    @property
    def distance(self) -> float:
        """How far it is from a perfect one."""
        return self.error + 1 - self.right


@torch.no_grad()
def judge_shown(refiner: Refiner, planes: Sequence[ShownPlane], task: Task) -> Verdict:
    """Ask a refiner in evaluation mode for its verdict on each plane as the loss saw it."""
    device, dtype = (getattr(next(refiner.parameters()), name) for name in ("device", "dtype"))
    networks, errors, rights = [], [], []
    for plane in planes:
        truth = as_regions(plane.truth, task)[None].to(device, dtype)
        mask = plane.mask[None].to(device, dtype)
        scans = plane.scans[None].to(device, dtype)
        both = torch.cat((mask, truth))
        refined = (refiner(scans.expand(2, -1, -1, -1), both).sigmoid() > 0.5).to(dtype)
        agreed = agreement(both, refined)
        networks.append(agreement(mask, truth)[0])
        errors.append((agreed[0] - networks[-1]).abs())
        rights.append(agreed[1])
    return Verdict(*(float(torch.stack(values).mean()) for values in (networks, errors, rights)))


@torch.no_grad()
def show(
    term: DQELoss,
    input: Prediction,
    target: Any,
    *,
    image: Tensor,
    origin: Any = None,
    activation: str | None = None,
    planes: int = 1,
    jitter: float = 0.0,
    seed: int = 0,
) -> tuple[Tensor, Tensor]:
    """What the surrogate of a loss sees of a prediction, and the target in the same planes.

    Args:
        term: the loss.
        input: prediction, see `DQELoss.forward`, as are target, image and origin.
        target: target.
        image: image ``(B, C, X, Y, Z)``.
        origin: where a patch lies.
        activation: what the losses beside this one apply to the prediction, if they say so.
        planes: planes a view, see `DQELoss`; of planes by themselves, there is one.
        jitter: see `DQELoss`.
        seed: of the planes' places.

    Returns:
        Planes ``(N, C, H, W)`` as `Surrogate.forward` takes them, exam by exam and view by view, and regions
        ``(N, R, H, W)`` of the target, 0 or 1; of those exams that the loss rates.

    Raises:
        ValueError: if there is no target, or something is not as `DQELoss.forward` takes it.
    """
    batch = term.read(input, target, image, origin, activation=activation)
    if batch.target is None:
        raise ValueError("expected a target beside the prediction, got none")
    config, center, rated = term.surrogate.config, term.center_of(batch), term.can_be_rated(batch)
    shown = []
    for mask in (batch.predicted, batch.target):
        drawn = Sampling(term.sampling.views, planes, jitter, torch.Generator().manual_seed(seed))
        inputs = read_inputs(config, batch.image, mask, center, term.layout.modalities)
        cut = cut_planes(config, inputs, FLAT if batch.flat else drawn)
        shown.append(cut[rated.to(cut.device)].flatten(0, 2))
    return shown[0], (split_planes(config, shown[1])[1] > 0.5).to(shown[0].dtype)

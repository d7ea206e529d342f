"""One training of a small 2D network with Dice and, perhaps, the surrogate; and its test on an unseen exam.

The loss under test is used exactly as on volumes: a batch of planes is a batch of volumes one voxel thick,
``(B, 3, H, W, 1)``, which is rated in its only axial plane.
"""

import copy
import statistics
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from _cells import Result, Tick, last_surrogate
from _planes_data import Planes, Split, draw_batch, test_planes, training_planes
from _references import exam_name
from monai.losses import DiceLoss
from monai.networks.nets import BasicUNet
from torch import Tensor, nn

from dqe_loss import VIEWS, DQELoss, LossSum, Surrogate, rate_segmentation
from dqe_loss.metrics.overlap import region_dice

VARIANTS = ("defaults", "no guard", "no balance", "no warm-up", "none of them")


@dataclass(frozen=True)
class PlanesTrainingSettings:
    """What every training depends on.

    Attributes:
        warmup: steps with Dice alone, before the term comes in (where there is a warm-up).
        steps: steps after that; all trainings take ``warmup + steps``.
        batch: planes per step.
        learning_rate: Adam's; falls linearly to 0 over the last ``steps``, so that the last steps do not decide.
        train_every: distance in voxels between planes to train on.
        test_every: distance in voxels between planes to test on.
        checkpoint: surrogate in the loss, and for the stars of the test.
    """

    warmup: int = 60
    steps: int = 50
    batch: int = 2
    learning_rate: float = 5e-3
    train_every: int = 4
    test_every: int = 8
    checkpoint: str = "brainlesion"


@dataclass(frozen=True)
class Training:
    """One cell of the experiment.

    Attributes:
        split: exams.
        seed: of the network's weights and of the order of planes.
        weight: of the surrogate's term; 0 for Dice alone.
        variant: one of `VARIANTS`: which of guard, balance and warm-up are on.
        settings: the rest.
    """

    split: Split
    seed: int
    weight: float
    variant: str
    settings: PlanesTrainingSettings

    @property
    def name(self) -> str:
        """Exams, seed, weight and variant: all that tells one training from another under the same settings."""
        trained = "+".join(map(exam_name, self.split.train))
        data = f"{self.split.name}: {trained} -> {exam_name(self.split.test)}"
        return f"{data}/seed {self.seed}/{self.weight:g}/{self.variant}"

    @property
    def warmed(self) -> bool:
        """Whether Dice goes alone at first."""
        return self.variant not in ("no warm-up", "none of them")

    @property
    def steps(self) -> int:
        """Steps to run beyond the shared warm-up."""
        return self.settings.steps + (0 if self.warmed else self.settings.warmup)


class PlaneNetwork(nn.Module):
    """A small U-Net at half resolution: planes ``(B, 4, H, W)`` -> logits of the regions ``(B, 3, H, W)``."""

    def __init__(self) -> None:
        super().__init__()
        self.network = BasicUNet(2, 4, 3, features=(16, 16, 32, 64, 128, 16))

    def forward(self, planes: Tensor) -> Tensor:
        """Pads to multiples of 16, and takes the padding off again."""
        height, width = planes.shape[-2:]
        halved = F.avg_pool2d(F.pad(planes, (0, -width % 16, 0, -height % 16)), 2)
        logits: Tensor = F.interpolate(self.network(halved), scale_factor=2, mode="bilinear")
        return logits[..., :height, :width]


class Trainee:
    """A network in training: weights, optimizer and the order of planes, which a deep copy takes along."""

    def __init__(self, seed: int, settings: PlanesTrainingSettings) -> None:
        torch.manual_seed(seed)
        self.settings = settings
        self.network = PlaneNetwork()
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=settings.learning_rate)
        self.generator = torch.Generator().manual_seed(seed)
        self.step = 0

    def train(self, criterion: nn.Module, planes: dict[str, Planes]) -> None:
        """One step of ``criterion(logits, target, image=image)`` on planes drawn at random."""
        settings = self.settings
        left = settings.warmup + settings.steps - self.step
        self.optimizer.param_groups[0]["lr"] = settings.learning_rate * min(1, left / settings.steps)
        drawn = draw_batch(planes, self.step, settings.batch, self.generator)
        self.optimizer.zero_grad(set_to_none=True)
        logits = self.network(drawn.scaled)
        target = drawn.regions.float()
        criterion(logits[..., None], target[..., None], image=drawn.image[..., None]).backward()
        self.optimizer.step()
        self.step += 1


def run_training(training: Training, tick: Tick) -> Result:
    """Train and test.

    Args:
        training: what to do.
        tick: called after each step.

    Returns:
        The training's names; ``dice`` (TC, WT, ET over all test planes together) and ``stars`` (mean over them) at
        the end; medians over the steps of what the loss logs; ``seconds``.
    """
    began, settings = time.monotonic(), training.settings
    planes = training_planes(training.split, settings.train_every)
    surrogate = last_surrogate(settings.checkpoint)
    if training.warmed:
        trainee = copy.deepcopy(_warmed_up(training.split, training.seed, settings))
    else:
        trainee = Trainee(training.seed, settings)
    criterion = make_criterion(training, surrogate)
    logs = []
    for _ in range(training.steps):
        trainee.train(criterion, planes)
        logs.append(criterion.log)
        tick(1)
    told = {key: statistics.median(log[key] for log in logs if key in log) for key in logs[-1]}
    return {
        "dataset": training.split.name,
        "test": exam_name(training.split.test),
        "seed": training.seed,
        "weight": training.weight,
        "variant": training.variant,
        "log": told,
        **_test(trainee.network, test_planes(training.split, settings.test_every), surrogate),
        "seconds": round(time.monotonic() - began, 1),
    }


def make_criterion(training: Training, surrogate: Surrogate) -> LossSum:
    """The loss of a training, as a user would write it."""
    dice = DiceLoss(sigmoid=True)
    if training.weight == 0:
        return LossSum(dice)
    off = training.variant
    warmup = training.settings.warmup if training.warmed else 0
    term = DQELoss(
        surrogate,
        views=("axial",),
        on_small="pad",  # one voxel thick, but a whole plane for the surrogate
        guard=None if off in ("no guard", "none of them") else "target",
        max_gradient_ratio=None if off in ("no balance", "none of them") else 0.3,
        warmup=warmup,
    )
    criterion = dice + training.weight * term
    criterion.steps_done = warmup  # the warm-up is behind us, see _warmed_up
    return criterion


@lru_cache(maxsize=1)
def _warmed_up(split: Split, seed: int, settings: PlanesTrainingSettings) -> Trainee:
    """A network after Dice alone: what a warm-up is, done once for all trainings of a seed."""
    trainee, planes = Trainee(seed, settings), training_planes(split, settings.train_every)
    criterion = LossSum(DiceLoss(sigmoid=True))
    for _ in range(settings.warmup):
        trainee.train(criterion, planes)
    return trainee


@torch.no_grad()
def _test(network: nn.Module, planes: dict[str, Planes], surrogate: Surrogate) -> dict[str, Any]:
    """Dice over all planes together, and mean stars of the binarized planes."""
    found, true, stars = [], [], []
    network.eval()
    for view in VIEWS:
        binary = network(planes[view].scaled).sigmoid() > 0.5
        found.append(_pooled(binary))
        true.append(_pooled(planes[view].regions))
        rated = rate_segmentation(surrogate, planes[view].image[..., None], binary[..., None], views=("axial",))
        stars += rated[:, 0].tolist()
    dice = region_dice(torch.cat(found, 2), torch.cat(true, 2))[0].tolist()
    return {"dice": dice, "stars": statistics.mean(stars), "planes": len(stars)}


def _pooled(planes: Tensor) -> Tensor:
    """All voxels of planes ``(N, 3, H, W)`` in one plane ``(1, 3, N * H * W, 1)``."""
    return planes.movedim(1, 0).flatten(1)[None, ..., None]

"""One run: a warm-up that the arms of a seed share, then the arm."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from arms import MeanTeacher, own, term_of
from design import BESIDE, LEARNING_RATE, Design, Run
from exams import Cohort
from network import new_network
from planes import Planes, draw, planes_of
from refiners import checkpoint_of
from region_loss import RegionLoss
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from dqe_loss import DQELoss, load_surrogate

Loss = Callable[[nn.Module], Tensor]


@dataclass(frozen=True)
class Study:
    """What the runs share.

    Attributes:
        cohort: exams and parts.
        design: arms, seeds and steps.
        work: the study's folder.
    """

    cohort: Cohort
    design: Design
    work: Path

    def planes(self, persons: list[int]) -> Planes:
        """The planes of some persons that are trained on."""
        return planes_of(self.cohort.of(persons), self.cohort.side, self.cohort.every)


def train(study: Study, run: Run, weights: dict[str, float], steps: int | None = None) -> nn.Module:
    """Train one arm.

    Args:
        study: exams and parts.
        run: which.
        weights: what was chosen for b, c, d, f and r.
        steps: after the warm-up; the design's by default.

    Returns:
        The network that is tested.
    """
    network, batch = warmed_up(study, run), study.design.batch
    steps = study.design.steps if steps is None else steps
    if run.arm == "s":
        return network
    generator = torch.Generator().manual_seed(1000 + run.seed)
    torch.manual_seed(run.seed)  # the placebo's shuffling
    if run.arm in ("a", "a6", "a18", "aa", "t", "h"):
        on_labelled = labelled_loss(
            study, run, {"a6": batch // 2, "a18": 3 * batch // 2}.get(run.arm, batch), generator
        )
        for _ in range(2 if run.arm == "aa" else 1):
            fit(network, on_labelled, steps)
        return network
    parts = study.cohort.parts[run.setting]
    persons = parts.labelled(run.labelled, run.seed)
    surrogate = load_surrogate(checkpoint_of(run.arm, run.setting, persons, study.cohort, study.work))
    if run.arm == "i":
        return fit(network, guarded_loss(study, run, DQELoss(surrogate, sigmoid=True), generator), steps)
    count = batch // 2 if run.labelled else batch  # of unlabelled planes a step
    beside = batch if run.arm in BESIDE else batch // 2
    labelled = labelled_loss(study, run, beside, generator) if run.labelled else None
    unlabelled = occupied(network, study.planes(parts.unlabelled), study.design.smallest)
    term = term_of(run.arm, surrogate, weights)

    def loss(network: nn.Module) -> Tensor:
        value = term(network, draw(unlabelled, count, generator))
        return value if labelled is None else labelled(network) + value

    fit(network, loss, steps)
    return term.teacher if isinstance(term, MeanTeacher) else network


def warmed_up(study: Study, run: Run) -> nn.Module:
    """The network an arm begins with: warmed up on the labelled planes or, for t, s and sd, taught by who teaches."""
    taught = run.arm in ("t", "s", "sd")
    name = f"{run.setting}-taught-{run.seed}" if taught else f"{run.setting}-{run.labelled}-{run.seed}"
    file = study.work / "warm" / f"{name}.pt"
    network = new_network(study.cohort, run.seed)
    if file.is_file():
        network.load_state_dict(torch.load(file))
        return network
    parts = study.cohort.parts[run.setting]
    planes = study.planes(parts.teaching if taught else parts.labelled(run.labelled, run.seed))
    generator = torch.Generator().manual_seed(run.seed)
    loss = on_labels(planes, study.design.batch, generator)
    fit(network, loss, study.design.warmup, falling=False)
    if taught:
        fit(network, loss, study.design.steps)
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(f".{os.getpid()}")  # another process may make the same
    torch.save(network.state_dict(), part)
    part.replace(file)
    return network


def labelled_loss(study: Study, run: Run, count: int, generator: torch.Generator) -> Loss:
    """The loss of the labelled planes; of arm h, the unlabelled persons' labels are known, too."""
    parts = study.cohort.parts[run.setting]
    persons = parts.labelled(run.labelled, run.seed)
    return on_labels(study.planes(persons + parts.unlabelled if run.arm == "h" else persons), count, generator)


def on_labels(planes: Planes, count: int, generator: torch.Generator) -> Loss:
    """The loss of batches of some planes."""
    criterion = RegionLoss()

    def loss(network: nn.Module) -> Tensor:
        batch = draw(planes, count, generator)
        value: Tensor = criterion(network(batch.seen), batch.regions)
        return value

    return loss


def guarded_loss(study: Study, run: Run, stars: DQELoss, generator: torch.Generator) -> Loss:
    """Arm i: the sum that README shows, on the labelled planes."""
    planes = study.planes(study.cohort.parts[run.setting].labelled(run.labelled, run.seed))
    criterion = RegionLoss() + 0.1 * stars

    def loss(network: nn.Module) -> Tensor:
        batch = draw(planes, study.design.batch, generator)
        value: Tensor = criterion(network(batch.seen), batch.regions, image=batch.raw)
        return value

    return loss


def fit(network: nn.Module, loss: Loss, steps: int, falling: bool = True) -> nn.Module:
    """Minimize a loss by Adam, at a constant rate or one that falls to 0."""
    optimizer = torch.optim.Adam(network.parameters(), LEARNING_RATE)
    schedule = CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        value = loss(network)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        if falling:
            schedule.step()
    return network


def occupied(network: nn.Module, planes: Planes, smallest: int) -> Planes:
    """The planes in which a network finds at least so many voxels."""
    found = torch.cat(
        [(own(network, planes[part]) > 0.5).any(1).flatten(1).sum(1) for part in torch.arange(len(planes)).split(64)]
    )
    return planes[(found >= smallest).nonzero()[:, 0]]

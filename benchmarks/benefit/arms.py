"""What each arm adds to the labelled planes' loss: a term of the network and of unlabelled planes.

No term looks at the planes' regions. What the network says of a plane is asked on the plane as it is (`clean`); what it
learns, it learns on the plane with other intensities (`seen`), in every arm alike.
"""

import copy
from collections.abc import Callable
from functools import partial

import torch
from design import CONFIDENCE, DECAY
from planes import Planes
from region_loss import RegionLoss
from torch import Tensor, nn
from torch.nn import functional as F

from dqe_loss import DQELoss, StarWeighted, Surrogate, rate_segmentation
from dqe_loss.core.mask import RegionMask, center_of_mask
from dqe_loss.core.pipeline import FLAT, cut_planes, read_inputs
from dqe_loss.core.tensors import thicken
from dqe_loss.surrogate.refiner import RefinedMask

Term = Callable[[nn.Module, Planes], Tensor]


def term_of(arm: str, surrogate: Surrogate, weights: dict[str, float]) -> Term:
    """The unlabelled term of an arm, with its weight.

    Args:
        arm: its letter.
        surrogate: the one in the loss.
        weights: what was chosen for b, c, d, f and r.
    """
    stars = partial(star_weighted, StarWeighted(RegionLoss(), surrogate))
    lacking = partial(missing_stars, DQELoss(surrogate, guard=None, max_gradient_ratio=None, sigmoid=True))
    if arm == "f":
        return MeanTeacher(weights["f"])
    terms: dict[str, list[tuple[str, Term]]] = {
        "b": [("b", confident)],
        "c": [("c", stars)],
        "d": [("d", lacking)],
        "e": [("c", stars), ("d", lacking)],  # each runs the network by itself
        "g": [("c", partial(stars, shuffled=True))],
        "r": [("r", partial(opinion, surrogate))],
    }
    chosen = terms[{"ad": "d", "d0": "d", "sd": "d", "ab": "b", "ar": "r"}.get(arm, arm)]
    return lambda network, planes: sum((weights[w] * term(network, planes) for w, term in chosen), torch.zeros(()))


def confident(network: nn.Module, planes: Planes) -> Tensor:
    """Arm b: the network's own segmentation, where it is sure of it (FixMatch, Sohn et al. 2020)."""
    p = own(network, planes)
    return RegionLoss()(network(planes.seen), (p > 0.5).float(), (p - 0.5).abs() >= CONFIDENCE - 0.5)


def star_weighted(criterion: StarWeighted, network: nn.Module, planes: Planes, shuffled: bool = False) -> Tensor:
    """Arms c and g: the network's own segmentation, each plane by its stars, or by those of another plane."""
    label = (own(network, planes) > 0.5).float()
    if not shuffled:
        return criterion(network(planes.seen), label, image=planes.raw)
    stars = rate_segmentation(criterion.surrogate, planes.raw, label.bool())[:, 0]
    return criterion(network(planes.seen), label, stars=stars[torch.randperm(len(stars))])


def missing_stars(criterion: DQELoss, network: nn.Module, planes: Planes) -> Tensor:
    """Arm d: the stars that the network's segmentation lacks."""
    return criterion(network(planes.seen), image=planes.raw)


def opinion(surrogate: Surrogate, network: nn.Module, planes: Planes) -> Tensor:
    """Arm r: what the refiner makes of the network's own segmentation, where it is sure of it."""
    refined = refine(surrogate, planes.raw, own(network, planes))
    return RegionLoss()(network(planes.seen), refined.regions, refined.sure)


class MeanTeacher:
    """Arm f: agree with the mean of the network's past selves (Tarvainen and Valpola 2017); the mean is tested."""

    def __init__(self, weight: float) -> None:
        self.weight = weight
        self.teacher: nn.Module | None = None

    def __call__(self, network: nn.Module, planes: Planes) -> Tensor:
        """Squared difference of probabilities; first the mean takes in what the last step made of the network."""
        if self.teacher is None:
            self.teacher = copy.deepcopy(network).requires_grad_(False)
        for mean, now in zip(self.teacher.parameters(), network.parameters(), strict=True):
            mean.lerp_(now.detach(), 1 - DECAY)
        return self.weight * F.mse_loss(network(planes.seen).sigmoid(), own(self.teacher, planes))


@torch.no_grad()
def own(network: nn.Module, planes: Planes) -> Tensor:
    """Probabilities of regions, by the network itself, of planes whose intensities are as they are."""
    probabilities: Tensor = network(planes.clean).sigmoid()
    return probabilities


def refine(surrogate: Surrogate, raw: Tensor, probabilities: Tensor) -> RefinedMask:
    """The refiner's opinion of planes as large as its field of view, which it sees as they lie."""
    task = surrogate.config.task
    mask = RegionMask(thicken(probabilities), False, region_order=task.regions, scheme=task.scheme())
    center = center_of_mask(mask, hard=False, regions=task.centers)
    planes = cut_planes(surrogate.config, read_inputs(surrogate.config, thicken(raw), mask, center), FLAT)
    refined = surrogate.refine(planes[:, 0, 0])
    assert refined is not None  # a refiner is what the study is about
    return refined

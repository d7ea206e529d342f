"""Part 4, direction: does the loss's gradient lead where the reference is?"""

import torch
from monai.losses import DiceLoss
from torch import Tensor

from dqe_loss.audit.audited_exam import AuditedExam
from dqe_loss.audit.exploitation import GRADIENT_COST
from dqe_loss.audit.free_mask import as_logits, free_box, free_mask
from dqe_loss.audit.stars_and_dice import AuditSettings, Measured, Numbers, Tick, flat_planes, mean, plane_dice
from dqe_loss.core.mask import Mask, center_of_mask
from dqe_loss.core.pipeline import Sampling
from dqe_loss.core.slicing import VIEW_AXIS, interpolate_planes
from dqe_loss.data.corruption import CORRUPTIONS, corrupt
from dqe_loss.losses.guards import GuardedSurrogate
from dqe_loss.surrogate.network import Surrogate
from dqe_loss.surrogate.rating import rate_mask
from dqe_loss.task import Task

SEVERITY = 0.5
"""How bad the corrupted masks are (our choice): plainly wrong, plainly of this tumor."""


def cosine(first: Tensor, second: Tensor) -> float:
    """Cosine of the angle between two gradients of one shape; 0 if one of them vanishes.

    Example:
        >>> cosine(torch.tensor([3.0, 4.0]), torch.tensor([4.0, 3.0]))  # 24 / 25
        0.96
    """
    a, b = first.flatten().double(), second.flatten().double()
    norms = float(a.norm() * b.norm())
    return round(float(a @ b) / norms, 9) if norms > 0 else 0.0


def kept_share(gradient: Tensor, toward: Tensor) -> float:
    """Share of a gradient's L1 norm that the guard keeps: what descent moves toward the target (contract C7).

    Args:
        gradient: of a loss, at each logit.
        toward: target minus prediction, of the same shape.

    Example:
        >>> kept_share(torch.tensor([-3.0, 1.0, 2.0]), torch.tensor([0.9, 0.9, -0.1]))  # -3 and 2 of 6
        0.8333
    """
    total = float(gradient.abs().sum())
    return round(float(gradient.abs()[gradient * toward < 0].sum()) / total, 4) if total > 0 else 0.0


def count_direction(settings: AuditSettings) -> int:
    """How many ratings it takes, about."""
    return GRADIENT_COST * len(CORRUPTIONS)


def measure_direction(case: AuditedExam, surrogate: Surrogate, settings: AuditSettings, tick: Tick) -> Measured:
    """Compare gradients on corrupted masks, in the planes through each mask's own center.

    The gradient of the rating is the loss's by default: where there is a refiner, its guard is on.

    Returns:
        Under ``masks``, for each corruption: ``cosine`` of the gradients of ``6 - rating`` and of the Dice loss,
        ``kept`` (share that the guard keeps of the former), ``stars`` and ``dice`` (mean of the regions).
    """
    regions = case.regions
    box = free_box(case.image, regions, case.task)
    masks: Numbers = {}
    for name in CORRUPTIONS:
        if name == "other" and case.other is None:
            continue
        rng = case.rng(settings.seed, name)
        labels = corrupt(case.labels, [(name, SEVERITY)], rng=rng, brain=case.brain, other=case.other, task=case.task)
        wrong = case.as_regions(labels)
        logits = as_logits(wrong)[box].contiguous().requires_grad_()
        mask = free_mask(logits, box, regions.shape, case.task)
        center = center_of_mask(mask, hard=False, regions=case.task.centers).detach()
        sampling = Sampling(case.task.views)
        stars = rate_mask(GuardedSurrogate(surrogate), case.image, mask, center, sampling).mean()
        (rated,) = torch.autograd.grad(surrogate.config.stars[1] - stars, [logits])
        overlap = DiceLoss()(_flat_planes(mask, center, case.task), flat_planes(regions, center, case.task).float())
        (wanted,) = torch.autograd.grad(overlap, [logits])
        masks[name] = {
            "cosine": cosine(rated, wanted),
            "kept": kept_share(rated, regions[box].float() - logits.detach().sigmoid()),
            "stars": stars.item(),
            "dice": mean(plane_dice(wrong, regions, center, case.task)),
        }
        tick(GRADIENT_COST)
    return Measured({"masks": masks})


def _flat_planes(mask: Mask, center: Tensor, task: Task) -> Tensor:
    """The same as `flat_planes`, of a mask."""
    planes = []
    for view in task.views:
        axis = VIEW_AXIS[view]
        cut = interpolate_planes(mask.take, center[:, axis, None], view, mask.shape[2 + axis])
        planes.append(cut[:, 0].flatten(2))
    return torch.cat(planes, 2)[..., None]

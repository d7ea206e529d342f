"""One step of a teaching, the same in a hardening and while a network trains."""

import torch
from torch import Tensor
from torch.optim import Optimizer

from dqe_loss.harden.objective import mean_dice, please_refiner, teaching_loss
from dqe_loss.surrogate.refiner import Refiner
from dqe_loss.train.saved_state import Row

LARGEST_NORM = 1.0
"""To which gradients are cut."""


def teach(
    refiner: Refiner,
    optimizer: Optimizer,
    batch: tuple[Tensor, Tensor, Tensor],
    rounds: int,
    rate: float,
    *,
    statistics: bool = True,
) -> Row:
    """Take one step.

    Args:
        refiner: the refiner, whose parameters need a gradient.
        optimizer: of its parameters.
        batch: scans ``(N, C, H, W)``, masks and true regions ``(N, R, H, W)``, on the refiner's device.
        rounds: rounds of an attack on the first half of the masks; 0 for none.
        rate: learning rate.
        statistics: whether to normalize activations by the batch, and to learn its statistics; else those that were
            learned stay.

    Returns:
        The loss, Dice of masks and of refined masks about them, and what the attack did.
    """
    scans, masks, truth = batch
    row: Row = {"mask_dice": mean_dice(masks, truth)}
    if rounds:
        half = len(masks) // 2
        refiner.eval()
        attacked = please_refiner(refiner, scans[:half], masks[:half], rounds)
        row["attack_gain"] = mean_dice(attacked, truth[:half]) - mean_dice(masks[:half], truth[:half])
        masks = torch.cat((attacked, masks[half:]))
    refiner.train(statistics)
    for group in optimizer.param_groups:
        group["lr"] = rate
    logits = refiner(scans, masks)
    loss = teaching_loss(logits, truth)
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(refiner.parameters(), LARGEST_NORM)
    optimizer.step()
    return row | {"loss": loss.item(), "refined_dice": mean_dice(logits.detach().sigmoid(), truth)}

"""What training minimizes, and with which optimizer."""

from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD, AdamW, Optimizer

from dqe_loss.surrogate.config import SurrogateConfig
from dqe_loss.surrogate.ordinal import ordinal_loss
from dqe_loss.train.config import TrainConfig

MOMENTUM = 0.95
"""Of SGD (Table 1 of the paper)."""


def objective(config: SurrogateConfig, output: Tensor, stars: Tensor) -> Tensor:
    """Mean squared error of stars (the paper), or the ordinal loss for a distribution over them; a scalar."""
    if config.head == "ordinal":
        return ordinal_loss(output.float(), stars, config.stars[0])
    return F.mse_loss(output.float().squeeze(1), stars)


def build_optimizer(network: nn.Module, config: TrainConfig, steps: int) -> Optimizer:
    """Build the optimizer.

    Args:
        network: whose parameters are trained.
        config: which optimizer, learning rate and weight decay.
        steps: steps of the whole training, over which Ranger21 warms up and down.

    Returns:
        The optimizer; its ``state_dict`` is all that a continuation needs.
    """
    if config.optimizer == "sgd":
        return SGD(network.parameters(), config.learning_rate, MOMENTUM, weight_decay=config.weight_decay)
    if config.optimizer == "adamw":
        return AdamW(network.parameters(), config.learning_rate, weight_decay=config.weight_decay)
    from pytorch_optimizer import Ranger21  # half a second of import, for those who use it

    ranger: Optimizer = Ranger21(
        network.parameters(), num_iterations=steps, lr=config.learning_rate, weight_decay=config.weight_decay
    )
    return ranger

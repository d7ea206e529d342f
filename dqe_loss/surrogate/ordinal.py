"""An ordinal head: a distribution over the stars instead of one number.

The cumulative link model (McCullagh 1980): one score s and ordered thresholds t, with P(stars > k) = sigmoid(s - t_k).
Stars are the distribution's mean, so that they are bounded by the scale and differentiable; its spread says how sure
the network is.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class CumulativeLink(nn.Module):
    """Scores to the logits of P(stars > k), one for each step of the scale.

    Args:
        steps: number of steps of the scale: 5 for six stars.
        first: where the first threshold starts; the others follow at a distance of 1, so that a score that is
            already in stars (a pretrained network's) starts out close to the stars that it means.
    """

    def __init__(self, steps: int, first: float = 1.5) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.tensor(float(first)))
        # softplus keeps the gaps positive, so that the thresholds stay in order whatever an optimizer does.
        self.gaps = nn.Parameter(torch.full((steps - 1,), 1.0).expm1().log())

    def forward(self, scores: Tensor) -> Tensor:
        """Logits ``(N, steps)`` for scores ``(N, 1)``, falling along the steps."""
        thresholds = torch.cat((self.first[None], self.first + F.softplus(self.gaps).cumsum(0)))
        return scores - thresholds


def stars_of_logits(logits: Tensor, lowest: float = 1.0) -> Tensor:
    """Mean stars ``(N,)`` of cumulative logits ``(N, steps)``."""
    return lowest + logits.sigmoid().sum(-1)


def distribution_of_logits(logits: Tensor) -> Tensor:
    """Probability ``(N, steps + 1)`` of each number of stars; sums to 1."""
    above = logits.sigmoid()
    edge = torch.ones_like(above[..., :1])
    return torch.cat((edge, above), -1) - torch.cat((above, edge - 1), -1)


def ordinal_loss(logits: Tensor, stars: Tensor, lowest: float = 1.0) -> Tensor:
    """Mean binary cross-entropy of the statements "more than k stars".

    A mean of several raters lies between whole stars: it counts as the share of raters who would say "more" if they
    all gave one of the two nearest whole stars.

    Args:
        logits: ``(N, steps)``.
        stars: ``(N,)``.
        lowest: lowest number of stars.

    Returns:
        A scalar.
    """
    steps = torch.arange(logits.shape[1], device=logits.device, dtype=logits.dtype)
    more = (stars[:, None].to(logits.dtype) - lowest - steps).clamp(0, 1)
    return F.binary_cross_entropy_with_logits(logits, more)

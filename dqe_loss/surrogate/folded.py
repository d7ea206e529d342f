"""Layers of a frozen DenseNet without their normalizations.

- Normalizations after a convolution are folded into its weights.
- Those before one cannot be, for a ReLU lies between. But ``relu(s x + b) = s clamp(x) + b`` with a bound of ``-b / s``
  from below (from above where s is negative), and the rest of it goes into the 1 x 1 convolution that follows.

Pixels are ``(..., C)`` here, channels last.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

_SMALLEST_SCALE = 1e-20
"""Scales of a normalization below this are 0: their bound would not be finite."""


@dataclass(frozen=True)
class Bound:
    """What is left of a normalization and its ReLU: where each channel is cut off.

    Attributes:
        lower: ``(C,)``, -inf where a channel is cut from above.
        upper: ``(C,)``, inf where it is cut from below; None where none is cut from above.
    """

    lower: Tensor
    upper: Tensor | None

    def cut(self, x: Tensor, out: Tensor) -> Tensor:
        """Cut pixels ``(..., C)``."""
        if self.upper is None:
            return torch.maximum(x, self.lower, out=out)
        return torch.clamp(x, self.lower, self.upper, out=out)

    def add_back_(self, total: Tensor, gradient: Tensor, x: Tensor, scratch: Tensor) -> None:
        """Add a gradient ``(..., C)`` to a sum, where x was not cut."""
        # Masks of floats: torch compares into these four times as fast as it fills by boolean ones.
        passed = torch.gt(x, self.lower, out=scratch)
        if self.upper is not None:
            passed *= x < self.upper
        total.addcmul_(gradient, passed)


@dataclass(frozen=True)
class Pointwise:
    """A bound, and the 1 x 1 convolution after it.

    Attributes:
        bound: of the input.
        weight: ``(C_in, C_out)``.
        bias: ``(C_out,)``.
    """

    bound: Bound
    weight: Tensor
    bias: Tensor

    def after_cut(self, pixels: Tensor) -> Tensor:
        """Map pixels ``(..., C_in)`` that were cut already to ``(..., C_out)``."""
        flat = torch.addmm(self.bias, pixels.reshape(-1, pixels.shape[-1]), self.weight)
        return flat.view(*pixels.shape[:-1], -1)

    def gradient_of_cut(self, gradient: Tensor, room: Tensor) -> Tensor:
        """Gradient ``(..., C_in)`` at cut pixels, in the room given for it, of one ``(..., C_out)`` behind."""
        torch.mm(gradient.reshape(-1, gradient.shape[-1]), self.weight.t(), out=room.view(-1, room.shape[-1]))
        return room


@dataclass(frozen=True)
class Layer:
    """A dense layer: 1 x 1 with a ReLU, then 3 x 3.

    Attributes:
        first: the 1 x 1 convolution.
        second: ``(C_out, C_in, 3, 3)``.
        back: the same as the convolution that its gradient is, ``(C_in, C_out, 3, 3)``.
    """

    first: Pointwise
    second: Tensor
    back: Tensor


def affine(norm: Any) -> tuple[Tensor, Tensor]:
    """Scale and shift of a batch normalization with frozen statistics, each ``(C,)``, in float64."""
    scale: Tensor = norm.weight.double() * (norm.running_var.double() + norm.eps).rsqrt()
    return scale, norm.bias.double() - norm.running_mean.double() * scale


def pointwise(norm: Any, layer: Any, after: Any = None) -> Pointwise:
    """A normalization, its ReLU, and a 1 x 1 convolution or a linear layer, with the normalization after it, if any."""
    scale, shift = affine(norm)
    weight = layer.weight.double().flatten(1)
    bias = weight.new_zeros(len(weight)) if layer.bias is None else layer.bias.double()
    if after is not None:
        outer, moved = affine(after)
        weight, bias = weight * outer[:, None], bias * outer + moved
    none = scale.abs() < _SMALLEST_SCALE
    bias = bias + weight @ torch.where(none, shift.relu(), shift)
    edge = -shift / torch.where(none, torch.ones_like(scale), scale)
    scale = torch.where(none, torch.zeros_like(scale), scale)
    infinite = torch.full_like(edge, torch.inf)
    lower = torch.where(scale < 0, -infinite, edge)
    upper = torch.where(scale < 0, edge, infinite)
    bound = Bound(lower.to(layer.weight), upper.to(layer.weight) if bool((scale < 0).any()) else None)
    return Pointwise(bound, (weight * scale).t().contiguous().to(layer.weight), bias.to(layer.weight))


def dense_layer(parts: Any) -> Layer:
    """A layer of one of MONAI's dense blocks."""
    second = parts.conv2.weight.detach()
    back = second.flip(2, 3).transpose(0, 1)
    return Layer(pointwise(parts.norm1, parts.conv1, parts.norm2), channels_last(second), channels_last(back))


def channels_last(x: Tensor) -> Tensor:
    """``(N, C, H, W)``, in memory as ``(N, H, W, C)``."""
    return x.contiguous(memory_format=torch.channels_last)

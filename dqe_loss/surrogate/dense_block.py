"""A frozen DenseNet's blocks by hand, forward and backward, on a window of a plane that grows from layer to layer.

- Normalizations after a convolution are folded into its weights.
- Those before one cannot be, for a ReLU lies between. But ``relu(s x + b) = s clamp(x) + b`` with a bound of ``-b / s``
  from below (from above where s is negative), and the rest of it goes into the 1 x 1 convolution that follows.
- Features lie beside each other in one tensor ``(N, H, W, C)``, and so do their gradients. A layer's 3 x 3 sees a pixel
  beyond its window, so that what changes in a window changes the next layer's in one a pixel larger on each side.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from dqe_loss.core.boxes import Box
from dqe_loss.surrogate.windows import Size, grown, within

_SMALLEST_SCALE = 1e-20
"""Scales of a normalization below this are 0: their bound would not be finite."""


@dataclass(frozen=True)
class Pointwise:
    """What is left of a normalization and its ReLU, where each channel is cut off, and the 1 x 1 convolution after it.

    Attributes:
        lower: ``(C_in,)``, -inf where a channel is cut from above.
        upper: ``(C_in,)``, inf where it is cut from below; None where none is cut from above.
        weight: ``(C_in, C_out)``.
        bias: ``(C_out,)``.
    """

    lower: Tensor
    upper: Tensor | None
    weight: Tensor
    bias: Tensor

    def cut(self, x: Tensor, out: Tensor) -> Tensor:
        """Cut pixels ``(..., C_in)``."""
        if self.upper is None:
            return torch.maximum(x, self.lower, out=out)
        return torch.clamp(x, self.lower, self.upper, out=out)

    def after_cut(self, pixels: Tensor) -> Tensor:
        """Map pixels ``(..., C_in)`` that were cut already to ``(..., C_out)``."""
        flat = torch.addmm(self.bias, pixels.reshape(-1, pixels.shape[-1]), self.weight)
        return flat.view(*pixels.shape[:-1], -1)

    def gradient_of_cut(self, gradient: Tensor, room: Tensor) -> Tensor:
        """Gradient ``(..., C_in)`` at cut pixels, in the room given for it, of one ``(..., C_out)`` behind."""
        torch.mm(gradient.reshape(-1, gradient.shape[-1]), self.weight.t(), out=room.view(-1, room.shape[-1]))
        return room

    def add_back_(self, total: Tensor, gradient: Tensor, x: Tensor, scratch: Tensor) -> None:
        """Add a gradient ``(..., C_in)`` to a sum, where x was not cut."""
        # Masks of floats: torch compares into these four times as fast as it fills by boolean ones.
        passed = torch.gt(x, self.lower, out=scratch)
        if self.upper is not None:
            passed *= x < self.upper
        total.addcmul_(gradient, passed)


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
    lower = torch.where(scale < 0, -infinite, edge).to(layer.weight)
    upper = torch.where(scale < 0, edge, infinite).to(layer.weight) if bool((scale < 0).any()) else None
    return Pointwise(lower, upper, (weight * scale).t().contiguous().to(layer.weight), bias.to(layer.weight))


def dense_layer(parts: Any) -> Layer:
    """A layer of one of MONAI's dense blocks."""
    second = parts.conv2.weight.detach()
    back = second.flip(2, 3).transpose(0, 1)
    return Layer(pointwise(parts.norm1, parts.conv1, parts.norm2), channels_last(second), channels_last(back))


def dense_block(layers: list[Layer], features: Tensor, window: Box, keep: Callable[[Tensor], None]) -> None:
    """Fill in what a block adds to its input.

    Args:
        layers: of the block.
        features: ``(N, H, W, C)``, the block's input in the first channels. Outside the window's reach the other
            channels hold already what they have to.
        window: where the input is not what they were made from.
        keep: takes what `dense_block_gradient` needs: each layer's values between its convolutions.
    """
    new = layers[0].second.shape[0]
    start = features.shape[-1] - new * len(layers)
    scratch = torch.empty_like(features)
    out = grown(window, 1, features.shape[1:3])
    for layer in layers:
        seen = grown(out, 1, features.shape[1:3])
        x = features[:, seen[0], seen[1], :start]
        middle = layer.first.after_cut(layer.first.cut(x, _room(scratch, x.shape))).relu_()
        keep(middle)
        features[:, out[0], out[1], start : start + new] = _convolved(middle, layer.second, out, seen)
        start, out = start + new, seen


def dense_block_gradient(
    layers: list[Layer],
    features: Tensor,
    gradient: Tensor,
    kept: list[Tensor],
    window: Box,
    asked: Box,
) -> None:
    """Add to a gradient at features what comes through the block.

    Args:
        layers: of the block.
        features: ``(N, H, W, C)``, as `dense_block` left them.
        gradient: at them, of the same shape: of what follows the block before, and in the first channels of the box
            that is asked for, the whole at the block's input afterwards.
        kept: what `dense_block` kept at its end; it is taken from there.
        window: as it was there.
        asked: part of the window in which the gradient at the block's input is needed.
    """
    size: Size = features.shape[1:3]
    end, new = features.shape[-1], layers[0].second.shape[0]
    room, scratch = torch.empty_like(features), torch.empty_like(features)
    for reach, layer in reversed(list(enumerate(layers))):
        end -= new
        rows, columns = inner = grown(asked, reach, size)
        outer = grown(inner, 1, size)
        height, width = within(inner, grown(window, reach + 2, size))
        middle = kept.pop()[:, height, width]
        before = _convolved(gradient[:, outer[0], outer[1], end : end + new], layer.back, inner, outer)
        before = torch.ops.aten.threshold_backward(before, middle, 0)
        x, total = (one[:, rows, columns, :end] for one in (features, gradient))
        back = layer.first.gradient_of_cut(before, _room(room, x.shape))
        layer.first.add_back_(total, back, x, _room(scratch, x.shape))


def channels_last(x: Tensor) -> Tensor:
    """``(N, C, H, W)``, in memory as ``(N, H, W, C)``."""
    return x.contiguous(memory_format=torch.channels_last)


def _convolved(x: Tensor, weight: Tensor, inner: Box, outer: Box) -> Tensor:
    """A 3 x 3 convolution of the pixels in an outer box, for those in an inner one.

    The outer box is a pixel larger on each side, but for sides where the plane ends, beyond which all is 0.
    """
    rows, columns = within(inner, outer)
    ends = [1 - columns.start, columns.stop + 1 - x.shape[2], 1 - rows.start, rows.stop + 1 - x.shape[1]]
    picture = channels_last(x.movedim(-1, 1))
    if all(ends):
        return F.conv2d(picture, weight, padding=1).movedim(1, -1)
    return F.conv2d(F.pad(picture, ends) if any(ends) else picture, weight).movedim(1, -1)


def _room(scratch: Tensor, shape: Size) -> Tensor:
    """Room for a tensor in a larger one: fresh memory of this size would cost more than what fills it."""
    return scratch.view(-1)[: torch.Size(shape).numel()].view(shape)

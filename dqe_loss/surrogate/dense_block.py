"""A dense block by hand, forward and backward, on a window of a plane that grows from layer to layer.

Features lie beside each other in one tensor ``(N, H, W, C)``, and so do their gradients. A layer's 3 x 3 sees a pixel
beyond its window, so that what changes in a window changes the next layer's in one that is a pixel larger on each side.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from dqe_loss.core.boxes import Box
from dqe_loss.surrogate.folded import Layer, channels_last
from dqe_loss.surrogate.windows import Size, grown, within


def dense_block(layers: list[Layer], features: Tensor, window: Box, keep: Callable[[Tensor], None]) -> None:
    """Fill in what a block adds to its input.

    Args:
        layers: of the block.
        features: ``(N, H, W, C)``, the block's input in the first channels. Outside the window's reach the other
            channels hold already what they have to.
        window: where the input is not what they were made from.
        keep: takes what `dense_block_gradient` needs: each layer's values between its convolutions.
    """
    size: Size = features.shape[1:3]
    new = layers[0].second.shape[0]
    start = features.shape[-1] - new * len(layers)
    scratch = torch.empty_like(features)
    for reach, layer in enumerate(layers, 1):
        out = grown(window, reach, size)
        seen = grown(out, 1, size)
        x = part(features, seen)[..., :start]
        middle = layer.first.after_cut(layer.first.bound.cut(x, _room(scratch, x.shape))).relu_()
        keep(middle)
        part(features, out)[..., start : start + new] = _convolved(middle, layer.second, out, seen)
        start += new


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
        inner = grown(asked, reach, size)
        outer = grown(inner, 1, size)
        middle = part(kept.pop(), within(inner, grown(window, reach + 2, size)))
        before = _convolved(part(gradient, outer)[..., end : end + new], layer.back, inner, outer)
        before = torch.ops.aten.threshold_backward(before, middle, 0)
        x, total = (part(one, inner)[..., :end] for one in (features, gradient))
        back = layer.first.gradient_of_cut(before, _room(room, x.shape))
        layer.first.bound.add_back_(total, back, x, _room(scratch, x.shape))


def pixels(x: Tensor) -> Tensor:
    """``(N, C, H, W)`` as ``(N, H, W, C)``."""
    return x.permute(0, 2, 3, 1)


def image(x: Tensor) -> Tensor:
    """``(N, H, W, C)`` as ``(N, C, H, W)``."""
    return x.permute(0, 3, 1, 2)


def part(x: Tensor, box: Box) -> Tensor:
    """A box of ``(N, H, W, C)``."""
    rows, columns = box
    return x[:, rows, columns]


def _convolved(x: Tensor, weight: Tensor, inner: Box, outer: Box) -> Tensor:
    """A 3 x 3 convolution of the pixels in an outer box, for those in an inner one.

    The outer box is a pixel larger on each side, but for sides where the plane ends, beyond which all is 0.
    """
    rows, columns = within(inner, outer)
    ends = [1 - columns.start, columns.stop + 1 - x.shape[2], 1 - rows.start, rows.stop + 1 - x.shape[1]]
    picture = channels_last(image(x))
    if all(ends):
        return pixels(F.conv2d(picture, weight, padding=1))
    return pixels(F.conv2d(F.pad(picture, ends) if any(ends) else picture, weight))


def _room(scratch: Tensor, shape: Size) -> Tensor:
    """Room for a tensor in a larger one: fresh memory of this size would cost more than what fills it."""
    return scratch.view(-1)[: torch.Size(shape).numel()].view(shape)

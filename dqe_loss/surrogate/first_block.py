"""A DenseNet's stem and first block by hand, in windows of planes that are empty elsewhere.

They are two fifths of the network's work, and see no further than 32 pixels. Further away from a crop, they make of its
padding what they make of an empty plane, at its ends, too: that is computed once for planes of a size, and then copied.
Later blocks see too far for that.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from dqe_loss.core.boxes import Box
from dqe_loss.surrogate.dense_block import Layer, affine, channels_last, dense_block, dense_block_gradient
from dqe_loss.surrogate.windows import Size, Sliding, grown, patch, whole, within

_STEM, _POOL = Sliding(7, 2, 3), Sliding(3, 2, 1)


class FirstBlock:
    """A 7 x 7 convolution, a pooling, and a dense block.

    Args:
        convolution: the first one of MONAI's DenseNet.
        norm: the normalization after it.
        layers: of the block.
    """

    def __init__(self, convolution: Any, norm: Any, layers: list[Layer]) -> None:
        scale, shift = affine(norm)
        weight = convolution.weight
        self.weight = channels_last((weight.double() * scale[:, None, None, None]).to(weight))
        self.bias = shift.to(weight)
        self.layers = layers
        self._empty: dict[Size, Tensor] = {}

    def forward(self, planes: Tensor, windows: list[Box | None], keep: Callable[[Tensor], None]) -> Tensor:
        """Features ``(N, h, w, C)`` of planes ``(N, C, H, W)``.

        Args:
            planes: the planes.
            windows: of each plane a box outside of which it is empty; None where all is.
            keep: takes what `backward` needs.
        """
        size = planes.shape[2:]
        h, w = _POOL.size(_STEM.size(size))
        start = len(self.weight)
        features = planes.new_empty((len(planes), h, w, start + len(self.layers) * len(self.layers[0].second)))
        for plane, of_plane, window in zip(planes[:, None], features[:, None], windows, strict=True):
            if window != whole(size):
                of_plane.copy_(self._of_empty(plane))
            if window is None:
                continue
            pooled, stem = self._reached(window, size)
            x = F.conv2d(patch(plane, _STEM.inputs(stem)), self.weight, self.bias, stride=2).relu_()
            keep(x)
            rows, columns = pooled
            of_plane[:, rows, columns, :start] = F.max_pool2d(_before_pooling(x, pooled, stem), 3, 2).movedim(1, -1)
            dense_block(self.layers, of_plane, pooled, keep)
        return features

    def backward(
        self,
        gradient: Tensor,
        features: Tensor,
        planes: Tensor,
        windows: list[Box | None],
        asked: Box,
        kept: list[Tensor],
    ) -> Tensor:
        """Gradient at planes ``(N, C, H, W)``, 0 outside a box.

        Args:
            gradient: at the features, ``(N, h, w, C)``; it is changed.
            features: as `forward` gave them.
            planes: as they were given to it.
            windows: as they were given to it.
            asked: the box, which lies in each window.
            kept: what `forward` kept, at its end; it is taken from there.
        """
        size = planes.shape[2:]
        result = torch.zeros_like(planes)
        pooled, stem = self._reached(asked, size)
        (rows, columns), (height, width) = pooled, asked
        for i in reversed(range(len(planes))):
            window = windows[i]
            assert window is not None  # what is asked for lies in it
            pooled_window, stem_window = self._reached(window, size)
            one = slice(i, i + 1)
            dense_block_gradient(self.layers, features[one], gradient[one], kept, pooled_window, asked=pooled)
            of_pooled = channels_last(gradient[one, rows, columns, : len(self.weight)].movedim(-1, 1))
            x = channels_last(_before_pooling(kept.pop(), pooled, stem_window))
            _, places = F.max_pool2d(x, 3, 2, return_indices=True)
            back = torch.ops.aten.max_pool2d_with_indices_backward(
                of_pooled, x, [3, 3], [2, 2], [0, 0], [1, 1], False, places
            )
            back = patch(torch.ops.aten.threshold_backward(back, x, 0), within(stem, _POOL.inputs(pooled)))
            seen = _STEM.inputs(stem)
            result[one, :, height, width] = patch(self._gradient_of_seen(back, seen), within(asked, seen))
        return result

    def _gradient_of_seen(self, gradient: Tensor, seen: Box) -> Tensor:
        """Gradient at the pixels that the first convolution sees, ``(1, C, *seen)``, of one behind it."""
        shape = (1, self.weight.shape[1], *(one.stop - one.start for one in seen))
        sizes = [2, 2], [0, 0], [1, 1], False, [0, 0], 1
        result: Tensor = torch.ops.aten.convolution_backward(
            channels_last(gradient), gradient.new_empty(shape), self.weight, None, *sizes, [True, False, False]
        )[0]
        return result

    def reach(self, box: Box, size: Size) -> tuple[Box, Size]:
        """Which features depend on a box of planes of a size, and the features' own height and width."""
        features = _POOL.size(_STEM.size(size))
        return grown(self._reached(box, size)[0], len(self.layers), features), features

    def _reached(self, window: Box, size: Size) -> tuple[Box, Box]:
        """Where pooling sees anything of a window, and all that it sees there of the convolution's output."""
        convolved = _STEM.size(size)
        pooled = _POOL.outputs(_STEM.outputs(window, size), convolved)
        return pooled, grown(_POOL.inputs(pooled), 0, convolved)

    def _of_empty(self, plane: Tensor) -> Tensor:
        """Features ``(1, h, w, C)`` of an empty plane like ``(1, C, H, W)``."""
        size = plane.shape[2:]
        if size not in self._empty:
            self._empty.clear()  # planes of one size follow each other
            self._empty[size] = self.forward(torch.zeros_like(plane), [whole(size)], lambda _: None)
        return self._empty[size]


def _before_pooling(stem: Tensor, pooled: Box, box: Box) -> Tensor:
    """What pooling sees for a box of its outputs, of the convolution's output in another box.

    Beyond the ends of a plane it is 0, which is no more than what a ReLU lets through.
    """
    return patch(stem, within(_POOL.inputs(pooled), box))

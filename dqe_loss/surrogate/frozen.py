"""A frozen DenseNet on a CPU, forward and backward by hand: the same stars and gradient in two thirds of the time.

MONAI's network spends a third of its time outside of convolutions: it normalizes, copies what it has for each of its 58
layers, and keeps it for the backward pass. Of a network that is frozen for good less is needed:

- Normalizations are folded away (`dqe_loss.surrogate.dense_block`).
- A block's features are written beside each other once, and their gradients summed in place.
- A transition averages squares of four pixels after its 1 x 1 convolution. The two commute: the other way round, the
  convolution has a quarter of the pixels.
- Nothing is kept for gradients of weights.
- Around a crop a plane is empty, and what the first block makes of that is known (`dqe_loss.surrogate.first_block`).
- The padding's gradient is not needed, and so neither is that of features which only the padding reaches.
"""

from itertools import product
from typing import Any

import torch
from monai.networks.nets import DenseNet
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.jit._trace import is_tracing
from torch.nn import functional as F

from dqe_loss.core.boxes import Box
from dqe_loss.surrogate.dense_block import dense_block, dense_block_gradient, dense_layer, pointwise
from dqe_loss.surrogate.first_block import FirstBlock
from dqe_loss.surrogate.windows import Size, Sliding, box_of_values, grown, hull, whole

_HALVING = Sliding(2, 2, 0)
"""The average in a transition."""


class FrozenDenseNet:
    """A DenseNet as it is now, for planes on the CPU. Later changes of the network's weights do not reach it.

    Args:
        network: a 2D DenseNet of MONAI's in evaluation mode, without dropout.
    """

    def __init__(self, network: DenseNet) -> None:
        parts: dict[str, Any] = dict(network.features.named_children())
        first, *self.blocks = (
            [dense_layer(layer.layers) for layer in block.children()]
            for name, block in parts.items()
            if name.startswith("denseblock")
        )
        self.first = FirstBlock(parts["conv0"], parts["norm0"], first)
        self.transitions = [
            pointwise(module.norm, module.conv) for name, module in parts.items() if name.startswith("transition")
        ]
        self.head = pointwise(parts["norm5"], network.class_layers.out)

    def __call__(self, planes: Tensor, inside: Box | None = None) -> Tensor:
        """Run.

        Args:
            planes: ``(N, C, H, W)``.
            inside: rows and columns outside of which the planes' gradient is not asked for, and will be 0; None for
                all of a plane.

        Returns:
            ``(N, out)``, with a gradient (none of second order).
        """
        asked: Box | None = None
        if planes.requires_grad and torch.is_grad_enabled():
            asked = whole(planes.shape[2:]) if inside is None else inside
        result: Tensor = _Run.apply(planes, self, asked)  # type: ignore[no-untyped-call]
        return result

    def forward(self, planes: Tensor, windows: list[Box | None], kept: list[Tensor] | None = None) -> Tensor:
        """Run, and keep what `backward` needs.

        Args:
            planes: ``(N, C, H, W)``.
            windows: of each plane a box outside of which it is empty; None where all is.
            kept: what is kept is put at its end.
        """
        keep = (lambda _: None) if kept is None else kept.append
        features = self.first.forward(planes, windows, keep)
        keep(features)
        for transition, block in zip(self.transitions, self.blocks, strict=True):
            x = transition.cut(features, torch.empty_like(features)).movedim(-1, 1)
            x = transition.after_cut(F.avg_pool2d(x, 2).movedim(1, -1))
            features = x.new_empty((*x.shape[:3], x.shape[3] + len(block) * len(block[0].second)))
            features[..., : x.shape[3]] = x
            dense_block(block, features, whole(x.shape[1:3]), keep)
            keep(features)
        return self.head.after_cut(self.head.cut(features, torch.empty_like(features)).mean((1, 2)))

    def backward(
        self, gradient: Tensor, planes: Tensor, windows: list[Box | None], asked: Box, kept: list[Tensor]
    ) -> Tensor:
        """Gradient at the planes, 0 outside the box that is asked for, of one ``(N, out)`` at the output."""
        features = kept.pop()
        n, h, w, channels = features.shape
        back = ((gradient @ self.head.weight.t()) / (h * w))[:, None, None].expand(n, h, w, channels).contiguous()
        total = torch.zeros_like(features)
        self.head.add_back_(total, back, features, torch.empty_like(features))
        needed = self._needed(asked, planes.shape[2:])
        for transition, block in reversed(list(zip(self.transitions, self.blocks, strict=True))):
            rows, columns = averaged = needed.pop()
            dense_block_gradient(block, features, total, kept, whole(features.shape[1:3]), averaged)
            of_average = total[:, rows, columns, : transition.weight.shape[1]]
            features = kept.pop()
            total = torch.zeros_like(features)
            rows, columns = _HALVING.inputs(averaged)
            x, of_x = (one[:, rows, columns] for one in (features, total))
            pooled = transition.gradient_of_cut(of_average / 4, x.new_empty((*of_average.shape[:3], x.shape[3])))
            back = torch.empty_like(x)
            for row, column in product(range(2), range(2)):
                back[:, row::2, column::2] = pooled
            transition.add_back_(of_x, back, x, torch.empty_like(x))
        return self.first.backward(total, features, planes, windows, asked, kept)

    def _needed(self, asked: Box, size: Size) -> list[Box]:
        """Where the gradient at the input of each block but the first is needed: each sees further than the last."""
        box, size = self.first.reach(asked, size)
        boxes = []
        for block in self.blocks:
            boxes.append(_HALVING.outputs(box, size))
            size = _HALVING.size(size)
            box = grown(boxes[-1], len(block), size)
        return boxes


def may_run_by_hand(planes: Tensor) -> bool:
    """Whether planes are what `FrozenDenseNet` is for: float32 on the CPU, and nobody traces what is done."""
    return (
        planes.device.type == "cpu"
        and planes.dtype == torch.float32
        and not (torch.compiler.is_compiling() or is_tracing() or torch.is_autocast_enabled("cpu"))  # type: ignore[no-untyped-call]
    )


class FrozenTwin:
    """Keeps the `FrozenDenseNet` of a network, and makes it anew where the network's weights have changed."""

    def __init__(self) -> None:
        self._made: FrozenDenseNet | None = None
        self._of: tuple[Any, ...] = ()

    def of(self, network: nn.Module) -> FrozenDenseNet | None:
        """The network's twin; None for one that is no DenseNet, or that an inference mode made."""
        if not isinstance(network, DenseNet):
            return None
        tensors = [*network.parameters(), *network.buffers()]
        if tensors[0].is_inference() or tensors[0].is_meta:
            return None
        now = (id(network), *[(tensor.data_ptr(), tensor._version) for tensor in tensors])
        if self._made is None or now != self._of:
            with torch.no_grad():
                self._made, self._of = FrozenDenseNet(network), now
        return self._made

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: a copy of the network makes its own."""
        return FrozenTwin().__dict__


class _Run(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, planes: Tensor, network: FrozenDenseNet, asked: Box | None) -> Tensor:
        kept: list[Tensor] | None = None if asked is None else []
        ctx.windows = [_window(plane, asked) for plane in planes]
        output = network.forward(planes, ctx.windows, kept)
        ctx.network, ctx.asked = network, asked
        ctx.save_for_backward(planes, *(kept or []))
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        planes, *kept = ctx.saved_tensors
        return ctx.network.backward(gradients[0], planes, ctx.windows, ctx.asked, kept), None, None


def _window(plane: Tensor, asked: Box | None) -> Box | None:
    """Smallest box of ``(C, H, W)`` around all that is not 0, and around what is asked for."""
    if asked == whole(plane.shape[1:]):
        return asked
    shown = box_of_values(plane)
    return hull(shown, asked) if shown and asked else shown or asked

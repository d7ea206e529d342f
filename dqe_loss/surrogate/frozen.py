"""A frozen DenseNet on a CPU, forward and backward by hand: the same stars and gradient in two thirds of the time.

MONAI's network spends a third of its time outside of convolutions: it normalizes, copies what it has for each of its 58
layers, and keeps it for the backward pass. Of a network that is frozen for good less is needed:

- Normalizations after a convolution are folded into its weights.
- Those before one cannot be, for a ReLU lies between. But ``relu(s x + b) = s clamp(x) + b`` with a bound of ``-b / s``
  from below (from above where s is negative), and the rest of it goes into the 1 x 1 convolution that follows.
- A block's features are written beside each other once, and their gradients summed in place.
- A transition averages squares of four pixels after its 1 x 1 convolution. The two commute: the other way round, the
  convolution has a quarter of the pixels.
- Nothing is kept for gradients of weights.
"""

from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from monai.networks.nets import DenseNet
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.jit._trace import is_tracing
from torch.nn import functional as F

_SMALLEST_SCALE = 1e-20
"""Scales of a normalization below this are 0: their bound would not be finite."""


@dataclass(frozen=True)
class _Bound:
    """What is left of a normalization and its ReLU: where each channel is cut off.

    Attributes:
        lower: ``(C,)``, -inf where a channel is cut from above.
        upper: ``(C,)``, inf where it is cut from below; None where none is cut from above.
    """

    lower: Tensor
    upper: Tensor | None

    def cut(self, x: Tensor, out: Tensor) -> Tensor:
        """Cut pixels ``(P, C)``."""
        if self.upper is None:
            return torch.maximum(x, self.lower, out=out)
        return torch.clamp(x, self.lower, self.upper, out=out)

    def add_back_(self, total: Tensor, gradient: Tensor, x: Tensor, scratch: Tensor) -> None:
        """Add a gradient ``(P, C)`` to a sum, where x was not cut."""
        # Masks of floats: torch compares into these four times as fast as it fills by boolean ones.
        passed = torch.gt(x, self.lower, out=scratch)
        if self.upper is not None:
            passed *= x < self.upper
        total.addcmul_(gradient, passed)


@dataclass(frozen=True)
class _Pointwise:
    """A bound, and the 1 x 1 convolution after it.

    Attributes:
        bound: of the input.
        weight: ``(C_in, C_out)``.
        bias: ``(C_out,)``.
    """

    bound: _Bound
    weight: Tensor
    bias: Tensor

    def after_cut(self, pixels: Tensor) -> Tensor:
        """Map pixels ``(P, C_in)`` that were cut already."""
        return torch.addmm(self.bias, pixels, self.weight)


@dataclass(frozen=True)
class _Layer:
    """A dense layer: 1 x 1 with a ReLU, then 3 x 3."""

    first: _Pointwise
    second: Tensor


class FrozenDenseNet:
    """A DenseNet as it is now, for planes on the CPU. Later changes of the network's weights do not reach it.

    Args:
        network: a 2D DenseNet of MONAI's in evaluation mode, without dropout.
    """

    def __init__(self, network: DenseNet) -> None:
        parts: dict[str, Any] = dict(network.features.named_children())
        scale, shift = _affine(parts["norm0"])
        weight = parts["conv0"].weight.double()
        self.stem = _channels_last((weight * scale[:, None, None, None]).to(parts["conv0"].weight))
        self.stem_bias = shift.to(self.stem)
        self.blocks = [
            [_layer(layer.layers) for layer in block.children()]
            for name, block in parts.items()
            if name.startswith("denseblock")
        ]
        self.transitions = [
            _pointwise(part.norm, part.conv) for name, part in parts.items() if name.startswith("transition")
        ]
        self.head = _pointwise(parts["norm5"], network.class_layers.out)

    def __call__(self, planes: Tensor) -> Tensor:
        """What the network gives for planes ``(N, C, H, W)``: ``(N, out)``, with a gradient (none of second order)."""
        result: Tensor = _Run.apply(planes, self)  # type: ignore[no-untyped-call]
        return result

    def forward(self, planes: Tensor, kept: list[Tensor] | None = None) -> Tensor:
        """Run, and keep what `backward` needs."""

        def keep(*tensors: Tensor) -> None:
            if kept is not None:
                kept.extend(tensors)

        stem = F.conv2d(_channels_last(planes), self.stem, self.stem_bias, stride=2, padding=3).relu_()
        x, places = F.max_pool2d(stem, 3, stride=2, padding=1, return_indices=True)
        keep(stem, places)
        for i, block in enumerate(self.blocks):
            x = _pixels(x)
            start, new = x.shape[-1], block[0].second.shape[0]
            features = x.new_empty((*x.shape[:3], start + new * len(block)))
            features[..., :start] = x
            flat = features.view(-1, features.shape[-1])
            scratch = torch.empty_like(flat)
            keep(features)
            for layer in block:
                cut = layer.first.bound.cut(flat[:, :start], _part(scratch, start))
                middle = layer.first.after_cut(cut).relu_()
                middle = middle.view(*features.shape[:3], -1)
                keep(middle)
                features[..., start : start + new] = _pixels(F.conv2d(_image(middle), layer.second, padding=1))
                start += new
            after = self.transitions[i] if i < len(self.transitions) else self.head
            x = _image(after.bound.cut(flat, scratch).view_as(features))
            if i < len(self.transitions):
                x = _pixels(F.avg_pool2d(x, 2))
                x = _image(after.after_cut(x.reshape(-1, x.shape[-1])).view(*x.shape[:3], -1))
        return self.head.after_cut(x.mean((2, 3)))

    def backward(self, gradient: Tensor, planes: Tensor, kept: list[Tensor]) -> Tensor:
        """Gradient at the planes, of one at the output."""
        stem, places, *rest = kept
        spread: Tensor | None = None
        for i, block in reversed(list(enumerate(self.blocks))):
            features, *middles = rest[-1 - len(block) :]
            rest = rest[: -1 - len(block)]
            n, h, w, channels = features.shape
            if i == len(self.transitions):
                after = self.head
                back = ((gradient @ after.weight.t()) / (h * w))[:, None, None].expand(n, h, w, channels)
                back = back.contiguous()
            else:
                assert spread is not None  # the block after this one has run
                after = self.transitions[i]
                pooled = (spread.reshape(-1, spread.shape[-1]) @ (after.weight.t() / 4)).view(n, h // 2, w // 2, -1)
                back = pooled.new_zeros((n, h, w, channels))
                for row, column in product(range(2), range(2)):
                    back[:, row : h // 2 * 2 : 2, column : w // 2 * 2 : 2] = pooled
            whole, flat, scratch = torch.zeros_like(features), features.view(-1, channels), torch.empty_like(features)
            flat_gradient, scratch = whole.view(-1, channels), scratch.view(-1, channels)
            after.bound.add_back_(flat_gradient, back.view(-1, channels), flat, scratch)
            room = back.view(-1, channels)
            end, new = channels, block[0].second.shape[0]
            for layer, middle in reversed(list(zip(block, middles, strict=True))):
                end -= new
                before = _conv_input_gradient(_image(whole[..., end : end + new]), _image(middle), layer.second, 1, 1)
                pixels = torch.ops.aten.threshold_backward(_pixels(before), middle, 0).view(-1, middle.shape[-1])
                back = torch.mm(pixels, layer.first.weight.t(), out=_part(room, end))
                layer.first.bound.add_back_(flat_gradient[:, :end], back, flat[:, :end], _part(scratch, end))
            spread = whole[..., :end]
        assert spread is not None  # there is a block
        pooled = torch.ops.aten.max_pool2d_with_indices_backward(
            _channels_last(_image(spread)), stem, [3, 3], [2, 2], [1, 1], [1, 1], False, places
        )
        pooled = torch.ops.aten.threshold_backward(pooled, stem, 0)
        return _conv_input_gradient(pooled, planes, self.stem, 2, 3)


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
        if any(tensor.is_inference() or tensor.is_meta for tensor in tensors[:1]):
            return None
        now = (id(network), *((tensor.data_ptr(), tensor._version) for tensor in tensors))
        if self._made is None or now != self._of:
            with torch.no_grad():
                self._made, self._of = FrozenDenseNet(network), now
        return self._made

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: a copy of the network makes its own."""
        return FrozenTwin().__dict__


class _Run(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, planes: Tensor, network: FrozenDenseNet) -> Tensor:
        kept: list[Tensor] | None = [] if ctx.needs_input_grad[0] else None
        output = network.forward(planes, kept)
        ctx.network = network
        ctx.save_for_backward(planes, *(kept or []))
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        planes, *kept = ctx.saved_tensors
        return ctx.network.backward(gradients[0], planes, kept), None


def _affine(norm: Any) -> tuple[Tensor, Tensor]:
    """Scale and shift of a batch normalization with frozen statistics, each ``(C,)``, in float64."""
    scale: Tensor = norm.weight.double() * (norm.running_var.double() + norm.eps).rsqrt()
    return scale, norm.bias.double() - norm.running_mean.double() * scale


def _pointwise(norm: Any, layer: Any, after: Any = None) -> _Pointwise:
    """A normalization, its ReLU, and a 1 x 1 convolution or a linear layer, with the normalization after it, if any."""
    scale, shift = _affine(norm)
    weight = layer.weight.double().flatten(1)
    bias = weight.new_zeros(len(weight)) if layer.bias is None else layer.bias.double()
    if after is not None:
        outer, moved = _affine(after)
        weight, bias = weight * outer[:, None], bias * outer + moved
    none = scale.abs() < _SMALLEST_SCALE
    bias = bias + weight @ torch.where(none, shift.relu(), shift)
    edge = -shift / torch.where(none, torch.ones_like(scale), scale)
    scale = torch.where(none, torch.zeros_like(scale), scale)
    infinite = torch.full_like(edge, torch.inf)
    lower = torch.where(scale < 0, -infinite, edge)
    upper = torch.where(scale < 0, edge, infinite)
    bound = _Bound(lower.to(layer.weight), upper.to(layer.weight) if bool((scale < 0).any()) else None)
    return _Pointwise(bound, (weight * scale).t().contiguous().to(layer.weight), bias.to(layer.weight))


def _layer(parts: Any) -> _Layer:
    return _Layer(_pointwise(parts.norm1, parts.conv1, parts.norm2), _channels_last(parts.conv2.weight.detach()))


def _part(scratch: Tensor, columns: int) -> Tensor:
    """Room for ``(P, columns)`` in that of ``(P, C)``: fresh memory of this size would cost more than what fills it."""
    return scratch.view(-1)[: len(scratch) * columns].view(-1, columns)


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _pixels(x: Tensor) -> Tensor:
    """``(N, C, H, W)`` as ``(N, H, W, C)``."""
    return x.permute(0, 2, 3, 1)


def _image(x: Tensor) -> Tensor:
    """``(N, H, W, C)`` as ``(N, C, H, W)``."""
    return x.permute(0, 3, 1, 2)


def _conv_input_gradient(gradient: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    sizes = [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], 1
    result: Tensor = torch.ops.aten.convolution_backward(
        _channels_last(gradient), x, weight, None, *sizes, [True, False, False]
    )[0]
    return result

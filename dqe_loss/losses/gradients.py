"""What is allowed to reach the prediction: the guard and the cap, on the way back.

A gradient of the raw stars is a recipe for fooling the surrogate: 50 steps raise the stars from 5.3 to 8.4 while
Dice falls from 1.0 to 0.2. The *guard* (contract C7) keeps the part of the gradient that moves a voxel toward the
target, so the surrogate decides which errors matter and cannot invent new ones. The *cap* (contract C13) keeps the
stars' share below that of the losses beside it, as VQGAN's adaptive weight balances its critic (Esser et al. 2021,
arXiv 2012.09841). Both change gradients only: values pass as they are.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class GradientLog:
    """What guard and cap did in the last backward pass; tensors until they are read, so that nothing waits for them.

    Attributes:
        gradient_ratio: the stars' gradient norm at the prediction over that of the other terms, before the cap,
            mean over the exams that have both.
    """

    def __init__(self) -> None:
        self.gradient_ratio: Tensor | None = None
        self._kept: list[Tensor] = []
        self._met: list[Tensor] = []

    def clear(self) -> None:
        """Forget the last step."""
        self.__init__()  # type: ignore[misc]

    def add_guarded(self, kept: Tensor, met: Tensor) -> None:
        """Note the L1 norm of a gradient after and before the guard."""
        self._kept.append(kept)
        self._met.append(met)

    def read(self) -> dict[str, Tensor]:
        """The figures that there are, by name, as scalars on the device."""
        figures = {}
        if self.gradient_ratio is not None:
            figures["gradient_ratio"] = self.gradient_ratio
        if self._met:
            kept, met = (torch.stack(parts).sum() for parts in (self._kept, self._met))
            figures["guard_kept"] = torch.where(met > 0, kept / met, torch.zeros_like(met))
        return figures


class _Guard(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, toward: Tensor, log: GradientLog | None) -> Tensor:
        ctx.save_for_backward(toward)
        ctx.log = log
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (toward,) = ctx.saved_tensors
        (gradient,) = gradients
        # Descent moves a value against its gradient. Signs are compared, for a product of small numbers is 0 in half
        # precision; and what is not finite passes, for a gradient scaler backs off only from what it sees.
        honest = gradient.sign() * toward.sign() < 0
        kept = torch.where(honest | ~gradient.isfinite(), gradient, torch.zeros_like(gradient))
        if ctx.log is not None:
            ctx.log.add_guarded(_sum_of_magnitudes(kept), _sum_of_magnitudes(gradient))
        return kept, None, None


def _sum_of_magnitudes(gradient: Tensor) -> Tensor:
    """In float32 at least: scaled half-precision gradients overflow."""
    total: Tensor = torch.linalg.vector_norm(gradient, 1, dtype=torch.promote_types(gradient.dtype, torch.float32))
    return total


def guard(values: Tensor, toward: Tensor, log: GradientLog | None = None) -> Tensor:
    """Pass values on; on the way back keep an element's gradient only where descent moves it toward the target.

    A gradient that is not finite passes everywhere, so that a gradient scaler notices it.

    Args:
        values: what a network predicts, before or after its activation.
        toward: of the same shape, positive where the target is above what is predicted, negative where it is below,
            0 where they agree.
        log: where to note the share that was kept; not under ``torch.compile``.

    Returns:
        The values, unchanged.
    """
    noted = None if torch.compiler.is_compiling() else log
    guarded: Tensor = _Guard.apply(values, toward, noted)  # type: ignore[no-untyped-call]
    return guarded


class _Fork(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        prediction: Tensor,
        ratios: Sequence[float | None],
        logs: Sequence[GradientLog] | None,
        factors: Sequence[int],
    ) -> tuple[Tensor, ...]:
        ctx.ratios, ctx.logs, ctx.factors = ratios, logs, factors
        ctx.set_materialize_grads(False)
        # The first is a copy: a loss may change its input in place, which views of one tensor do not allow.
        return (prediction.clone(), *(prediction.view_as(prediction) for _ in ratios))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, None, None, None]:
        others, *rated = gradients
        total = others
        for i, (gradient, ratio) in enumerate(zip(rated, ctx.ratios, strict=True)):
            if gradient is None:
                continue
            if others is not None:
                norm, reference = _norm(gradient), _norm(others)
                both = (norm > 0) & (reference > 0)
                relative = norm / torch.where(both, reference, torch.ones_like(reference))
                if ctx.logs is not None:
                    ctx.logs[i].gradient_ratio = (relative * both).sum() / both.sum().clamp(min=1)
                if ratio is not None:
                    scale = ratio * reference / torch.where(norm > 0, norm, torch.ones_like(norm))
                    scale = scale.clamp(max=1).to(gradient.dtype)
                    gradient = gradient * scale.view(-1, *[1] * (gradient.ndim - 1))
            if ctx.factors[i] != 1:
                gradient = gradient * ctx.factors[i]
            total = gradient if total is None else total + gradient
        return total, None, None, None


def _norm(gradient: Tensor) -> Tensor:
    """L2 norm per exam, in float32 at least: squares of small half-precision gradients vanish."""
    dtype = torch.promote_types(gradient.dtype, torch.float32)
    norm: Tensor = torch.linalg.vector_norm(gradient.flatten(1), dim=1, dtype=dtype)
    return norm


def fork(
    prediction: Tensor,
    ratios: Sequence[float | None],
    logs: Sequence[GradientLog],
    factors: Sequence[int] | None = None,
) -> tuple[Tensor, ...]:
    """Hand one prediction to several losses; on the way back cap the gradients of all but the first.

    Args:
        prediction: ``(B, ...)``.
        ratios: for each further loss, the largest norm its gradient may have for each exam, as a fraction of the
            first's; None for no limit.
        logs: for each further loss, where to note the ratio of norms before the cap; not under ``torch.compile``.
        factors: for each further loss, what its gradient is multiplied by after the cap; 1 if None.

    Returns:
        The prediction ``1 + len(ratios)`` times.
    """
    noted = None if torch.compiler.is_compiling() else tuple(logs)
    times = (1,) * len(ratios) if factors is None else tuple(factors)
    branches: tuple[Tensor, ...] = _Fork.apply(prediction, tuple(ratios), noted, times)  # type: ignore[no-untyped-call]
    return branches

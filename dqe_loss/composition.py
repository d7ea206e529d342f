"""Losses that add up: ``DiceLoss(sigmoid=True) + 0.1 * DQELoss()`` (contracts C9 and C13)."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dqe_loss.balance import GradientLog, fork
from dqe_loss.patch import crop, read_origins


class Composable(nn.Module):
    """A loss with ``+`` and ``*``. Any ``nn.Module`` called as ``loss(input, target)`` may stand beside it."""

    def __add__(self, other: object) -> "LossSum":
        """This loss and another."""
        return LossSum(self, other) if isinstance(other, nn.Module) else NotImplemented

    def __radd__(self, other: object) -> "LossSum":
        """Another loss and this one; 0 counts as no loss, so that the builtin ``sum`` works."""
        if isinstance(other, nn.Module):
            return LossSum(other, self)
        return LossSum(self) if isinstance(other, int | float) and other == 0 else NotImplemented

    def __mul__(self, weight: object) -> "LossSum":
        """This loss, weighted.

        Raises:
            ValueError: if the weight is negative or not finite.
        """
        if not isinstance(weight, int | float) or isinstance(weight, bool):
            return NotImplemented
        if not (math.isfinite(weight) and weight >= 0):
            raise ValueError(f"the weight of a loss must be a finite number >= 0, got {weight}")
        return LossSum._of([(float(weight) * w, term) for w, term in LossSum(self).weighted_terms])

    __rmul__ = __mul__


class RatingTerm(Composable):
    """A loss that takes the image beside prediction and target, and is balanced against the other terms of a sum.

    Attributes:
        sigmoid: whether it takes logits of regions, if it was told.
        softmax: whether it takes logits of tissues, if it was told.
        max_gradient_ratio: cap on the norm of its gradient at the prediction, per exam, as a fraction of the other
            terms'; None for no cap.
        warmup: number of training steps that a sum leaves it out.
        gradient_log: what guard and cap did in the last backward pass.
    """

    sigmoid: bool | None
    softmax: bool | None
    max_gradient_ratio: float | None
    warmup: int
    gradient_log: GradientLog

    def evaluate(
        self,
        input: Tensor,
        target: Tensor | None,
        image: Tensor | None,
        origin: Any = None,
        *,
        probabilities: bool | None = None,
    ) -> Tensor:
        """The loss; ``probabilities`` tells what the other terms of a sum take, if they say so."""
        raise NotImplementedError


class LossSum(Composable):
    """A weighted sum of losses, called as ``criterion(input, target, image=image)``.

    The image goes to the terms that take it. Where a `DQELoss` stands beside other losses, its gradient at the
    prediction is capped for each exam at ``max_gradient_ratio`` of theirs, and it is left out for its ``warmup``
    steps (calls in training mode with gradients enabled).

    Args:
        *terms: losses: modules called as ``loss(input, target)``, `DQELoss`, or other sums.

    Raises:
        TypeError: if a term is no module.
    """

    def __init__(self, *terms: object) -> None:
        super().__init__()
        weighted: list[tuple[float, nn.Module]] = []
        for term in terms:
            if not isinstance(term, nn.Module):
                raise TypeError(f"the terms of a LossSum are torch modules, got {type(term).__name__}")
            weighted += term.weighted_terms if isinstance(term, LossSum) else [(1.0, term)]
        self._set(weighted)

    @classmethod
    def _of(cls, weighted: list[tuple[float, nn.Module]]) -> "LossSum":
        made = cls()
        made._set(weighted)
        return made

    def _set(self, weighted: list[tuple[float, nn.Module]]) -> None:
        self.terms = nn.ModuleList([term for _, term in weighted])
        self.weights = [weight for weight, _ in weighted]
        kinds = [type(term).__name__ for term in self.terms]
        self.names = [kind if kinds.count(kind) == 1 else f"{kind}_{i}" for i, kind in enumerate(kinds)]
        rated = [term for term in self.terms if isinstance(term, RatingTerm)]
        others = [term for term in self.terms if not isinstance(term, RatingTerm)]
        told = all(term.sigmoid is not None or term.softmax is not None for term in rated)
        self._probabilities = None if told else _takes_probabilities(others)
        self._values: dict[str, Tensor] = {}
        # Not an attribute of its own: torch.compile would bake its value in and compile again for every step.
        self._progress = {"steps": 0}

    @property
    def weighted_terms(self) -> list[tuple[float, nn.Module]]:
        """Weight and loss of each term, in order."""
        return list(zip(self.weights, self.terms, strict=True))

    @property
    def steps_done(self) -> int:
        """Training steps counted for warm-up. It is not in any ``state_dict``: set it when training is resumed."""
        return self._progress["steps"]

    @steps_done.setter
    def steps_done(self, steps: int) -> None:
        self._progress["steps"] = steps

    @property
    def log(self) -> dict[str, float]:
        """What the last step did.

        Each term's value (unweighted; mean over exams under ``reduction="none"``), and, once ``backward`` has run,
        for each `DQELoss` ``gradient_ratio`` (its weighted gradient norm over the other terms', before the cap) and
        ``guard_kept`` (share of its gradient that the guard kept). A term in warm-up is not listed. The two gradient
        figures are not noted under ``torch.compile``. Reading waits for the device.
        """
        figures = {name: float(value) for name, value in self._values.items()}
        rated = [t for t in self.terms if isinstance(t, RatingTerm)]
        for name, term in zip(self.names, self.terms, strict=True):
            if isinstance(term, RatingTerm) and name in self._values:
                suffix = "" if len(rated) == 1 else f"_{name}"
                figures |= {key + suffix: value for key, value in term.gradient_log.read().items()}
        return figures

    def forward(
        self,
        input: Tensor | Sequence[Tensor],
        target: Any = None,
        *,
        image: Tensor | None = None,
        origin: Any = None,
    ) -> Tensor:
        """Add the terms up.

        Args:
            input: the prediction ``(B, C, X, Y, Z)`` as each term takes it; with deep supervision a sequence whose
                first element is the full-resolution one, which is what a `DQELoss` rates.
            target: the target as each term takes it.
            image: raw image ``(B, 4, X, Y, Z)`` for a `DQELoss`.
            origin: first voxel of the patches that ``input`` holds, where ``target`` and ``image`` are full-size
                (see `DQELoss`); the other terms then get the target's patch.

        Returns:
            The weighted sum: a scalar, or one value per exam if the terms are not reduced.

        Raises:
            ValueError: if there are no terms, no image where a term needs one, or the terms are reduced differently.
        """
        if not self.weights:
            raise ValueError("an empty LossSum has no value; add losses to it")
        rated = [term for term in self.terms if isinstance(term, RatingTerm)]
        balanced = 0 < len(rated) < len(self.terms)
        active = [term for term in rated if not balanced or self.steps_done >= term.warmup]
        first: Tensor = input if isinstance(input, Tensor) else input[0]
        full_target = target[0] if isinstance(target, list | tuple) else target
        if balanced and self.training and torch.is_grad_enabled() and len(active) < len(rated):
            if self.steps_done == 0:  # what is wrong with the data is said now, not at the end of the warm-up
                with torch.no_grad():
                    for new in rated:
                        new.evaluate(first, full_target, image, origin, probabilities=self._probabilities)
            self.steps_done += 1

        branches = [first] * len(active)
        if balanced and active:
            logs = [term.gradient_log for term in active]
            first, *branches = fork(first, [term.max_gradient_ratio for term in active], logs)
        prediction = first if isinstance(input, Tensor) else [first, *input[1:]]
        if origin is not None and isinstance(target, Tensor):  # the other terms see the patch alone
            target = crop(target, read_origins(origin, first.shape[0]), first.shape[2:])

        values = {}
        for name, term in zip(self.names, self.terms, strict=True):
            if not isinstance(term, RatingTerm):
                values[name] = term(prediction, target)
            elif term in active:
                values[name] = term.evaluate(
                    branches.pop(0), full_target, image, origin, probabilities=self._probabilities
                )
        if len({value.shape for value in values.values()}) > 1:
            shapes = ", ".join(f"{name} {tuple(value.shape)}" for name, value in values.items())
            raise ValueError(f"the terms' values do not add up: {shapes}; give all of them the same reduction")
        self._values = {name: value.detach().mean() for name, value in values.items()}
        weights = dict(zip(self.names, self.weights, strict=True))
        return sum((weights[name] * value for name, value in values.items()), start=first.new_zeros(()))


def _takes_probabilities(terms: Sequence[nn.Module]) -> bool | None:
    """Whether losses take probabilities or logits; None where none of them says.

    MONAI's losses say so by ``sigmoid`` and ``softmax`` (masked Dice by ``pre_sigmoid`` and ``pre_softmax``); its
    wrappers (deep supervision, masking) keep the wrapped loss in ``loss``.

    Raises:
        ValueError: if a loss applies an activation of its own (``other_act``) that cannot be known here.
    """
    said = None
    for term in terms:
        wrapped = getattr(term, "loss", None)
        loss = wrapped if isinstance(wrapped, nn.Module) else term
        sigmoid, softmax, other = (
            getattr(loss, f"pre_{name}", getattr(loss, name, None)) for name in ("sigmoid", "softmax", "other_act")
        )
        if sigmoid or softmax:
            return False
        if isinstance(loss, nn.BCELoss):
            said = True
        elif (sigmoid, softmax) == (False, False):
            if other is not None:
                raise ValueError(
                    f"{type(loss).__name__} activates the prediction by other_act, so DQELoss cannot tell what it is "
                    "given; say DQELoss(sigmoid=True), DQELoss(softmax=True), or both False for probabilities"
                )
            said = True
    return said

"""Losses that add up: ``DiceLoss(sigmoid=True) + 0.1 * DQELoss()`` (contracts C9 and C13)."""

import operator
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

from dqe_loss.core.checks import tell
from dqe_loss.core.patch import crop, read_origins
from dqe_loss.core.tensors import cannot_wait, refuse_origin
from dqe_loss.losses.activation import settle_activation
from dqe_loss.losses.bound import BoundLoss
from dqe_loss.losses.gradients import fork
from dqe_loss.losses.steps import StepCounter
from dqe_loss.losses.terms import LabelWeightedTerm, RatingTerm, full_resolution
from dqe_loss.losses.weight import is_no_weight, read_weight

STEPS = "steps_done"
"""The one key of a sum's ``state_dict``, where a term warms up."""


class Composable(nn.Module):
    """A loss with ``+`` and ``*``. Any ``nn.Module`` called as ``loss(input, target)`` may stand beside it."""

    # Without it, numpy would try to multiply each element of a loss.
    __array_ufunc__ = None

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
            ValueError: if the weight is negative, not finite, not a single number, or to be learned.
        """
        return NotImplemented if is_no_weight(weight) else LossSum((weight, self))

    __rmul__ = __mul__

    def bound(self) -> BoundLoss:
        """This loss for a loop that calls ``loss(prediction, target)``; see `BoundLoss`."""
        return BoundLoss(self)


class LossSum(Composable):
    """A weighted sum of losses, called as ``criterion(input, target, image=image)``.

    The image goes to the terms that take it. Where a `DQELoss` stands beside other losses, its gradient at the
    prediction is capped for each exam at ``max_gradient_ratio`` of theirs, and training leaves it out for its
    ``warmup`` steps, and after that in all but each ``every``-th. These are steps of the optimizer
    (`dqe_loss.losses.steps.StepCounter`); without one of ``torch.optim`` they are calls. Where there is a warm-up they
    are in ``state_dict``, so that a resumed training resumes it. In validation, in ``eval()`` or without gradients, the
    sum is always the whole sum.

    Args:
        *terms: losses: modules called as ``loss(input, target)``, `DQELoss`, other sums, or pairs of a weight and such
            a loss.

    Raises:
        TypeError: if a term is no module.
        ValueError: if a weight is negative, not finite or to be learned, or if the terms contradict each other in what
            they take for a prediction.
    """

    def __init__(self, *terms: object) -> None:
        super().__init__()
        weighted: list[tuple[float, nn.Module]] = []
        counters: list[StepCounter] = []
        for entry in terms:
            weight, term = entry if isinstance(entry, tuple) and len(entry) == 2 else (1.0, entry)
            if not isinstance(term, nn.Module) or isinstance(term, BoundLoss):
                raise TypeError(
                    "the terms of a LossSum are torch modules, or pairs of a weight and one (bind the sum, not its "
                    f"terms), got {type(term).__name__}"
                )
            factor = read_weight(weight)
            parts = term.weighted_terms if isinstance(term, LossSum) else [(1.0, term)]
            weighted += [(factor * w, part) for w, part in parts]
            counters += [term._counter] if isinstance(term, LossSum) else []
        self.terms = nn.ModuleList([term for _, term in weighted])
        self.weights = [weight for weight, _ in weighted]
        kinds = [type(term).__name__ for term in self.terms]
        self.names = [kind if kinds.count(kind) == 1 else f"{kind}_{i}" for i, kind in enumerate(kinds)]
        # A sum of sums goes on where the furthest of them stands: 2 * criterion has warmed up as far as criterion.
        self._counter: StepCounter = max(counters, key=lambda one: int(one.steps)) if counters else StepCounter()
        self._values: dict[str, Tensor] = {}
        self._validation: dict[str, Tensor] = {}
        # By which a term of stars reads the prediction, unless it was told otherwise.
        self._activation = settle_activation(
            [term.activation for term in self._rated],
            [term for term in self.terms if not isinstance(term, RatingTerm)],
        )

    @property
    def weighted_terms(self) -> list[tuple[float, nn.Module]]:
        """Weight and loss of each term, in order."""
        return list(zip(self.weights, self.terms, strict=True))

    @property
    def steps_done(self) -> int:
        """Training steps so far, by which the warm-up goes; may be set."""
        return int(self._counter.steps)

    @steps_done.setter
    def steps_done(self, steps: int) -> None:
        self._counter.set(steps)

    @property
    def activation(self) -> str | None:
        """What the losses beside the stars apply to the prediction, if they say so; see `settle_activation`."""
        return self._activation

    @property
    def figures(self) -> dict[str, Tensor]:
        """What `log` tells, as scalars on their devices: for loggers that wait for no device at each step."""
        figures = dict(self._values)
        for name, term in zip(self.names, self.terms, strict=True):
            if isinstance(term, LabelWeightedTerm):
                suffix = self._suffix(name, LabelWeightedTerm)
                figures |= {key + suffix: value for key, value in term.notes.items()}
            if isinstance(term, RatingTerm):
                suffix = self._suffix(name, RatingTerm)
                gradients = term.gradient_log.read() if name in self._values else {}
                figures |= {key + suffix: value.detach() for key, value in (term.notes | gradients).items()}
        return figures

    def rated_of(self, exams: int) -> dict[str, Tensor]:
        """How many exams of the last training step stand behind each of the `figures` that are of rated ones alone.

        Args:
            exams: in the batch.
        """
        rated: dict[str, Tensor] = {}
        for name, term in zip(self.names, self.terms, strict=True):
            if isinstance(term, RatingTerm) and "skipped" in term.notes:
                suffix = self._suffix(name, RatingTerm)
                keys = (name, *(key + suffix for key in ("stars", "gradient_ratio", "guard_kept", "stars_of_target")))
                rated |= dict.fromkeys(keys, exams - term.notes["skipped"])
        return rated

    @property
    def log(self) -> dict[str, float]:
        """What the last training step did; validation does not change it.

        Each term's value (unweighted; mean over exams under ``reduction="none"``), and for each `DQELoss` ``skipped``
        (exams of the batch that were not rated), ``stars`` (mean of those that were, NaN where none was; see
        `DQELoss`) and, once ``backward`` has run, ``gradient_ratio`` (its weighted gradient norm over the other terms',
        before the cap) and ``guard_kept`` (share of its gradient that the guard kept). A term in warm-up has no value,
        but ``stars_of_target``, the mean stars of the target itself. A `StarWeighted` adds ``stars_of_label`` and
        ``label_weight``, means over the batch. Under ``torch.compile`` there are values, ``skipped`` and ``stars``
        alone, and a term that warms up or rests is computed all the same (no time is saved) and has the value 0.
        Reading waits for the device.
        """
        return {name: float(value) for name, value in self.figures.items()}

    @property
    def validation_log(self) -> dict[str, float]:
        """Each term's value in the last call in ``eval()`` or without gradients. Reading waits for the device."""
        return {name: float(value) for name, value in self._validation.items()}

    def forward(
        self,
        input: Tensor | Sequence[Tensor],
        target: Any = None,
        *,
        image: Tensor | None = None,
        origin: Any = None,
        stars: Any = None,
    ) -> Tensor:
        """Add the terms up.

        Args:
            input: the prediction ``(B, C, X, Y, Z)`` or ``(B, C, H, W)`` as each term takes it; with deep supervision a
                sequence whose first element is the full-resolution one, which is what a `DQELoss` rates.
            target: the target as each term takes it.
            image: raw image ``(B, 4, X, Y, Z)`` or ``(B, 4, H, W)`` for a `DQELoss`.
            origin: first voxel of the patches that ``input`` holds, where ``target`` and ``image`` are full-size
                (see `DQELoss`); the other terms then get the target's patch.
            stars: mean stars ``(B,)`` of the targets for a `StarWeighted`, where they are known.

        Returns:
            The weighted sum: a scalar, or one value per exam if the terms are not reduced (a term that gives a value
            for each channel or voxel counts by its mean over them).

        Raises:
            ValueError: if there are no terms, no image where a term needs one, stars that no term takes, the terms are
                reduced differently, or a CUDA graph is captured where a term is still to join, or rests.
        """
        if not self.weights:
            raise ValueError("an empty LossSum has no value; add losses to it")
        if stars is not None and not self._label_weighted:
            raise ValueError("stars= are for a StarWeighted, and none of the terms is one")
        balanced = 0 < len(self._rated) < len(self.terms)
        training = self.training and torch.is_grad_enabled()
        first, full_target = full_resolution(input), full_resolution(target)
        active = self._start_step(first, full_target, image, origin) if balanced and training else self._rated

        branches = [first] * len(active)
        if balanced and active:
            logs = [term.gradient_log for term in active]
            factors = [term.every if training else 1 for term in active]
            first, *branches = fork(first, self._caps(active), logs, factors)
        prediction = first if isinstance(input, Tensor) else [first, *input[1:]]
        if origin is not None and target is not None:  # the other terms see the patch alone
            if not isinstance(target, Tensor):
                raise ValueError("origin= cuts the patch out of one full-size target, got a sequence of them")
            if first.ndim == 4:
                refuse_origin(origin)
            target = crop(target, read_origins(origin, first.shape[0]), first.shape[2:])

        values = {}
        for name, term in zip(self.names, self.terms, strict=True):
            if isinstance(term, LabelWeightedTerm):
                values[name] = term.evaluate(prediction, target, whole=full_target, image=image, stars=stars)
            elif not isinstance(term, RatingTerm):
                values[name] = _value_of(term, prediction, target)
            elif term in active:
                value = term.evaluate(
                    branches.pop(0), full_target, image, origin, activation=self._activation, alone=not balanced
                )
                if balanced and training and torch.compiler.is_compiling() and (term.warmup or term.every > 1):
                    # One graph for all steps: a term that warms up or rests is computed, and left out.
                    since = self._counter.steps - term.warmup
                    now = ((since >= 0) & (since % term.every == 0)).to(value.device)
                    value = torch.where(now, value, torch.zeros_like(value))
                values[name] = value
        if balanced and training:
            self._counter.call()
        return self._add(values, training)

    def _caps(self, active: Sequence[RatingTerm]) -> list[float | None]:
        """Largest gradient of each term beside that of the others; where these weigh nothing, there is none to cap by.

        Raises:
            ValueError: if a weight that was set since is no weight.
        """
        if not torch.compiler.is_compiling():
            self.weights[:] = map(read_weight, self.weights)
        if any(weight for weight, term in self.weighted_terms if not isinstance(term, RatingTerm)):
            return [term.max_gradient_ratio for term in active]
        tell("all losses beside DQELoss have the weight 0, so that nothing caps its gradient: give one of them more")
        return [None] * len(active)

    def _suffix(self, name: str, kind: type[nn.Module]) -> str:
        """What tells a term's figures from those of others of its kind; nothing where there is no other."""
        return "" if sum(isinstance(term, kind) for term in self.terms) == 1 else f"_{name}"

    @property
    def _rated(self) -> list[RatingTerm]:
        return [term for term in self.terms if isinstance(term, RatingTerm)]

    @property
    def _label_weighted(self) -> list[LabelWeightedTerm]:
        return [term for term in self.terms if isinstance(term, LabelWeightedTerm)]

    def _start_step(
        self, prediction: Tensor, target: Tensor | None, image: Tensor | None, origin: Any
    ) -> list[RatingTerm]:
        """The terms that take part in a training step: none that rests; those that warm up look at the target.

        Raises:
            ValueError: if a CUDA graph is captured, and a term is still to join, or rests.
        """
        if torch.compiler.is_compiling():
            return self._rated
        steps = self.steps_done
        waiting = [term for term in self._rated if steps < term.warmup]
        if cannot_wait(prediction) and (waiting or any(term.every > 1 for term in self._rated)):
            raise ValueError(
                "a CUDA graph replays the step it captured: a term in warm-up would never join, and every= would not "
                "alternate; capture after the warm-up, and with every=1"
            )
        with torch.no_grad():
            for term in waiting:
                if not term.checked:  # what is wrong with the data is said now, not at the end of the warm-up
                    term.evaluate(prediction, target, image, origin, activation=self._activation)
                term.check_target(target, image, origin, activation=self._activation)
        active = [term for term in self._rated if term not in waiting and (steps - term.warmup) % term.every == 0]
        for term in self._rated:
            if term not in active and term not in waiting:
                term.rest(prediction)
        return active

    def _add(self, values: dict[str, Tensor], training: bool) -> Tensor:
        if self._rated:  # stars are one value an exam; unreduced losses of MONAI have one a channel, or a voxel
            values = {name: value.flatten(1).mean(1) if value.ndim > 1 else value for name, value in values.items()}
        if len({value.shape for value in values.values()}) > 1:
            shapes = ", ".join(f"{name} {tuple(value.shape)}" for name, value in values.items())
            raise ValueError(f"the terms' values do not add up: {shapes}; give all of them the same reduction")
        noted = {name: value.detach().mean() for name, value in values.items()}
        if training:
            self._values = noted
        else:
            self._validation = noted
        weights = dict(zip(self.names, self.weights, strict=True))
        return reduce(operator.add, (weights[name] * value for name, value in values.items()))

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if any(term.warmup for term in self._rated):
            destination[prefix + STEPS] = self._counter.steps.clone()

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *arguments: Any) -> None:
        own = {key: value for key, value in state_dict.items() if key != prefix + STEPS}
        super()._load_from_state_dict(own, prefix, *arguments)
        if prefix + STEPS in state_dict:
            self.steps_done = int(state_dict[prefix + STEPS])
        elif any(term.warmup for term in self._rated):
            tell(
                f"the state holds no {prefix + STEPS}, as those of earlier versions do not: the warm-up stands at step "
                f"{self.steps_done}; set criterion.steps_done to the steps that training has taken"
            )


def _value_of(loss: nn.Module, prediction: Any, target: Any) -> Any:
    """What a loss of prediction and target gives.

    Raises:
        ValueError: if it fails for want of a target.
    """
    try:
        return loss(prediction, target)
    except (AttributeError, TypeError) as error:
        if target is not None:
            raise
        raise ValueError(
            f"{type(loss).__name__} needs a target, got none: call criterion(input, target, image=image); exams "
            "without one are for DQELoss(guard=None) alone"
        ) from error

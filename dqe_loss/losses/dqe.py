"""The loss: stars that a segmentation lacks, with a gradient that is safe to follow."""

from collections.abc import Callable
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dqe_loss.core.layout import settle_layout
from dqe_loss.core.mask import center_of_mask
from dqe_loss.core.numbers import check_number
from dqe_loss.core.pipeline import FLAT, Sampling
from dqe_loss.core.tensors import plain, thicken
from dqe_loss.losses.activation import NONE, SIGMOID, SOFTMAX
from dqe_loss.losses.gradients import GradientLog
from dqe_loss.losses.guards import GuardedSurrogate
from dqe_loss.losses.missing_stars import mean_of_rated, missing_stars, reduce_rated
from dqe_loss.losses.rated_batch import (
    RatedBatch,
    is_large_enough,
    is_occupied,
)
from dqe_loss.losses.reads_batches import Prediction, ReadsBatches
from dqe_loss.losses.self_check import TargetStars
from dqe_loss.losses.sum import Composable
from dqe_loss.losses.target import read_target
from dqe_loss.losses.terms import RatingTerm, full_resolution
from dqe_loss.surrogate.checkpoint import DEFAULT_CHECKPOINT
from dqe_loss.surrogate.network import Surrogate, surrogate_on
from dqe_loss.surrogate.rater import Rater
from dqe_loss.surrogate.rating import rate_mask

NO_IMAGE = (
    "DQELoss rates a segmentation on its image: call it as loss(input, target, image=image), or take criterion.bound() "
    "for loops that call loss(prediction, target)"
)
_TOLD = ("max_gradient_ratio", "warmup", "every", "on_small", "reduction", "refiner_guard")
"""Options that a print-out holds where they are not the default, beside those of the layout."""


class DQELoss(ReadsBatches, Composable, RatingTerm):
    """A frozen surrogate of neuroradiologists' ratings as a loss.

    The prediction is cut at its center of mass in three views, a frozen network rates each plane
    (1 to 6 stars; Kofler et al. 2022, arXiv 2205.10355), and the loss is what their mean lacks to 6 stars. Planes
    ``(B, R, H, W)``, as 2D networks predict them, are rated as they are. Use it
    beside an overlap loss, ``DiceLoss(sigmoid=True) + 0.1 * DQELoss()``: alone it is research, for the surrogate
    can be fooled, which ``guard`` and the sum's cap on its gradient are there to prevent.

    The module has no parameters and an empty state, follows ``.to()`` to other devices, and cannot be trained.

    Args:
        checkpoint: what `load_surrogate` takes, or a `Surrogate` to share; who moves or casts it gets a copy.
        sigmoid: the input is logits of regions.
        softmax: the input is logits of background and tissues. With both None (default), the input is what the
            other losses of the sum take it for; where none says, it is logits, of regions or of tissues by the
            number of channels. With both False it is probabilities.
        region_order: the prediction's and the target's region channels; the task's if None. It may name more than are
            rated, such as a resection cavity.
        label_scheme: scheme of a target label map, and order of tissue channels, see `LABEL_SCHEMES`; the task's
            default if None.
        modalities: the image's channels; the task's if None.
        views: which of axial, coronal, sagittal to rate; the task's if None. Planes by themselves are of any view.
        slicing: ``"soft"``, with a gradient for the mask and for where it lies, or ``"hard"``, upstream's planes with
            a gradient for the mask alone.
        center: look through the ``"prediction"``'s center or through the ``"target"``'s.
        center_grad: whether gradient flows through the position of the planes.
        planes: planes per view: one at the center, the others around it.
        jitter: standard deviation in voxels of the planes' distance from the center; see `rate_segmentation`.
        seed: seed of the jitter.
        guard: ``"target"`` keeps a voxel's gradient only where it moves the prediction toward the target; None does
            without, for exams that have none.
        refiner_guard: keep a voxel's gradient only where it moves the prediction to where the checkpoint's
            refiner is sure that the voxel belongs. No effect with a checkpoint that has none; off is for experiments.
        max_gradient_ratio: in a sum, cap on the gradient's norm per exam relative to the other terms'; None for none.
        warmup: in a sum, number of training steps without this term, counted by `LossSum`. Meanwhile the targets
            themselves are rated (not under ``torch.compile``), and a low mean is told: it means that something is
            mixed up.
        every: in a sum, take part in every n-th training step only, with n times the gradient (after the cap): the
            same push on average for a fraction of the time. The other steps go without the term. Under
            ``torch.compile`` it saves no time: one graph for all steps computes it in each, and leaves it out.
        on_small: what to do with an exam, or a plane, that cannot be rated sensibly (its target holds no tumor, or it
            is smaller than the task's smallest crop along some axis and comes without ``origin``): ``"skip"`` gives it
            a loss of 0, ``"pad"`` rates it all the same, ``"error"`` raises.
        reduction: ``"mean"`` over the exams that were rated, ``"sum"``, or ``"none"``: one value an exam.
        checkpointing: recompute the network's activations in the backward pass, plane by plane, to save memory.

    Attributes:
        stars: ``(B, V)``, of planes ``(B, 1)``, of each view of the last call's predictions, detached and on their
            device; None before the first call. They are what the loss looked at, probabilities on the planes through
            the center: `dqe_loss.DQEMetric` rates the binarized mask, and looks all over the head. NaN where an exam
            was not rated, and in a step of a sum that goes without the term (``warmup``, ``every``; under
            ``torch.compile`` these are rated, too). Part of no state. A CUDA graph writes them anew at each replay.

    Raises:
        TypeError: if the checkpoint is something else, such as a weight.
        ValueError: if an option is not as said.
        FileNotFoundError: if the checkpoint is not there.

    Example:
        >>> from monai.losses import DiceLoss
        >>> criterion = DiceLoss(sigmoid=True) + 0.1 * DQELoss(on_small="pad")
        >>> logits = torch.randn(1, 3, 32, 32, 32, requires_grad=True)
        >>> target = torch.zeros(1, 3, 32, 32, 32)
        >>> target[..., 8:20, 8:20, 8:20] = 1
        >>> criterion(logits, target, image=torch.rand(1, 4, 32, 32, 32)).backward()
        >>> sorted(criterion.log)
        ['DQELoss', 'DiceLoss', 'gradient_ratio', 'guard_kept', 'skipped', 'stars']
        >>> criterion.terms[1].stars.shape
        torch.Size([1, 3])
    """

    def __init__(
        self,
        checkpoint: str | Path | Surrogate = DEFAULT_CHECKPOINT,
        *,
        sigmoid: bool | None = None,
        softmax: bool | None = None,
        region_order: tuple[str, ...] | None = None,
        label_scheme: str | None = None,
        modalities: tuple[str, ...] | None = None,
        views: tuple[str, ...] | None = None,
        slicing: str = "soft",
        center: str = "prediction",
        center_grad: bool = True,
        planes: int = 1,
        jitter: float = 0.0,
        seed: int = 0,
        guard: str | None = "target",
        refiner_guard: bool = True,
        max_gradient_ratio: float | None = 0.3,
        warmup: int = 0,
        every: int = 1,
        on_small: str = "skip",
        reduction: str = "mean",
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        for option, value, choices in (
            ("slicing", slicing, ("soft", "hard")),
            ("center", center, ("prediction", "target")),
            ("guard", guard, ("target", None)),
            ("on_small", on_small, ("skip", "pad", "error")),
            ("reduction", reduction, ("mean", "sum", "none")),
        ):
            if value not in choices:
                raise ValueError(f"{option} must be one of {choices}, got {value!r}")
        if sigmoid and softmax:
            raise ValueError("sigmoid=True and softmax=True exclude each other")
        if max_gradient_ratio is not None:
            check_number("max_gradient_ratio (None: no cap)", max_gradient_ratio, above=0)
        check_number("warmup", warmup, whole=True, least=0)
        check_number("every", every, whole=True, least=1)
        check_number("seed", seed, whole=True)
        self._hold(checkpoint)
        self.layout = settle_layout(self.task, label_scheme, region_order, modalities, views)
        self.sampling = Sampling(self.layout.views, planes, jitter, torch.Generator().manual_seed(seed))
        told = sigmoid is not None or softmax is not None
        self.activation = SIGMOID if sigmoid else SOFTMAX if softmax else NONE if told else None
        self.slicing, self.center, self.center_grad = slicing, center, center_grad
        self.guard, self.refiner_guard = guard, refiner_guard
        self.max_gradient_ratio, self.warmup, self.every = max_gradient_ratio, warmup, every
        self.on_small, self.reduction, self.checkpointing = on_small, reduction, checkpointing
        self.gradient_log = GradientLog()
        self.notes: dict[str, Tensor] = {}
        self.stars: Tensor | None = None
        self._checked = set()
        self._target_stars = TargetStars(self.surrogate.config.stars)

    def forward(self, input: Prediction, target: Tensor | None = None, *, image: Tensor, origin: Any = None) -> Tensor:
        """Stars that the prediction lacks, by the loss alone; beside others it belongs in a sum, see `LossSum`.

        Args:
            input: prediction ``(B, R, X, Y, Z)`` of the regions in ``region_order``, or ``(B, 1 + T, X, Y, Z)`` of
                background and tissues; of a sequence (deep supervision) the first, which has the full resolution. Of a
                2D network ``(B, R, H, W)`` or ``(B, 1 + T, H, W)``: then target and image have no Z either.
            target: label map ``(B, 1, X, Y, Z)`` or ``(B, X, Y, Z)``, regions as predicted, or one-hot tissues
                ``(B, 1 + T, X, Y, Z)``; needed by ``guard`` and by ``center="target"``.
            image: intensities ``(B, C, X, Y, Z)``, raw or z-scores; outside the head they are 0, or
                the lowest value. The units of a modality do not matter.
            origin: where ``input`` is a patch: its first voxel in the full-size ``image`` and ``target``, three
                integers or ``(B, 3)``; `crop_origin` finds it. What is rated is the target with the patch predicted;
                without a target, the patch in an empty mask: such a patch must hold the whole tumor, as a box around
                the head does.

        Returns:
            ``relu(6 - mean stars)``, reduced: a scalar, or ``(B,)``.

        Raises:
            ValueError: if a shape is not as said, a label is unknown, a target is missing, values cannot be what they
                are taken for (looked at in the first eager call that can tell), or there is a ``warmup``, which needs
                a sum.

        Warns:
            UserWarning: once each: there is no cap, since this is called outside a sum; all crops are too small to be
                rated; a modality is empty, or twice the same.

        Example:
            >>> planes, image = torch.randn(2, 3, 96, 96, requires_grad=True), torch.rand(2, 4, 96, 96)
            >>> target = torch.zeros(2, 3, 96, 96)
            >>> target[..., 40:60, 40:60] = 1
            >>> criterion = DQELoss(max_gradient_ratio=None, reduction="none")
            >>> criterion(planes, target, image=image).shape
            torch.Size([2])
        """
        return self.evaluate(full_resolution(input), target, image, origin, alone=True)

    def evaluate(
        self,
        input: Tensor,
        target: Tensor | None,
        image: Tensor | None,
        origin: Any = None,
        *,
        activation: str | None = None,
        alone: bool = False,
    ) -> Tensor:
        """`forward` as a sum calls it; `RatingTerm.evaluate` says what the arguments are."""
        if image is None:
            raise ValueError(NO_IMAGE)
        if self.guard is not None and target is None:
            raise ValueError(
                "guard='target' keeps the surrogate's gradient honest and needs a target: call loss(input, target, "
                "image=image). For exams without one say DQELoss(guard=None), and first see how far the checkpoint "
                "can be trusted: unguarded, 50 steps suffice to fool the published one (docs/explanation/fooled.md)"
            )
        training = self.training and torch.is_grad_enabled()
        if alone:
            self._check_alone(training and input.requires_grad)
        log = self.gradient_log if training else GradientLog()  # validation leaves what training noted alone
        log.clear()
        batch = self.read(input, target, image, origin, log if self.guard else None, activation)
        rated = self.can_be_rated(batch)
        values = plain(input)
        if rated.device.type == "cpu" and not torch.compiler.is_compiling() and not rated.any():
            missing = values.flatten(1)[:, :0].float().sum(1)  # zeros, but with a gradient
            self.stars = self._no_stars(input)
        else:
            rater = GuardedSurrogate(self.surrogate) if self.refiner_guard else self.surrogate
            stars = self._rate(rater, batch, rated)
            # A center skips what is not a number, and planes may not show it: the loss must, whatever it looks at.
            broken = values.detach().amax(tuple(range(1, values.ndim))).isnan()  # one look, and no copy
            missing = missing_stars(stars, self.surrogate).masked_fill(broken, torch.nan)
            missing = torch.where(rated, missing, torch.zeros_like(missing))
            self.stars = stars.detach().masked_fill((broken | ~rated)[:, None], torch.nan)
        if training:
            self.notes = {"skipped": (~rated).sum(), "stars": mean_of_rated(self.stars)}
        return reduce_rated(missing, rated, self.reduction)

    def rate(self, input: Prediction, *, image: Tensor, target: Tensor | None = None, origin: Any = None) -> Tensor:
        """Stars of each view ``(B, V)``, of planes ``(B, 1)``, by the path of the loss; `forward` has the arguments.

        The gradient is that of the stars, without any guard (contract C14). The target is needed only for
        ``center="target"``. Values are looked at in each call.
        """
        return self._rate(self.surrogate, self.read(input, target, image, origin, check=True))

    def rest(self, input: Tensor) -> None:
        """`RatingTerm.rest`: the stars of the step are not numbers."""
        super().rest(input)
        self.stars = self._no_stars(input)

    def use(self, surrogate: Surrogate) -> None:
        """Rate with another surrogate of the same task from now on.

        Raises:
            ValueError: if its task is another.
        """
        if surrogate.config.task != self.task:
            raise ValueError(f"this loss rates {self.task.name!r}, and the surrogate {surrogate.config.task.name!r}")
        self._frozen = (surrogate,)

    def check_target(
        self, target: Tensor | None, image: Tensor | None, origin: Any = None, *, activation: str | None = None
    ) -> None:
        """Rate the target itself and note its stars, as a sum does while this term warms up.

        Patches without a tumor do not count. On a GPU, which is not waited for, the stars of a batch in which no target
        could be rated are NaN; on a CPU they are not noted.

        Raises:
            ValueError: if there is no image.

        Warns:
            UserWarning: once, if the targets' mean over some exams is so low that something must be mixed up.
        """
        if image is None:
            raise ValueError(NO_IMAGE)
        self.stars = self._no_stars(image)
        if target is None:
            return
        flat = image.ndim == 4
        target, image = (thicken(x) if flat else plain(x) for x in (target, image))
        tissues = {SOFTMAX: True, SIGMOID: False}.get(self.activation or activation or "")  # as the prediction has them
        whole = read_target(target, self.layout, hard=True, tissues=tissues)
        sampling = FLAT if flat else Sampling(self.sampling.views)
        batch = RatedBatch(image, whole, whole, sampling.views, in_place=origin is not None, flat=flat)
        large = is_large_enough(batch, self.smallest_crop)
        sound = is_occupied(whole, self.task) & (large or self.on_small == "pad")
        self.notes = {"skipped": (~self.can_be_rated(batch)).sum()}
        if sound.device.type == "cpu" and not sound.any():
            return
        with torch.no_grad():
            center = center_of_mask(whole, hard=True, regions=self.task.centers)
            stars = rate_mask(self.surrogate, image, whole, center, sampling, modalities=self.layout.modalities).mean(1)
        self.notes["stars_of_target"] = torch.where(sound, stars, torch.zeros_like(stars)).sum() / sound.sum()
        if large and self.surrogate.config.refiner is not None:  # the network alone likes wrong masks as much
            self._target_stars.add(stars, sound)

    def _check_alone(self, trains: bool) -> None:
        """What holds outside a sum alone.

        Raises:
            ValueError: if there is a warm-up or an ``every``, for which a sum counts.
        """
        for option, value in (("every", self.every if trains else 1), ("warmup", self.warmup)):
            if value > (option == "every"):
                raise ValueError(
                    f"DQELoss({option}={value}) leaves out steps beside other losses, for a sum counts them: write "
                    f"criterion = DiceLoss(sigmoid=True) + 0.1 * DQELoss({option}=...) and call the criterion"
                )
        if trains and self.max_gradient_ratio is not None:
            self._tell_once(
                "alone",
                "DQELoss is called outside a sum, so that nothing caps its gradient, which is many times as large as "
                "Dice's: add the losses, criterion = DiceLoss(sigmoid=True) + 0.1 * DQELoss(), and not their values. "
                "If it is meant to stand alone, say DQELoss(max_gradient_ratio=None)",
            )

    def _rate(self, rater: Rater, batch: RatedBatch, rated: Tensor | None = None) -> Tensor:
        """Stars of each view ``(B, V)`` of those that are asked for, see `rate_mask`."""
        return rate_mask(
            rater,
            batch.image,
            batch.predicted,
            self.center_of(batch),
            FLAT if batch.flat else self.sampling,
            modalities=self.layout.modalities,
            checkpointing=self.checkpointing,
            rated=rated,
        )

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "DQELoss":
        """Follow the parent module to its device, and to double precision, but not to half precision.

        Half precision is autocast's to choose: frozen batch statistics and small stars do not survive a cast.
        """
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        probe = fn(torch.empty(0, device=self.surrogate.device, dtype=self.surrogate.dtype))
        dtype = torch.float64 if probe.dtype == torch.float64 else torch.float32
        self._frozen = (surrogate_on(self.surrogate, probe.device, dtype),)
        return self

    def extra_repr(self) -> str:
        """What distinguishes this loss in a print-out."""
        config, sampling = self.surrogate.config, self.sampling
        layout, usual = self.layout, settle_layout(self.task)
        others = [
            ("activation", self.activation, None),
            ("label_scheme", layout.scheme.name, usual.scheme.name),
            *((name, getattr(layout, name), getattr(usual, name)) for name in ("region_order", "modalities")),
            *((name, getattr(self, name), signature(DQELoss).parameters[name].default) for name in _TOLD),
        ]
        return (
            f"{config.architecture}, {config.kind_of_ratings} ratings, guard={self.guard!r}, "
            f"center={self.center!r}, views={sampling.views}, planes={sampling.planes}, jitter={sampling.jitter}"
            + "".join(f", {name}={value!r}" for name, value, default in others if value != default)
        )

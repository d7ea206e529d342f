"""Stars without a gradient: each exam of a batch counts by what its label deserves."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dqe_loss.core.checks import says_something
from dqe_loss.core.layout import settle_layout
from dqe_loss.core.mask import LabelMask
from dqe_loss.core.patch import crop, read_origins
from dqe_loss.core.pipeline import FLAT
from dqe_loss.core.tensors import at_least_float32, is_flat, plain, refuse_origin, thicken
from dqe_loss.losses.holds_surrogate import HoldsSurrogate
from dqe_loss.losses.label_weights import Stars, read_stars, weight_of_quality, weights_of
from dqe_loss.losses.sum import Composable
from dqe_loss.losses.target import read_target
from dqe_loss.losses.terms import LabelWeightedTerm, RatingTerm, full_resolution
from dqe_loss.surrogate.checkpoint import DEFAULT_CHECKPOINT
from dqe_loss.surrogate.network import Surrogate, surrogate_on
from dqe_loss.surrogate.rating import rate_segmentation
from dqe_loss.surrogate.survey import is_surveyed

NO_LABEL = "StarWeighted weighs labels, got none: call it as loss(input, label, image=image)"


class StarWeighted(HoldsSurrogate, Composable, LabelWeightedTerm):
    """Any segmentation loss, with each exam weighed by the stars of its label.

    For labels that are not all to be trusted: pseudo-labels of another network, or a data set that nobody has checked.
    A label of 6 stars counts in full, one of 4.75 by about half, one below 3.5 not at all. The stars are numbers
    here: no gradient passes through the surrogate, so nothing can learn to fool it.

    The wrapped loss is called with one exam at a time, so that an exam's loss is its own whatever the loss does with a
    batch (``DiceLoss(batch=True)`` pools exams; here it sees one). With weights of 1, that is the plain loss of every
    loss that is a mean over exams. Exams of weight 0 are not computed.

    In a sum, ``StarWeighted(DiceLoss(sigmoid=True)) + 0.1 * DQELoss()``, it is one of the losses that a `DQELoss` is
    capped by, exam by exam: where an exam counts nothing, neither does the term. Under ``torch.compile`` it runs
    eagerly.

    With the default checkpoint a label that holds nothing has few stars, whether that is right or not. Where planes or
    crops without a tumor are trained on, hand over the ``stars`` of the whole exam.

    Args:
        loss: called as ``loss(input, target)`` with batches of one exam: a loss of MONAI, of torch, or a function. An
            unreduced one counts by its mean.
        surrogate: what `load_surrogate` takes, or a `Surrogate` to share. Where the image lies on another device, a
            copy is made there.
        weight: weights ``(B,)``, finite and at least 0, of qualities ``(B,)`` in [0, 1].
        label_scheme: scheme of a label map, or order of one-hot channels; the task's default if None.
        region_order: order of the label's region channels; the task's if None. It may name more than are rated.
        modalities: the image's channels; the task's if None.
        views: which views to rate; the task's if None.
        thorough: whether to ask the checkpoint's refiner, if it has one, all over the head, as ``dqe rate`` does. It
            takes a second an exam on a CPU; hand over ``stars`` where labels do not change.
        reduction: ``"mean"`` over the exams, ``"sum"``, or ``"none"``: one value an exam. The mean divides by the
            number of exams and not by the sum of their weights: else the only exam of a batch would count in full
            however poor its label is.

    Attributes:
        stars: ``(B,)``, of the last batch; None before the first.
        weights: ``(B,)``, of the last batch; None before the first.

    Raises:
        TypeError: if the loss cannot be called, or rates by itself (a `DQELoss` is added, not wrapped).
        ValueError: if an option is not as said.
        FileNotFoundError: if the checkpoint is not there.

    Example:
        >>> from monai.losses import DiceLoss
        >>> criterion = StarWeighted(DiceLoss(sigmoid=True))
        >>> logits, label = torch.randn(2, 3, 32, 32, 32, requires_grad=True), torch.zeros(2, 3, 32, 32, 32)
        >>> criterion(logits, label, stars=[6.0, 2.0]).backward()  # or image=image, to have the labels rated
        >>> criterion.log
        {'stars': [6.0, 2.0], 'weights': [1.0, 0.0]}
    """

    def __init__(
        self,
        loss: Callable[..., Tensor],
        surrogate: str | Path | Surrogate = DEFAULT_CHECKPOINT,
        *,
        weight: Callable[[Tensor], Tensor] = weight_of_quality,
        label_scheme: str | None = None,
        region_order: tuple[str, ...] | None = None,
        modalities: tuple[str, ...] | None = None,
        views: tuple[str, ...] | None = None,
        thorough: bool = True,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        _check_loss(loss)
        if not callable(weight):
            raise TypeError(f"weight must be a function of qualities (B,) in [0, 1], got {type(weight).__name__}")
        if reduction not in ("mean", "sum", "none"):
            raise ValueError(f"reduction must be one of ('mean', 'sum', 'none'), got {reduction!r}")
        self._hold(surrogate)
        self.loss, self.weight, self.thorough, self.reduction = loss, weight, thorough, reduction
        self.layout = settle_layout(self.task, label_scheme, region_order, modalities, views)
        self.stars: Tensor | None = None
        self.weights: Tensor | None = None
        self.notes = {}
        self._checked = False

    @property
    def log(self) -> dict[str, list[float]]:
        """``stars`` and ``weights`` of the last batch; empty before the first. Reading waits for the device."""
        if self.stars is None or self.weights is None:
            return {}
        return {"stars": self.stars.tolist(), "weights": self.weights.tolist()}

    def forward(
        self,
        input: Any,
        label: Any,
        *,
        image: Tensor | None = None,
        stars: Stars | None = None,
        origin: Any = None,
    ) -> Tensor:
        """The weighted loss.

        Args:
            input: prediction ``(B, C, X, Y, Z)`` or ``(B, C, H, W)`` as the wrapped loss takes it; with deep
                supervision a sequence of them.
            label: label map ``(B, 1, X, Y, Z)`` or ``(B, X, Y, Z)``, regions ``(B, R, X, Y, Z)``, or one-hot background
                and tissues ``(B, 1 + T, X, Y, Z)``; of planes without Z. Of a sequence, the first is rated. Soft labels
                are rated as what they are above 0.5. It gets no gradient.
            image: intensities ``(B, C, X, Y, Z)`` or ``(B, C, H, W)``, raw or z-scores; not needed with ``stars``.
            stars: mean stars ``(B,)`` of the labels where they are known, such as the column ``mean`` of ``dqe rate``:
                nothing is rated then.
            origin: where ``input`` is a patch: its first voxel in the full-size ``image`` and ``label``. The whole
                label is rated, and the loss is of its patch.

        Returns:
            The loss, reduced: a scalar, or ``(B,)``.

        Raises:
            ValueError: if there is neither image nor stars, or a shape or a label is not as said.

        Warns:
            UserWarning: once each: stars are not a number (such an exam counts nothing), all labels of a batch count
                nothing, or what is to be rated is too small for it.
        """
        if label is None:
            raise ValueError(NO_LABEL)
        whole, first = full_resolution(label), full_resolution(input)
        if origin is not None:
            if whole is not label:
                raise ValueError("origin= cuts the patch out of one full-size label, got a sequence of them")
            if first.ndim == 4:
                refuse_origin(origin)
            label = crop(label, read_origins(origin, first.shape[0]), first.shape[2:])
        value: Tensor = self.evaluate(input, label, whole=whole, image=image, stars=stars)
        return value

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # which exams are computed depends on their stars
    def evaluate(
        self, input: Any, label: Any, *, whole: Tensor, image: Tensor | None = None, stars: Stars | None = None
    ) -> Tensor:
        """`forward` as a sum calls it; `LabelWeightedTerm.evaluate` says what the arguments are."""
        if whole is None:
            raise ValueError(NO_LABEL)
        first = full_resolution(input)
        exams = len(first)
        if len(whole) != exams or (stars is None and image is not None and len(image) != exams):
            raise ValueError(
                f"expected a label and an image for each of the {exams} predictions, got labels {tuple(whole.shape)}"
                + ("" if image is None else f" and an image {tuple(image.shape)}")
            )
        known = self._rate(whole, image) if stars is None else read_stars(stars, exams)
        self.stars, self.weights = known, self._weigh(known)
        if self.training and torch.is_grad_enabled():
            self.notes = {"stars_of_label": self.stars.mean(), "label_weight": self.weights.mean()}
        nothing = torch.cat(
            [at_least_float32(part).flatten()[:0] for part in _tensors(input)]
        ).sum()  # 0 with a gradient
        values = [
            nothing
            if weight == 0
            else nothing + weight * self._loss_of(_exam(input, i), _exam(label, i, constant=True))
            for i, weight in enumerate(self.weights.tolist())
        ]
        value = torch.stack(values)
        return value if self.reduction == "none" else value.sum() / (exams if self.reduction == "mean" else 1)

    def _loss_of(self, input: Any, label: Any) -> Tensor:
        value = self.loss(input, label)
        if not isinstance(value, Tensor):
            raise TypeError(f"the wrapped loss must return a tensor, got {type(value).__name__}")
        return value.mean()

    @torch.no_grad()
    def _rate(self, label: Tensor, image: Tensor | None) -> Tensor:
        """Mean stars ``(B,)`` of labels as they would be saved: binary, in whole planes."""
        if image is None:
            raise ValueError(
                "StarWeighted rates labels on their images: call it as loss(input, label, image=image), or hand over "
                "what they were rated, stars=stars"
            )
        label = plain(label).to(image.device)
        if flat := image.ndim == 4 and (label.ndim == 3 or is_flat(image, label)):
            label, image = thicken(label), thicken(image)
        self._frozen = (surrogate_on(self.surrogate, image.device),)
        mask = read_target(label, self.layout, hard=True, check=not self._checked, predicted=True)
        self._checked = self._checked or says_something(image)
        views = FLAT.views if flat else self.layout.views
        regions = self.task.regions
        with torch.autocast(image.device.type, enabled=False):  # stars are to be compared
            stars = rate_segmentation(
                self.surrogate,
                image,
                mask.labels if isinstance(mask, LabelMask) else torch.stack([mask.volume(r) for r in regions], 1) > 0.5,
                label_scheme=self.layout.scheme,
                modalities=self.layout.modalities,
                views=views,
                thorough=not flat and is_surveyed(self.surrogate.config, self.thorough),
            )
        return stars.mean(1)

    def _weigh(self, stars: Tensor) -> Tensor:
        weights = weights_of(stars, self.surrogate.config.stars, self.weight)
        if bool(stars.isnan().any()):
            self._tell_once(
                "unknown",
                "a label's stars are not a number, as those of exams that could not be rated: it counts nothing",
            )
        elif not bool(weights.any()):
            self._tell_once(
                "nothing",
                f"all labels of a batch count nothing, the best of them having {float(stars.max()):.1f} stars: its "
                "loss is 0. If that goes on, nothing is learned; see StarWeighted.log, and choose weight=",
            )
        return weights

    def extra_repr(self) -> str:
        """What distinguishes this loss in a print-out."""
        weight = getattr(self.weight, "__name__", type(self.weight).__name__)
        return f"weight={weight}, {self.surrogate.config.kind_of_ratings} ratings, reduction={self.reduction!r}"


def _check_loss(loss: object) -> None:
    if not callable(loss) or isinstance(loss, type):
        raise TypeError(f"StarWeighted wraps a loss such as DiceLoss(sigmoid=True), got {loss!r}")
    if isinstance(loss, nn.Module) and any(isinstance(part, RatingTerm | LabelWeightedTerm) for part in loss.modules()):
        raise TypeError(
            f"StarWeighted wraps losses of prediction and label alone, and {type(loss).__name__} takes the image, too: "
            "add it, as in StarWeighted(DiceLoss(sigmoid=True)) + 0.1 * DQELoss()"
        )


def _tensors(value: Any) -> list[Tensor]:
    return [value] if isinstance(value, Tensor) else [tensor for part in value for tensor in _tensors(part)]


def _exam(value: Any, index: int, constant: bool = False) -> Any:
    """One exam of a batch, or of each batch in a sequence; of a constant no gradient is followed."""
    if not isinstance(value, Tensor):
        return type(value)(_exam(part, index, constant) for part in value)
    exam = value[index : index + 1]
    return exam.detach() if constant else exam

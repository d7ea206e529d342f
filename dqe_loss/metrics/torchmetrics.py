"""Stars as a validation metric, in torchmetrics' way (needs the extra ``monitor``)."""

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dqe_loss.core.checks import tell
from dqe_loss.core.slicing import VIEWS
from dqe_loss.extras import import_extra
from dqe_loss.metrics.prediction_rater import NOTHING_RATED, PredictionRater
from dqe_loss.surrogate.checkpoint import DEFAULT_CHECKPOINT, fingerprint, load_surrogate
from dqe_loss.surrogate.network import Surrogate, surrogate_on

Metric: Any = import_extra("torchmetrics", "monitor").Metric


class DeepQualityEstimation(Metric):  # type: ignore[misc]
    """Mean stars of binarized predictions over a validation set, of whole planes as the published package takes them.

    With the default checkpoint these are hybrid stars; ``"brainlesion"`` gives the published package's.

    As torchmetrics' metrics are: ``update`` after each batch, ``compute`` at the end, ``reset``; sums over processes;
    logged by Lightning as it is; beside Dice in a ``MetricCollection``, called as ``collection(preds, target,
    image=image)``. What `dqe_loss.DQEMetric` is in MONAI's engines. The surrogate follows
    ``.to(device)``, stays in float32, and is in neither `parameters` nor `state_dict`.

    Args:
        checkpoint: what `load_surrogate` takes, or a `Surrogate` to share with a loss.
        label_scheme: scheme of a predicted label map, or of one-hot channels.
        region_order: order of predicted region channels; it may name further regions, which are not rated; the
            task's if None.
        modalities: the image's channel order; the task's if None.
        views: which views to rate.
        thorough: whether to ask the checkpoint's refiner, if it has one, all over the head, so that errors far
            from the rated planes count (`dqe_loss.surrogate.survey`); as ``python -m dqe_loss.rate`` does.
        per_view: let ``compute`` give a dictionary of the views and their ``"mean"`` instead of the mean alone.
        **options: torchmetrics' own, such as ``sync_on_compute``.

    Raises:
        ImportError: if torchmetrics is not installed (raised by the import of this module).
        ValueError: if a name is unknown.
        FileNotFoundError: if the checkpoint is not there.

    Example:
        >>> metric = DeepQualityEstimation(per_view=True)
        >>> metric.update(torch.zeros(1, 3, 240, 240, 155), torch.zeros(1, 4, 240, 240, 155))
        >>> sorted(metric.compute())
        ['axial', 'coronal', 'mean', 'sagittal']
    """

    is_differentiable = False
    higher_is_better = True
    # A batch's value in `forward` does not depend on what was seen before, so that each exam is rated once.
    full_state_update = False
    plot_lower_bound = 1.0
    plot_upper_bound = 6.0

    total: Tensor
    count: Tensor
    identity: Tensor

    def __init__(
        self,
        checkpoint: str | Path | Surrogate = DEFAULT_CHECKPOINT,
        *,
        label_scheme: str = "brats",
        region_order: tuple[str, ...] | None = None,
        modalities: tuple[str, ...] | None = None,
        views: tuple[str, ...] = VIEWS,
        thorough: bool = True,
        per_view: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        # In a tuple, so that torch does not register it: nothing of it is to be saved, synchronized or optimized.
        self._frozen = (checkpoint if isinstance(checkpoint, Surrogate) else load_surrogate(checkpoint),)
        task = self.surrogate.config.task
        self.rater = PredictionRater(task, label_scheme, region_order, modalities, views, thorough)
        self.views, self.per_view = views, per_view
        # Sums and not a list of stars: the memory stays the same over a hundred thousand exams.
        self.add_state("total", torch.zeros(len(views)), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")
        # A collection takes metrics of equal states for the same, and two may well give a first batch one star each.
        names = tuple(self.rater.region_order), tuple(self.rater.modalities), tuple(views)
        decisive = (fingerprint(self.surrogate), label_scheme, *names, thorough)
        self.add_state("identity", torch.tensor(zlib.crc32(repr(decisive).encode())), dist_reduce_fx="max")

    @property
    def surrogate(self) -> Surrogate:
        """The frozen network that rates."""
        return self._frozen[0]

    def update(self, preds: Tensor, target: Tensor | None = None, image: Tensor | None = None) -> None:
        """Rate a batch.

        Args:
            preds: label map ``(B, 1, X, Y, Z)``, regions ``(B, R, X, Y, Z)`` or background and tissues
                ``(B, 4, X, Y, Z)``, one-hot or probabilities; these are binarized at 0.5. Planes of a 2D network have
                no Z, and neither has their image.
            target: image ``(B, 4, X, Y, Z)`` if there is no ``image``; else a target, which is not used.
            image: the image, where a collection hands over a target, too.

        Raises:
            ValueError: if there is no image, the prediction holds NaN or logits, the image is a label map, a shape or
                label is not as said, something is not on the metric's device, or planes are rated ``per_view`` whose
                view is not known.
        """
        scans = target if image is None else image
        if scans is None:
            raise ValueError(
                "DeepQualityEstimation rates a segmentation on its image: call update(preds, image), or with a target "
                "between them update(preds, target, image=image)"
            )
        stars = self.rater(self.surrogate, preds, scans)
        if self.per_view:
            self.rater.check_columns(stars.shape[1])
        self.total += stars.sum(0)
        self.count += len(stars)

    def compute(self) -> Tensor | dict[str, Tensor]:
        """Mean stars over all exams since `reset`: a scalar, or with ``per_view`` view (and ``"mean"``) to scalar.

        Warns:
            UserWarning: nothing has been rated; the mean is NaN.
        """
        if not self.count:
            tell(NOTHING_RATED)
        stars = self.total / self.count  # 0 / 0 is NaN
        if not self.per_view:
            return stars.mean()
        return dict(zip(self.views, stars, strict=True)) | {"mean": stars.mean()}

    def _apply(self, fn: Callable[[Tensor], Tensor], *arguments: Any, **options: Any) -> "DeepQualityEstimation":
        """Take the surrogate along to another device; frozen batch statistics do not survive half precision."""
        super()._apply(fn, *arguments, **options)
        self._frozen = (surrogate_on(self.surrogate, fn(torch.empty(0, device=self.surrogate.device)).device),)
        return self

"""Stars as a validation metric, in MONAI's way."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from monai.metrics import CumulativeIterationMetric
from torch import Tensor

from dqe_loss.core.checks import tell
from dqe_loss.metrics.prediction_rater import NOTHING_RATED, PredictionRater
from dqe_loss.surrogate.checkpoint import DEFAULT_CHECKPOINT, load_surrogate
from dqe_loss.surrogate.network import Surrogate, surrogate_on

Batch = Tensor | Sequence[Tensor]
"""A batch ``(B, ...)``, or a list of exams without their first dimension."""


class DQEMetric(CumulativeIterationMetric):  # type: ignore[misc]
    """Mean stars of binarized predictions over a validation set, of whole planes as the published package takes them.

    With the default checkpoint these are hybrid stars; ``"brainlesion"`` gives the published package's. Called as
    ``metric(prediction, image)``: no reference is needed. Where a loop hands a metric MONAI's usual pair, the image
    goes by name: ``metric(y_pred, y, image=image)``. In a MONAI engine `dqe_loss.integrations.monai.DQEHandler` holds
    it; `dqe_loss.metrics.torchmetrics.DeepQualityEstimation` is the same for torchmetrics and Lightning. Gathers over
    processes as MONAI's metrics do.

    Args:
        checkpoint: what `load_surrogate` takes, or a `Surrogate` to share with a loss.
        label_scheme: scheme of a predicted label map, or of one-hot channels; the task's default if None.
        region_order: order of predicted region channels; it may name further regions, which are not rated; the
            task's if None.
        modalities: the image's channel order; the task's if None.
        views: which views to rate; the task's if None.
        thorough: whether to ask the checkpoint's refiner, if it has one, all over the head, so that errors far
            from the rated planes count (`dqe_loss.surrogate.survey`); as ``python -m dqe_loss.rate`` does.

    Raises:
        ValueError: if a name is unknown.
        FileNotFoundError: if the checkpoint is not there.

    Example:
        >>> import torch
        >>> metric = DQEMetric()
        >>> _ = metric(torch.zeros(1, 3, 240, 240, 155), torch.zeros(1, 4, 240, 240, 155))
        >>> stars = metric.aggregate()
        >>> stars.shape, metric.aggregate(per_view=True).shape
        (torch.Size([]), torch.Size([3]))
    """

    def __init__(
        self,
        checkpoint: str | Path | Surrogate = DEFAULT_CHECKPOINT,
        *,
        label_scheme: str | None = None,
        region_order: tuple[str, ...] | None = None,
        modalities: tuple[str, ...] | None = None,
        views: tuple[str, ...] | None = None,
        thorough: bool = True,
    ) -> None:
        super().__init__()
        self.surrogate = checkpoint if isinstance(checkpoint, Surrogate) else load_surrogate(checkpoint)
        task = self.surrogate.config.task
        self.rater = PredictionRater(task, label_scheme, region_order, modalities, views, thorough)
        self.views = self.rater.views

    def __call__(self, y_pred: Batch, y: Batch | None = None, *, image: Batch | None = None) -> Tensor:
        """Rate a batch, and remember its stars.

        Args:
            y_pred: label map ``(B, 1, X, Y, Z)``, regions ``(B, R, X, Y, Z)`` or background and tissues
                ``(B, 1 + T, X, Y, Z)``, one-hot or probabilities; these are binarized at 0.5. Or a list of exams
                without their first dimension. Planes of a 2D network have no Z, and neither has their image.
            y: image ``(B, C, X, Y, Z)`` (or a list) if there is no ``image``; else a label, which is not used.
            image: the image, where ``y`` is taken.

        Returns:
            Stars ``(B, V)``; of planes ``(B, 1)``.

        Raises:
            ValueError: if there is no image, the prediction holds NaN or logits, the image is a label map, or a shape
                or label is not as said.
        """
        scans = y if image is None else image
        if scans is not None and len(scans) != len(y_pred):  # of lists MONAI would rate what the shorter one has
            raise ValueError(f"got {len(y_pred)} predictions but {len(scans)} images; pass one for each")
        stars: Tensor = super().__call__(y_pred, scans)
        return stars

    def _compute_tensor(self, y_pred: Tensor, y: Tensor | None = None, **_: Any) -> Tensor:
        if y is None:
            raise ValueError(
                "DQEMetric rates a segmentation on its image: call metric(prediction, image), or with a label between "
                "them metric(prediction, label, image=image)"
            )
        self.surrogate = surrogate_on(self.surrogate, y_pred.device)
        return self.rater(self.surrogate, y_pred, y)

    def aggregate(self, per_view: bool = False) -> Tensor:
        """Mean stars over all exams (or planes) since `reset`: a scalar, or ``(V,)`` with ``per_view``.

        Raises:
            TypeError: if ``per_view`` is no bool, such as the name of a reduction, which MONAI's metrics take here.
            ValueError: if views of planes are asked for that are of no known view.

        Warns:
            UserWarning: nothing has been rated; the mean is NaN.
        """
        if not isinstance(per_view, bool):
            raise TypeError(
                f"expected per_view, True or False, got {per_view!r}: the mean is what aggregate() gives, and "
                "aggregate(per_view=True) that of each view"
            )
        stars = self.get_buffer()
        if not isinstance(stars, Tensor) or not len(stars):
            tell(NOTHING_RATED)
            return torch.full((len(self.views),) if per_view else (), torch.nan)
        if per_view:
            self.rater.check_columns(stars.shape[1])
        return stars.mean(0) if per_view else stars.mean()

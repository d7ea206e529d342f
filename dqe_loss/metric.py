"""Stars as a validation metric, in MONAI's way."""

from pathlib import Path
from typing import Any

import torch
from monai.metrics import CumulativeIterationMetric
from torch import Tensor

from dqe_loss.checkpoint import DEFAULT_CHECKPOINT, load_surrogate
from dqe_loss.intensity import MODALITIES, modality_index
from dqe_loss.labels import REGIONS, check_labels, regions_from_tissues, reorder_regions
from dqe_loss.labels import label_scheme as find_scheme
from dqe_loss.rating import rate_segmentation
from dqe_loss.slicing import VIEWS, check_views
from dqe_loss.surrogate import Surrogate, surrogate_on


def rate_prediction(
    surrogate: Surrogate,
    prediction: Tensor,
    image: Tensor,
    *,
    label_scheme: str = "brats",
    region_order: tuple[str, ...] = REGIONS,
    modalities: tuple[str, ...] = MODALITIES,
    views: tuple[str, ...] = VIEWS,
) -> Tensor:
    """Rate a network's prediction as what would be saved of it: binarized, by the published path, without gradient.

    Args:
        surrogate: the frozen network.
        prediction: label map ``(B, 1, X, Y, Z)``, regions ``(B, 3, X, Y, Z)`` or one-hot ``(B, 4, X, Y, Z)``;
            probabilities are binarized at 0.5.
        image: raw image ``(B, 4, X, Y, Z)``.
        label_scheme: scheme of a label map, or of one-hot channels.
        region_order: order of region channels.
        modalities: the image's channel order.
        views: which views to rate.

    Returns:
        Stars ``(B, V)``.

    Raises:
        ValueError: if a shape or label is not as said.
    """
    if prediction.shape[1] == 1:
        check_labels(prediction, label_scheme)
    elif prediction.shape[1] == 4:
        prediction = regions_from_tissues(prediction, label_scheme) > 0.5
    else:
        prediction = reorder_regions(prediction, region_order) > 0.5
    with torch.no_grad():
        return rate_segmentation(
            surrogate, image, prediction, label_scheme=label_scheme, modalities=modalities, views=views
        )


def check_rating_options(
    label_scheme: str, region_order: tuple[str, ...], modalities: tuple[str, ...], views: tuple[str, ...]
) -> None:
    """Check a metric's options when it is made, not after the first epoch.

    Raises:
        ValueError: naming the option and what it may be.
    """
    find_scheme(label_scheme)
    reorder_regions(torch.empty(1, 3), region_order)
    modality_index(modalities)
    check_views(views)


class DQEMetric(CumulativeIterationMetric):  # type: ignore[misc]
    """Mean stars of binarized predictions over a validation set, of whole planes as the published package takes them.

    With the default checkpoint these are hybrid stars; ``"brainlesion"`` gives the published package's.

    Called as ``metric(prediction, image)``: no reference is needed. In a MONAI engine `dqe_loss.handler.DQEHandler`
    holds it; `dqe_loss.torchmetric.DeepQualityEstimation` is the same for torchmetrics and Lightning. Gathers over
    processes as MONAI's metrics do.

    Args:
        checkpoint: what `load_surrogate` takes, or a `Surrogate` to share with a loss.
        label_scheme: scheme of a predicted label map, or of one-hot channels.
        region_order: order of predicted region channels.
        modalities: the image's channel order.
        views: which views to rate.

    Raises:
        ValueError: if a name is unknown.
        FileNotFoundError: if the checkpoint is not there.

    Example:
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
        label_scheme: str = "brats",
        region_order: tuple[str, ...] = REGIONS,
        modalities: tuple[str, ...] = MODALITIES,
        views: tuple[str, ...] = VIEWS,
    ) -> None:
        super().__init__()
        check_rating_options(label_scheme, region_order, modalities, views)
        self.surrogate = checkpoint if isinstance(checkpoint, Surrogate) else load_surrogate(checkpoint)
        self.label_scheme, self.region_order = label_scheme, region_order
        self.modalities, self.views = modalities, views

    def _compute_tensor(self, y_pred: Tensor, y: Tensor | None = None, **_: Any) -> Tensor:
        """Rate a batch.

        Args:
            y_pred: label map ``(B, 1, X, Y, Z)``, regions ``(B, 3, X, Y, Z)`` or one-hot ``(B, 4, X, Y, Z)``;
                probabilities are binarized at 0.5.
            y: raw image ``(B, 4, X, Y, Z)``.

        Returns:
            Stars ``(B, V)``.

        Raises:
            ValueError: if there is no image, or a shape or label is not as said.
        """
        if y is None:
            raise ValueError("DQEMetric rates a segmentation on its image: call metric(prediction, image)")
        self.surrogate = surrogate_on(self.surrogate, y_pred.device)
        return rate_prediction(
            self.surrogate,
            y_pred,
            y,
            label_scheme=self.label_scheme,
            region_order=self.region_order,
            modalities=self.modalities,
            views=self.views,
        )

    def aggregate(self, per_view: bool = False) -> Tensor:
        """Mean stars over all exams since `reset`: a scalar, or ``(V,)`` with ``per_view``.

        Raises:
            ValueError: if nothing has been rated yet.
        """
        stars = self.get_buffer()
        if not isinstance(stars, Tensor) or not len(stars):
            raise ValueError("no exam has been rated since the last reset()")
        return stars.mean(0) if per_view else stars.mean()

"""Stars as a validation metric, in MONAI's way."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from monai.metrics import CumulativeIterationMetric
from torch import Tensor

from dqe_loss.core.checks import check_exclusive, check_image, check_probabilities
from dqe_loss.core.intensity import MODALITIES, modality_index
from dqe_loss.core.labels import REGIONS, check_labels, check_region_order, regions_from_tissues, reorder_regions
from dqe_loss.core.labels import label_scheme as find_scheme
from dqe_loss.core.mask import TISSUES
from dqe_loss.core.pipeline import rate_segmentation
from dqe_loss.core.slicing import VIEWS, check_views
from dqe_loss.surrogate.checkpoint import DEFAULT_CHECKPOINT, load_surrogate
from dqe_loss.surrogate.network import Surrogate, surrogate_on
from dqe_loss.surrogate.survey import is_surveyed

Batch = Tensor | Sequence[Tensor]
"""A batch ``(B, ...)``, or a list of exams without their first dimension."""


class PredictionRater:
    """Rates a network's predictions as what would be saved of them: binarized, whole planes, without gradient.

    What `DQEMetric` and `dqe_loss.metrics.torchmetrics.DeepQualityEstimation` have in common. Every prediction is
    checked, the first image, too: a metric is asked seldom enough to look at the values.

    Args:
        label_scheme: scheme of a label map, or of one-hot channels.
        region_order: order of region channels; it may name further regions, which are not rated.
        modalities: the image's channel order.
        views: which views to rate.
        thorough: whether to ask the second reader all over the head, if the surrogate has one
            (`dqe_loss.surrogate.survey`).

    Raises:
        ValueError: if a name is unknown, when it is made and not after the first epoch.
    """

    def __init__(
        self,
        label_scheme: str,
        region_order: tuple[str, ...],
        modalities: tuple[str, ...],
        views: tuple[str, ...],
        thorough: bool,
    ) -> None:
        find_scheme(label_scheme)
        check_region_order(region_order)
        modality_index(modalities)
        check_views(views)
        self.label_scheme, self.region_order = label_scheme, region_order
        self.modalities, self.views, self.thorough = modalities, views, thorough
        self.seen_an_image = False

    def __call__(self, surrogate: Surrogate, prediction: Tensor, image: Tensor) -> Tensor:
        """Rate a batch.

        Args:
            surrogate: the frozen network.
            prediction: label map ``(B, 1, X, Y, Z)``, regions ``(B, R, X, Y, Z)`` or background and tissues
                ``(B, 4, X, Y, Z)``, one-hot or probabilities; these are binarized at 0.5.
            image: ``(B, 4, X, Y, Z)``, raw or z-scores, skull-stripped.

        Returns:
            Stars ``(B, V)``.

        Raises:
            ValueError: if a shape or label is not as said, the prediction holds NaN or logits, or the image is a label
                map.

        Warns:
            UserWarning: a modality of the first image is empty, or twice the same.
        """
        regions = self._binarize(prediction)
        if not self.seen_an_image:
            check_image(image, self.modalities)
            self.seen_an_image = True
        options: dict[str, Any] = {
            "label_scheme": self.label_scheme,
            "modalities": self.modalities,
            "views": self.views,
            "thorough": is_surveyed(surrogate.config, self.thorough),
        }
        with torch.no_grad():
            return rate_segmentation(surrogate, image, regions, **options)

    def _binarize(self, prediction: Tensor) -> Tensor:
        """A prediction as a label map, or as binary regions in the order of `REGIONS`."""
        if prediction.ndim != 5:
            raise ValueError(
                f"expected a prediction (B, C, X, Y, Z), got a prediction of shape {tuple(prediction.shape)}"
            )
        channels, regions = prediction.shape[1], len(self.region_order)
        if channels == 1:
            check_labels(prediction, self.label_scheme)
            return prediction
        if channels == regions:
            check_probabilities(prediction, "the prediction", "pass torch.sigmoid(logits), or logits > 0")
            return reorder_regions(prediction, self.region_order) > 0.5
        if channels != TISSUES or regions > len(REGIONS):
            raise ValueError(
                f"expected a prediction of 1 channel (label map), {regions} ({', '.join(self.region_order)}) or "
                f"{TISSUES} (background and tissues), got {channels} channels: name the region of each channel in "
                "region_order=, or pass a label map"
            )
        check_probabilities(
            prediction, "the prediction", "pass torch.softmax(logits, 1), or the label map of its argmax"
        )
        check_exclusive(prediction)
        return regions_from_tissues(prediction, self.label_scheme) > 0.5


class DQEMetric(CumulativeIterationMetric):  # type: ignore[misc]
    """Mean stars of binarized predictions over a validation set, of whole planes as the published package takes them.

    With the default checkpoint these are hybrid stars; ``"brainlesion"`` gives the published package's. Called as
    ``metric(prediction, image)``: no reference is needed. Where a loop hands a metric MONAI's usual pair, the image
    goes by name: ``metric(y_pred, y, image=image)``. In a MONAI engine `dqe_loss.integrations.monai.DQEHandler` holds
    it; `dqe_loss.metrics.torchmetrics.DeepQualityEstimation` is the same for torchmetrics and Lightning. Gathers over
    processes as MONAI's metrics do.

    Args:
        checkpoint: what `load_surrogate` takes, or a `Surrogate` to share with a loss.
        label_scheme: scheme of a predicted label map, or of one-hot channels.
        region_order: order of predicted region channels; it may name further regions, which are not rated.
        modalities: the image's channel order.
        views: which views to rate.
        thorough: whether to ask the checkpoint's second reader, if it has one, all over the head, so that errors far
            from the rated planes count (`dqe_loss.surrogate.survey`); as ``python -m dqe_loss.rate`` does.

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
        thorough: bool = True,
    ) -> None:
        super().__init__()
        self.rater = PredictionRater(label_scheme, region_order, modalities, views, thorough)
        self.surrogate = checkpoint if isinstance(checkpoint, Surrogate) else load_surrogate(checkpoint)
        self.views = views

    def __call__(self, y_pred: Batch, y: Batch | None = None, *, image: Batch | None = None) -> Tensor:
        """Rate a batch, and remember its stars.

        Args:
            y_pred: label map ``(B, 1, X, Y, Z)``, regions ``(B, R, X, Y, Z)`` or background and tissues
                ``(B, 4, X, Y, Z)``, one-hot or probabilities; these are binarized at 0.5. Or a list of exams without
                their first dimension.
            y: image ``(B, 4, X, Y, Z)`` (or a list) if there is no ``image``; else a label, which is not used.
            image: the image, where ``y`` is taken.

        Returns:
            Stars ``(B, V)``.

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
        """Mean stars over all exams since `reset`: a scalar, or ``(V,)`` with ``per_view``.

        Raises:
            ValueError: if nothing has been rated yet.
        """
        stars = self.get_buffer()
        if not isinstance(stars, Tensor) or not len(stars):
            raise ValueError("no exam has been rated since the last reset()")
        return stars.mean(0) if per_view else stars.mean()

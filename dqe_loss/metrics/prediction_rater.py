"""A network's predictions, rated as what would be saved of them: what the metrics of MONAI and torchmetrics share."""

import torch
from torch import Tensor

from dqe_loss.core.checks import check_exclusive, check_probabilities
from dqe_loss.core.labels import are_tissues, check_labels, regions_from_tissues, reorder_regions
from dqe_loss.core.layout import settle_layout
from dqe_loss.core.pipeline import FLAT
from dqe_loss.core.tensors import is_flat, plain, thicken
from dqe_loss.surrogate.network import Surrogate
from dqe_loss.surrogate.rating import is_label_map, rate_segmentation
from dqe_loss.surrogate.survey import is_surveyed
from dqe_loss.task import Task

NOTHING_RATED = "no exam has been rated since the last reset(): the mean of no stars is NaN"
"""A warning and no error: an epoch whose validation is empty must not end a training of days."""


class PredictionRater:
    """Rates a network's predictions as what would be saved of them: binarized, whole planes, without gradient.

    What MONAI's and torchmetrics' metric have in common.

    Args:
        task: what is rated.
        label_scheme: scheme of a label map, or of one-hot channels; the task's default if None.
        region_order: order of region channels; it may name further regions, which are not rated; the task's if None.
        modalities: the image's channel order; the task's if None.
        views: which views to rate; the task's if None.
        thorough: whether to ask the refiner all over the head, if the surrogate has one
            (`dqe_loss.surrogate.survey`).

    Raises:
        ValueError: if a name is unknown, when it is made and not after the first epoch.
    """

    def __init__(
        self,
        task: Task,
        label_scheme: str | None,
        region_order: tuple[str, ...] | None,
        modalities: tuple[str, ...] | None,
        views: tuple[str, ...] | None,
        thorough: bool,
    ) -> None:
        layout = settle_layout(task, label_scheme, region_order, modalities, views)
        self.scheme, self.region_order, self.modalities, self.views = layout
        self.task, self.label_scheme, self.thorough = task, self.scheme.name, thorough

    def __call__(self, surrogate: Surrogate, prediction: Tensor, image: Tensor) -> Tensor:
        """Rate a batch.

        Args:
            surrogate: the frozen network.
            prediction: label map ``(B, 1, X, Y, Z)``, regions ``(B, R, X, Y, Z)`` or background and tissues
                ``(B, 1 + T, X, Y, Z)``, one-hot or probabilities; these are binarized at 0.5. Or planes, without Z.
            image: ``(B, C, X, Y, Z)``, raw or z-scores; of planes ``(B, C, H, W)``.

        Returns:
            Stars ``(B, V)``; of planes ``(B, 1)``.

        Raises:
            ValueError: if a shape or label is not as said, the prediction holds NaN or logits, or the image is a label
                map.

        Warns:
            UserWarning: what `rate_segmentation` tells.
        """
        if flat := is_flat(image, prediction):
            image, prediction = thicken(image), thicken(prediction)
        regions = self._binarize(plain(prediction))
        # Stars are to be compared: autocast, which may be on in validation, would move them by a hundredth.
        with torch.no_grad(), torch.autocast(image.device.type, enabled=False):
            return rate_segmentation(
                surrogate,
                image,
                regions,
                label_scheme=self.scheme,
                modalities=self.modalities,
                views=FLAT.views if flat else self.views,
                thorough=not flat and is_surveyed(surrogate.config, self.thorough),
            )

    def check_columns(self, columns: int) -> None:
        """Check that columns of stars are the views, as those of planes by themselves are not.

        Raises:
            ValueError: if not.
        """
        if columns != len(self.views):
            raise ValueError(
                "planes (B, C, H, W) were rated, and nobody knows of which view they are: say views=('axial',), or ask "
                "for the mean alone, without per_view"
            )

    def _binarize(self, prediction: Tensor) -> Tensor:
        """A prediction as a label map, or as binary regions in the task's order."""
        if prediction.ndim != 5:
            raise ValueError(
                f"expected a prediction (B, C, X, Y, Z), or planes (B, C, H, W), got a prediction of shape "
                f"{tuple(prediction.shape)}"
            )
        channels, regions, tissues = prediction.shape[1], len(self.region_order), self.task.tissue_channels
        if channels == 1 and is_label_map(prediction, len(self.task.regions)):
            check_labels(prediction, self.scheme)
            return prediction
        if channels == regions and not are_tissues(prediction, self.region_order, self.scheme):
            check_probabilities(prediction, "the prediction", "pass torch.sigmoid(logits), or logits > 0")
            return reorder_regions(prediction, self.region_order, self.task.regions) > 0.5
        if channels != tissues or regions > len(self.task.regions):
            raise ValueError(
                f"expected a prediction of 1 channel (label map), {regions} ({', '.join(self.region_order)}) or "
                f"{tissues} (background and tissues), got {channels} channels: name the region of each channel in "
                "region_order=, or pass a label map"
            )
        check_probabilities(
            prediction, "the prediction", "pass torch.softmax(logits, 1), or the label map of its argmax"
        )
        check_exclusive(prediction)
        return regions_from_tissues(prediction, self.scheme) > 0.5

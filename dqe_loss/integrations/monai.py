"""The loss in MONAI's trainers, and stars in its evaluators (needs the extra ``monitor``)."""

from typing import Any

import torch
from monai.engines.utils import IterationEvents
from monai.handlers import IgniteMetricHandler
from torch import Tensor

from dqe_loss.core.origin import crop_origin
from dqe_loss.extras import import_extra
from dqe_loss.losses.bound import BoundLoss
from dqe_loss.losses.sum import LossSum
from dqe_loss.metrics.monai import DQEMetric

# MONAI's handlers are placeholders without ignite, and say so only when one is made.
Events = import_extra("ignite.engine", "monitor").Events


class BindImageHandler:
    """Hands the batch's raw image to a bound criterion, between the network's forward pass and the loss.

    A `SupervisedTrainer` calls ``loss_function(prediction, label)``. With ``loss_function=bound`` and
    ``train_handlers=[BindImageHandler(bound)]``, where ``bound = criterion.bound()``, nothing is to be subclassed. The
    criterion is moved to the engine's device, and the epoch's means of what `LossSum.log` tells are put in
    ``engine.state.metrics``: name this handler before those that log them. What a `DQELoss` tells is averaged over the
    exams that were rated; what was not measured in an epoch is not there.

    Where the network sees crops, ``target_key`` says where the full-size label lies: copies of image and label, set
    aside before ``CropForegroundd`` or ``RandCropByPosNegLabeld`` (``CopyItemsd``). Each crop's place is then found by
    its affine (`dqe_loss.crop_origin`), and the crop is rated in it.

    Args:
        criterion: what `LossSum.bound` gives, the engine's loss function.
        image_key: where the raw image lies in the engine's batch; full-size where there is a ``target_key``.
        target_key: where the full-size label lies, if crops are rated in their places.
        crop_key: where the crops lie that the network sees; asked for their places alone.
        log: whether to note what the criterion logs.

    Raises:
        TypeError: if the criterion is not bound.
        ImportError: if pytorch-ignite is not installed (raised by the import of this module).
    """

    def __init__(
        self,
        criterion: BoundLoss,
        *,
        image_key: str = "raw",
        target_key: str | None = None,
        crop_key: str = "image",
        log: bool = True,
    ) -> None:
        if not isinstance(criterion, BoundLoss):
            raise TypeError(
                f"BindImageHandler takes what criterion.bound() gives, got {type(criterion).__name__}; give the same "
                "to the trainer, as loss_function"
            )
        self.criterion, self.log = criterion, log
        self.image_key, self.target_key, self.crop_key = image_key, target_key, crop_key
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, Tensor] = {}
        self._told: set[str] = set()

    def attach(self, engine: Any) -> None:
        """Listen to a trainer."""
        engine.add_event_handler(Events.STARTED, lambda engine: self.criterion.to(engine.state.device))
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self.bind)
        if self.log and isinstance(self.criterion.loss, LossSum):
            engine.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self._note)
            engine.add_event_handler(Events.EPOCH_COMPLETED, self._tell)

    def bind(self, engine: Any) -> None:
        """Bind what the batch has for the criterion.

        Raises:
            ValueError: if the batch lacks a key, or a crop's place cannot be found.
        """
        image = self._take(engine, self.image_key)
        if self.target_key is None:
            self.criterion.bind(image=image)
            return
        origin = crop_origin(engine.state.batch[self.crop_key], engine.state.batch[self.image_key])
        self.criterion.bind(image=image, target=self._take(engine, self.target_key), origin=origin)

    def _take(self, engine: Any, key: str) -> Tensor:
        if key not in engine.state.batch:
            raise ValueError(
                f"the engine's batch has no {key!r}, only {', '.join(map(str, engine.state.batch))}; say where things "
                "lie with BindImageHandler(image_key=..., target_key=...)"
            )
        tensor: Tensor = engine.state.batch[key].to(engine.state.device, non_blocking=engine.non_blocking)
        return tensor

    def _note(self, engine: Any) -> None:
        """Add the step's figures up, without waiting for the device."""
        criterion: Any = self.criterion.loss
        rated = criterion.rated_of(len(engine.state.batch[self.image_key]))
        for name, figure in criterion.figures.items():
            count = torch.as_tensor(rated.get(name, 1), device=figure.device) * ~figure.isnan()
            self._sums[name] = self._sums.get(name, 0) + figure.nan_to_num() * count
            self._counts[name] = self._counts.get(name, 0) + count

    def _tell(self, engine: Any) -> None:
        for name in self._told:
            engine.state.metrics.pop(name, None)
        means = {name: float(total) / count for name, total in self._sums.items() if (count := int(self._counts[name]))}
        engine.state.metrics.update(means)
        self._told, self._sums, self._counts = set(means), {}, {}


class DQEHandler(IgniteMetricHandler):  # type: ignore[misc]
    """Puts the mean stars of an evaluator's predictions in ``engine.state.metrics``, under the name it is attached by.

    ``SupervisedEvaluator(..., key_val_metric={"stars": DQEHandler()})`` makes the stars what the best checkpoint is
    chosen by; in ``additional_metrics`` they stand beside Dice. An engine hands its metrics the network's input,
    prediction and label alone; the surrogate wants an image that no augmentation has changed, and this handler takes it
    from the batch. Where the network's input is that image, raw or as z-scores, MONAI's own handler does:
    ``IgniteMetricHandler(DQEMetric(), output_transform=from_engine(["pred", "image"]))``.

    A prediction that is smaller than the raw image, as after ``CropForegroundd``, is put in its place by its affine;
    around it nothing counts as predicted.

    Args:
        metric: what rates, with its checkpoint and options; `DQEMetric()`, which rates with ``"hardened"``, if None.
        image_key: where the raw image lies in the engine's batch (``engine.state.batch``).
        prediction_key: where the prediction lies in the engine's output, after its postprocessing: label map, regions
            or one-hot; probabilities are binarized at 0.5, logits are an error.
        per_view: whether to give ``NAME_axial``, ``NAME_coronal``, ``NAME_sagittal`` besides.
        save_details: whether to keep each exam's stars of each view in ``engine.state.metric_details``.

    Raises:
        ImportError: if pytorch-ignite is not installed (raised by the import of this module).
    """

    def __init__(
        self,
        metric: DQEMetric | None = None,
        *,
        image_key: str = "raw",
        prediction_key: str = "pred",
        per_view: bool = False,
        save_details: bool = True,
    ) -> None:
        # Not `metric or ...`: a metric that has rated nothing yet is false.
        super().__init__(metric_fn=DQEMetric() if metric is None else metric, save_details=save_details)
        self.image_key, self.prediction_key, self.per_view = image_key, prediction_key, per_view

    def iteration_completed(self, engine: Any) -> None:
        """Rate what the engine has just predicted.

        Raises:
            ValueError: if the batch has no raw image, or the output no prediction, naming the keys that it has; or if
                a prediction is of another size than the image, and its place cannot be found.
        """
        predictions = _take(engine.state.output, self.prediction_key, "the engine's output")
        images = _take(engine.state.batch, self.image_key, "the engine's batch")
        pairs = list(zip(predictions, images, strict=True))
        self.update(([_in_place(*pair) for pair in pairs], [image.to(p.device) for p, image in pairs]))

    def completed(self, engine: Any, name: str) -> None:
        """Put the mean stars in ``engine.state.metrics``, those of the views too if asked for."""
        super().completed(engine, name)
        if self.per_view:
            for view, stars in zip(self.metric_fn.views, self.metric_fn.aggregate(per_view=True).tolist(), strict=True):
                engine.state.metrics[f"{name}_{view}"] = stars


def _in_place(prediction: Tensor, image: Tensor) -> Tensor:
    """A prediction ``(C, X, Y, Z)`` in a volume of its image's size; the prediction itself if it has that size."""
    if prediction.shape[1:] == image.shape[1:]:
        return prediction
    origin = crop_origin(prediction, image).tolist()
    whole = torch.zeros((prediction.shape[0], *image.shape[1:]), dtype=prediction.dtype, device=prediction.device)
    box = [slice(first, first + size) for first, size in zip(origin, prediction.shape[1:], strict=True)]
    part = (slice(None), *box)
    whole[part] = prediction.as_subclass(Tensor)
    return whole


def _take(data: Any, key: str, where: str) -> list[Tensor]:
    """A tensor of each exam, channels first, from a dictionary of batches or the list that decollating leaves."""
    present = data if isinstance(data, dict) else data[0]
    if key not in present:
        raise ValueError(
            f"{where} has no {key!r}, only {', '.join(map(str, present))}; "
            "say where it lies with DQEHandler(image_key=..., prediction_key=...)"
        )
    return list(data[key]) if isinstance(data, dict) else [exam[key] for exam in data]

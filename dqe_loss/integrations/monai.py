"""Stars in a MONAI evaluator, as its key metric or beside it (needs the extra ``monitor``)."""

from typing import Any

from monai.handlers import IgniteMetricHandler
from torch import Tensor

from dqe_loss.extras import import_extra
from dqe_loss.metrics.monai import DQEMetric

# MONAI's handlers are placeholders without ignite, and say so only when one is made.
import_extra("ignite.engine", "monitor")


class DQEHandler(IgniteMetricHandler):  # type: ignore[misc]
    """Puts the mean stars of an evaluator's predictions in ``engine.state.metrics``, under the name it is attached by.

    ``SupervisedEvaluator(..., key_val_metric={"stars": DQEHandler()})`` makes the stars what the best checkpoint is
    chosen by; in ``additional_metrics`` they stand beside Dice. An engine hands its metrics the network's input,
    prediction and label alone; the surrogate wants an image that no augmentation has changed, and this handler takes it
    from the batch. Where the network's input is that image, raw or as z-scores, MONAI's own handler does:
    ``IgniteMetricHandler(DQEMetric(), output_transform=from_engine(["pred", "image"]))``.

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
            ValueError: if the batch has no raw image, or the output no prediction, naming the keys that it has.
        """
        predictions = _take(engine.state.output, self.prediction_key, "the engine's output")
        images = _take(engine.state.batch, self.image_key, "the engine's batch")
        images = [image.to(p.device) for image, p in zip(images, predictions, strict=True)]
        self.update((predictions, images))

    def completed(self, engine: Any, name: str) -> None:
        """Put the mean stars in ``engine.state.metrics``, those of the views too if asked for."""
        super().completed(engine, name)
        if self.per_view:
            for view, stars in zip(self.metric_fn.views, self.metric_fn.aggregate(per_view=True).tolist(), strict=True):
                engine.state.metrics[f"{name}_{view}"] = stars


def _take(data: Any, key: str, where: str) -> list[Tensor]:
    """A tensor of each exam, channels first, from a dictionary of batches or the list that decollating leaves."""
    present = data if isinstance(data, dict) else data[0]
    if key not in present:
        raise ValueError(
            f"{where} has no {key!r}, only {', '.join(map(str, present))}; "
            "say where it lies with DQEHandler(image_key=..., prediction_key=...)"
        )
    return list(data[key]) if isinstance(data, dict) else [exam[key] for exam in data]

"""The loss and the metric in a LightningModule: warm-up, resume, log, learning rate finder, DDP, mixed precision."""

import csv
import sys
import warnings
from pathlib import Path

import pytest
import torch
from helpers import make_case, make_loss, small_surrogate, tiny_surrogate
from monai.losses import DiceLoss
from torch import nn
from torch.utils.data import DataLoader

lightning = pytest.importorskip("pytorch_lightning")
torchmetrics = pytest.importorskip("torchmetrics")
callback = pytest.importorskip("dqe_loss.integrations.lightning")

from pytorch_lightning.loggers import CSVLogger  # noqa: E402 (only where it is installed)
from pytorch_lightning.tuner import Tuner  # noqa: E402
from torchmetrics.segmentation import DiceScore  # noqa: E402

from dqe_loss.metrics.torchmetrics import DeepQualityEstimation  # noqa: E402


class Segmenter(lightning.LightningModule):
    def __init__(self, warmup=3, metric=False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.learning_rate = 1e-3
        self.network = nn.Conv3d(4, 3, 1)
        self.criterion = DiceLoss(sigmoid=True) + 0.1 * make_loss(surrogate=tiny_surrogate(), warmup=warmup)
        dice = DiceScore(num_classes=3, input_format="one-hot")
        stars = DeepQualityEstimation(tiny_surrogate())
        self.metrics = torchmetrics.MetricCollection({"dice": dice, "stars": stars} if metric else {"dice": dice})
        self.rated: list[bool] = []
        self.validated: list[float] = []

    def _loss(self, batch):
        logits = self.network(batch["image"] / 500)
        return logits, self.criterion(logits, batch["regions"], image=batch["image"])

    def training_step(self, batch, index):
        _, loss = self._loss(batch)
        self.rated.append("DQELoss" in self.criterion.log)
        return loss

    def validation_step(self, batch, index):
        logits, _ = self._loss(batch)
        self.validated.append(len(self.criterion.validation_log))
        self.metrics.update(logits > 0, batch["regions"].bool(), image=batch["image"])
        self.log_dict(self.metrics)

    def configure_optimizers(self):
        return torch.optim.SGD(self.network.parameters(), self.learning_rate)


def make_data(**options):
    image, _, regions, _ = make_case()
    return DataLoader([{"image": image[i], "regions": regions[i].float()} for i in range(2)], batch_size=1, **options)


def make_trainer(folder, epochs, **options):
    return lightning.Trainer(**{
        "default_root_dir": folder, "max_epochs": epochs, "accelerator": "cpu", "logger": False,
        "enable_progress_bar": False, "enable_model_summary": False, "accumulate_grad_batches": 2, **options,
    })  # fmt: skip


def fit(module, folder, epochs, ckpt_path=None, **options):
    trainer = make_trainer(folder, epochs, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(module, make_data(), make_data(), ckpt_path=ckpt_path)
    return trainer


@pytest.mark.slow
def test_a_resumed_training_resumes_its_warm_up(tmp_path):
    """An epoch is one step of two accumulated batches; validation, before the first step too, is the whole sum."""
    first = Segmenter()
    trainer = fit(first, tmp_path, 2)
    assert first.criterion.steps_done == 2
    assert first.rated == [False] * 4
    assert set(first.validated) == {2}
    trainer.save_checkpoint(tmp_path / "two.ckpt")
    resumed = Segmenter()
    fit(resumed, tmp_path, 4, ckpt_path=tmp_path / "two.ckpt")
    assert resumed.criterion.steps_done == 4
    assert resumed.rated == [False, False, True, True]


class Hidden(Segmenter):
    """A criterion that ``state_dict`` does not see."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = [self.criterion]
        del self.criterion

    @property
    def criterion(self):
        return self.hidden[0] if "hidden" in self.__dict__ else self._modules["criterion"]


@pytest.mark.slow
def test_the_callback_keeps_the_warm_up_of_a_criterion_that_is_not_saved(tmp_path):
    first = Hidden()
    trainer = fit(first, tmp_path, 2, callbacks=[callback.DQECallback(first.criterion)])
    trainer.save_checkpoint(tmp_path / "two.ckpt")
    resumed = Hidden()
    fit(resumed, tmp_path, 4, tmp_path / "two.ckpt", callbacks=[callback.DQECallback(resumed.criterion)])
    assert resumed.rated == [False, False, True, True]


@pytest.mark.parametrize("start", ["fit", "validate"])
def test_a_hidden_criterion_is_moved_before_the_first_validation(tmp_path, monkeypatch, start):
    """In the sanity check before a training, and in a validation by itself."""
    module, events = Hidden(), []
    move = module.criterion.to
    monkeypatch.setattr(module.criterion, "to", lambda device: events.append("moved") or move(device))
    step = module.validation_step
    monkeypatch.setattr(module, "validation_step", lambda *given: events.append("validated") or step(*given))
    trainer = make_trainer(tmp_path, 1, callbacks=[callback.DQECallback(module.criterion)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(module, make_data(), make_data()) if start == "fit" else trainer.validate(module, make_data())
    assert events[:2] == ["moved", "validated"]


def test_the_checkpoint_holds_nothing_of_the_frozen_network(tmp_path):
    module = Segmenter(metric=True)
    trainer = fit(module, tmp_path, 1, callbacks=[callback.DQECallback()])
    assert {"dice", "stars"} < set(trainer.callback_metrics)
    assert 1 < trainer.callback_metrics["stars"] < 6
    trainer.save_checkpoint(tmp_path / "one.ckpt")
    saved = torch.load(tmp_path / "one.ckpt", weights_only=True)
    assert list(saved["state_dict"]) == ["network.weight", "network.bias", "criterion.steps_done"]
    assert saved["callbacks"]["DQECallback"] == {"steps_done": [1]}
    assert len(saved["optimizer_states"][0]["param_groups"][0]["params"]) == 2
    assert (tmp_path / "one.ckpt").stat().st_size < 20_000


def test_each_step_is_logged_after_its_backward_pass(tmp_path):
    module = Segmenter(warmup=1)
    logger = CSVLogger(tmp_path)
    fit(
        module, tmp_path, 3, callbacks=[callback.DQECallback()], logger=logger, log_every_n_steps=1,
        accumulate_grad_batches=1,
    )  # fmt: skip
    rows = list(csv.DictReader((Path(logger.log_dir) / "metrics.csv").open()))
    steps = [row for row in rows if row["train/DiceLoss"]]
    assert len(steps) == 6
    assert float(steps[-1]["train/gradient_ratio"]) == pytest.approx(module.criterion.log["gradient_ratio"], rel=1e-4)
    assert all(0 < float(row["train/guard_kept"]) <= 1 for row in steps[1:])
    assert float(steps[-1]["train/stars"]) == pytest.approx(module.criterion.log["stars"], rel=1e-4)
    assert not steps[0]["train/DQELoss"]


def test_a_learning_rate_finder_leaves_the_warm_up_where_it_was(tmp_path):
    module = Hidden()
    logger = CSVLogger(tmp_path)
    watch = callback.DQECallback(module.criterion)
    trainer = make_trainer(tmp_path, 1, callbacks=[watch], logger=logger, accumulate_grad_batches=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = Tuner(trainer).lr_find(module, make_data(), num_training=6, early_stop_threshold=None)
    assert len(found.results["loss"]) >= 2
    assert len(module.rated) >= 2
    assert module.criterion.steps_done == 0
    assert "train/DiceLoss" not in trainer.logged_metrics


def test_a_module_without_a_sum_is_told_what_to_do(tmp_path):
    module = Hidden()
    with pytest.raises(ValueError, match=r"DQECallback finds no sum of losses in Hidden: .*DQECallback\(criterion\)"):
        fit(module, tmp_path, 1, callbacks=[callback.DQECallback()])


class Unrated(Segmenter):
    """Its validation rates nothing."""

    def validation_step(self, batch, index):
        stars = self.metrics["stars"]
        if self.trainer.sanity_checking:
            stars.update(batch["regions"], batch["image"])
        self.log("stars", stars, on_epoch=True)


def test_an_epoch_in_which_nothing_was_rated_goes_on(tmp_path):
    trainer = make_trainer(tmp_path, 1)
    with pytest.warns(UserWarning, match=r"no exam has been rated since the last reset\(\).*NaN"):
        trainer.fit(Unrated(metric=True), make_data(), make_data())
    assert trainer.callback_metrics["stars"].isnan()


@pytest.mark.slow
def test_mixed_precision(tmp_path):
    module = Segmenter(warmup=1)
    fit(module, tmp_path, 2, precision="bf16-mixed", callbacks=[callback.DQECallback()])
    assert module.criterion.log["DQELoss"] > 0
    assert module.network.weight.isfinite().all()
    assert module.criterion.terms[1].surrogate.dtype == torch.float32


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="processes are forked")
def test_two_processes(tmp_path):
    """Weights stay the same on both ranks, and the stars are those of all exams."""
    module = Segmenter(warmup=1, metric=True)
    trainer = fit(
        module, tmp_path, 2, strategy="ddp_fork", devices=2, callbacks=[callback.DQECallback()],
        accumulate_grad_batches=1,
    )  # fmt: skip
    alone = make_trainer(tmp_path, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        alone.validate(module, make_data(), verbose=False)
    assert trainer.callback_metrics["stars"] == pytest.approx(alone.callback_metrics["stars"].item(), abs=1e-4)


@pytest.mark.slow
def test_the_default_metric_in_an_epoch(tmp_path):
    """Stars by the published weights, as the metric gives them outside of Lightning."""
    module = Segmenter(metric=True)
    module.metrics["stars"] = DeepQualityEstimation(small_surrogate())
    trainer = fit(module, tmp_path, 1)
    metric = DeepQualityEstimation(small_surrogate())
    for batch in make_data():
        metric.update(module.network(batch["image"] / 500) > 0, batch["image"])
    assert trainer.callback_metrics["stars"] == pytest.approx(metric.compute().item(), abs=1e-4)

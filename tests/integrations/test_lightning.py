"""A criterion in a LightningModule: its warm-up goes on where ``ckpt_path`` resumes it."""

import warnings

import pytest
import torch
from helpers import make_case, make_loss, tiny_surrogate
from monai.losses import DiceLoss
from torch import nn
from torch.utils.data import DataLoader

lightning = pytest.importorskip("pytorch_lightning")


class Segmenter(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Conv3d(4, 3, 1)
        self.criterion = DiceLoss(sigmoid=True) + 0.1 * make_loss(surrogate=tiny_surrogate(), warmup=3)
        self.rated: list[bool] = []
        self.validated: list[float] = []

    def _loss(self, batch):
        return self.criterion(self.network(batch["image"] / 500), batch["regions"], image=batch["image"])

    def training_step(self, batch, index):
        loss = self._loss(batch)
        self.rated.append("DQELoss" in self.criterion.log)
        return loss

    def validation_step(self, batch, index):
        self._loss(batch)
        self.validated.append(len(self.criterion.validation_log))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 1e-3)


def fit(module, folder, epochs, **options):
    image, _, regions, _ = make_case()
    loader = DataLoader([{"image": image[i], "regions": regions[i].float()} for i in range(2)], batch_size=1)
    trainer = lightning.Trainer(
        default_root_dir=folder, max_epochs=epochs, accelerator="cpu", logger=False, enable_progress_bar=False,
        enable_model_summary=False, accumulate_grad_batches=2,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(module, loader, loader, **options)
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

"""A LightningModule with the rating term in its loss and stars beside Dice in its validation.

    python examples/lightning_training.py --out runs/lightning
    python examples/lightning_training.py --out runs/lightning --resume runs/lightning/last.ckpt --epochs 20

It trains a small network on phantoms. Checkpoints, resume, several processes (`--devices 2`) and mixed precision
(`--precision bf16-mixed`) are Lightning's: the term needs nothing for them.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro
from coarse_unet import CoarseUNet
from monai.data import DataLoader
from monai.losses import DiceLoss
from monitor_training import TEST_PHANTOM, make_data
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger
from torchmetrics import MetricCollection
from torchmetrics.segmentation import DiceScore

from dqe_loss import DQELoss
from dqe_loss.command_line import run_command
from dqe_loss.integrations.lightning import DQECallback
from dqe_loss.metrics.torchmetrics import DeepQualityEstimation
from dqe_loss.options import CheckpointName, OutFolder
from dqe_loss.outputs import check_output_folder
from dqe_loss.surrogate.checkpoint import DEFAULT_CHECKPOINT

_OUT = tyro.conf.arg(help="Folder of the log and of the checkpoints.")


@dataclass(frozen=True)
class LightningTrainingOptions:
    """Train a small network on phantoms in Lightning, with the rating term.

    Attributes:
        phantoms: Phantoms to train on.
        validation: Phantoms to validate on.
        epochs: Epochs, those of a resumed training included.
        warmup: Steps with Dice alone.
        learning_rate: Adam's.
        resume: Checkpoint of a former training to go on with.
        devices: Processes.
        precision: Lightning's name of the precision.
        accelerator: Lightning's name of the device.
    """

    out: Annotated[OutFolder, _OUT] = Path("runs/lightning")
    phantoms: int = 4
    validation: int = 2
    epochs: int = 10
    warmup: int = 20
    learning_rate: float = 0.005
    checkpoint: CheckpointName = DEFAULT_CHECKPOINT
    resume: Path | None = None
    devices: int = 1
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    accelerator: str = "cpu"


class Segmenter(LightningModule):
    """A network, the sum of its losses, and what it is validated by."""

    def __init__(self, checkpoint: str, warmup: int, learning_rate: float) -> None:
        super().__init__()
        self.learning_rate = learning_rate
        self.network = CoarseUNet()
        # The term: its warm-up is saved with the network, its own network is not.
        self.criterion = DiceLoss(sigmoid=True) + 0.1 * DQELoss(checkpoint, warmup=warmup)
        dice = DiceScore(num_classes=3, input_format="one-hot")
        # Stars beside Dice: a collection hands each metric what it takes.
        self.metrics = MetricCollection({"dice": dice, "stars": DeepQualityEstimation(checkpoint)}, prefix="val/")

    def training_step(self, batch: dict[str, torch.Tensor], index: int) -> torch.Tensor:
        """Loss of a batch, with its raw image."""
        loss: torch.Tensor = self.criterion(self.network(batch["image"]), batch["label"], image=batch["raw"])
        return loss

    def validation_step(self, batch: dict[str, torch.Tensor], index: int) -> None:
        """Dice and stars of a batch."""
        # MONAI's tensors would be saved with the best score, and need unpickling then.
        image, label, raw = (batch[key].as_subclass(torch.Tensor) for key in ("image", "label", "raw"))
        prediction = self.network(image) > 0
        self.metrics.update(prediction, label.bool(), image=raw)
        self.log_dict(self.metrics, batch_size=len(prediction))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Of the network alone; the term has no parameters, so that self.parameters() would be the same."""
        return torch.optim.Adam(self.parameters(), self.learning_rate)


def train(options: LightningTrainingOptions) -> Trainer:
    """Train, validate after each epoch, and keep the checkpoint with the best Dice and the last one."""
    if min(options.phantoms, options.validation, options.epochs) < 1:
        raise ValueError("--phantoms, --validation and --epochs must be 1 or more")
    if options.resume is not None and not options.resume.is_file():
        raise ValueError(f"--resume: no checkpoint at {options.resume}")
    check_output_folder(options.out)
    torch.manual_seed(0)
    module = Segmenter(options.checkpoint, options.warmup, options.learning_rate)
    loaders: list[Any] = [
        DataLoader(make_data(seeds, name), batch_size=1, shuffle=name == "training")
        for seeds, name in (
            (range(options.phantoms), "training"),
            (range(TEST_PHANTOM, TEST_PHANTOM + options.validation), "validation"),
        )
    ]
    best = ModelCheckpoint(options.out, "best", monitor="val/dice", mode="max", save_last=True)
    trainer = Trainer(
        max_epochs=options.epochs,
        accelerator=options.accelerator,
        devices=options.devices,
        strategy="auto" if options.devices == 1 else "ddp",
        precision=options.precision,
        callbacks=[best, DQECallback()],  # the callback logs ratio and kept share of each step
        logger=CSVLogger(options.out),
        log_every_n_steps=1,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(module, *loaders, ckpt_path=options.resume)
    return trainer


def main(argv: Sequence[str] | None = None) -> int:
    """Run the example, and tell what is wrong in one line."""

    def work(options: LightningTrainingOptions) -> None:
        trainer = train(options)
        told = {name: round(float(value), 3) for name, value in trainer.callback_metrics.items() if "val/" in name}
        print(f"{told} Written to {options.out}")

    return run_command("lightning_training.py", LightningTrainingOptions, work, argv)


if __name__ == "__main__":
    sys.exit(main())

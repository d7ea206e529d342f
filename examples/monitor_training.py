"""Log stars next to Dice, epoch by epoch, in MONAI's engines and TensorBoard.

    python examples/monitor_training.py --out runs/monitor
    tensorboard --logdir runs/monitor

A `SupervisedTrainer` trains a small network with Dice on phantoms; after each epoch a `SupervisedEvaluator` rates its
predictions for phantoms that it does not train on: stars need no reference, Dice does. The best stars choose the
checkpoint that is kept. Stars say what a rater might say of three planes, and can be fooled (see docs/): look
at both curves, and be wary where stars rise and Dice does not.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from coarse_unet import CoarseUNet
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import CheckpointSaver, MeanDice, TensorBoardStatsHandler, ValidationHandler, from_engine
from monai.losses import DiceLoss
from monai.transforms import AsDiscreted, Compose, CopyItemsd, NormalizeIntensityd
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from dqe_loss import DQEMetric, load_surrogate, regions_from_labels
from dqe_loss.command_line import check_device, run_command
from dqe_loss.data.phantom import make_phantom
from dqe_loss.extras import import_extra
from dqe_loss.options import CheckpointName, DeviceName, OutFolder
from dqe_loss.outputs import check_output_folder
from dqe_loss.surrogate.checkpoint import DEFAULT_CHECKPOINT
from dqe_loss.surrogate.describe import star_unit

TEST_PHANTOM = 100
_OUT = tyro.conf.arg(help="Folder of the TensorBoard log and of the best checkpoint.")


@dataclass(frozen=True)
class MonitorTrainingOptions:
    """Train a small network on phantoms, and log stars and Dice after each epoch.

    Attributes:
        phantoms: Phantoms to train on.
        validation: Phantoms to validate on.
        epochs: Epochs.
        learning_rate: Adam's.
        smoke: One phantom each and one epoch, to see that everything runs.
    """

    out: Annotated[OutFolder, _OUT] = Path("runs/monitor")
    phantoms: int = 4
    validation: int = 2
    epochs: int = 10
    learning_rate: float = 0.005
    checkpoint: CheckpointName = DEFAULT_CHECKPOINT
    device: DeviceName = "cpu"
    smoke: bool = False


def make_data(seeds: Sequence[int], name: str) -> Dataset:
    """Phantoms as an engine's batches have them: the network's input, its label, and beside them the raw image."""
    data = []
    for seed in tqdm(seeds, f"drawing phantoms for {name}", dynamic_ncols=True):
        exam = make_phantom(seed)
        label = regions_from_labels(torch.from_numpy(exam.segmentations["reference"])[None, None])[0].float()
        data.append({"raw": torch.from_numpy(exam.image).float(), "label": label})
    # The surrogate scales raw intensities itself; the handler finds them under "raw". It is the network's input that is
    # the copy: MONAI normalizes in place, and would normalize the data set for the next epoch's copy.
    prepare = [CopyItemsd("raw", names="image"), NormalizeIntensityd("image", nonzero=True, channel_wise=True)]
    return Dataset(data, Compose(prepare))


def make_evaluator(data: Dataset, network: torch.nn.Module, metric: DQEMetric, device: torch.device) -> Any:
    """An evaluator whose key metric are the stars, with Dice beside it."""
    handler = import_extra("dqe_loss.integrations.monai", "monitor")
    return SupervisedEvaluator(
        device=device,
        val_data_loader=DataLoader(data, batch_size=1),
        network=network,
        postprocessing=AsDiscreted("pred", threshold=0.0),  # logits of regions
        key_val_metric={"stars": handler.DQEHandler(metric, image_key="raw", per_view=True)},
        additional_metrics={"dice": MeanDice(output_transform=from_engine(["pred", "label"]))},
    )


def monitor(arguments: MonitorTrainingOptions) -> list[dict[str, float]]:
    """Train and log; the metrics of each epoch."""
    import_extra("dqe_loss.integrations.monai", "monitor")
    if min(arguments.phantoms, arguments.validation, arguments.epochs) < 1:
        raise ValueError("--phantoms, --validation and --epochs must be 1 or more")
    check_device(arguments.device)
    check_output_folder(arguments.out)
    metric = DQEMetric(load_surrogate(arguments.checkpoint))
    phantoms, validation, epochs = arguments.phantoms, arguments.validation, arguments.epochs
    if arguments.smoke:
        phantoms = validation = epochs = 1
    device = torch.device(arguments.device)
    train_data = make_data(range(phantoms), "training")
    test_data = make_data(range(TEST_PHANTOM, TEST_PHANTOM + validation), "validation")

    torch.manual_seed(0)
    network = CoarseUNet().to(device)
    evaluator = make_evaluator(test_data, network, metric, device)
    history: list[dict[str, float]] = []
    unit = star_unit(metric.surrogate.config)
    with SummaryWriter(str(arguments.out)) as writer:

        def log(engine: Any) -> None:
            history.append(dict(engine.state.metrics))
            told = f"epoch {len(history)}: {engine.state.metrics['stars']:.2f} {unit}"
            print(f"{told}, Dice {engine.state.metrics['dice']:.3f}")

        trainer = SupervisedTrainer(
            device=device,
            max_epochs=epochs,
            train_data_loader=DataLoader(train_data, batch_size=1, shuffle=True),
            network=network,
            optimizer=torch.optim.Adam(network.parameters(), arguments.learning_rate),
            loss_function=DiceLoss(sigmoid=True),
            train_handlers=[
                ValidationHandler(1, evaluator),
                TensorBoardStatsHandler(writer, tag_name="loss", output_transform=from_engine(["loss"], first=True)),
            ],
        )
        TensorBoardStatsHandler(
            writer, iteration_log=False, global_epoch_transform=lambda _: trainer.state.epoch
        ).attach(evaluator)
        CheckpointSaver(str(arguments.out), {"network": network}, save_key_metric=True).attach(evaluator)
        evaluator.add_event_handler("COMPLETED", log)
        trainer.run()
    return history


def main(argv: Sequence[str] | None = None) -> int:
    """Run the example, and tell what is wrong in one line."""

    def work(options: MonitorTrainingOptions) -> None:
        monitor(options)
        print(f"Written to {options.out}")

    return run_command("monitor_training.py", MonitorTrainingOptions, work, argv)


if __name__ == "__main__":
    sys.exit(main())

"""Train a small segmentation network with ``DiceLoss + w * DQELoss``, and without the DQE term to compare.

    python examples/train_segmentation.py                    # synthetic exams, nothing to download
    python examples/train_segmentation.py --exam FOLDER      # a real exam with BraTS file names

A warm-up with Dice alone comes first. From the state it ends in, two runs branch off, with the same exams
in the same order: one goes on with Dice alone, the other with Dice and the DQE term. At the end both are
compared with the state after warm-up, Dice per region and stars: a table, two pictures and a JSON file.

This shows how the loss is used; it is no evidence of what the loss is worth. It is one seed, a few minutes,
and a network that works at 2 mm. The table has a phantom that the network has not seen, but phantoms are much
alike; with ``--exam`` the test is the exam that the network was trained on, unless ``--test`` names more.
"""

import copy
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
import tyro
from monai.losses import DiceLoss
from monai.metrics import compute_dice
from monai.networks.nets import UNet
from monai.transforms import NormalizeIntensity
from numpy.typing import NDArray
from segmentation_report import (
    History,
    Row,
    as_json,
    as_png,
    format_gradients,
    format_results,
    plot_curves,
    summarize_gradients,
)
from torch import Tensor, nn
from tqdm import tqdm

from dqe_loss import REGIONS, DQELoss, LossSum, Surrogate, load_surrogate, regions_from_labels
from dqe_loss.command_line import check_device, run_command
from dqe_loss.core.boxes import tensor_box
from dqe_loss.data.exam_files import choose_reference, find_exam
from dqe_loss.data.exams import Exam, read_exam
from dqe_loss.data.phantom import make_phantom
from dqe_loss.options import CheckpointName, Folders, OptionalName, OutFolder, SchemeOption, Seed
from dqe_loss.outputs import write_together
from dqe_loss.rate.rate_exam import rate_exam
from dqe_loss.surrogate.checkpoint import DEFAULT_CHECKPOINT
from dqe_loss.surrogate.describe import describe_ratings, star_unit
from dqe_loss.viz.planes import plot_planes

TRAIN_PHANTOMS = range(6)
TEST_PHANTOM = 100
PROBE_EVERY = 5
"""Steps from one look at the DQE term to the next where it is not trained on."""
_OUT = tyro.conf.arg(help="Folder for results.json, curves.png and planes.png; made if it is not there.")


@dataclass(frozen=True)
class TrainSegmentationOptions:
    """Train a small network with Dice + DQE, and with Dice alone, and compare the two.

    Attributes:
        exam: Exams to train on. Default: six phantoms.
        test: Further exams to test on. Default: with phantoms, one more.
        reference: The reference segmentation: its name, the end of its name (seg for CASE-seg.nii.gz) or a pattern.
            Default: the exam's first by name.
        warmup: Steps with Dice alone, before the two runs branch off.
        steps: Steps of each run.
        weight: Weight of the DQE term.
        max_gradient_ratio: Cap on the norm of the DQE term's gradient, as a fraction of Dice's.
        learning_rate: Adam's.
        device: Such as cpu or cuda. Default: cuda if there is one.
    """

    exam: Folders = ()
    test: Folders = ()
    checkpoint: CheckpointName = DEFAULT_CHECKPOINT
    reference: OptionalName = None
    label_scheme: SchemeOption = "brats"
    out: Annotated[OutFolder, _OUT] = Path("runs/example")
    warmup: int = 60
    steps: int = 60
    weight: float = 0.1
    max_gradient_ratio: float = 0.3
    learning_rate: float = 0.005
    seed: Annotated[Seed, tyro.conf.arg(help="Seed of the network's initial weights.")] = 0
    device: Annotated[str | None, tyro.conf.arg(help_behavior_hint="")] = None


@dataclass(frozen=True, eq=False)
class TrainingExam:
    """An exam as network and loss take it.

    Attributes:
        exam: the exam, with its reference as the one segmentation, a label map of scheme brats23.
        image: raw intensities (1, 4, X, Y, Z) for the loss, since the surrogate scales them itself.
        target: regions TC, WT, ET, boolean (1, 3, X, Y, Z).
        crop: the brain alone, normalized, (1, 4, x, y, z), for the network.
        origin: first voxel of the crop in the image.
    """

    exam: Exam
    image: Tensor
    target: Tensor
    crop: Tensor
    origin: tuple[int, ...]


class CoarseUNet(nn.Module):
    """A U-Net that works at about 2 mm, to be fast, and answers at full resolution, as the loss expects."""

    def __init__(self) -> None:
        super().__init__()
        # The first stride is 1: halving at once would lose the thin enhancing rim.
        self.unet = UNet(3, 4, len(REGIONS), (8, 16, 32, 64, 128), (1, 2, 2, 2), act="leakyrelu")

    def forward(self, image: Tensor) -> Tensor:
        """Turn a normalized image (B, 4, X, Y, Z) of any size into logits (B, 3, X, Y, Z)."""
        size = image.shape[2:]
        coarse = [max(16, 8 * round(n / 16)) for n in size]  # three halvings inside the U-Net
        return F.interpolate(self.unet(F.interpolate(image, coarse, mode="area")), size, mode="trilinear")


def label_map(regions: Tensor) -> NDArray[np.uint8]:
    """Turn boolean regions TC, WT, ET (3, X, Y, Z) into the labels (X, Y, Z) that one would save, brats23."""
    core, whole, enhancing = regions.cpu().numpy()
    return np.select([enhancing, core, whole], [np.uint8(3), np.uint8(1), np.uint8(2)], np.uint8(0))


def prepare(exam: Exam, label_scheme: str, device: str) -> TrainingExam:
    """Cut out the brain and normalize it for the network; keep image and reference whole for the loss."""
    ((name, labels),) = exam.segmentations.items()
    target = regions_from_labels(torch.from_numpy(labels)[None, None], label_scheme)
    if not target.any():
        raise ValueError(f"{exam.name}: the reference {name} holds no tumor; take another exam")
    image = torch.from_numpy(exam.image)
    box = tensor_box((image != 0).any(0))
    crop = image[(slice(None), *box)].float()
    crop = NormalizeIntensity(nonzero=True, channel_wise=True)(crop).as_tensor()
    exam = replace(exam, segmentations={"reference": label_map(target[0])})
    return TrainingExam(
        exam, image[None].to(device), target.to(device), crop[None].to(device), tuple(side.start for side in box)
    )


def train(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    criterion: LossSum,
    cases: Sequence[TrainingExam],
    steps: int,
    run: str,
    probe: LossSum | None = None,
    scheduler: torch.optim.lr_scheduler.LRScheduler | None = None,
) -> History:
    """Train for some steps, each on one exam, and return what the criterion told at each of them.

    Where the criterion has no DQE term (yet), a ``probe`` that has one tells every few steps what it would be
    and how large its gradient would be beside Dice's. It is not followed.
    """
    history: History = []
    shown: dict[str, float] = {}
    network.train()
    with tqdm(range(steps), run, unit="step", dynamic_ncols=True) as bar:
        for step in bar:
            case = cases[step % len(cases)]
            with torch.autocast(case.image.device.type, torch.bfloat16, enabled=case.image.is_cuda):
                logits = network(case.crop)
                # The network sees the normalized brain, the loss the whole raw image. By `origin` it puts the
                # predicted crop in its place, so that the surrogate sees planes like those it learned from.
                loss = criterion(logits, case.target, image=case.image, origin=case.origin)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if scheduler is not None:
                scheduler.step()

            log = criterion.log
            if probe is not None and step % PROBE_EVERY == 0:
                leaf = logits.detach().float().requires_grad_()
                probe(leaf, case.target, image=case.image, origin=case.origin).backward()
                log = probe.log
            history.append({"run": run, "step": step, **log})
            shown |= log
            bar.set_postfix({term: f"{shown[term]:.3f}" for term in ("DiceLoss", "DQELoss") if term in shown})
    return history


@torch.no_grad()
def segment(network: nn.Module, case: TrainingExam) -> NDArray[np.uint8]:
    """Predict the label map (X, Y, Z) of an exam."""
    network.eval()
    labels = np.zeros_like(case.exam.segmentations["reference"])
    crop = label_map(network(case.crop)[0] > 0)
    labels[tuple(slice(o, o + n) for o, n in zip(case.origin, crop.shape, strict=True))] = crop
    return labels


def compare(
    case: TrainingExam, networks: dict[str, nn.Module], surrogate: Surrogate, trained_on: bool
) -> tuple[Exam, list[Row]]:
    """Segment an exam with each network, and give each segmentation and the reference Dice and stars."""
    segmentations = case.exam.segmentations | {name: segment(n, case) for name, n in networks.items()}
    exam = replace(case.exam, segmentations=segmentations)
    stars = rate_exam(exam, surrogate, "brats23")
    rows = []
    for name, labels in segmentations.items():
        regions = regions_from_labels(torch.from_numpy(labels)[None, None], "brats23")
        dice = compute_dice(regions, case.target.cpu())[0].tolist()
        rows.append(Row(exam.name, trained_on, name, dict(zip(REGIONS, dice, strict=True)), stars[name]))
    return exam, rows


def read_cases(arguments: TrainSegmentationOptions, device: str) -> tuple[list[TrainingExam], list[TrainingExam]]:
    """Read, or make, the exams to train on and those to test on besides."""
    if not arguments.exam:
        if arguments.test:
            raise ValueError("--test goes with --exam: without it the example trains and tests on phantoms")
        seeds = tqdm((*TRAIN_PHANTOMS, TEST_PHANTOM), "making phantoms", dynamic_ncols=True)
        cases = [prepare(make_phantom(seed), "brats23", device) for seed in seeds]
        return cases[:-1], cases[-1:]

    def read(folder: Path) -> TrainingExam:
        paths = find_exam(folder)
        masks = paths.segmentations
        if not masks:
            raise ValueError(f"{folder}: expected a reference with seg in its name, found none")
        reference = choose_reference(folder, masks, [arguments.reference]) if arguments.reference else masks[0]
        print(f"{paths.name}: reference {reference.name}, of {', '.join(path.name for path in masks)}")
        exam = read_exam(replace(paths, segmentations=(reference,)), label_scheme=arguments.label_scheme)
        return prepare(exam, arguments.label_scheme, device)

    return [read(folder) for folder in arguments.exam], [read(folder) for folder in arguments.test]


def run_example(arguments: TrainSegmentationOptions) -> None:
    """Train, compare, print and write."""
    started = time.monotonic()
    if arguments.steps < 1 or not arguments.weight > 0:
        raise ValueError("expected --steps >= 1 and --weight > 0; one run is without the term anyway")
    device = arguments.device or ("cuda" if torch.cuda.is_available() else "cpu")
    check_device(device)
    surrogate = load_surrogate(arguments.checkpoint).to(device)  # once, for both criteria and the test
    train_cases, test_cases = read_cases(arguments, device)
    arguments.out.mkdir(parents=True, exist_ok=True)
    seconds = {"reading": time.monotonic() - started}

    weight, cap = arguments.weight, arguments.max_gradient_ratio
    balance = {"max_gradient_ratio": cap}
    # A training of your own needs no more than this line. During warm-up the sum is Dice alone: what the
    # surrogate says of a fresh network's noise is worthless, and its gradient dwarfs Dice's (see curves.png).
    criterion = DiceLoss(sigmoid=True) + weight * DQELoss(surrogate, warmup=arguments.warmup, **balance)
    dice_alone = LossSum(DiceLoss(sigmoid=True))
    probe = DiceLoss(sigmoid=True) + weight * DQELoss(surrogate, **balance)
    for loss in (criterion, probe):
        loss.to(device)

    torch.manual_seed(arguments.seed)
    network = CoarseUNet().to(device)
    optimizer = torch.optim.Adam(network.parameters(), arguments.learning_rate)
    history = train(network, optimizer, criterion, train_cases, arguments.warmup, "warm-up", probe)
    networks: dict[str, nn.Module] = {"after warm-up": network}
    for name, loss, watch in (("Dice alone", dice_alone, probe), (f"Dice + {weight:g} DQE", criterion, None)):
        networks[name] = copy.deepcopy(network)
        resumed = torch.optim.Adam(networks[name].parameters())
        resumed.load_state_dict(optimizer.state_dict())
        # A learning rate that falls to 0, so that the last steps' noise is not what the two runs differ by.
        decay = torch.optim.lr_scheduler.LinearLR(resumed, 1, 0, arguments.steps)
        history += train(networks[name], resumed, loss, train_cases, arguments.steps, name, watch, decay)
    seconds["training"] = time.monotonic() - started - seconds["reading"]

    results: list[Row] = []
    for case in (train_cases[0], *test_cases):
        exam, rows = compare(case, networks, surrogate, trained_on=case in train_cases)
        results += rows
    unit, gradients = star_unit(surrogate.config), summarize_gradients(history, cap)
    caption = f"{exam.name} ({rows[0].seen}): {describe_ratings(surrogate.config, arguments.checkpoint)}"
    stars = {row.segmentation: row.stars for row in rows}
    planes = plot_planes(exam, stars, label_scheme="brats23", unit=unit, caption=caption)
    curves = plot_curves(history, cap, arguments.warmup, [case.exam.name for case in train_cases])
    seconds["all"] = time.monotonic() - started
    content = {"arguments": asdict(arguments), "device": device, "unit": unit, "seconds": seconds}
    write_together({
        arguments.out / "planes.png": as_png(planes),
        arguments.out / "curves.png": as_png(curves),
        arguments.out / "results.json": as_json(content | {"gradients": gradients}, results, history),
    })  # fmt: skip
    print(format_results(results, unit))
    print()
    print(format_gradients(gradients, weight, cap))
    print("\nA demonstration of the loss with one seed; no evidence of what it is worth.")
    print(f"{seconds['all']:.0f} s. Written to {arguments.out}: results.json, curves.png, planes.png")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the example, and tell what is wrong in one line."""
    return run_command("train_segmentation.py", TrainSegmentationOptions, run_example, argv)


if __name__ == "__main__":
    sys.exit(main())

"""Train a small segmentation network on few labelled exams, and let stars teach it on unlabelled ones.

    python examples/train_segmentation.py                    # synthetic exams, nothing to download
    python examples/train_segmentation.py --exam FOLDER ... --unlabelled FOLDER ... --test FOLDER ...

A warm-up with Dice on the labelled exams comes first. From the state it ends in, three arms go on for as many steps,
each of which sees two exams: two labelled ones; or one labelled and one unlabelled, for which ``DQELoss`` tells the
stars that the segmentation lacks; or that and ``StarWeighted`` of the network's own segmentation. All is done once for
each seed. At the end every arm is tested on exams that no network has seen: a table, two pictures and a JSON file.

A checkpoint without a refiner cannot be trusted without a target. With such a one there are two arms, both on labelled
exams: Dice alone, and ``DiceLoss(sigmoid=True) + 0.1 * DQELoss()``.
"""

import copy
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, NamedTuple

import torch
import tyro
from coarse_unet import CoarseUNet
from monai.losses import DiceLoss
from monai.metrics import compute_dice
from segmentation_exams import Parts, TrainingExam, label_map, make_phantoms, nested, read_parts
from segmentation_report import History, Row, as_json, as_png, conclude, format_results, plot_curves
from torch import Tensor, nn
from tqdm import tqdm

from dqe_loss import REGIONS, DQELoss, LossSum, StarWeighted, Surrogate, load_surrogate
from dqe_loss.command_line import check_device, run_command
from dqe_loss.data.exams import Exam
from dqe_loss.options import CheckpointName, Folders, OptionalName, OutFolder, SchemeOption
from dqe_loss.outputs import write_together
from dqe_loss.rate.rate_exam import rate_exam
from dqe_loss.surrogate.checkpoint import DEFAULT_CHECKPOINT
from dqe_loss.surrogate.describe import Ratings, describe_ratings, star_unit
from dqe_loss.viz.planes import plot_planes

PSEUDO_WEIGHT = 0.3
"""Of the star-weighted pseudo-labels."""
_OUT = tyro.conf.arg(help="Folder for results.json, curves.png and planes.png; made if it is not there.")

Loss = Callable[[Tensor, TrainingExam], Tensor]
"""Of logits of an exam's crop."""


@dataclass(frozen=True)
class TrainSegmentationOptions:
    """Train a small network with stars on unlabelled exams, and without, and compare them.

    Attributes:
        exam: Labelled exams to train on. Default: two phantoms.
        unlabelled: Exams to train on whose references are not looked at. Default: with phantoms, four more.
        test: Labelled exams to test on. Default: with phantoms, three more; else those trained on.
        reference: The reference segmentation: its name, the end of its name (seg for CASE-seg.nii.gz) or a pattern.
            Default: the exam's first by name.
        warmup: Steps on the labelled exams, before the arms branch off.
        steps: Steps of each arm.
        seeds: How often all is done, each time with other initial weights.
        weight: Weight of the missing stars.
        learning_rate: Adam's.
        device: Such as cpu or cuda. Default: cuda if there is one.
    """

    exam: Folders = ()
    unlabelled: Folders = ()
    test: Folders = ()
    checkpoint: CheckpointName = DEFAULT_CHECKPOINT
    reference: OptionalName = None
    label_scheme: SchemeOption = "brats"
    out: Annotated[OutFolder, _OUT] = Path("runs/example")
    warmup: int = 30
    steps: int = 15
    seeds: int = 3
    weight: float = 0.1
    learning_rate: float = 0.005
    device: Annotated[str | None, tyro.conf.arg(help_behavior_hint="")] = None


class Arm(NamedTuple):
    """What an arm does with the second exam of each step: the losses by name, and whether it is an unlabelled one."""

    losses: dict[str, Loss]
    unlabelled: bool = False


def on_target(criterion: LossSum) -> Loss:
    """A sum of losses on a labelled exam.

    The network sees the normalized brain, the losses the whole raw image: by `origin` a `DQELoss` puts the crop in its
    place, so that the surrogate sees planes like those it learned from.
    """
    return lambda logits, exam: criterion(logits, exam.target, image=exam.image, origin=exam.origin)


def arms_of(surrogate: Surrogate, weight: float) -> dict[str, Arm]:
    """The arms by name; the first is the one that the others are compared with."""
    dice = DiceLoss(sigmoid=True)
    alone = Arm({"Dice": on_target(LossSum(dice))})
    if surrogate.config.refiner is None:
        return {
            "Dice alone": alone,
            f"Dice + {weight:g} DQE": Arm({"sum": on_target(dice + weight * DQELoss(surrogate))}),
        }
    # A training of your own needs no more than these two lines, and the two functions that call them.
    stars = DQELoss(surrogate, guard=None, max_gradient_ratio=None)
    weighted = StarWeighted(dice, surrogate, thorough=False)  # a survey of the whole head takes a second a step

    def missing_stars(logits: Tensor, exam: TrainingExam) -> Tensor:
        return weight * stars(logits, image=exam.image, origin=exam.origin)

    def pseudo_label(logits: Tensor, exam: TrainingExam) -> Tensor:
        label = exam.whole(nested(logits.detach() > 0))
        return PSEUDO_WEIGHT * weighted(logits, label, image=exam.image, origin=exam.origin)

    both: dict[str, Loss] = {"stars": missing_stars, "pseudo-label": pseudo_label}
    return {
        "labelled only": alone,
        "+ stars": Arm({"stars": missing_stars}, True),
        "+ stars, pseudo-labels": Arm(both, True),
    }


def train(
    network: nn.Module, optimizer: torch.optim.Optimizer, arm: Arm, parts: Parts, steps: int, name: str, falling: bool
) -> History:
    """Train for some steps, each on two exams, and return the losses of each step."""
    first_loss = on_target(LossSum(DiceLoss(sigmoid=True)))
    others = parts.unlabelled if arm.unlabelled else parts.labelled
    # A learning rate that falls to 0, so that the last steps' noise is not what the arms differ by.
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0 if falling else 1, steps)
    history: History = []
    network.train()
    with tqdm(range(steps), name, unit="step", dynamic_ncols=True) as bar:
        for step in bar:
            first, second = parts.labelled[step % len(parts.labelled)], others[(step + 1) % len(others)]
            with torch.autocast(first.image.device.type, torch.bfloat16, enabled=first.image.is_cuda):
                losses = {"labelled": first_loss(network(first.crop), first)}
                logits = network(second.crop)
                losses |= {key: loss(logits, second) for key, loss in arm.losses.items()}
            optimizer.zero_grad()
            torch.stack([loss.float() for loss in losses.values()]).sum().backward()
            optimizer.step()
            schedule.step()
            told = {key: float(loss.detach()) for key, loss in losses.items()}
            history.append({"step": step, **told})
            bar.set_postfix({key: f"{value:.3f}" for key, value in told.items()})
    return history


@torch.no_grad()
def test(
    networks: dict[str, nn.Module], exams: Sequence[TrainingExam], surrogate: Surrogate, seed: int
) -> tuple[list[Row], list[tuple[Exam, Ratings]]]:
    """Segment exams with each network; Dice and stars, and the exams with the segmentations and their stars."""
    rows, segmented = [], []
    for case in exams:
        found = {name: case.whole(nested(network.eval()(case.crop) > 0)) for name, network in networks.items()}
        masks = case.exam.segmentations | {name: label_map(regions[0]) for name, regions in found.items()}
        exam = replace(case.exam, segmentations=masks)
        stars = rate_exam(exam, surrogate, "brats23", thorough=False)
        segmented.append((exam, stars))
        for name, regions in {"reference": case.target, **found}.items():
            dice = compute_dice(regions, case.target)[0].tolist()
            rows.append(Row(case.exam.name, name, seed, dict(zip(REGIONS, dice, strict=True)), stars[name]["mean"]))
    return rows, segmented


def run_seed(
    seed: int, arms: dict[str, Arm], parts: Parts, arguments: TrainSegmentationOptions, device: str
) -> tuple[dict[str, nn.Module], History]:
    """The network after the warm-up and that of each arm."""
    torch.manual_seed(seed)
    network = CoarseUNet().to(device)
    optimizer = torch.optim.Adam(network.parameters(), arguments.learning_rate)
    baseline = next(iter(arms.values()))
    told = {"warm-up": train(network, optimizer, baseline, parts, arguments.warmup, f"seed {seed}, warm-up", False)}
    networks: dict[str, nn.Module] = {"after warm-up": network}
    for name, arm in arms.items():
        networks[name] = copy.deepcopy(network)
        resumed = torch.optim.Adam(networks[name].parameters())
        resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))  # else all arms share its tensors
        told[name] = train(networks[name], resumed, arm, parts, arguments.steps, f"seed {seed}, {name}", True)
    return networks, [{"run": run, "seed": seed, **entry} for run, entries in told.items() for entry in entries]


def run_example(arguments: TrainSegmentationOptions) -> None:
    """Train, compare, print and write."""
    started = time.monotonic()
    if min(arguments.steps, arguments.warmup, arguments.seeds) < 1 or not arguments.weight > 0:
        raise ValueError("expected --warmup, --steps and --seeds of 1 or more, and a --weight above 0")
    device = arguments.device or ("cuda" if torch.cuda.is_available() else "cpu")
    check_device(device)
    surrogate = load_surrogate(arguments.checkpoint).to(device)  # once, for all losses and the test
    parts = exams_of(arguments, surrogate, device)
    arguments.out.mkdir(parents=True, exist_ok=True)

    arms = arms_of(surrogate, arguments.weight)
    history: History = []
    rows: list[Row] = []
    for seed in range(arguments.seeds):
        networks, told = run_seed(seed, arms, parts, arguments, device)
        found, segmented = test(networks, parts.test, surrogate, seed)
        history, rows = history + told, rows + found
    unit, (exam, stars) = star_unit(surrogate.config), segmented[0]
    caption = f"{exam.name}, seed {seed}: {describe_ratings(surrogate.config, arguments.checkpoint)}"
    seconds = time.monotonic() - started
    content = {"arguments": asdict(arguments), "device": device, "unit": unit, "seconds": seconds}
    planes = plot_planes(exam, stars, label_scheme="brats23", unit=unit, caption=caption)
    write_together({
        arguments.out / "planes.png": as_png(planes),
        arguments.out / "curves.png": as_png(plot_curves(history, arguments.warmup)),
        arguments.out / "results.json": as_json(content, rows, history),
    })  # fmt: skip
    print(format_results(rows, unit))
    print("\n" + conclude(rows, list(arms), synthetic=not arguments.exam, unseen=is_unseen(arguments)))
    print(f"{seconds:.0f} s. Written to {arguments.out}: results.json, curves.png, planes.png")


def is_unseen(arguments: TrainSegmentationOptions) -> bool:
    """Whether no exam is tested that was trained on."""
    trained = {folder.resolve() for folder in (*arguments.exam, *arguments.unlabelled)}
    return bool(arguments.test) and trained.isdisjoint(folder.resolve() for folder in arguments.test)


def exams_of(arguments: TrainSegmentationOptions, surrogate: Surrogate, device: str) -> Parts:
    """The exams that were asked for."""
    if not arguments.exam:
        if arguments.test or arguments.unlabelled:
            raise ValueError("--test and --unlabelled go with --exam: without it the example runs on phantoms")
        return make_phantoms(device)
    if surrogate.config.refiner is not None and not arguments.unlabelled:
        raise ValueError("--exam: which exams have no reference? Name them by --unlabelled FOLDER ...")
    if surrogate.config.refiner is None and arguments.unlabelled:
        raise ValueError("--unlabelled: this checkpoint has no refiner, and cannot be trusted without a target")
    test = arguments.test or arguments.exam
    return read_parts(arguments.exam, arguments.unlabelled, test, arguments.reference, arguments.label_scheme, device)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the example, and tell what is wrong in one line."""
    return run_command("train_segmentation.py", TrainSegmentationOptions, run_example, argv)


if __name__ == "__main__":
    sys.exit(main())

"""What the shipped defaults say of fixed exams: stars, gates, losses and gradients (contract C16).

``python tests/golden/measure.py [--exams FOLDER]`` writes ``defaults.json`` anew. Do so only where a change of the
defaults is meant, and say in the commit why the figures moved.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from monai.losses import DiceLoss
from torch import Tensor

from dqe_loss import DQELoss, Surrogate, load_surrogate, rate_segmentation, regions_from_labels
from dqe_loss.data.exam_files import find_exam
from dqe_loss.data.exams import Exam, read_exam
from dqe_loss.data.phantom import make_phantom
from dqe_loss.surrogate.checkpoint import assemble

FILE = Path(__file__).with_name("defaults.json")
PHANTOMS = (0, 100)
EXAMS = {  # one of each source, and one mask of an algorithm
    "BraTS-GLI-00001-000": ("seg-BraTS23_1", "seg-bratstoolkit_isen"),
    "BraTS19_2013_10_1": ("seg-expert",),
    "BraTS19_CBICA_AAB_1": ("seg-expert",),
    "BraTS19_TCIA01_131_1": ("seg-expert",),
    "BraTS2021_01477": ("seg-expert",),
    "TCGA-FG-6692": ("seg-fusion_mav", "seg-isen-20"),
}
"""Exam to the label maps that are rated; the gradients are those of the first."""

Figures = dict[str, dict[str, list[float]]]
"""Checkpoint or loss to named figures."""


def shift(regions: Tensor, voxels: int) -> Tensor:
    """A wrong mask: the regions moved along X."""
    return regions.roll(voxels, 2)


def make_logits(regions: Tensor) -> Tensor:
    """Soft logits of a shifted mask, with a ripple, so that no voxel of one region is like the next."""
    x, y, z = (torch.arange(n, dtype=torch.float32) for n in regions.shape[2:])
    ripple = torch.sin(0.3 * x)[:, None, None] + torch.cos(0.2 * y)[:, None] + torch.sin(0.17 * z)
    return 6 * shift(regions, 6).float() - 3 + 0.5 * ripple


def stars(surrogates: dict[str, Surrogate], image: Tensor, regions: Tensor) -> Figures:
    """Stars of three views by each checkpoint, and the gate of the hardened one."""
    rated = {name: rate_segmentation(one, image, regions)[0] for name, one in surrogates.items()}
    hardened = surrogates["hardened"]
    ungated = assemble(replace(hardened.config, refiner=None), hardened.network.state_dict())
    gate = (rated["hardened"] - 1) / (rate_segmentation(ungated, image, regions)[0].clamp(1, 6) - 1)
    return {name: {"stars": one.tolist()} for name, one in rated.items()} | {"gate": {"views": gate.tolist()}}


def gradients(surrogates: dict[str, Surrogate], image: Tensor, regions: Tensor, names: Sequence[str] = ()) -> Figures:
    """Value of each loss on a soft wrong mask, and three numbers of its gradient: norm, and two random directions.

    Of all losses, or of those that are named.
    """
    target, logits = regions.float(), make_logits(regions)
    generator = torch.Generator().manual_seed(0)
    directions = [torch.randn(logits.shape, generator=generator) for _ in range(2)]
    # The gate is all but closed at the shifted mask: there is little gradient. A mask nearer to the target has more.
    near = torch.lerp(logits, 6 * target - 3, 0.45)
    losses = {
        "DQELoss()": (DQELoss(surrogates["hardened"], max_gradient_ratio=None), near),
        "DQELoss(guard=None)": (DQELoss(surrogates["hardened"], guard=None, max_gradient_ratio=None), near),
        "DQELoss('brainlesion')": (DQELoss(surrogates["brainlesion"], max_gradient_ratio=None), logits),
        "DQELoss('brainlesion', guard=None)": (
            DQELoss(surrogates["brainlesion"], guard=None, max_gradient_ratio=None),
            logits,
        ),
        "DiceLoss(sigmoid=True) + 0.1 * DQELoss()": (
            DiceLoss(sigmoid=True) + 0.1 * DQELoss(surrogates["hardened"]),  # with its cap
            near,
        ),
    }
    figures = {}
    for name in names or losses:
        loss, prediction = losses[name]
        prediction = prediction.clone().requires_grad_()
        value = loss(prediction, target, image=image)
        (gradient,) = torch.autograd.grad(value, prediction)
        numbers = [gradient.norm(), *((gradient * direction).sum() for direction in directions)]
        figures[name] = {"value": [value.item()], "gradient": [number.item() for number in numbers]}
    return figures


def measure_phantom(surrogates: dict[str, Surrogate], exam: Exam, losses: Sequence[str] = ()) -> dict[str, Figures]:
    """Figures of a phantom: its reference, a wrong mask, and the losses, all or those that are named."""
    image = torch.from_numpy(exam.image.astype(np.float32))[None]
    regions = regions_from_labels(torch.from_numpy(exam.segmentations["reference"])[None, None])
    return {
        "reference": stars(surrogates, image, regions),
        "shifted": stars(surrogates, image, shift(regions, 10)),
        "losses": gradients(surrogates, image, regions, losses),
    }


def measure_exam(surrogates: dict[str, Surrogate], folder: Path, losses: Sequence[str] = ()) -> dict[str, Figures]:
    """Figures of a real exam: its label maps, and the losses, all or those named, against the first of them."""
    paths = find_exam(folder)
    chosen = tuple(path for path in paths.segmentations if path.name.removesuffix(".nii.gz") in EXAMS[folder.name])
    exam = read_exam(replace(paths, segmentations=chosen), warn=False)
    image = torch.from_numpy(exam.image.astype(np.float32))[None]
    masks = {n: regions_from_labels(torch.from_numpy(exam.segmentations[n])[None, None]) for n in EXAMS[folder.name]}
    figures = {name: stars(surrogates, image, regions) for name, regions in masks.items()}
    return figures | {"losses": gradients(surrogates, image, next(iter(masks.values())), losses)}


def main() -> None:
    """Measure all and write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--exams", type=Path, help="folder of the real exams; without it their figures are kept")
    parser.add_argument("--out", type=Path, default=FILE)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    surrogates = {name: load_surrogate(name) for name in ("hardened", "brainlesion")}
    golden = json.loads(FILE.read_text()) if FILE.is_file() else {}
    for seed in PHANTOMS:
        golden[f"phantom-{seed}"] = measure_phantom(surrogates, make_phantom(seed))
    for name in EXAMS if arguments.exams else ():
        golden[name] = measure_exam(surrogates, arguments.exams / name)
    arguments.out.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()

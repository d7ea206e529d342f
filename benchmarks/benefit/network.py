"""The small U-Net that every arm trains, and what it says of whole volumes."""

from pathlib import Path

import torch
from design import Run
from exams import Cohort, Exam
from monai.networks.nets import BasicUNet
from planes import planes_of
from torch import Tensor, nn

FEATURES = (24, 32, 48, 64, 96, 24)
AT_ONCE = 64
"""Planes of a volume that are segmented together."""


def new_network(cohort: Cohort, seed: int) -> nn.Module:
    """A U-Net of half a million weights from planes ``(N, C, S, S)`` to logits ``(N, R, S, S)``.

    It works at half resolution, with the four voxels of each square as channels: a third of the time. Where planes are
    halved twice, the first halving takes means of four voxels, and the last step interpolates.
    """
    torch.manual_seed(seed)
    channels, regions = len(cohort.task.modalities), len(cohort.task.regions)
    unet = BasicUNet(
        2, 4 * channels, 4 * regions, FEATURES, norm=("instance", {"affine": True}), upsample="nontrainable"
    )
    network = [nn.PixelUnshuffle(2), unet, nn.PixelShuffle(2)]
    for _ in range(cohort.halvings - 1):
        network = [nn.AvgPool2d(2), *network, nn.Upsample(scale_factor=2, mode="bilinear")]
    return nn.Sequential(*network)


def load_network(cohort: Cohort, work: Path, run: Run) -> nn.Module:
    """The network that a finished run has stored in the study's folder, in evaluation mode."""
    network = new_network(cohort, run.seed)
    network.load_state_dict(torch.load(stored_at(work, run)))
    return network.eval()


def stored_at(work: Path, run: Run) -> Path:
    """Where a run stores its network."""
    return work / "runs" / f"{run.name}.pt"


@torch.no_grad()
def segment(network: nn.Module, exam: Exam, side: int) -> Tensor:
    """Regions ``(R, X, Y, Z)``, boolean, of an exam whose planes are padded to squares of ``side`` voxels."""
    x, y = exam.raw.shape[1:3]
    planes = planes_of([exam], side).clean
    found = torch.cat([network(part) > 0 for part in planes.split(AT_ONCE)])
    return found.movedim(0, -1)[:, :x, :y]

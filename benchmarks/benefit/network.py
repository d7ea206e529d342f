"""The small U-Net that every arm trains, and what it says of whole volumes."""

from pathlib import Path

import torch
from design import Run
from monai.networks.nets import BasicUNet
from persons import Exam
from planes import planes_of
from torch import Tensor, nn

FEATURES = (24, 32, 48, 64, 96, 24)


def new_network(seed: int) -> nn.Module:
    """A U-Net of half a million weights from planes ``(N, 1, 64, 64)`` to logits ``(N, 3, 64, 64)``.

    It works at half resolution, with the four voxels of each square as channels: a third of the time.
    """
    torch.manual_seed(seed)
    unet = BasicUNet(2, 4, 12, FEATURES, norm=("instance", {"affine": True}), upsample="nontrainable")
    return nn.Sequential(nn.PixelUnshuffle(2), unet, nn.PixelShuffle(2))


def load_network(work: Path, run: Run) -> nn.Module:
    """The network that a finished run has stored in the study's folder, in evaluation mode."""
    network = new_network(run.seed)
    network.load_state_dict(torch.load(stored_at(work, run)))
    return network.eval()


def stored_at(work: Path, run: Run) -> Path:
    """Where a run stores its network."""
    return work / "runs" / f"{run.name}.pt"


@torch.no_grad()
def segment(network: nn.Module, exam: Exam) -> Tensor:
    """Regions ``(3, X, Y, Z)``, boolean."""
    x, y = exam.image.shape[:2]
    return (network(planes_of([exam]).clean) > 0).movedim(0, -1)[:, :x, :y]

"""What is said of a network: by experts' masks, by the loss's surrogate, and by one that no arm has seen."""

from typing import Any

import torch
from monai.metrics import compute_hausdorff_distance
from network import segment
from persons import TASK, Exam, of_persons
from refiners import judge_checkpoint, loss_checkpoint
from torch import Tensor, nn
from training import Study

from dqe_loss import Surrogate, load_surrogate, rate_segmentation
from dqe_loss.metrics.overlap import region_dice, region_surface_dice

PARTS = [TASK.regions.index(name) for name in ("anterior", "posterior")]
"""The regions that are judged."""


def judge(study: Study, setting: str, network: nn.Module, persons: list[int]) -> list[dict[str, Any]]:
    """A row for each exam of some persons."""
    surrogates = {
        "stars": load_surrogate(loss_checkpoint(setting, study.exams, study.parts, study.work)),
        "second": load_surrogate(judge_checkpoint(setting, study.exams, study.parts, study.work)),
    }
    network.eval()
    return [compare(exam, segment(network, exam), surrogates) for exam in of_persons(study.exams, persons)]


def compare(exam: Exam, regions: Tensor, surrogates: dict[str, Surrogate]) -> dict[str, Any]:
    """What is said of one segmentation ``(3, X, Y, Z)``."""
    found, truth = regions[None, PARTS], exam.regions[None, PARTS]
    row = {
        "exam": exam.name,
        "person": exam.person,
        "dice": region_dice(found, truth).mean(),
        "surface_dice": region_surface_dice(found, truth, 1.0).mean(),
        "hd95": hausdorff(found, truth).mean(),
    }
    for name, surrogate in surrogates.items():
        row[name] = rate_segmentation(surrogate, exam.image[None, None], regions[None]).mean()
    return {key: float(value) if isinstance(value, Tensor) else value for key, value in row.items()}


def hausdorff(found: Tensor, truth: Tensor) -> Tensor:
    """HD95 of each region in mm, voxels being of 1 mm; the volume's diagonal where one of two is empty."""
    distances = compute_hausdorff_distance(found.float(), truth.float(), include_background=True, percentile=95)[0]
    diagonal = torch.tensor(found.shape[2:]).float().norm()
    return torch.where(distances.isfinite(), distances.float(), diagonal)

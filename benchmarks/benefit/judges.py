"""What is said of a network: by experts' masks, by the loss's surrogate, and by one that no arm has seen."""

from typing import Any

import torch
from exams import Cohort, Exam
from lesions import lesion_dice
from monai.metrics import compute_hausdorff_distance
from network import segment
from refiners import judge_checkpoint, loss_checkpoint
from torch import Tensor, nn
from training import Study

from dqe_loss import Surrogate, load_surrogate, rate_segmentation
from dqe_loss.metrics.overlap import region_dice, region_surface_dice


def judge(study: Study, setting: str, network: nn.Module, persons: list[int]) -> list[dict[str, Any]]:
    """A row for each exam of some persons."""
    cohort = study.cohort
    surrogates = {
        "stars": load_surrogate(loss_checkpoint(setting, cohort, study.work)),
        "second": load_surrogate(judge_checkpoint(setting, cohort, study.work)),
    }
    network.eval()
    return [compare(exam, segment(network, exam, cohort.side), surrogates, cohort) for exam in cohort.of(persons)]


def compare(exam: Exam, regions: Tensor, surrogates: dict[str, Surrogate], cohort: Cohort) -> dict[str, Any]:
    """What is said of one segmentation ``(R, X, Y, Z)``."""
    found, truth = regions[None, cohort.channels], exam.regions[None, cohort.channels]
    row = {
        "exam": exam.name,
        "person": exam.person,
        "dice": region_dice(found, truth).mean(),
        "surface_dice": region_surface_dice(found, truth, 1.0).mean(),
        "hd95": hausdorff(found, truth).mean(),
    }
    if cohort.lesions:
        row["lesion_dice"] = lesion_dice(found[0], truth[0]).mean()
    for name, surrogate in surrogates.items():
        row[name] = rate_segmentation(surrogate, exam.image[None], regions[None]).mean()
    return {key: float(value) if isinstance(value, Tensor) else value for key, value in row.items()}


def hausdorff(found: Tensor, truth: Tensor) -> Tensor:
    """HD95 of each region in mm, voxels being of 1 mm; where one of two is empty, the diagonal; where both are, 0."""
    distances = compute_hausdorff_distance(found.float(), truth.float(), include_background=True, percentile=95)[0]
    diagonal = torch.tensor(found.shape[2:]).float().norm()
    distances = torch.where(distances.isfinite(), distances.float(), diagonal)
    return torch.where((found | truth)[0].flatten(1).any(1), distances, 0)

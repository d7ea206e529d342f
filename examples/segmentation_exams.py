"""The exams of ``train_segmentation.py``: phantoms or folders, as network and losses take them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from monai.transforms import NormalizeIntensity
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from dqe_loss import regions_from_labels
from dqe_loss.core.boxes import tensor_box
from dqe_loss.data.exam_files import choose_reference, find_exam
from dqe_loss.data.exams import Exam, read_exam
from dqe_loss.data.phantom import make_phantom

LABELLED, UNLABELLED, TEST = (0, 1), (10, 11, 12, 13), (100, 101, 102)
"""Seeds of the phantoms of each part."""


@dataclass(frozen=True, eq=False)
class TrainingExam:
    """An exam as network and losses take it.

    Attributes:
        exam: the exam, with its reference as the one segmentation, a label map of scheme brats23.
        image: raw intensities (1, 4, X, Y, Z) for the losses, since the surrogate scales them itself.
        target: regions TC, WT, ET, boolean (1, 3, X, Y, Z).
        crop: the brain alone, normalized, (1, 4, x, y, z), for the network.
        origin: first voxel of the crop in the image.
    """

    exam: Exam
    image: Tensor
    target: Tensor
    crop: Tensor
    origin: tuple[int, ...]

    def whole(self, regions: Tensor) -> Tensor:
        """Regions of the crop (1, 3, x, y, z), boolean, in their place in the image (1, 3, X, Y, Z)."""
        found = torch.zeros_like(self.target)
        box = tuple(slice(first, first + n) for first, n in zip(self.origin, regions.shape[2:], strict=True))
        found[(..., *box)] = regions
        return found


@dataclass(frozen=True)
class Parts:
    """Exams to train on with a reference, without one, and to test on."""

    labelled: list[TrainingExam]
    unlabelled: list[TrainingExam]
    test: list[TrainingExam]


def nested(regions: Tensor) -> Tensor:
    """Boolean regions TC, WT, ET (1, 3, X, Y, Z), each with those that lie in it, as a file of labels has them."""
    core, whole, enhancing = regions.unbind(1)
    return torch.stack((core | enhancing, whole | core | enhancing, enhancing), 1)


def label_map(regions: Tensor) -> NDArray[np.uint8]:
    """Turn boolean regions TC, WT, ET (3, X, Y, Z) into the labels (X, Y, Z) that one would save, brats23."""
    core, whole, enhancing = regions.cpu().numpy()
    return np.select([enhancing, core, whole], [np.uint8(3), np.uint8(1), np.uint8(2)], np.uint8(0))


def prepare(exam: Exam, label_scheme: str, device: str) -> TrainingExam:
    """Cut out the brain and normalize it for the network; keep image and reference whole for the losses.

    Raises:
        ValueError: the reference holds no tumor.
    """
    image = torch.from_numpy(exam.image)
    if exam.segmentations:
        ((name, labels),) = exam.segmentations.items()
        target = regions_from_labels(torch.from_numpy(labels)[None, None], label_scheme)
        if not target.any():
            raise ValueError(f"{exam.name}: the reference {name} holds no tumor; take another exam")
        exam = replace(exam, segmentations={"reference": label_map(target[0])})
    else:
        target = torch.zeros(1, 3, *image.shape[1:], dtype=torch.bool)
    box = tensor_box((image != 0).any(0))
    crop = image[(slice(None), *box)].float()
    crop = NormalizeIntensity(nonzero=True, channel_wise=True)(crop).as_tensor()
    origin = tuple(side.start for side in box)
    return TrainingExam(exam, image[None].to(device), target.to(device), crop[None].to(device), origin)


def make_phantoms(device: str) -> Parts:
    """Synthetic exams of the three parts."""
    bar = tqdm((*LABELLED, *UNLABELLED, *TEST), "making phantoms", dynamic_ncols=True)
    made = [prepare(make_phantom(seed), "brats23", device) for seed in bar]
    first, second = len(LABELLED), len(LABELLED) + len(UNLABELLED)
    return Parts(made[:first], made[first:second], made[second:])


def read_parts(
    labelled: Sequence[Path],
    unlabelled: Sequence[Path],
    test: Sequence[Path],
    reference: str | None,
    label_scheme: str,
    device: str,
) -> Parts:
    """Read exams from their folders.

    Args:
        labelled: folders of exams with a reference.
        unlabelled: folders of exams without, or whose reference is not looked at.
        test: folders of exams with a reference.
        reference: its name, the end of it, or a pattern; the exam's first segmentation by name if None.
        label_scheme: of the references.
        device: where tensors go.

    Raises:
        ValueError: an exam cannot be read, or lacks a reference.
    """

    def read(folder: Path) -> TrainingExam:
        paths = find_exam(folder)
        masks = paths.segmentations
        if not masks:
            raise ValueError(f"{folder}: expected a reference with seg in its name, found none")
        chosen = choose_reference(folder, masks, [reference]) if reference else masks[0]
        print(f"{paths.name}: reference {chosen.name}, of {', '.join(path.name for path in masks)}")
        exam = read_exam(replace(paths, segmentations=(chosen,)), label_scheme=label_scheme)
        return prepare(exam, label_scheme, device)

    def read_scans(folder: Path) -> TrainingExam:
        exam = read_exam(replace(find_exam(folder), segmentations=()), label_scheme=label_scheme)
        return prepare(exam, label_scheme, device)

    return Parts([read(one) for one in labelled], [read_scans(one) for one in unlabelled], [read(one) for one in test])

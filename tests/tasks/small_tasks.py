"""Tasks unlike gliomas, tiny exams of them, and a surrogate that rates them."""

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from torch import Tensor

from dqe_loss import Surrogate, SurrogateConfig
from dqe_loss.surrogate.refiner import Refiner, RefinerConfig
from dqe_loss.task import SchemeLabels, Task

PARTS = Task(
    name="parts",
    modalities=("t1",),
    regions=("whole", "front", "back"),
    tissues=("front", "back"),
    parts={"whole": ("front", "back"), "front": ("front",), "back": ("back",)},
    field_of_view=(64, 64),
    error_size=0.35,
)
"""One scan, two parts and their whole: as many regions as background and tissues."""

CT = Task(
    name="organ",
    modalities=("ct",),
    regions=("organ",),
    tissues=("organ",),
    schemes={"labels": SchemeLabels({"organ": (7,)})},
    window=(-160.0, 240.0),
    spacing=(1.0, 1.0, 3.0),
    field_of_view=(64, 64),
    error_size=0.3,
)
"""Intensities with a unit, voxels three times as thick as wide, a label other than 1."""

FLAT = Task(
    name="photograph",
    modalities=("gray",),
    regions=("spot",),
    tissues=("spot",),
    views=("axial",),
    field_of_view=(64, 64),
    error_size=0.3,
    lesion=True,
    stars=(0.0, 1.0),
)
"""2D images, rated from 0 to 1."""

SLICES = replace(CT, name="slices", views=("axial",), volumes=True)
"""Volumes that are rated in axial planes alone."""

SHAPES = {"parts": (30, 40, 28), "organ": (40, 36, 14), "photograph": (48, 40, 1), "slices": (40, 36, 14)}


def make_exam(task: Task, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Image (C, X, Y, Z) and canonical label map (X, Y, Z): an ellipsoid, its tissues one after the other along X."""
    rng = np.random.default_rng(seed)
    shape = SHAPES[task.name]
    grid = np.meshgrid(*[np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in shape], indexing="ij")
    center = rng.uniform(-0.15, 0.15, 3) * (np.array(shape) > 1)
    inside = sum(((axis - c) / 0.5) ** 2 for axis, c in zip(grid, center, strict=True)) < 1
    labels = np.zeros(shape, np.uint8)
    bounds = np.linspace(-0.5, 0.5, len(task.tissues) + 1)[1:] + center[0]
    labels[inside] = 1 + np.searchsorted(bounds[:-1], grid[0][inside])
    head = sum(axis**2 for axis in grid) < 1.6
    signal = 100 + 80 * inside + rng.normal(0, 6, (len(task.modalities), *shape))
    image = np.where(head, signal, -1000 if task.window else 0)
    return image.astype(np.float32), labels


def write_data_set(folder: Path, task: Task, count: int) -> Path:
    """Images and references as nnU-Net has them, and a table of paths."""
    rows = []
    stored = np.array([0, *(task.scheme().labels[tissue][0] for tissue in task.tissues)], np.uint8)
    affine = np.diag([*task.spacing, 1.0])
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    for seed in range(count):
        image, labels = make_exam(task, seed)
        flat = (lambda a: a[..., 0]) if task.planar else (lambda a: a)
        nib.Nifti1Image(flat(image[0]).astype(np.int16), affine).to_filename(folder / f"images/case_{seed}.nii.gz")
        nib.Nifti1Image(flat(stored[labels]), affine).to_filename(folder / f"labels/case_{seed}.nii.gz")
        rows.append(f"case_{seed},labels/case_{seed}.nii.gz,images/case_{seed}.nii.gz")
    table = folder / "paths.csv"
    table.write_text("\n".join([f"exam,segmentation,{task.modalities[0]}", *rows]) + "\n")
    return table


def make_surrogate(task: Task, refiner: bool = True, seed: int = 0) -> Surrogate:
    """A network with random weights, and a small refiner."""
    torch.manual_seed(seed)
    config = SurrogateConfig(
        architecture="resnet18",
        task=task,
        modalities=task.modalities,
        field_of_view=task.field_of_view,
        stars=task.stars,
        normalization="window" if task.window else "head_mean",
        refiner=RefinerConfig((4, 4, 4, 4, 4, 4)) if refiner else None,
        kind_of_ratings="metric",
    )
    return Surrogate(config, Refiner(config.refiner, task) if refiner else None)


def as_tensors(task: Task, seeds: tuple[int, ...] = (0, 1)) -> tuple[Tensor, Tensor]:
    """A batch: images (B, C, X, Y, Z), and label maps (B, 1, X, Y, Z) in the task's default scheme."""
    stored = torch.tensor([0, *(task.scheme().labels[tissue][0] for tissue in task.tissues)], dtype=torch.uint8)
    images, labels = zip(*(make_exam(task, seed) for seed in seeds), strict=True)
    maps = torch.from_numpy(np.stack(labels))[:, None].long()
    return torch.from_numpy(np.stack(images)), stored[maps]

"""What several test modules need: tiny exams, and the published network on a field of view that fits them."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn

from dqe_loss import DQELoss, Surrogate, load_surrogate, regions_from_labels
from dqe_loss.surrogate.checkpoint import assemble, weights_of

SHAPE = (32, 28, 24)
SIDE = 32

try:
    from hypothesis import settings
except ModuleNotFoundError:  # the tests that need a GPU run without it
    pass
else:
    quick = settings(deadline=None, max_examples=40)
    """Hypothesis as a fast suite can afford it."""


def make_labels(shape: tuple[int, ...] = SHAPE, center: tuple[float, ...] = (0.1, -0.1, 0.05)) -> np.ndarray:
    """A BraTS 2023 label map: necrosis in an enhancing shell in edema, uint8 (X, Y, Z); radii of the half volume."""
    distance = np.sqrt(sum((axis - c) ** 2 for axis, c in zip(_grid(shape), center, strict=True)))
    labels = np.zeros(shape, np.uint8)
    for label, radius in ((2, 0.55), (3, 0.4), (1, 0.2)):
        labels[distance < radius] = label
    return labels


def make_image(shape: tuple[int, ...] = SHAPE, seed: int = 0) -> np.ndarray:
    """Four smooth modalities, positive inside an ellipsoid and 0 outside, float32 (4, X, Y, Z)."""
    rng = np.random.default_rng(seed)
    brain = sum(axis**2 for axis in _grid(shape)) < 0.9
    noise = np.stack([ndimage.gaussian_filter(rng.normal(size=shape), 2) for _ in range(4)])
    contrast = np.array([700, 500, 300, 400])[:, None, None, None]
    return ((noise / noise.std() * 60 + contrast) * brain).astype(np.float32)


def z_scored(image: Tensor, whole: bool) -> Tensor:
    """Each modality ``(N, 4, ...)`` as z-scores: of its head, with air of 0, or of all of it, with negative air."""
    inside = torch.ones_like(image, dtype=torch.bool) if whole else image > 0
    space = tuple(range(2, image.ndim))
    count = inside.sum(space, keepdim=True)
    mean = (image * inside).sum(space, keepdim=True) / count
    deviation = (((image - mean) * inside).square().sum(space, keepdim=True) / count).sqrt()
    return torch.where(inside, (image - mean) / deviation, 0)


def make_exam(shape: tuple[int, ...] = SHAPE, seeds: tuple[int, ...] = (0,)) -> tuple[Tensor, Tensor]:
    """A batch: images (B, 4, X, Y, Z) float32 and BraTS 2023 label maps (B, 1, X, Y, Z) uint8, tumors apart."""
    images = torch.from_numpy(np.stack([make_image(shape, seed) for seed in seeds]))
    centers = [(0.1 - 0.05 * seed, -0.1 + 0.1 * seed, 0.05) for seed in seeds]
    labels = torch.from_numpy(np.stack([make_labels(shape, center)[None] for center in centers]))
    return images, labels


def make_logits(labels: Tensor, channels: int = 3, seed: int = 1) -> Tensor:
    """A mediocre prediction: noise around 0 with a hint of the tumor; a leaf that requires gradient."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(labels.shape[0], channels, *labels.shape[2:], generator=generator)
    tumor = (labels > 0).float()
    if channels == 4:
        tumor = torch.cat((1 - tumor, tumor, tumor, tumor), 1)
    return (logits + 2 * tumor - 1).requires_grad_()


def make_case() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Image, BraTS 2023 label map, regions and mediocre region logits of two exams."""
    image, labels = make_exam(seeds=(0, 1))
    return image, labels, regions_from_labels(labels), make_logits(labels).detach()


def make_loss(**options: object) -> DQELoss:
    """A loss that rates the tiny exams instead of skipping them."""
    return DQELoss(options.pop("surrogate", small_surrogate()), **{"on_small": "pad", **options})


def gradient_of(loss: Callable[..., Tensor], prediction: Tensor, *arguments: object, **options: object) -> Tensor:
    """Gradient of a loss at a fresh copy of the prediction."""
    prediction = prediction.detach().clone().requires_grad_()
    loss(prediction, *arguments, **options).sum().backward()
    return prediction.grad


def shrink(surrogate: Surrogate, side: int = SIDE) -> Surrogate:
    """The same network with a smaller field of view: 50 times as fast, and its stars still depend on everything."""
    return assemble(replace(surrogate.config, field_of_view=(side, side)), weights_of(surrogate))


@cache
def small_surrogate() -> Surrogate:
    """The published weights, shrunk; shared, so a test that moves or casts it makes its own with `shrink`."""
    return shrink(load_surrogate("brainlesion"))


class TinyRater(nn.Module):
    """A smooth stand-in for the network where only the plumbing around it is tested, and compile time counts."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.convolution = nn.Conv2d(7, 8, 5, stride=2)
        self.normalization = nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 1)
        with torch.no_grad():
            for layer in (self.convolution, self.head):
                layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator) * 0.1)
                layer.bias.zero_()

    def forward(self, planes: Tensor) -> Tensor:
        features = torch.tanh(self.normalization(self.convolution(planes)))
        return 3 + self.head(features.mean((2, 3)))


@cache
def tiny_surrogate() -> Surrogate:
    """A surrogate around `TinyRater`, ratings near 3; shared like `small_surrogate`."""
    surrogate = shrink(small_surrogate())
    surrogate.network = TinyRater().eval().requires_grad_(False)
    return surrogate


def _grid(shape: tuple[int, ...]) -> list[np.ndarray]:
    return list(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij"))

"""The Python snippets of README and pages run as they stand there, on a phantom; what a reader must bring is given."""

import ast
import warnings

import numpy as np
import pytest
import torch
from helpers import small_surrogate
from monai.data import MetaTensor
from monai.losses import DiceLoss
from pages import PAGES, ROOT, code_of
from torchmetrics import MeanMetric

from dqe_loss import DQELoss, regions_from_labels, save_surrogate

FIRST, SIDE = (60, 60, 30), 96
"""First voxel and side of the crop."""
PLANE = 77
"""An axial plane through the tumor."""


def is_whole(text):
    """Whether a snippet leaves nothing out (``...``)."""
    return not any(isinstance(node, ast.Constant) and node.value is ... for node in ast.walk(ast.parse(text)))


SNIPPETS = {str(page.relative_to(ROOT)): code_of(page, "python") for page in PAGES}
RUN = {page: whole for page, texts in SNIPPETS.items() if (whole := list(filter(is_whole, texts)))}


def test_most_snippets_are_run():
    """The one of your-own-task.md runs in tests/tasks, with the checkpoint that it names."""
    assert sum(map(len, SNIPPETS.values())) - sum(map(len, RUN.values())) <= 3


@pytest.fixture
def given(phantom):
    """What a reader has: exams as tensors, whole and as crops, a network, an optimizer, a criterion."""
    image = torch.from_numpy(phantom.image)[None].float()
    label = torch.from_numpy(phantom.segmentations["reference"])[None, None].long()
    regions = regions_from_labels(label, "brats23").float()
    assert regions[0, 0, ..., PLANE].any()
    part = (..., *(slice(first, first + SIDE) for first in FIRST))
    network = torch.nn.Conv3d(4, 3, 1)
    torch.nn.init.constant_(network.bias, -2)  # logits below 0, which are no probabilities
    affine = torch.eye(4)
    affine[:3, 3] = torch.tensor(FIRST, dtype=torch.float)
    crop = MetaTensor(image[part], affine=affine[None])
    return {
        "DiceLoss": DiceLoss,
        "DQELoss": DQELoss,
        "criterion": DiceLoss(sigmoid=True) + 0.1 * DQELoss(),
        "network": network,
        "optimizer": torch.optim.SGD(network.parameters(), 1e-3),
        "device": "cpu",
        "loader": [{"image": image / image.amax(), "regions": regions, "raw": image}],
        "batch": {"image": crop, "full_image": MetaTensor(image, affine=torch.eye(4)[None]), "full_regions": regions},
        "image": image,
        "label": label,
        **dict.fromkeys(("mask_a", "mask_b"), label[0]),
        "prediction": regions,
        "regions": regions,
        **dict.fromkeys(("logits", "labelled_logits"), 8 * regions - 4),
        "target_full": regions,
        "image_full": image,
        "target_crop": regions[part],
        "image_crop": image[part],
        "plane_logits": (8 * regions - 4)[..., PLANE].requires_grad_(),
        "plane_regions": regions[..., PLANE],
        "plane_image": image[..., PLANE],
        **dict(zip("xyz", FIRST, strict=True)),
        "stars": np.linspace(1, 6, 90),
        "dice": np.linspace(0.1, 0.9, 90),
        "sources": np.repeat(["a", "b", "c"], 30),
    }


@pytest.mark.parametrize("page", RUN)
def test_snippets_run(page, given, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save_surrogate(small_surrogate(), tmp_path / "mine.safetensors")
    if page == "docs/how-to/lightning.md":
        given["dice"] = MeanMetric()
    if page == "docs/how-to/patches.md":
        part = (..., *(slice(first, first + SIDE) for first in FIRST))
        given["logits"] = given["logits"][part]
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.filterwarnings("ignore", module="torch|monai|pytorch_lightning|lightning_")
        for text in RUN[page]:
            exec(compile(text, page, "exec"), given)

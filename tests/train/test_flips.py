"""Left and right of an organ are two things: its planes are not mirrored."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_tasks import PARTS, make_surrogate

from dqe_loss.core.planes import join_planes
from dqe_loss.data.augmentation.config import AugmentationConfig
from dqe_loss.train import dataset


@pytest.mark.parametrize("lesion", [False, True])
def test_only_lesions_are_mirrored(monkeypatch, lesion):
    scans, regions = torch.rand(1, 64, 64), torch.rand(3, 64, 64) > 0.5
    monkeypatch.setattr(dataset, "read_planes", lambda *_: (scans, regions))
    config = replace(make_surrogate(PARTS, refiner=False).config, task=replace(PARTS, lesion=lesion))
    plane = dataset.RatedPlane("a", "a", "axial", Path("a"), 3.0)
    planes = dataset.PlaneDataset([plane], config, AugmentationConfig().only("flip"))
    seen = [planes[epoch, 0][0] for epoch in range(8)]
    assert all(torch.equal(one, join_planes(config, scans, regions)) for one in seen) == (not lesion)

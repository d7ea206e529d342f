"""What the benchmarks call is there still: their own functions on exams of a few voxels, where no command runs them."""

import importlib
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers import make_exam, small_surrogate

from dqe_loss import load_surrogate, rate_segmentation
from dqe_loss.losses.guards import GuardedSurrogate

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def bench(monkeypatch):
    """Imports a module of the benchmarks."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


def test_stars_through_each_step_of_nnunets_augmentation(bench):
    module = bench("nnunet_augmentation")
    image, labels = make_exam((32, 30, 28))
    exam = SimpleNamespace(name="a", image=image[0].numpy())
    settings = module.AugmentationOptions(patch=24, draws=2, checkpoints=("small",))
    records = [
        {"exam": "a", "step": step, "small": module._stars(small_surrogate(), sample)}
        for step, sample in module._steps(exam, labels[0, 0].numpy(), settings)
    ]
    expected = rate_segmentation(small_surrogate(), image, labels).mean()
    assert records[0]["small"] == pytest.approx(float(expected), abs=1e-4)
    rows = module._summary(records, ("small",))
    assert [row["samples"] for row in rows] == [1] * 3 + [2] * 5
    assert rows[0]["small: worst d"] == 0
    for row in rows:
        assert 0 < row["small: stars"] < 8, row["step"]
    empty = {"image": image, "segmentation": torch.zeros_like(labels)[0]}
    assert module._stars(small_surrogate(), empty) is None


@pytest.mark.parametrize("checkpoint", ["brainlesion", "hardened"])
def test_smoothgrad_is_rated_like_any_surrogate(bench, checkpoint):
    """Behind the guard of a refiner, as maps of saliency are made."""
    surrogate = load_surrogate(checkpoint)
    planes = torch.rand(1, 7, 32, 32)
    smooth = bench("_saliency").SmoothGrad(surrogate)
    assert GuardedSurrogate(smooth)(planes).shape == (1,)


def test_the_command_for_a_gpu_takes_eight_minutes_as_its_page_says(bench, tmp_path):
    assert bench("gpu").GpuOptions(tmp_path).limit_s == 480
    page = (BENCHMARKS.parent / "docs/results/gpu.md").read_text(encoding="utf-8")
    assert "a command that takes eight minutes at most." in page
    (row,) = [line for line in page.splitlines() if "nnU-Net's default plan" in line]
    assert "MONAI's DynUNet" in row
    assert "without deep supervision, batch 2 |" in row

"""The example that logs stars next to Dice runs, and TensorBoard finds both."""

import importlib
import sys
from pathlib import Path

import pytest
import torch
from helpers import make_image, make_labels, small_surrogate
from monai.data import Dataset

pytest.importorskip("ignite")
pytest.importorskip("matplotlib")
events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def example(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    for name in ("monitor_training", "train_segmentation", "segmentation_report"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module("monitor_training")


@pytest.fixture
def small_phantoms(example, monkeypatch):
    """Phantoms of 32 x 28 x 24 voxels, and a surrogate that fits them."""
    from dqe_loss.data.exams import Exam

    monkeypatch.setattr(
        example, "make_phantom", lambda seed: Exam("tiny", make_image(seed=seed), {"reference": make_labels()}, None)
    )
    monkeypatch.setattr(example, "load_surrogate", lambda _: small_surrogate())


def test_tensorboard_has_stars_and_dice_of_each_epoch(example, small_phantoms, tmp_path, capsys):
    arguments = example.MonitorTrainingOptions(out=tmp_path, phantoms=2, validation=2, epochs=3)
    history = example.monitor(arguments)
    assert len(history) == 3
    log = events.EventAccumulator(str(tmp_path))
    log.Reload()
    for name in ("stars", "stars_axial", "stars_coronal", "stars_sagittal", "dice"):
        scalars = log.Scalars(name)
        assert [scalar.step for scalar in scalars] == [1, 2, 3]
        assert [scalar.value for scalar in scalars] == pytest.approx([epoch[name] for epoch in history])
    assert len(log.Scalars("loss")) == 6
    assert history[0]["stars"] == pytest.approx(
        sum(history[0][f"stars_{view}"] for view in ("axial", "coronal", "sagittal")) / 3
    )
    assert [path.suffix for path in tmp_path.glob("*key_metric*")] == [".pt"]
    assert capsys.readouterr().out.count("epoch") == 3


def test_the_surrogate_gets_the_raw_image_and_the_network_another(example, small_phantoms):
    data = example.make_data([0], "a test")
    assert isinstance(data, Dataset)
    torch.testing.assert_close(torch.as_tensor(data[0]["raw"]), torch.from_numpy(make_image(seed=0)))
    assert abs(data[0]["image"][0].mean()) < 0.1 < data[0]["raw"][0].mean()


def test_wrong_arguments_are_one_line(example, tmp_path, capsys):
    assert example.main(["--epochs", "0", "--out", str(tmp_path / "x")]) == 2
    assert capsys.readouterr().err == (
        "monitor_training.py: error: --phantoms, --validation and --epochs must be 1 or more\n"
    )
    assert not (tmp_path / "x").exists()

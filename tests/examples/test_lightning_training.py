"""The Lightning example trains, logs, saves nothing of the frozen network, and goes on where it was."""

import csv
import importlib
import sys
import warnings
from pathlib import Path

import pytest
import torch
from helpers import make_image, make_labels, small_surrogate

from dqe_loss import save_surrogate

for needed in ("pytorch_lightning", "torchmetrics", "ignite", "matplotlib", "tensorboard"):
    pytest.importorskip(needed)

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def example(monkeypatch):
    """On phantoms of 32 x 28 x 24 voxels."""
    from dqe_loss.data.exams import Exam

    monkeypatch.syspath_prepend(str(EXAMPLES))
    for name in ("lightning_training", "monitor_training", "train_segmentation", "segmentation_report"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr("dqe_loss.losses.dqe.DQELoss.smallest_crop", 16)
    module = importlib.import_module("lightning_training")
    monkeypatch.setattr(
        importlib.import_module("monitor_training"),
        "make_phantom",
        lambda seed: Exam("tiny", make_image(seed=seed), {"reference": make_labels()}, None),
    )
    return module


@pytest.mark.slow
def test_it_trains_and_goes_on(example, tmp_path, capsys):
    save_surrogate(small_surrogate(), tmp_path / "small.safetensors")
    words = ["--out", tmp_path / "out", "--phantoms", 2, "--validation", 1, "--warmup", 3, "--checkpoint"]
    words = [str(word) for word in (*words, tmp_path / "small.safetensors")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert example.main([*words, "--epochs", "1"]) == 0
        saved = torch.load(tmp_path / "out" / "last.ckpt", weights_only=True)["state_dict"]
        assert saved.pop("criterion.steps_done") == 2
        assert all(name.startswith("network.") for name in saved)
        assert example.main([*words, "--epochs", "3", "--resume", str(tmp_path / "out" / "last.ckpt")]) == 0
    assert "'val/stars':" in capsys.readouterr().out
    last = max((tmp_path / "out" / "lightning_logs").iterdir())
    rows = [row for row in csv.DictReader((last / "metrics.csv").open()) if row.get("train/DiceLoss")]
    assert [bool(row["train/gradient_ratio"]) for row in rows] == [False, True, True, True]
    newest = max((tmp_path / "out").glob("last*.ckpt"), key=lambda path: path.stat().st_mtime)
    assert torch.load(newest, weights_only=True)["state_dict"]["criterion.steps_done"] == 6


def test_mistakes_are_one_line(example, tmp_path, capsys):
    assert example.main(["--out", str(tmp_path / "x"), "--resume", str(tmp_path / "absent.ckpt")]) == 2
    assert "--resume: no checkpoint at" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()

"""The four commands of docs/how-to/train.md from nothing to a loss, on phantoms, small."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import dqe_loss
from dqe_loss import DQELoss
from dqe_loss.data.phantom import make_phantom


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Run commands one after the other in one folder, as a user does."""
    folder = tmp_path_factory.mktemp("chain")
    root = Path(dqe_loss.__file__).parents[1]

    def run(module, *arguments):
        done = subprocess.run(
            [sys.executable, "-m", f"dqe_loss.{module}", *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(root)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run.folder = folder
    return run


@pytest.mark.slow
def test_from_nothing_to_a_loss(run):
    out = run("simulate", "--phantoms", "4", "--segmentations", "3", "--raters", "2", "--out", "simulated")
    assert "72 simulated ratings of 12 segmentations of 4 exams" in out

    options = ["--epochs", "1", "--batch", "6", "--micro-batch", "6", "--architecture", "resnet18", "--workers", "0"]
    out = run("train", "paper", "--ratings", "simulated/ratings.csv", "--out", "mine", *options)
    assert "planes: 18 train, 9 validation, 9 test; simulated ratings" in out

    where = ["--ratings", "simulated/ratings.csv", "--split", "mine/split.csv", "--out", "evaluation"]
    run("evaluate", "mine/surrogate.safetensors", *where)
    numbers = json.loads((run.folder / "evaluation" / "evaluation.json").read_text())
    assert numbers["kind_of_ratings"] == numbers["ratings"]["kind"] == "simulated"
    assert numbers["ratings"]["exams"] == 1
    assert numbers["ratings"]["segmentations"] == 3
    page = (run.folder / "evaluation" / "index.html").read_text()
    assert "simulated" in page
    # What the training said of its test part and what the evaluation says of it came from different code.
    card = (run.folder / "mine" / "surrogate.md").read_text()
    mean = numbers["ratings"]["views"]["mean"]["surrogate"]
    assert f"| test | 3 | {mean['mae']['value']:.2f} | {mean['rmse']['value']:.2f} |" in card

    exam = make_phantom(100)
    image = torch.from_numpy(exam.image)[None].float()
    labels = torch.from_numpy(exam.segmentations["reference"])[None, None]
    logits = torch.zeros(1, 3, *labels.shape[2:], requires_grad=True)
    loss = DQELoss(run.folder / "mine" / "surrogate.safetensors", center="target")(logits, labels, image=image)
    loss.backward()
    assert loss.isfinite()
    assert logits.grad.abs().sum() > 0

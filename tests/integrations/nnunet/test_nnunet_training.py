"""nnU-Net's own commands from raw data to rated predictions, with the trainer that the package brings."""

import json
import math

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from small_data_set import NAME, OWN_TRAINER, Commands, write_raw, write_raw_blobs
from small_tasks import make_surrogate

from dqe_loss import save_surrogate
from dqe_loss.cli import main as dqe
from dqe_loss.integrations.nnunet.check import TRAINERS, VARIABLE
from dqe_loss.integrations.nnunet.progress import SERIES
from dqe_loss.task import BLOBS

pytestmark = pytest.mark.slow  # processes that plan, train and predict


@pytest.fixture(scope="module")
def commands(tmp_path_factory):
    root = tmp_path_factory.mktemp("nnunet")
    write_raw(root)
    commands = Commands(root)
    commands.prepare()
    return commands


@pytest.fixture
def variables(commands, monkeypatch):
    for name, value in commands.environment.items():
        if name.startswith("nnUNet_"):
            monkeypatch.setenv(name, value)


@pytest.mark.filterwarnings("always::UserWarning")  # a command prints them
@pytest.mark.parametrize("configuration", ["3d_fullres", "2d"])
def test_from_training_to_stars_of_the_predictions(commands, variables, configuration, tmp_path, capsys):
    """Two epochs, stopped after the first and gone on with; prediction without the trainers; stars."""
    trained = commands.root / "results" / NAME / f"nnUNetTrainerDQE_tiny__nnUNetPlans__{configuration}"
    latest = trained / "fold_0" / "checkpoint_latest.pth"
    commands.train_until(latest, configuration, "nnUNetTrainerDQE_tiny")
    checkpoint = torch.load(latest, weights_only=False)
    assert checkpoint["trainer_name"] == "nnUNetTrainer"
    assert checkpoint["current_epoch"] == 1
    first = checkpoint["logging"]["dqe_target_stars"]
    commands.train(configuration, "nnUNetTrainerDQE_tiny", "--c")
    log = torch.load(trained / "fold_0" / "checkpoint_final.pth", weights_only=False)["logging"]
    assert {len(log[name]) for name in SERIES} == {2}
    target_stars, ratio = log["dqe_target_stars"], log["dqe_gradient_ratio"]
    assert math.isnan(ratio[0])
    assert target_stars[0] == first[0]  # the warm-up's epoch, of the process that was stopped
    assert not math.isnan(first[0])
    assert not math.isnan(ratio[1])  # 0 is possible: of what a toy predicts, nothing may move the stars
    assert math.isnan(target_stars[1])  # it was over when the training went on
    assert log["dqe_rated"][1] > 0
    assert (trained / "fold_0" / "progress.png").stat().st_size > 0
    *_, text = sorted((trained / "fold_0").glob("training_log*.txt"))
    assert "DQE: stars of the predictions, training" in text.read_text()
    assert "DQE: the term takes part already: its warm-up was over in epoch 1; val_loss" in text.read_text()
    assert (trained / "fold_0" / "validation" / "summary.json").exists()

    predicted = tmp_path / "predicted"
    commands.run(
        "nnunetv2.inference.predict_from_raw_data:predict_entry_point",
        *("-i", str(commands.root / "raw" / NAME / "imagesTs"), "-o", str(predicted), "-d", "137"),
        *("-c", configuration, "-f", "0", "-tr", "nnUNetTrainerDQE_tiny", "-device", "cpu", "--disable_tta"),
        *("-npp", "1", "-nps", "1", "--disable_progress_bar"),
        **{VARIABLE: ""},
    )
    capsys.readouterr()
    data = ["--data", str(commands.root / "raw" / NAME), "--out", str(tmp_path / "stars.csv")]
    code = dqe(["rate", *data, "--predictions", str(predicted)])
    told = capsys.readouterr()
    table = pd.read_csv(tmp_path / "stars.csv")
    assert table["exam"].tolist() == ["c"], told.err
    assert table["label_scheme"].tolist() == ["nnunet"]
    assert code == 0, told.err
    assert np.asarray(nib.load(predicted / "c.nii.gz").dataobj).any()
    assert table["mean"].between(1, 6).all()
    assert table["error"].isna().all()
    assert "2 of 3 exams have no prediction" in told.err
    assert dqe(["rate", *data[:2], "--out", str(tmp_path / "labels.csv")]) == 0
    assert "1 of 3 exams have no segmentation" in capsys.readouterr().err


def test_check_says_that_it_fits_and_what_does_not(commands, variables, monkeypatch, capsys):
    assert dqe(["nnunet", "path"]) == 0
    assert capsys.readouterr().out == f"{TRAINERS}\n"
    monkeypatch.setenv(VARIABLE, str(TRAINERS))
    check = ["nnunet", "check", "137", "--patches", "2"]
    dqe(check)
    told = capsys.readouterr().out
    assert "channels: t1, t1c, t2, flair\n" in told
    assert "labels: regions WT, TC, ET\n" in told
    assert "3d_fullres: fits: patches of 96 x 96 x 96 voxels (Z, Y, X)\n" in told
    assert "2d: fits: axial planes of 96 x 96 voxels (Y, X)\n" in told
    assert "3d_fullres, targets: " in told
    assert "% of 2 patches hold tumor and can be rated; the targets themselves get " in told

    assert "axes:" not in told
    assert "split: fold 0: 1 cases to train with, 1 to validate on\n" in told

    path = commands.root / "preprocessed" / NAME / "nnUNetPlans.json"
    small = json.loads(path.read_text())
    small["configurations"]["3d_fullres"]["patch_size"] = [64] * 3
    path.with_name("small.json").write_text(json.dumps(small))
    named = ["nnunet", "check", "137", "--patches", "0", "--plans", "small", "--configuration"]
    assert dqe([*named, "3d_fullres"]) == 1
    assert (
        "3d_fullres: PROBLEM, does not fit: its patches of 64 x 64 x 64 voxels are smaller" in capsys.readouterr().out
    )
    assert dqe([*named, "3d_lowres"]) == 2
    assert "has no configuration 3d_lowres, only " in capsys.readouterr().err
    monkeypatch.delenv(VARIABLE)
    assert dqe([*named, "2d"]) == 1
    assert "trainer: PROBLEM, nnUNet_extTrainer does not name " in capsys.readouterr().out
    assert dqe(["nnunet", "check", "999"]) == 2
    assert "Could not find a dataset with the ID 999" in capsys.readouterr().err


def test_a_training_with_a_surrogate_of_another_task(tmp_path, monkeypatch, capsys):
    """Blobs: the check with the checkpoint, and two epochs with a trainer that names it."""
    save_surrogate(make_surrogate(BLOBS), tmp_path / "blobs.safetensors")
    named = f"    dqe_checkpoint = {str(tmp_path / 'blobs.safetensors')!r}\n    dqe_warmup_epochs"
    commands = Commands(tmp_path, OWN_TRAINER.replace("    dqe_warmup_epochs", named), 40)
    write_raw_blobs(tmp_path)
    commands.prepare()
    for name, value in commands.environment.items():
        if name.startswith("nnUNet_"):
            monkeypatch.setenv(name, value)
    monkeypatch.setenv(VARIABLE, str(TRAINERS))
    dqe(["nnunet", "check", "137", "--patches", "2", "--checkpoint", str(tmp_path / "blobs.safetensors")])
    told = capsys.readouterr().out
    assert "labels: labels as in labels (1 blob)\n" in told
    assert "% of 2 patches hold blob and can be rated; the targets themselves get " in told
    commands.train("3d_fullres", "nnUNetTrainerDQE_tiny")
    trained = tmp_path / "results" / NAME / "nnUNetTrainerDQE_tiny__nnUNetPlans__3d_fullres" / "fold_0"
    log = torch.load(trained / "checkpoint_final.pth", weights_only=False)["logging"]
    assert not math.isnan(log["dqe_target_stars"][0])
    assert not math.isnan(log["dqe_gradient_ratio"][1])


def test_a_trainer_of_ones_own_takes_few_lines():
    assert len([line for line in OWN_TRAINER.splitlines() if line.strip()]) <= 10

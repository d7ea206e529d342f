"""The whole chain of commands on the built-in second task, from phantoms to a loss; small."""

import json

import pandas as pd
import pytest
import torch
from monai.losses import DiceLoss

from dqe_loss import DQELoss, load_surrogate, regions_from_labels
from dqe_loss.cli import main as dqe
from dqe_loss.data.phantom import phantom_of
from dqe_loss.task import BLOBS

HARDEN = "--steps 2 --batch 2 --features 4 4 4 4 4 4 --errors 2 --save-every 2 --workers 0 --no-natural"


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """Run a command in one folder, as a user does."""
    folder = tmp_path_factory.mktemp("blobs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)

        def run(line):
            assert dqe(line.split()) == 0, line

        run.folder = folder
        run("simulate --task blobs --phantoms 4 --segmentations 3 --raters 2 --workers 1 --out sim")
        yield run


def gradient_of(checkpoint):
    exam = phantom_of(BLOBS).make(9)
    image = torch.from_numpy(exam.image)[None].float()
    labels = torch.from_numpy(exam.segmentations["reference"])[None, None]
    logits = torch.zeros(1, 1, *labels.shape[2:], requires_grad=True)
    criterion = DiceLoss(sigmoid=True) + 0.1 * DQELoss(checkpoint)
    criterion(logits, regions_from_labels(labels, BLOBS.scheme()).float(), image=image).backward()
    assert criterion.log["skipped"] == 0
    return logits.grad


def test_simulated_ratings_say_their_task(chain):
    table = pd.read_csv("sim/ratings.csv")
    assert set(table["task"]) == {"blobs"}
    assert table["exam"].nunique() == 4
    assert BLOBS.modalities == ("scan",)
    assert "scan" in table.columns


@pytest.mark.slow
def test_from_simulated_ratings_to_a_loss(chain, capsys):
    chain(
        "train paper --task blobs --ratings sim/ratings.csv --out mine --architecture resnet18 "
        "--normalization head_mean --epochs 1 --batch 6 --micro-batch 6 --workers 0 --augmentation.no-enabled"
    )
    chain(f"harden --task blobs --checkpoint mine/best.safetensors --phantoms 2 --out hard {HARDEN}")
    chain("evaluate hard/surrogate.safetensors --ratings sim/ratings.csv --resamples 10 --out ev")
    chain("audit hard/surrogate.safetensors --phantoms 1 --attack-steps 2 --parts absurd exploitation --out au")
    chain("rate --checkpoint hard/surrogate.safetensors --data sim/exams --out stars.csv")
    chain("curate stars.csv --task blobs --out cu")
    assert load_surrogate("hard/surrogate.safetensors").config.task == BLOBS
    assert json.loads((chain.folder / "ev" / "evaluation.json").read_text())["ratings"]["kind"] == "simulated"
    assert set(pd.read_csv("stars.csv")["task"]) == {"blobs"}
    assert gradient_of("hard/surrogate.safetensors").isfinite().all()
    # What belongs to another task is refused by the names of both.
    capsys.readouterr()
    for line in (
        "evaluate hardened --ratings sim/ratings.csv --out no",
        "rate --task glioma --checkpoint hard/surrogate.safetensors --data sim/exams --out no.csv",
        "train paper --ratings sim/ratings.csv --out no --epochs 1",
        "harden --checkpoint mine/best.safetensors --phantoms 2 --out no --task glioma",
    ):
        assert dqe(line.split()) != 0, line
        refused = capsys.readouterr().err
        assert "blobs" in refused, refused
        assert "glioma" in refused, refused


@pytest.mark.slow
def test_the_gate_alone_needs_no_ratings(chain):
    chain(f"harden --task blobs --phantoms 2 --out gate --exponent 1 {HARDEN}")
    gate = load_surrogate("gate/surrogate.safetensors")
    assert (gate.config.task, gate.config.kind_of_ratings) == (BLOBS, "metric")
    assert gradient_of("gate/surrogate.safetensors").abs().sum() > 0

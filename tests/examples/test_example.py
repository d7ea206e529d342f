"""The example runs from a folder of files to table, pictures and JSON, and says what is wrong in one line."""

import copy
import importlib
import json
import sys
from pathlib import Path
from types import ModuleType

import nibabel as nib
import numpy as np
import pytest
import torch
from helpers import shrink, small_surrogate

from dqe_loss import Surrogate, save_surrogate
from dqe_loss.surrogate.refiner import SMALLEST_PLANE

pytest.importorskip("matplotlib")

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    for name in ("train_segmentation", "segmentation_exams", "segmentation_report"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module("train_segmentation")


@pytest.fixture
def exam(tmp_path: Path) -> Path:
    """A ball in a ball, 48 x 40 x 32 voxels."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    rng = np.random.default_rng(0)
    distance = np.linalg.norm(np.indices((48, 40, 32)) - np.array([22, 21, 16]).reshape(3, 1, 1, 1), axis=0)
    labels = np.select([distance < 3, distance < 5, distance < 8], [1, 3, 2], 0).astype(np.uint8)
    for modality in ("t1c", "t1n", "t2w", "t2f"):
        image = np.where(distance < 15, 100 + 40 * labels + rng.normal(0, 5, labels.shape), 0)
        nib.save(nib.Nifti1Image(image.astype(np.int16), np.eye(4)), folder / f"tiny-{modality}.nii")
    nib.save(nib.Nifti1Image(labels, np.eye(4)), folder / "tiny-seg.nii")
    return folder


def small_checkpoint(path: Path, surrogate: Surrogate, side: int) -> str:
    """The surrogate with a field of view that fits the exam."""
    save_surrogate(shrink(surrogate, side), path)
    return str(path)


QUICK = ("--warmup", "2", "--steps", "1", "--device", "cpu")


def test_from_files_to_report(
    example: ModuleType, exam: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], hardened: Surrogate
) -> None:
    out = tmp_path / "new" / "out"
    checkpoint = small_checkpoint(tmp_path / "small.safetensors", copy.deepcopy(hardened), SMALLEST_PLANE)
    exams = ["--exam", str(exam), "--unlabelled", str(exam), "--test", str(exam)]
    assert example.main([*exams, "--out", str(out), "--checkpoint", checkpoint, "--seeds", "2", *QUICK]) == 0

    arms = ["labelled only", "+ stars", "+ stars, pseudo-labels"]
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("reference", "after warm-up", *arms))
    assert "Means over 1 test exam and 2 seeds" in printed
    assert sorted(path.name for path in out.iterdir()) == ["curves.png", "planes.png", "results.json"]
    told = json.loads((out / "results.json").read_text())
    assert [r["segmentation"] for r in told["results"]] == ["reference", "after warm-up", *arms] * 2
    assert told["results"][0]["dice"] == {"TC": 1, "WT": 1, "ET": 1}
    entries = told["history"]
    runs = [("warm-up", 0), ("warm-up", 1), *((arm, 0) for arm in arms)]
    assert [(e["run"], e["step"], e["seed"]) for e in entries] == [(*run, seed) for seed in (0, 1) for run in runs]
    first = dict(zip(arms, entries[2:5], strict=True))
    # All arms go on from the state after the warm-up, with the same labelled exam first.
    assert first["+ stars"]["labelled"] == pytest.approx(first["labelled only"]["labelled"], rel=1e-5)
    assert first["+ stars"]["stars"] == pytest.approx(first["+ stars, pseudo-labels"]["stars"], rel=1e-5)
    assert 0 < first["+ stars"]["stars"] <= 0.5  # .1 times up to 5 stars
    assert "pseudo-label" not in first["+ stars"]


def test_arms_branch_off_one_state(example: ModuleType, exam: Path, tmp_path: Path) -> None:
    """Of the network and of its optimizer: what an arm does changes no other."""
    surrogate = shrink(small_surrogate(), 48)
    options = example.TrainSegmentationOptions(exam=(exam,), warmup=2, steps=2)
    parts = example.exams_of(options, surrogate, "cpu")
    arms = example.arms_of(surrogate, 0.1)
    baseline = next(iter(arms))
    twins = {baseline: arms[baseline], "twin": arms[baseline]}
    networks, _ = example.run_seed(0, twins, parts, options, "cpu")
    for one, twin in zip(networks[baseline].parameters(), networks["twin"].parameters(), strict=True):
        assert torch.equal(one, twin)


def test_without_a_refiner_the_target_guards(
    example: ModuleType, exam: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = small_checkpoint(tmp_path / "small.safetensors", small_surrogate(), 48)
    assert (
        example.main(["--exam", str(exam), "--out", str(tmp_path), "--checkpoint", checkpoint, "--seeds", "1", *QUICK])
        == 0
    )
    told = json.loads((tmp_path / "results.json").read_text())
    arms = ["Dice alone", "Dice + 0.1 DQE"]
    assert [r["segmentation"] for r in told["results"]] == ["reference", "after warm-up", *arms]
    alone, with_term = told["history"][-2:]
    assert with_term["sum"] > alone["Dice"]
    assert "Exams were tested that the networks were trained on" in capsys.readouterr().out


def test_the_sentence_counts_seeds(example: ModuleType) -> None:
    report = importlib.import_module("segmentation_report")
    dice = {"reference": (1, 1, 1), "labelled only": (0.5, 0.6, 0.7), "+ stars": (0.6, 0.55, 0.75)}
    rows = [
        report.Row("exam", name, seed, {"TC": value, "WT": value, "ET": float("nan")}, 3.0)
        for name, values in dice.items()
        for seed, value in enumerate(values)
    ]
    told = report.conclude(rows, ["labelled only", "+ stars"], synthetic=True, unseen=False)
    assert told.startswith("'+ stars' is above 'labelled only' in 2 of 3 seeds (mean Dice +0.100, -0.050, +0.050).")
    assert "synthetic exams, which are much alike" in told


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--exam", "nowhere"], "which exams have no reference? Name them by --unlabelled"),
        (["--test", "nowhere"], "--test and --unlabelled go with --exam"),
        (["--exam", "nowhere", "--unlabelled", "nowhere"], "nowhere: expected an exam's folder, found nothing there"),
        (["--steps", "0"], "expected --warmup, --steps and --seeds of 1 or more"),
        (["--device", "warp"], "--device warp cannot be used here"),
    ],
)
def test_errors_are_one_line(
    example: ModuleType,
    arguments: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert example.main([*arguments, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_unknown_reference_is_named_with_the_choices(
    example: ModuleType, exam: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exams = ["--exam", str(exam), "--unlabelled", str(exam)]
    assert example.main([*exams, "--reference", "seg-x", "--out", str(tmp_path)]) == 2
    assert "--reference seg-x fits none of tiny-seg; give a name" in capsys.readouterr().err

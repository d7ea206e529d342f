"""The example runs from a folder of files to table, pictures and JSON, and says what is wrong in one line."""

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType

import nibabel as nib
import numpy as np
import pytest
from helpers import shrink, small_surrogate

from dqe_loss import save_surrogate

pytest.importorskip("matplotlib")

EXAMPLES = Path(__file__).parents[2] / "examples"
RUNS = ["warm-up", "Dice alone", "Dice + 0.1 DQE"]


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    for name in ("train_segmentation", "segmentation_report"):
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


def test_from_files_to_report(
    example: ModuleType, exam: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "out"
    # The published weights: in a ball of noise the hardened ones see no tumor that any mask could agree with.
    save_surrogate(shrink(small_surrogate(), 48), tmp_path / "small.safetensors")
    steps = ["--warmup", "2", "--steps", "1", "--device", "cpu", "--checkpoint", str(tmp_path / "small.safetensors")]
    assert example.main(["--exam", str(exam), "--out", str(out), *steps]) == 0

    printed = capsys.readouterr().out
    assert "tiny (trained on)" in printed
    assert all(name in printed for name in ("reference", "after warm-up", *RUNS))
    assert sorted(path.name for path in out.iterdir()) == ["curves.png", "planes.png", "results.json"]
    told = json.loads((out / "results.json").read_text())
    assert [result["segmentation"] for result in told["results"]] == ["reference", "after warm-up", *RUNS[1:]]
    assert told["results"][0]["dice"] == {"TC": 1, "WT": 1, "ET": 1}
    *_, alone, with_term = history = told["history"]
    assert [(entry["run"], entry["step"]) for entry in history] == [
        (RUNS[0], 0), (RUNS[0], 1), (RUNS[1], 0), (RUNS[2], 0)
    ]  # fmt: skip
    assert with_term["gradient_ratio"] > 0
    assert 0 < with_term["guard_kept"] < 1
    # Both branches start from the state after warm-up, and the probe looks at what the branch trains on.
    figures = ("DiceLoss", "DQELoss", "gradient_ratio", "guard_kept")
    assert [alone[key] for key in figures] == pytest.approx([with_term[key] for key in figures], rel=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--exam", "nowhere"], "nowhere: expected an exam's folder, found nothing there"),
        (["--test", "nowhere"], "--test goes with --exam"),
        (["--steps", "0"], "expected --steps >= 1"),
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
    assert example.main(["--exam", str(exam), "--reference", "seg-x", "--out", str(tmp_path)]) == 2
    assert "--reference seg-x fits none of tiny-seg; give a name" in capsys.readouterr().err

"""Parts of the command for a GPU where something is missing, or has failed: told at once and by name."""

import hashlib
import io
import json
import sys
import time
from pathlib import Path

import pytest
import torch

import dqe_loss

BENCHMARKS = Path(dqe_loss.__file__).parents[1] / "benchmarks"


@pytest.fixture
def parts(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import _gpu_part

    return _gpu_part


def make_part(parts, folder, name):
    (folder / "parts").mkdir(exist_ok=True)
    return parts.GpuPart(folder, name, True, time.monotonic() + 60)


def test_who_waits_for_what_failed_is_told_at_once(parts, tmp_path, monkeypatch):
    import _gpu_prepare

    def fails(*arguments):
        raise RuntimeError("no space")

    monkeypatch.setattr(_gpu_prepare, "_taught", fails)
    prepare = make_part(parts, tmp_path, "prepare")
    monkeypatch.setattr(
        prepare, "attempt", lambda what, work: what == "planes" or type(prepare).attempt(prepare, what, work)
    )
    _gpu_prepare.prepare(prepare)
    waiting = make_part(parts, tmp_path, "hardening")
    with pytest.raises(RuntimeError, match=r"prepare failed \(RuntimeError: no space\)"):
        _gpu_prepare.taught_exams(waiting)
    assert waiting.left > 30


def test_who_waits_for_what_cannot_be_imported_is_told_at_once(parts, tmp_path, monkeypatch):
    monkeypatch.setitem(parts.MODULES, "prepare", "no_such_module")
    with pytest.raises(ModuleNotFoundError):
        parts.run_part("prepare", tmp_path, True)
    with pytest.raises(RuntimeError, match=r"prepare failed .*no_such_module"):
        parts.wait_for(make_part(parts, tmp_path, "training"), tmp_path / "planes")


def test_without_a_gpu_a_part_says_so(parts, tmp_path, monkeypatch):
    monkeypatch.setitem(parts.MODULES, "rate", "math")  # of which nothing is run
    monkeypatch.setattr(sys, "stdin", io.StringIO("60\n"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (tmp_path / "parts").mkdir()
    assert parts.run_part("rate", tmp_path, False) == 1
    noted = json.loads((tmp_path / "parts" / "rate.json").read_text())
    assert "expected a CUDA device" in noted["failures"]["device"]


def test_an_earlier_smoke_test_leaves_nothing_that_is_taken_for_a_phantom(parts, tmp_path):
    import _gpu_prepare
    import gpu

    for name in ("blobs-1-ab", "phantom-1-cd"):
        (tmp_path / "exams" / name).mkdir(parents=True)
        for array in _gpu_prepare.ARRAYS:
            (tmp_path / "exams" / name / f"{array}.npy").touch()
    ready = tmp_path / "exams" / parts.READY
    ready.touch()
    assert [exam.name for exam in _gpu_prepare.taught_exams(make_part(parts, tmp_path, "hardening"))] == ["blobs-1-ab"]
    gpu.main(gpu.GpuOptions(tmp_path, only=("tests",), limit_s=0))
    assert not ready.exists()


def test_what_tests_need_is_asked_for_and_told(parts, tmp_path, monkeypatch):
    import _gpu_tests

    monkeypatch.setattr(_gpu_tests, "_is_missing", lambda module: module == "pandera.pandas")
    monkeypatch.setattr(_gpu_tests, "ROOT", tmp_path)  # no conftest.py
    monkeypatch.setattr(_gpu_tests, "FILES", ["tests/no_such_file.py"])
    monkeypatch.setattr(_gpu_tests, "NEEDING", {"tests/train/test_train.py": ("hypothesis", "pandera.pandas")})
    part = make_part(parts, tmp_path, "tests")
    _gpu_tests.tests(part)
    assert part.summary["left_out"] == "tests/train/test_train.py (no pandera.pandas)"
    assert "--continue-on-collection-errors" in _gpu_tests.OPTIONS


def test_upstream_without_what_it_needs_is_left_out_by_name(parts, tmp_path, monkeypatch):
    import _gpu_inference

    monkeypatch.setitem(sys.modules, "loguru", None)
    monkeypatch.setitem(sys.modules, "deep_quality_estimation", None)
    monkeypatch.setattr(_gpu_inference, "bench", lambda *arguments: pytest.fail("asked for before upstream"))
    part = make_part(parts, tmp_path, "inference")
    _gpu_inference._upstream(part)
    assert part.summary == {"upstream": "left out: deep_quality_estimation is not installed here"}
    assert not part.failures


def test_what_was_measured_is_stored(parts, tmp_path):
    """Figures of a card outlive the weights and the code that they are of."""
    import gpu

    gpu._write(gpu.GpuOptions(tmp_path), {}, time.monotonic())
    stored = json.loads((tmp_path / "gpu.json").read_text())
    assert stored["checkpoint_sha256"] == hashlib.sha256(gpu.CHECKPOINT.read_bytes()).hexdigest()
    assert stored["commit"] == gpu._commit()

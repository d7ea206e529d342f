"""The command that measures everything on a GPU works: a GPU is there for minutes only."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import dqe_loss

BENCHMARKS = Path(dqe_loss.__file__).parents[1] / "benchmarks"
PART = """
import sys, time
name = sys.argv[2]
sys.stdin.readline()
if name == "tests":
    time.sleep(60)
if name == "inference":
    sys.exit("no such kernel")
"""


@pytest.mark.slow
def test_all_parts_run_tiny_on_a_cpu_and_need_no_pandera(tmp_path):
    """The wheels of a GPU machine lack what pandera needs."""
    for module in ("pandera", "pydantic"):
        (tmp_path / f"{module}.py").write_text(f"raise ModuleNotFoundError('{module}')")
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "gpu.py"), "--out", str(out), "--smoke", "--limit-s", "900"],
        capture_output=True,
        text=True,
        timeout=960,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )
    parts = json.loads((out / "gpu.json").read_text())["parts"]
    assert {name: part["status"] for name, part in parts.items()} == dict.fromkeys(
        (
            *("tests", "inference", "loss", "training", "hardening", "rate"),
            *("loss_compiled", "inference_compiled", "prepare"),
        ),
        "ok",
    ), done.stdout + done.stderr
    assert done.returncode == 0
    assert parts["tests"]["summary"]["collected"] >= 10
    assert "tests/train/test_train.py (no pandera.pandas)" in parts["tests"]["summary"]["left_out"]
    for name, figure in (
        ("inference", "published, best, times upstream (goal 500)"),
        ("inference_compiled", "hardened, batch 2, bf16 compiled, exams/s"),
        ("loss", "SegResNet, batch 1, hardened adds, % (goal 5 %)"),
        ("loss_compiled", "SegResNet, batch 1, criterion compiled, published adds, ms"),
        ("training", "end to end, micro-batch 2, 0 workers, planes/s"),
        ("hardening", "end to end, 0 workers, steps/s"),
        ("rate", "exams/s, batch 1, thorough=True"),
    ):
        assert figure in parts[name]["summary"]
    for name, part in parts.items():
        assert f"| {name} | status | ok," in done.stdout
        assert part["seconds"] > 0
        for figure, value in part["summary"].items():
            assert f"| {name} | {figure} | " in done.stdout
            assert value is not None, f"{figure} is no number"  # NaN is written as null
            # What a loss adds is a difference
            assert isinstance(value, str) or " adds, " in figure or value > 0, f"{figure}: {value}"


def test_a_part_that_fails_or_takes_too_long_costs_no_other(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import gpu

    (tmp_path / "part.py").write_text(PART)
    monkeypatch.setattr(gpu, "__file__", str(tmp_path / "part.py"))
    monkeypatch.setitem(gpu.LIMITS, "tests", 1)
    assert gpu.main(gpu.GpuOptions(tmp_path, only=("tests", "inference", "loss"))) == 1
    found = json.loads((tmp_path / "gpu.json").read_text())["parts"]
    assert {name: part["status"] for name, part in found.items()} == {
        "tests": "timed out after 1 s",
        "inference": "failed (exit code 1)",
        "loss": "ok",
    }
    assert "| inference | output | no such kernel |" in capsys.readouterr().out

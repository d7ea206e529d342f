"""The command that measures everything on a GPU works: a GPU is there for minutes only."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import dqe_loss

pytestmark = pytest.mark.skipif(
    "DQE_GPU_SMOKE" not in os.environ,
    reason="two minutes (five beside other work) and several processes of 2 GB; ask for it by DQE_GPU_SMOKE=1",
)
COMMAND = Path(dqe_loss.__file__).parents[1] / "benchmarks" / "gpu.py"


def run(*options, timeout=600):
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    command = [sys.executable, str(COMMAND), *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=os.environ | threads)


@pytest.mark.slow
def test_all_parts_run_tiny_on_a_cpu(tmp_path):
    done = run("--out", tmp_path, "--smoke", "--limit-s", 580)
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert {name: part["status"] for name, part in found["parts"].items()} == dict.fromkeys(
        (
            *("tests", "inference", "loss", "training", "hardening", "rate"),
            *("loss_compiled", "inference_compiled", "prepare"),
        ),
        "ok",
    ), done.stdout
    assert done.returncode == 0
    assert found["smoke"]
    assert len(found["checkpoint_sha256"]) == 64
    assert "commit" in found
    assert found["parts"]["tests"]["summary"]["collected"] >= 10
    for part, figure in (
        ("inference", "published, best, times upstream (goal 500)"),
        ("loss", "SegResNet, batch 1, hardened adds, % (goal 5 %)"),
        ("training", "end to end, micro-batch 2, 0 workers, planes/s"),
        ("hardening", "end to end, 0 workers, steps/s"),
        ("rate", "exams/s, batch 1, thorough=True"),
    ):
        assert isinstance(found["parts"][part]["summary"][figure], float), figure
        assert f"| {part} | {figure} |" in done.stdout


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, on which nothing fails")
def test_a_part_that_fails_or_takes_too_long_costs_no_other(tmp_path):
    done = run("--out", tmp_path, "--only", "rate", "tests", "--limit-s", 70)
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert done.returncode == 1
    assert "expected a CUDA device" in found["parts"]["rate"]["failures"]["device"]
    assert found["parts"]["tests"]["status"] == "ok"

"""A terminal that lacks a character gets an escape in its place: nobody loses a run's result to a letter."""

import io
import os
import subprocess
import sys
import warnings
from dataclasses import dataclass

import pytest
from helpers import small_surrogate
from rated import write_rated_exams

from dqe_loss import save_surrogate
from dqe_loss.command_line import run_command


@dataclass
class Nothing:
    """Of a command without options."""


class Notebook(io.StringIO):
    """A stream without an encoding of its own, as Jupyter's."""


@pytest.mark.parametrize(
    ("encoding", "rho"), [("ascii", r"\u03c1"), ("cp1252", r"\u03c1"), ("utf-8", "ρ")], ids=lambda name: name[:6]
)
def test_every_command_prints_on_any_terminal(monkeypatch, encoding, rho):
    streams = {name: io.TextIOWrapper(io.BytesIO(), encoding, "strict") for name in ("stdout", "stderr")}
    for name, stream in streams.items():
        monkeypatch.setattr(sys, name, stream)

    def work(_):
        print("Spearman's ρ, caf\udce9")
        warnings.warn("ρ of two exams", stacklevel=1)
        raise ValueError("caf\udce9/ρ.nii.gz: expected a file")

    assert run_command("dqe_loss.x", Nothing, work, []) == 2
    assert [stream.errors for stream in streams.values()] == ["strict", "strict"]  # what a caller prints is his own
    out, err = (stream.buffer.getvalue().decode(encoding).splitlines() for stream in streams.values())
    assert out == [rf"Spearman's {rho}, caf\udce9"]
    assert err == [
        f"dqe_loss.x: warning: {rho} of two exams",
        rf"dqe_loss.x: error: caf\udce9/{rho}.nii.gz: expected a file",
    ]


def test_a_notebook_is_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "stdout", Notebook())
    assert run_command("dqe_loss.x", Nothing, lambda _: print("ρ"), []) == 0
    assert sys.stdout.getvalue() == "ρ\n"


@pytest.mark.slow
def test_evaluate_ends_well_on_cp1252(tmp_path):
    save_surrogate(small_surrogate(), tmp_path / "small.safetensors")
    ratings = write_rated_exams(tmp_path / "data", exams=3)
    arguments = ["--ratings", str(ratings), "--out", str(tmp_path / "out"), "--resamples", "20"]
    done = subprocess.run(
        [sys.executable, "-m", "dqe_loss.evaluate", str(tmp_path / "small.safetensors"), *arguments],
        env={**os.environ, "PYTHONIOENCODING": "cp1252", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr.decode("cp1252")
    assert rb"\u03c1" in done.stdout
    assert b"All of it: " in done.stdout

"""Part `tests` of `gpu.py`: the tests that need a GPU."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

from _gpu_part import GpuPart

ROOT = Path(__file__).resolve().parents[1]
FILES = ["tests/test_gpu.py", "tests/metrics/test_torchmetric.py"]
NEEDING = {
    "tests/train/test_train.py": ("hypothesis", "pandera.pandas"),
    "tests/integrations/nnunet/test_nnunet_trainer.py": ("nnunetv2.training",),
}
"""Further files, and what must be installed for them."""
OPTIONS = [
    *("-m", "gpu", "--continue-on-collection-errors", "-p", "no:cacheprovider", "--tb=short", "--show-capture=no"),
    *("--durations=12", "-o", "addopts=-ra --strict-markers"),
]


def tests(part: GpuPart) -> None:
    """Runs them; a smoke test only collects them."""
    if importlib.util.find_spec("pytest") is None:
        part.failures["pytest"] = "pytest is not installed here: no test was run"
        part.write()
        return
    left_out = {file: missing for file, names in NEEDING.items() if (missing := [*filter(_is_missing, names)])}
    files = FILES + [file for file in NEEDING if file not in left_out]
    if left_out:
        part.note(left_out="; ".join(f"{file} (no {', '.join(names)})" for file, names in left_out.items()))
    command = [sys.executable, "-u", "-m", "pytest", *OPTIONS, *files]
    done = subprocess.Popen(
        command + (["--collect-only", "-q"] if part.smoke else ["-v"]),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # Plugins that are installed here are not needed, and one that is broken would stop all tests.
        env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )
    lines: list[str] = []
    assert done.stdout is not None
    for line in done.stdout:  # kept as they come: a test that hangs must not take the others' results along
        lines.append(line.rstrip())
        print(line, end="", flush=True)
        if "::" in line or line.startswith(("tests/", "E ")):
            part.detail(output=lines[-150:])
    code = done.wait()
    counts = {kind: int(count) for count, kind in re.findall(r"(\d+) (passed|failed|skipped|xfailed|error)", lines[-1])}
    if part.smoke:
        counts = {"collected": sum("::" in line for line in lines)}
    part.detail(output=lines[-150:])
    part.note(**counts, files=" ".join(files))
    if code:
        part.failures["pytest"] = "\n".join([f"exit code {code}", *lines[-40:]])
        part.write()


def _is_missing(module: str) -> bool:
    """Whether a module cannot be imported, itself or for what it needs."""
    try:
        importlib.import_module(module)
    except Exception:  # whatever a broken installation raises
        return True
    return False

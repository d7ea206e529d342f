"""What a wheel holds: the weights, the pages' templates and the types; and no tests."""

import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of this working tree, opened."""
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--no-deps", "--quiet", "--wheel-dir", str(folder)]
    if importlib.util.find_spec("hatchling"):
        options.append("--no-build-isolation")
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", *options, str(ROOT)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode and "hatchling" in done.stderr and "No matching distribution" in done.stderr:
        pytest.skip("hatchling, which builds wheels, is neither installed nor can it be downloaded")
    assert done.returncode == 0, done.stderr
    [path] = folder.glob("*.whl")
    with zipfile.ZipFile(path) as opened:
        yield opened


@pytest.mark.slow
def test_a_wheel_holds_all_of_the_package_and_nothing_else(wheel):
    names = set(wheel.namelist())
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"dqe_loss"}
    inside = {str(path.relative_to(ROOT)) for path in (ROOT / "dqe_loss").rglob("*") if path.is_file()}
    inside = {name for name in inside if "__pycache__" not in name}
    assert {name for name in names if name.startswith("dqe_loss/")} == inside
    assert {
        "dqe_loss/py.typed",
        "dqe_loss/surrogate/weights/hardened.safetensors",
        "dqe_loss/surrogate/weights/hardened.md",
    } <= names
    assert (
        wheel.read("dqe_loss/surrogate/weights/hardened.safetensors")
        == (ROOT / "dqe_loss/surrogate/weights/hardened.safetensors").read_bytes()
    )


@pytest.mark.slow
def test_a_wheel_brings_the_command_and_asks_for_little(wheel):
    [info] = {name.partition("/")[0] for name in wheel.namelist() if ".dist-info/" in name}
    assert "dqe = dqe_loss.cli:main" in wheel.read(f"{info}/entry_points.txt").decode()
    assert {f"{info}/licenses/LICENSE", f"{info}/licenses/NOTICE"} <= set(wheel.namelist())
    lines = wheel.read(f"{info}/METADATA").decode().splitlines()
    needed = [line for line in lines if line.startswith("Requires-Dist:") and "extra ==" not in line]
    assert len(needed) == 5, needed
    assert not [line for line in needed if "scipy" in line or "nibabel" in line or "tyro" in line]

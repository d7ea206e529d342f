"""What the package can do without any extra: loss, stars and metric; and how a command says what it lacks."""

import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from dqe_loss.cli import COMMANDS

pytestmark = pytest.mark.slow  # new interpreters
PROJECT = Path(__file__).parents[2] / "pyproject.toml"

BLOCKED = """
import sys
for name in sys.argv.pop(1).split(","):
    sys.modules[name] = None  # so that its import fails as that of a module that is not installed
"""
LOSS = """
import torch
from monai.losses import DiceLoss
from dqe_loss import DQELoss, DQEMetric, rate_segmentation
image = torch.rand(1, 4, 32, 28, 24)
labels = torch.zeros(1, 1, 32, 28, 24, dtype=torch.long)
labels[..., 8:20, 8:20, 8:16] = 2
labels[..., 10:16, 10:16, 10:14] = 3
from dqe_loss import regions_from_labels, load_surrogate
surrogate = load_surrogate()
regions = regions_from_labels(labels).float()
logits = (6 * regions - 3).requires_grad_()
criterion = DiceLoss(sigmoid=True) + 0.1 * DQELoss(surrogate, on_small="pad", views=("axial",))
criterion(logits, regions, image=image).backward()
assert logits.grad.isfinite().all() and logits.grad.abs().sum() > 0
stars = rate_segmentation(surrogate, image, labels)
assert stars.shape[0] == 1 and stars.isfinite().all()
metric = DQEMetric(surrogate)
metric(regions, image)
assert metric.aggregate().isfinite().all()
print("rated")
"""


def modules_of_extras() -> set[str]:
    """Every module that an extra brings and the package itself does not ask for, as far as it is installed here."""
    tomllib = pytest.importorskip("tomllib")
    project = tomllib.loads(PROJECT.read_text())["project"]

    def names(requirements):
        return {re.match(r"[\w.-]+", one)[0].lower().replace("_", "-") for one in requirements} - {"dqe-loss"}

    base = names(project["dependencies"])
    assert base == {"torch", "monai", "numpy", "einops", "safetensors"}
    extras = {name for requirements in project["optional-dependencies"].values() for name in names(requirements)}
    owners = packages_distributions().items()
    found = {module for module, of in owners if {o.lower().replace("_", "-") for o in of} & (extras - base)}
    assert {"tyro", "tqdm", "nibabel", "scipy", "pandas", "matplotlib", "sklearn", "torchio", "ignite"} <= found
    return found - {"tests", "test", "docs", "examples", "benchmarks"}


def run(program: str, without: set[str]) -> subprocess.CompletedProcess[str]:
    """Run a program in an interpreter in which some modules cannot be imported."""
    return subprocess.run(
        [sys.executable, "-c", BLOCKED + program, ",".join(sorted(without))],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_loss_stars_and_metric_need_no_extra():
    done = run(LOSS, modules_of_extras())
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "rated"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_says_which_extra_it_needs(name):
    """In one line, whichever way it is called."""
    program = f"""
import runpy
from dqe_loss.cli import main
assert main(["{name}", "--help"]) == 2
runpy.run_module("{COMMANDS[name].module.removesuffix(".command")}", run_name="__main__")
"""
    done = run(program, modules_of_extras())
    assert (done.returncode, done.stdout) == (2, "")
    extra = COMMANDS[name].extra
    expected = rf'dqe {name}: error: this needs \w+, which is missing; run: pip install "dqe_loss\[{extra}\]"'
    assert all(re.fullmatch(expected, line) for line in done.stderr.splitlines()), done.stderr
    assert len(done.stderr.splitlines()) == 2


LIBRARY = [
    ("data.exams", "rate"),
    ("data.tables.ratings", "rate"),
    ("data.phantom", "train"),
    ("data.corruption.chain", "train"),
    ("data.augmentation.augment", "train"),
    ("metrics.agreement", "train"),
    ("metrics.krippendorff", "train"),
    ("metrics.latent_raters", "train"),
    ("monitor.drift", "report"),
    ("surrogate.openvino", "engine"),
    ("viz.planes", "report"),
    ("explain.figure", "report"),
]
"""Modules that a user imports himself, and the extra that each needs."""


@pytest.mark.parametrize("there", [set(), {"nibabel", "pandas"}], ids=["nothing", "rate"])
def test_a_module_says_which_extra_it_needs(there):
    """Without any optional library, where a room's need is told first, and with those of the extra ``rate``."""
    program = f"""
from importlib import import_module
for name in {[name for name, _ in LIBRARY]}:
    try:
        import_module("dqe_loss." + name)
    except ImportError as error:
        print(name, "|", error)
"""
    done = run(program, modules_of_extras() - there)
    said = dict(line.split(" | ") for line in done.stdout.splitlines() if " | " in line)
    needs = {name: "rate" if name.startswith("data.") and not there else extra for name, extra in LIBRARY}
    for name in ("metrics.krippendorff", "data.exams", "data.tables.ratings") if there else ():
        del needs[name]
    line = 'this needs {}, which is missing; run: pip install "dqe_loss[{}]"'
    assert said == {
        name: line.format(said.get(name, "this needs nothing").split()[2].rstrip(","), extra)
        for name, extra in needs.items()
    }, done.stderr

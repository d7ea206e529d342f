"""What ``import dqe_loss`` brings along, in an interpreter of its own."""

import json
import subprocess
import sys

import pytest

import dqe_loss

pytestmark = pytest.mark.slow  # a new interpreter

PROGRAM = """
import json, os, random, sys
import monai.losses, torch
monai_brings = sorted(sys.modules)
before = torch.get_num_threads(), torch.get_default_dtype(), torch.are_deterministic_algorithms_enabled(), \\
    torch.backends.cudnn.benchmark, torch.random.get_rng_state().sum().item(), dict(os.environ), random.getstate()
import dqe_loss
public = [getattr(dqe_loss, name) for name in dqe_loss.__all__]
after = torch.get_num_threads(), torch.get_default_dtype(), torch.are_deterministic_algorithms_enabled(), \\
    torch.backends.cudnn.benchmark, torch.random.get_rng_state().sum().item(), dict(os.environ), random.getstate()
loaded = set(sys.modules)
loss, metric = dqe_loss.DQELoss(on_small="pad", views=("axial",)), dqe_loss.DQEMetric(views=("axial",))
volume = torch.rand(1, 4, 8, 8, 8)
mask = (volume[:, :1] > 0.5).expand(-1, 3, -1, -1, -1)
loss(4 * volume[:, :3] - 2, mask, image=volume)
metric(volume[:, :3], volume)
metric.aggregate()
print(json.dumps({"monai": monai_brings, "loaded": sorted(loaded), "used": sorted(sys.modules),
                  "changed": before != after, "environment": dict(os.environ) == before[-2]}))
"""


@pytest.fixture(scope="module")
def run():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("when", ["loaded", "used"])
@pytest.mark.parametrize(
    "package",
    ["deep_quality_estimation", "loguru", "matplotlib", "pandas", "sklearn", "torchio", "batchgenerators", "nibabel",
     "tyro", "ignite", "torchvision", "tensorboard"],
)  # fmt: skip
def test_what_the_loss_does_not_need_is_not_imported(run, when, package):
    """MONAI itself imports some of these where they are installed; then that is its doing."""
    assert package not in set(run[when]) - set(run["monai"])


def test_importing_changes_no_global_state(run):
    assert not run["changed"]
    assert run["environment"]


def test_every_public_name_is_there_and_documented():
    assert sorted(dqe_loss.__all__, key=str.lower) == sorted(set(dqe_loss.__all__), key=str.lower)
    for name in dqe_loss.__all__:
        public = getattr(dqe_loss, name)
        if callable(public):
            assert public.__doc__, name
            assert public.__module__.startswith("dqe_loss."), name


WITHOUT_EXTRAS = """
import sys
for name in ("pandas", "pandera", "pyarrow", "yaml", "pydantic", "sklearn", "torchio", "batchgenerators", "SimpleITK",
             "matplotlib", "jinja2", "pytorch_optimizer", "tensorboard"):
    sys.modules[name] = None
from importlib import import_module
names = ("audit", "curate", "evaluate", "harden", "rate", "simulate", "train")
audit, curate, evaluate, harden, rate, simulate, train = (import_module(f"dqe_loss.{name}.command") for name in names)
for command in (train, harden, simulate, evaluate, audit, curate):
    try:
        command.main(["paper", "--help"] if command is train else ["--help"])
    except SystemExit as ended:
        assert ended.code == 0, command
print("help is there")
folder = sys.argv[1]
assert train.main(["paper", "--ratings", "r.csv", "--out", f"{folder}/a"]) == 2
assert train.main([f"{folder}/c.yaml"]) == 2
assert harden.main(["--out", f"{folder}/h"]) == 2
assert simulate.main(["--phantoms", "1", "--out", f"{folder}/b"]) == 2
assert evaluate.main(["brainlesion", "--ratings", "r.csv", "--out", f"{folder}/c"]) == 2
assert audit.main(["brainlesion", "--out", f"{folder}/d"]) == 2
assert curate.main(["stars.csv", "--out", f"{folder}/e"]) == 2
assert rate.main(["--exam", folder, "--figure", f"{folder}/f.png"]) == 2
assert rate.main(["--data", folder, "--out", f"{folder}/s.csv"]) == 2
"""


@pytest.mark.slow
def test_commands_tell_which_extra_they_need(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRAS, str(tmp_path)], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "help is there" in done.stdout
    lines = done.stderr.splitlines()
    assert len(lines) == 9, lines
    assert all(line.endswith('run: pip install "dqe_loss[train]"') for line in lines[:7])
    assert lines[7].endswith('run: pip install "dqe_loss[report]"')
    assert lines[8].endswith('run: pip install "dqe_loss[rate]"')
    assert not list(tmp_path.iterdir())

"""The federated example: the rule that a site curates by, and the whole of it on Flower where that is installed."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import make_image, make_labels, quick
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("pandas")

FOLDER = Path(__file__).parents[2] / "examples" / "federated_curation"


@pytest.fixture(scope="module")
def modules():
    """Modules of the example; others have such names, too."""
    names = ("planes", "local_work", "phantom_sites")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        for name in names:
            patch.delitem(sys.modules, name, raising=False)
        yield [importlib.import_module(name) for name in names]
        for name in names:
            sys.modules.pop(name, None)


@quick
@given(st.lists(st.floats(4.9, 5.1), min_size=7, max_size=30), st.lists(st.sampled_from([1.3, 3.2, 5.8]), max_size=3))
def test_exams_rated_unlike_most_are_dropped_and_no_others(modules, good, wrong):
    _, local_work, _ = modules
    kept = local_work.rated_alike(np.array(good + wrong))
    assert not kept[len(good) :].any()
    # A quarter star is never too far.
    near = np.abs(np.array(good) - np.median(good + wrong)) <= 0.25
    assert kept[: len(good)][near].all()


def test_planes_are_taken_whatever_the_mask_says(modules):
    planes, *_ = modules
    shape = (200, 200, 40)
    image, labels = (make_image(shape) + 0.5).astype(np.int16), make_labels(shape)
    scans, regions = planes.take_training_planes(image, labels)
    assert scans.shape[1:] == (4, planes.SIDE, planes.SIDE)
    assert regions.shape == (len(scans), 3, planes.SIDE, planes.SIDE)
    assert not planes.take_training_planes(image, np.zeros_like(labels))[1].any()
    np.testing.assert_array_equal(planes.take_training_planes(image, np.zeros_like(labels))[0], scans)
    # Air is 0, the brain is standardized.
    assert abs(scans[scans != 0].astype(np.float32).mean()) < 0.1
    # TC and ET lie in WT.
    assert (regions[:, 1] >= regions[:, 0]).all()
    assert (regions[:, 0] >= regions[:, 2]).all()


def test_dice_of_an_exam(modules):
    planes, *_ = modules
    targets = torch.zeros(2, 3, 4, 4, dtype=torch.bool)
    targets[0, 0, :2] = True
    targets[1, 1, :] = True

    def network(images):
        logits = -torch.ones(len(images), 3, 4, 4)
        logits[:, 0, :1] = 1  # a row of each plane: 4 voxels are right, 4 wrong, 4 missed
        return logits

    network.eval = lambda: None
    assert planes.dice_of_exam(network, torch.zeros(2, 4, 4, 4), targets).tolist() == [0.5, 0, 1]


def test_a_third_of_the_last_sites_masks_is_wrong_whatever_the_kind(modules, tmp_path, monkeypatch):
    *_, sites = modules
    written = {}
    monkeypatch.setattr(
        sites, "write_wrong_mask", lambda paths, other, corruption, *rest: written.update({rest[-1]: corruption})
    )
    pandas = pytest.importorskip("pandas")
    wrong = []
    for kind in ("erode", "mixed"):
        federation = sites.lay_out(kind, 3, (4, 9), 1 / 3, 1.0, tmp_path)
        first, last = (pandas.read_csv(federation.folder / f"site-{i}" / "truth.csv") for i in range(2))
        assert (len(first), len(last)) == (4, 9)
        assert first["corruption"].isna().all()
        assert last["corruption"].notna().sum() == 3
        assert "corruption" not in pandas.read_csv(federation.folder / "site-1" / "exams.csv")
        wrong.append(set(last["exam"][last["corruption"].notna()]))
    assert wrong[0] == wrong[1]
    assert set(written.values()) <= set(sites.KINDS) - {sites.MIXED}


def test_the_whole_federation_runs_on_flower(tmp_path):
    pytest.importorskip("flwr", reason="the extra federated is not installed")
    pytest.importorskip("ray", reason="the extra federated is not installed")
    command = [sys.executable, str(FOLDER / "run.py"), "--kind", "erode", "--seeds", "1", "--sites", "2", "3"]
    command += ["--test", "1", "--rounds", "1", "--steps", "2", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads((tmp_path / "results.json").read_text())
    assert [run["rule"] for run in told["runs"]] == ["all", "stars", "truth"]
    assert [run["wrong_dropped"] for run in told["runs"]] == [0, 1, 1]
    assert all(0 <= run["mean_dice"] <= 1 for run in told["runs"])
    assert "| erode | oracle |" in done.stdout
    # Other settings are not mixed into the same folder.
    again = subprocess.run([*command, "--steps", "3"], capture_output=True, text=True, check=False)
    assert again.returncode == 2
    assert "holds runs with another steps (steps was " in again.stderr

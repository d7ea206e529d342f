"""Every command of docs/how-to/your-own-task.md, in its order, on a small data set and with small figures."""

import json
import runpy
import shlex
import sys

import nibabel as nib
import numpy as np
import pytest
import torch
from pages import ROOT, code_of
from small_tasks import PARTS, make_exam

from dqe_loss import load_surrogate
from dqe_loss.cli import main as dqe
from dqe_loss.task import read_task

PAGE = ROOT / "docs" / "how-to" / "your-own-task.md"
LINES = [
    words
    for block in code_of(PAGE, "bash")
    for line in block.replace("\\\n", " ").splitlines()
    if (words := shlex.split(line, comments=True))
]
SMALL = {
    "harden": "--steps 2 --batch 2 --features 4 4 4 4 4 4 --errors 2 --save-every 2 --workers 0 --no-natural",
    "simulate": "--segmentations 3 --workers 1",
    "train": "--epochs 1 --batch 6 --micro-batch 6 --workers 0 --augmentation.no-enabled",
    "evaluate": "--resamples 10",
    "audit": "--parts absurd",
    "collect": "--draw-only --workers 1",
    "rate": "",
    "curate": "",
    "task": "",
}
"""What makes each command quick; of an option given twice the last counts."""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Six persons' left and right sides, laid out as the page's data set, beside the page's examples."""
    folder = tmp_path_factory.mktemp("own-task")
    (folder / "examples").symlink_to(ROOT / "examples")
    for name in ("images", "labels"):
        (folder / "hippocampus" / name).mkdir(parents=True)
    for number in range(1, 13):
        image, labels = make_exam(PARTS, number)
        for name, voxels in (("images", image[0].astype(np.int16)), ("labels", labels)):
            file = folder / "hippocampus" / name / f"hippocampus_{number:03}.nii.gz"
            nib.Nifti1Image(voxels, np.eye(4)).to_filename(file)
    names = {"name": "Hippocampus", "channel_names": {"0": "MRI"}, "file_ending": ".nii.gz"}
    numbers = {"labels": {"background": 0, "Anterior": 1, "Posterior": 2}, "numTraining": 12}
    (folder / "hippocampus" / "dataset.json").write_text(json.dumps(names | numbers))
    return folder


def run(words, monkeypatch):
    """One line of the page; its exit code."""
    if words[0] == "dqe":
        small = SMALL[words[1]] + (" --phantoms 2" if "--phantoms" in words else "")
        return dqe([*words[1:], *shlex.split(small)])
    monkeypatch.setattr(sys, "argv", words[1:])
    runpy.run_path(words[1], run_name="__main__")
    return 0


@pytest.mark.slow
def test_from_files_to_a_loss(data, monkeypatch, capsys):
    monkeypatch.chdir(data)
    for words in LINES:
        assert run(words, monkeypatch) == 0, f"{' '.join(words)}: {capsys.readouterr().err}"
    task = read_task(ROOT / "examples" / "tasks" / "hippocampus.yaml")
    runs = data / "runs" / "hippocampus"
    assert load_surrogate(runs / "gate" / "surrogate.safetensors").config.kind_of_ratings == "metric"
    assert load_surrogate(runs / "hardened" / "surrogate.safetensors").config.task == task
    assert (runs / "evaluation" / "index.html").is_file()
    assert (runs / "audit" / "index.html").is_file()
    assert len((runs / "stars.csv").read_text().splitlines()) == 13

    named = {}
    [snippet] = code_of(PAGE, "python")
    exec(snippet, named)
    image, labels = make_exam(PARTS)
    logits = torch.zeros(1, 3, *labels.shape, requires_grad=True)
    loss = named["criterion"](logits, torch.from_numpy(labels)[None, None], image=torch.from_numpy(image)[None])
    loss.backward()
    assert named["criterion"].log["skipped"] == 0


def test_the_description_on_the_page_is_the_file():
    import yaml

    [shown] = code_of(PAGE, "yaml")
    stored = yaml.safe_load((ROOT / "examples" / "tasks" / "hippocampus.yaml").read_text())
    assert stored | yaml.safe_load(shown) == stored


def test_parts_never_share_a_person(data, monkeypatch):
    monkeypatch.chdir(data)
    split = runpy.run_path("examples/split_by_person.py")
    exams = [f"hippocampus_{number:03}" for number in range(1, 41)]
    for seed in range(5):
        parts = split["split_by_person"](exams, split["SplitOptions"]("", "", seed=seed))
        assert set(parts.values()) == {"train", "validation", "test"}
        persons = [{split["person"](exam) for exam in exams if parts[exam] == part} for part in set(parts.values())]
        assert sum(map(len, persons)) == len(set.union(*persons)) == 20

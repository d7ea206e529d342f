"""The commands of README, getting started and how-to pages run as they stand there, in their order, on small data."""

import json
import os
import shlex
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from cohort import write, write_exam
from helpers import make_labels, shrink, small_surrogate
from pages import ROOT, code_of
from rated import write_rated_exams
from rated_table import rated_table
from taught import make_case

from dqe_loss import MODALITIES, save_surrogate
from dqe_loss.data.tables.rated import write_rated

pytestmark = pytest.mark.slow

PAGES = [ROOT / "README.md", ROOT / "docs/getting-started.md", *sorted((ROOT / "docs/how-to").glob("*.md"))]
SMALLER = {
    "dqe simulate": "--phantoms 4 --raters 2 --segmentations 2",
    "dqe train": "--epochs 1 --batch 4 --micro-batch 4 --workers 0",
    "dqe_loss.train": "--epochs 1 --batch 8 --micro-batch 2 --workers 0",
    "dqe harden": "--steps 2 --batch 4 --errors 2 --phantoms 1 --workers 0 --features 4 4 4 4 4 4",
    "--labels labels.csv": "--start 3 --accept-warnings",
    "dqe audit hardened": "--phantoms 1 --parts soft",
    "dqe audit": "--parts absurd exploitation --attack-steps 1",
    "dqe collect --data": "--draw-only --workers 1",
    "dqe collect --out": "--draw-only",
    "dqe collect report": "--resamples 20",
    "examples/train_segmentation.py": "--warmup 1 --steps 1 --seeds 1",
    "--resume runs/lightning": "--epochs 2 --phantoms 1 --validation 1 --warmup 1",
    "examples/lightning_training.py": "--epochs 1 --phantoms 1 --validation 1 --warmup 1",
    "examples/monitor_training.py": "--epochs 1 --phantoms 1 --validation 1",
    "examples/watch_inference.py": "--follow 0.1",
}
"""Options that make a command small enough for a test; each replaces the page's own. The first that fits counts."""
PAGES.remove(ROOT / "docs/how-to/your-own-task.md")  # in tests/tasks, on exams of its task
TESTED_ELSEWHERE = (
    *("python3 -m venv", ". .venv", "pip ", "pytest ", "mkdocs ", "examples/federated_curation/"),
    *("monai.bundle", "nnUNet", "dqe nnunet", "--predictions predicted"),
)
"""CI installs and tests as the pages say; the federation (in its own environment), the bundle and nnU-Net have tests
of their own."""
WHOLE_SETS = ("curate.md", "collect.md")
"""Pages whose FOLDER is a data set, and no exam."""
MAY_SAY_NO = ("dqe audit", "--labels labels.csv", "examples/watch_inference.py")
"""Commands whose exit code 1 is a verdict."""


def commands_of(page):
    """The command lines of a page, in their order; the example is run where it stands first, in the README."""
    blocks = (block.replace("\\\n", " ") for block in code_of(page, "bash"))
    lines = [part for block in blocks for line in block.splitlines() for part in line.split(" && ")]
    elsewhere = TESTED_ELSEWHERE if page.name == "README.md" else (*TESTED_ELSEWHERE, "train_segmentation.py\n")
    return [
        line
        for line in lines
        if shlex.split(line, comments=True) and not any(known in f"{line}\n" for known in elsewhere)
    ]


def made_small(line):
    """The words of a command with the options that make it small."""
    words = shlex.split(line)
    options = next((options for known, options in SMALLER.items() if known in " ".join(line.split())), "")
    for name, *values in (option.split() for option in f" {options}".split(" --")[1:]):
        option = f"--{name}"
        if name == "follow" and option not in words:
            continue
        if option in words:
            first = words.index(option)
            end = next((i for i in range(first + 1, len(words)) if words[i].startswith("--")), len(words))
            del words[first:end]
        words += [option, *values]
    return words


def as_process(words):
    """How a process of this Python runs the command; srun's part is that of one task."""
    if words[0] == "srun":
        words = words[words.index("dqe") :]
    if words[0] == "torchrun":
        words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *words[3:]]  # two will do
    elif words[0] == "dqe":
        words = ["-m", "dqe_loss", *words[1:]]
    else:
        assert words[0] == "python"
        words = [str(ROOT / words[1]), *words[2:]]
    return [sys.executable, *words]


def write_nnunet(folder, exam):
    """An exam as nnU-Net's raw data: channels in the order of `MODALITIES`, and its mask."""
    for number, modality in enumerate(MODALITIES):
        place = folder / "imagesTr" / f"{exam.name}_{number:04}.nii.gz"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(exam / f"{exam.name}_{modality}.nii.gz")
    (folder / "labelsTr").mkdir()
    labels = {"background": 0, "edema": 1, "necrosis": 2, "enhancing": 3}
    about = {"channel_names": dict(enumerate(MODALITIES)), "labels": labels, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(about))
    labels = np.choose(make_labels(), [0, 2, 1, 3]).astype(np.uint8)
    write(folder / "labelsTr" / f"{exam.name}.nii.gz", labels)


def write_watched(folder):
    """A table of accepted segmentations, and one whose stars fall."""
    rng = np.random.default_rng(0)
    accepted = rng.normal(5, 0.2, 200).clip(1, 6)
    write_rated(rated_table(accepted), folder / "accepted.csv")
    write_rated(rated_table([*accepted, *rng.normal(2, 0.2, 100).clip(1, 6)]), folder / "inference.csv")


@pytest.fixture
def folder(request, tmp_path, monkeypatch):
    """A working folder that holds what the page's commands name."""
    monkeypatch.chdir(tmp_path)
    exams = [
        write_exam(tmp_path / "ROOT" / f"site-{seed % 2}" / f"case-{seed}", seed % 4, ("seg-NAME",))
        for seed in range(24 if request.param in WHOLE_SETS else 3)
    ]
    (tmp_path / "FOLDER").symlink_to(tmp_path / "ROOT" if request.param in WHOLE_SETS else exams[0])
    if request.param == "explain.md":
        write(exams[0] / "seg-other.nii.gz", np.roll(make_labels(), 2, 0))
    for network in "ab":
        (tmp_path / "runs" / network).mkdir(parents=True)
        for exam in exams:
            (tmp_path / "runs" / network / f"{exam.name}.nii.gz").symlink_to(exam / "seg-NAME.nii.gz")
    if request.param == "rate.md":
        for modality in MODALITIES:
            (tmp_path / f"{modality.upper()}.nii.gz").symlink_to(exams[0] / f"{exams[0].name}_{modality}.nii.gz")
        for name in "AB":
            write(tmp_path / f"{name}.nii.gz", np.choose(make_labels(), [0, 1, 2, 4]).astype(np.uint8))
        write_nnunet(tmp_path / "Dataset137_BraTS2021", exams[0])
        paths = [{m: exam / f"{exam.name}_{m}.nii.gz" for m in MODALITIES} for exam in exams]
        rows = [{"exam": e.name, "segmentation": e / "seg-NAME.nii.gz", **p} for e, p in zip(exams, paths, strict=True)]
        pd.DataFrame(rows).to_csv(tmp_path / "paths.csv", index=False)
    elif request.param in ("audit.md", "harden.md"):
        save_surrogate(shrink(small_surrogate(), 64), tmp_path / "mine.safetensors")
        for name in "ABCD":
            write_larger_exam(tmp_path / name)
            (tmp_path / "runs" / "a" / f"{name}.nii.gz").symlink_to(tmp_path / name / "seg-NAME.nii.gz")
    elif request.param == "curate.md":
        acceptable = {
            "exam": [f"{exam.parent.name}/{exam.name}" for exam in exams],
            "segmentation": "seg-NAME",
            "acceptable": 1,
        }
        pd.DataFrame(acceptable).to_csv(tmp_path / "labels.csv", index=False)
    elif request.param == "collect.md":
        write_collected(tmp_path, [exam.name for exam in exams])
    elif request.param == "monitor.md":
        write_watched(tmp_path)
    elif request.param == "train.md":
        write_rated_exams(tmp_path)
    return tmp_path


def write_collected(folder, exams):
    """What raters have left on the page, and what they gave in other programs."""
    (folder / "instructions.txt").write_text("Rate as you would before a planning.\n")
    (folder / "ratings" / "journal").mkdir(parents=True)
    for shift, rater in enumerate(("ann", "bob", "eve")):
        answers = [
            {"trial": str(i), "cases": [i], "verdict": 1 + (i + shift % 2) % 6, "comment": "", "tags": [], "seconds": 2}
            for i in range(len(exams))
        ]
        lines = "".join(json.dumps(answer | {"time": 0}) + "\n" for answer in answers)
        (folder / "ratings" / "journal" / f"{rater}.jsonl").write_text(lines)
    rows = [f"{exam},seg-NAME,ann,{1 + i % 5}" for i, exam in enumerate(exams)]
    (folder / "theirs.csv").write_text("\n".join(["case,mask,reader,score", *rows]) + "\n")
    one = {"completed_by": 1, "result": [{"value": {"rating": 4}}]}
    tasks = [{"data": {"exam": exam, "file": "seg-NAME"}, "annotations": [one]} for exam in exams]
    (folder / "export.json").write_text(json.dumps(tasks))
    (folder / "annotations.csv").write_text("p1.nii.gz,Acceptable with no changes,,p1_mask.nii.gz,Mask loaded\n")


def write_larger_exam(folder):
    """An exam that the refiner can be taught on."""
    exam = make_case(folder.name)
    folder.mkdir()
    for modality, channel in zip(MODALITIES, exam.image[0], strict=True):
        write(folder / f"{folder.name}_{modality}.nii.gz", channel.numpy())
    write(folder / "seg-NAME.nii.gz", exam.labels)


@pytest.mark.parametrize(
    ("page", "folder"),
    [(page, page.name) for page in PAGES if commands_of(page)],
    indirect=["folder"],
    ids=lambda given: getattr(given, "name", ""),
)
def test_commands_run(page, folder):
    files = {path.stem.partition(".")[0]: path.name for path in folder.glob("*.nii.gz")}
    for line in commands_of(page):
        words = [files.get(word, word) for word in made_small(line)]
        done = subprocess.run(
            as_process(words),
            env={**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"},
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        allowed = (0, 1) if any(known in line for known in MAY_SAY_NO) else (0,)
        assert done.returncode in allowed, f"{' '.join(words)}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        assert "Traceback" not in done.stderr

"""The command `python -m dqe_loss.rate`: its numbers, its files, its picture and its errors."""

import csv
import json
import os
import subprocess
import sys
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import get_type_hints

import nibabel as nib
import numpy as np
import pytest
import torch
import tyro
from helpers import SHAPE, make_image, make_labels, shrink, small_surrogate

import dqe_loss
from dqe_loss import MODALITIES, VIEWS, rate_segmentation, save_surrogate
from dqe_loss.audit import command as audit
from dqe_loss.core.label_schemes import describe_schemes
from dqe_loss.data.exam_files import find_exam
from dqe_loss.data.exams import Exam, read_exam
from dqe_loss.evaluate import command as evaluate
from dqe_loss.harden.config import HardenConfig
from dqe_loss.outputs import write_together
from dqe_loss.rate import command as rate
from dqe_loss.rate import one_exam
from dqe_loss.rate.arguments import RateArguments
from dqe_loss.rate.rate_exam import rate_exam
from dqe_loss.simulate import command as simulate
from dqe_loss.task import BLOBS, Task
from dqe_loss.train.config import TrainConfig

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
NAMES = ("axial", "coronal", "sagittal", "mean")
FIRST, SECOND = "seg-first", "seg-second"


def write(path, array, affine=LPS):
    nib.Nifti1Image(array, affine).to_filename(path)
    return path


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A tiny exam with two segmentations."""
    path = tmp_path_factory.mktemp("exams") / "exam-1"
    path.mkdir()
    for modality, channel in zip(MODALITIES, make_image(), strict=True):
        write(path / f"{modality}.nii.gz", channel.astype(np.int16))
    write(path / f"{FIRST}.nii.gz", make_labels())
    write(path / f"{SECOND}.nii.gz", np.flip(make_labels(), 0).copy())
    return path


@pytest.fixture
def run(capsys, folder, checkpoint):
    """Run the command in this process on the tiny exam; returns exit code, output, errors."""

    def run(*arguments, exam=True):
        exam = ["--exam", str(folder)] if exam else []
        code = rate.main([*exam, "--checkpoint", str(checkpoint), *map(str, arguments)])
        return code, *capsys.readouterr()

    return run


@pytest.mark.slow
def test_command_as_a_user_runs_it(folder, tmp_path, surrogate):
    outputs = {kind: tmp_path / f"ratings.{kind}" for kind in ("json", "csv", "png")}
    published = ["--checkpoint", "brainlesion"]
    command = [sys.executable, "-m", "dqe_loss.rate", "--exam", folder, *published, "--json", outputs["json"]]
    done = subprocess.run(
        [*command, "--csv", outputs["csv"], "--figure", outputs["png"]],
        cwd=Path(dqe_loss.__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    expected = rate_exam(read_exam(folder), surrogate)

    header, empty, columns, *rows = done.stdout.splitlines()
    assert header == "exam-1: predicted stars, 1 (worst) to 6 (best), by brainlesion, learned from human ratings"
    assert empty == ""
    assert columns.split() == ["segmentation", *NAMES]
    assert [row.split() for row in rows] == [
        [name, *(f"{expected[name][column]:.2f}" for column in NAMES)] for name in (FIRST, SECOND)
    ]

    content = json.loads(outputs["json"].read_text())
    ratings = content.pop("ratings")
    assert content == {
        "exam": "exam-1",
        "checkpoint": "brainlesion",
        "kind_of_ratings": "human",
        "unit": "stars",
        "scale": [1.0, 6.0],
        "label_scheme": "brats",
        "center": ["mask"],
    }
    assert list(ratings) == [FIRST, SECOND]
    with outputs["csv"].open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["segmentation"] for row in table] == [FIRST, SECOND]
    for row in table:
        assert (row["exam"], row["unit"], row["center"], row["checkpoint"]) == (
            "exam-1",
            "stars",
            "mask",
            "brainlesion",
        )
        for column in NAMES:
            wanted = pytest.approx(expected[row["segmentation"]][column], abs=1e-4)
            assert float(row[column]) == wanted
            assert ratings[row["segmentation"]][column] == wanted

    assert outputs["png"].read_bytes().startswith(b"\x89PNG")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ratings.csv", "ratings.json", "ratings.png"]


def test_numbers_are_those_of_the_one_path(folder):
    exam = read_exam(folder)
    ratings = rate_exam(exam, small_surrogate())
    image = torch.from_numpy(exam.image)[None]
    for name, labels in exam.segmentations.items():
        stars = rate_segmentation(small_surrogate(), image, torch.from_numpy(labels)[None, None], slicing="hard")[0]
        assert list(ratings[name]) == list(NAMES)
        assert [ratings[name][view] for view in VIEWS] == pytest.approx(stars.tolist(), abs=1e-5)
        assert ratings[name]["mean"] == pytest.approx(stars.mean().item(), abs=1e-5)


def test_files_one_by_one_and_label_scheme(run, folder, tmp_path):
    labels = make_labels()
    swapped = write(tmp_path / "swapped.nii.gz", np.choose(labels, [0, 2, 1, 3]).astype(np.uint8))
    flags = [x for modality in MODALITIES for x in (f"--{modality}", folder / f"{modality}.nii.gz")]
    output = tmp_path / "ratings.json"
    code, *_ = run(*flags, "--segmentation", swapped, "--label-scheme", "msd", "--json", output, exam=False)
    assert code == 0
    content = json.loads(output.read_text())
    expected = rate_exam(read_exam(folder), small_surrogate())[FIRST]
    assert content["label_scheme"] == "msd"
    assert content["ratings"] == {"swapped": pytest.approx(expected, abs=1e-4)}


def test_given_segmentations_override_those_of_the_folder(run, folder):
    code, output, _ = run("--segmentation", folder / f"{SECOND}.nii.gz")
    assert code == 0
    assert SECOND in output
    assert FIRST not in output


@pytest.mark.parametrize("kind", ["metric", "simulated"])
def test_other_than_human_ratings_are_called_so_everywhere(run, tmp_path, kind):
    surrogate = shrink(small_surrogate())
    surrogate.config = replace(surrogate.config, kind_of_ratings=kind)
    save_surrogate(surrogate, tmp_path / "other.safetensors")
    flags = ["--checkpoint", tmp_path / "other.safetensors", "--json", tmp_path / "a.json", "--csv", tmp_path / "a.csv"]
    code, output, _ = run(*flags, "--figure", tmp_path / "a.svg")
    assert code == 0
    assert f"predicted {kind} stars, 1 (worst) to 6 (best), by other.safetensors" in output
    assert "not from human ratings" in output
    content = json.loads((tmp_path / "a.json").read_text())
    assert (content["kind_of_ratings"], content["unit"]) == (kind, f"{kind} stars")
    assert f",{kind} stars," in (tmp_path / "a.csv").read_text()
    assert f"{kind} stars" in (tmp_path / "a.svg").read_text()  # matplotlib keeps each text as a comment


@pytest.mark.filterwarnings("default")
def test_warnings_are_one_line(run, tmp_path):
    turned = write(tmp_path / "turned.nii.gz", make_labels(), np.eye(4))
    code, _, errors = run("--segmentation", turned)
    assert code == 0
    assert errors.startswith(f"dqe rate: warning: {turned}: its affine differs from that of ")
    assert errors.count("\n") == 1


ERRORS = {
    "no exam": (
        ["--segmentation", "s.nii"],
        "expected --exam FOLDER or all of --t1c --t1 --t2 --flair; missing: --t1c",
    ),
    "one missing": (["--t1c", "a", "--t1", "b", "--t2", "c"], "missing: --flair"),
    "no segmentation": (["--t1c", "a", "--t1", "b", "--t2", "c", "--flair", "d"], "give it with --segmentation"),
    "both": (["--exam", "a", "--t1", "b"], "expected --exam or --t1c --t1 --t2 --flair, found both; leave one out"),
    "no folder": (["--exam", "nowhere"], "nowhere: expected an exam's folder, found nothing there; check the path"),
    "no mask": (["--exam", "{bare}"], 'expected a segmentation with "seg" in its name, found none; give it with'),
    "no file": (["--exam", "{exam}", "--segmentation", "no.nii"], "no.nii: expected a NIfTI file, found nothing there"),
    "labels": (["--exam", "{exam}", "--label-scheme", "brats21"], "seg-first.nii.gz: label scheme 'brats21' has"),
    "checkpoint": (["--exam", "{exam}", "--checkpoint", "no.safetensors"], "no checkpoint at no.safetensors; expected"),
    "device": (["--exam", "{exam}", "--device", "tpu9"], "--device tpu9 cannot be used here, try cpu"),
    "output folder": (["--exam", "{exam}", "--csv", "no/a.csv"], "no/a.csv: cannot be written, there is no folder no;"),
    "output is folder": (
        ["--exam", "{exam}", "--csv", "{exam}"],
        "cannot be written, it is a folder; give a file name",
    ),
    "same": (["--exam", "{exam}", "--csv", "{out}/a", "--json", "{out}/./a"], "a file of its own for each output"),
    "format": (["--exam", "{exam}", "--figure", "{out}/a.gif"], "a.gif: expected a figure that ends in .png or .pdf"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_are_one_line_and_leave_no_file(case, folder, tmp_path, capsys):
    out, bare = tmp_path / "out", tmp_path / "bare"
    out.mkdir()
    bare.mkdir()
    for modality in MODALITIES:
        (bare / f"{modality}.nii").symlink_to(folder / f"{modality}.nii.gz")
    arguments, message = ERRORS[case]
    json_flag = [] if "--json" in arguments else ["--json", "{out}/ratings.json"]
    filled = [a.format(exam=folder, out=out, bare=bare) for a in (*arguments, *json_flag)]
    assert rate.main(filled) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("dqe rate: error: ")
    assert errors.count("\n") == 1
    assert message in errors
    assert not list(out.iterdir())


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_folder_without_permission(run, tmp_path):
    tmp_path.chmod(0o500)
    code, _, errors = run("--csv", tmp_path / "a.csv")
    assert code == 2
    assert "a.csv: cannot be written, no permission" in errors


def test_permission_is_asked_before_any_work(run, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr(one_exam, "rate_exam", lambda *_: pytest.fail("worked before it looked"))
    code, _, errors = run("--csv", tmp_path / "a.csv")
    assert code == 2
    assert "a.csv: cannot be written, no permission in" in errors


def test_missing_matplotlib_names_the_extra(run, tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "dqe_loss.viz.planes", raising=False)
    monkeypatch.delattr(dqe_loss, "figure", raising=False)
    for name in ("matplotlib", "matplotlib.axes"):
        monkeypatch.setitem(sys.modules, name, None)
    code, _, errors = run("--figure", tmp_path / "a.png")
    assert code == 2
    assert 'this needs matplotlib, which is missing; run: pip install "dqe_loss[report]"' in errors


def test_misspelled_option_exits_with_2(run):
    with pytest.raises(SystemExit) as caught:
        run("--segmentaton", "a")
    assert caught.value.code == 2


def test_a_modality_may_be_called_as_an_option(tmp_path):
    file, mask = tmp_path / "scan.nii.gz", tmp_path / "seg.nii.gz"
    task = Task("made", ("image",), ("r",), ("r",))
    given = RateArguments(image=(f"image={file}",), segmentation=(mask,))
    assert one_exam._exam_paths(given, task).images == {"image": file}
    with pytest.raises(ValueError, match="expected --exam FOLDER or all of --image image=FILE; missing: image"):
        one_exam._exam_paths(RateArguments(segmentation=(mask,)), task)


def test_interrupt_exits_with_130(run, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(one_exam, "rate_exam", interrupt)
    assert run() == (130, "", "")


def test_failed_run_keeps_the_old_files(run, tmp_path, monkeypatch):
    old = tmp_path / "ratings.json"
    old.write_text("old")

    def fail(*_):
        raise ValueError("no stars\ntoday")

    monkeypatch.setattr(one_exam, "rate_exam", fail)
    assert run("--json", old, "--csv", tmp_path / "ratings.csv") == (2, "", "dqe rate: error: no stars today\n")
    assert old.read_text() == "old"
    assert list(tmp_path.iterdir()) == [old]


def test_files_are_replaced_together(tmp_path, monkeypatch):
    old, new = tmp_path / "a", tmp_path / "b"
    old.write_text("old")
    opened = Path.open

    def full(self, *arguments, **options):
        file = opened(self, *arguments, **options)
        if self.name.startswith(".b."):
            file.write(b"s")
            file.close()
            raise OSError("No space left on device")
        return file

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(OSError, match="No space left"):
        write_together({old: b"first", new: b"second"})
    assert old.read_text() == "old"
    assert list(tmp_path.iterdir()) == [old]
    monkeypatch.undo()
    monkeypatch.setattr(Path, "open", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match=f"No space left on device: '{old}'"):  # the system does not say where
        write_together({old: b"first"})
    monkeypatch.undo()
    write_together({old: b"first", new: b"second"})
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"a": b"first", "b": b"second"}


@pytest.mark.parametrize(
    "arguments",
    [
        RateArguments,
        evaluate.EvaluateArguments,
        audit.AuditArguments,
        simulate.SimulateArguments,
        TrainConfig,
        HardenConfig,
    ],
)
def test_label_schemes_of_the_option_are_all_there_are(arguments, capsys):
    assert get_type_hints(arguments)["label_scheme"] == str | None  # a task of one's own has others
    with pytest.raises(SystemExit):
        tyro.cli(arguments, args=["--help"])
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert describe_schemes() in text.replace("- ", "-")


def tiny_exam(labels=None, affine=LPS, image=None):
    labels = make_labels() if labels is None else labels
    return Exam("A", make_image().astype(np.int16) if image is None else image, {"m": labels}, affine)


STARS = {"axial": 3.11, "coronal": 4.22, "sagittal": 5.33, "mean": 4.22}


def draw(exam, **options):
    pytest.importorskip("matplotlib")
    from dqe_loss.viz.planes import plot_planes

    return plot_planes(exam, dict.fromkeys(exam.segmentations, STARS), **options)


def test_figure_has_a_row_for_each_segmentation_and_says_all_stars():
    exam = replace(tiny_exam(), segmentations={"one": make_labels(), "two": make_labels()})
    figure = draw(exam, unit="metric stars", caption="what it is")
    assert len(figure.axes) == 2 * 3 * 2
    texts = [text.get_text() for text in figure.texts]
    assert texts[:2] == ["what it is", "one: mean 4.22 metric stars"]
    assert [t.partition(": ")[2] for t in texts[2:5]] == [f"{STARS[view]} metric stars" for view in VIEWS]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["whole tumor (WT)", "tumor core (TC)", "enhancing tumor (ET)"]


def test_texts_of_a_small_exam_do_not_overlap():
    """A hippocampus is 40 mm long; at the scale of a head the titles of its views would lie on each other."""
    image = np.ones((1, 30, 40, 30), np.int16)
    labels = np.zeros(image.shape[1:], np.uint8)
    labels[10:20, 10:30, 10:20] = 1
    exam = Exam("A", image, {"m": labels}, LPS)
    figure = draw(exam, task=BLOBS, caption="a caption that says what is seen, and that no human gave the stars")
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in figure.texts]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.width for box in boxes)


def test_figure_hangs_planes_as_radiologists_do():
    """A bright voxel at the patient's left, anterior and superior, in all planes through the tumor's center."""
    x, y, z = center = (17, 14, 12)
    image = np.ones((4, *SHAPE), np.int16)
    for corner in ((28, 2, z), (28, y, 21), (x, 2, 21)):  # LPS: X grows to the left, Y backward, Z upward
        image[(slice(None), *corner)] = 100
    labels = np.zeros(SHAPE, np.uint8)
    labels[center] = 1
    axial, _, coronal, _, sagittal, _ = draw(tiny_exam(labels, image=image)).axes
    for ax, (right, up) in ((axial, (True, True)), (coronal, (True, True)), (sagittal, (False, True))):
        rows, columns = np.nonzero(ax.images[0].get_array() == 100)
        x_shown, y_shown = ax.transData.transform((columns[0], rows[0]))
        center_shown = ax.transAxes.transform((0.5, 0.5))
        assert (x_shown > center_shown[0], y_shown > center_shown[1]) == (right, up)
        assert [t.get_text() for t in ax.texts][1] == ("A" if ax is sagittal else "R")


def test_figure_names_no_side_where_the_header_says_other_than_lps():
    assert len(draw(tiny_exam()).axes[0].texts) == 3
    assert [t.get_text() for t in draw(tiny_exam(affine=np.eye(4))).axes[0].texts] == ["FLAIR"]


def test_figure_shows_a_mask_that_left_the_head():
    labels = np.zeros((60, 60, 60), np.uint8)
    labels[55:58, 30, 30] = 2
    image = np.zeros((4, 60, 60, 60), np.int16)
    image[:, 20:30, 25:35, 25:35] = 5
    axial = draw(tiny_exam(labels, image=image)).axes[0]
    assert axial.images[0].get_array().shape == (20, 60 - 15)
    assert len(axial.collections) == 1  # the outline of the whole tumor


@pytest.mark.parametrize("value", [0, 1])
def test_figure_of_empty_and_of_full_masks(value, tmp_path):
    draw(tiny_exam(np.full(SHAPE, value, np.uint8))).savefig(tmp_path / "a.png", dpi=20)


def test_figure_of_nothing_is_an_error():
    with pytest.raises(ValueError, match="at least one segmentation, got none"):
        draw(replace(tiny_exam(), segmentations={}))


@pytest.mark.exams
def test_real_exam_is_rated_as_by_the_published_package(exams, surrogate):
    paths = find_exam(exams / "BraTS-GLI-00001-000")
    reference = tuple(p for p in paths.segmentations if p.name.startswith("seg-BraTS23_1.nii"))
    exam = read_exam(replace(paths, segmentations=reference, name=""))
    expected = {"axial": 5.45254, "coronal": 5.13865, "sagittal": 5.35569, "mean": 5.31563}
    assert rate_exam(exam, surrogate)["seg-BraTS23_1"] == pytest.approx(expected, abs=1e-4)

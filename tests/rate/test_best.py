"""`dqe rate --best`: the best mask of each exam under the exam's name, and a table of all candidates."""

import shutil

import numpy as np
import pandas as pd
import pytest
from cohort import write, write_exam
from helpers import make_labels

from dqe_loss import VIEWS
from dqe_loss.data.discovery.cohort import FoundExam
from dqe_loss.rate import best
from dqe_loss.rate import command as rate

PREDICTED = ("unet", "swin")


@pytest.fixture
def data(tmp_path):
    """Three exams of two sites, and what two networks predict of them."""
    for number in range(3):
        exam = write_exam(tmp_path / "data" / f"site-{number % 2}" / f"case-{number}", seed=number, masks=("seg",))
        for place, network in enumerate(PREDICTED):
            (tmp_path / network).mkdir(exist_ok=True)
            labels = make_labels(center=(0.1 - 0.3 * (place == number % 2), -0.1, 0.05))
            write(tmp_path / network / f"{exam.name}.nii.gz", labels)
    return tmp_path


def run(folder, checkpoint, *more, predictions=PREDICTED):
    """The command with what both networks predicted; its exit code."""
    names = [str(folder / name) for name in predictions]
    command = ["--data", str(folder / "data"), "--out", str(folder / "stars.csv"), "--checkpoint", str(checkpoint)]
    return rate.main([*command, "--predictions", *names, "--best", str(folder / "best"), *more])


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_best_mask_of_each_exam(data, checkpoint, capsys):
    assert run(data, checkpoint) == 0
    table, listed = (
        pd.read_csv(data / "stars.csv"),
        pd.read_csv(data / "best" / "candidates.csv", keep_default_na=False),
    )
    assert listed["exam"].tolist() == table["exam"].tolist()
    assert listed["mean"].tolist() == table["mean"].tolist()
    assert listed["unit"].unique().tolist() == ["stars"]
    wins = dict.fromkeys(PREDICTED, 0)
    for exam, rows in table.groupby("exam"):
        chosen = rows.loc[rows["mean"].idxmax(), "segmentation"]
        wins[chosen] += 1
        name = f"{exam.split('/')[1]}.nii.gz"
        assert (data / "best" / name).read_bytes() == (data / chosen / name).read_bytes()
        of = listed[listed["exam"] == exam].set_index("segmentation")
        assert of["best"].to_dict() == {network: int(network == chosen) for network in PREDICTED}
        assert of["file"].to_dict() == {network: name if network == chosen else "" for network in PREDICTED}
        for view in VIEWS:
            first = rows.loc[rows[view].idxmax(), "segmentation"]
            assert [view in text.split() for text in of["best_in"]] == [network == first for network in of.index]
    assert all(wins.values())  # else the test would not tell a choice from a copy
    out = capsys.readouterr().out
    assert f"{data / 'best'}: the best mask of 3 exams\nbest: " in out
    assert all(f"{name} {count}" in out for name, count in wins.items())
    # The folder can be rated as predictions are.
    again = ["--data", str(data / "data"), "--out", str(data / "again.csv"), "--checkpoint", str(checkpoint)]
    assert rate.main([*again, "--predictions", str(data / "best")]) == 0
    assert pd.read_csv(data / "again.csv")["mean"].tolist() == table.groupby("exam")["mean"].max().tolist()


def test_a_run_that_stopped_goes_on_to_the_same(data, checkpoint, tmp_path, monkeypatch):
    """Killed before the masks were written, and run again: the journal's stars are used, and the files are the same."""
    whole = tmp_path / "whole"
    shutil.copytree(data, whole, ignore=shutil.ignore_patterns("whole"))
    assert run(whole, checkpoint) == 0
    monkeypatch.setattr(best, "write_best", lambda *given: (_ for _ in ()).throw(KeyboardInterrupt))
    assert run(data, checkpoint) == 130
    monkeypatch.undo()
    assert [path.name for path in (data / "best").iterdir()] == ["settings.json"]
    asked = []
    monkeypatch.setattr("dqe_loss.rate.rate_data_set.rate_prepared", lambda *given: asked.append(given))
    assert run(data, checkpoint) == 0
    assert not asked
    assert contents(data / "best") == contents(whole / "best")


def test_new_predictions_replace_what_was_best(data, checkpoint):
    assert run(data, checkpoint) == 0
    listed = pd.read_csv(data / "best" / "candidates.csv")
    won = listed[(listed["exam"] == "site-0/case-0") & (listed["best"] == 1)].iloc[0]
    loser = next(name for name in PREDICTED if name != won["segmentation"])
    untouched = (data / "best" / "case-1.nii.gz").stat().st_mtime_ns
    (data / won["segmentation"] / "case-0.nii.gz").write_bytes(b"damaged")
    kept = data / loser / "case-0.nii"
    (data / loser / "case-0.nii.gz").unlink()
    write(kept, make_labels())
    assert run(data, checkpoint) == 1  # a mask has no stars
    assert (data / "best" / "case-0.nii").read_bytes() == kept.read_bytes()
    assert not (data / "best" / "case-0.nii.gz").exists()
    assert (data / "best" / "case-1.nii.gz").stat().st_mtime_ns == untouched
    listed = pd.read_csv(data / "best" / "candidates.csv", keep_default_na=False).set_index(["exam", "segmentation"])
    assert listed.loc[("site-0/case-0", won["segmentation"]), "error"]
    assert listed.loc[("site-0/case-0", loser), ["best", "file"]].tolist() == [1, "case-0.nii"]


def test_masks_that_cannot_be_rated_are_no_candidates(data, checkpoint, capsys):
    """One on another grid; an exam of which there is none that can be."""
    write(data / "unet" / "case-0.nii.gz", np.zeros((8, 8, 8), np.uint8))
    for name in PREDICTED:
        (data / name / "case-1.nii.gz").write_bytes(b"damaged")
    assert run(data, checkpoint) == 1
    assert sorted(path.name for path in (data / "best").glob("*.nii.gz")) == ["case-0.nii.gz", "case-2.nii.gz"]
    assert (data / "best" / "case-0.nii.gz").read_bytes() == (data / "swin" / "case-0.nii.gz").read_bytes()
    out = capsys.readouterr().out
    assert "the best mask of 2 exams, 1 of one candidate alone, 1 without any that could be rated" in out


def test_exams_that_end_alike_keep_their_folders(tmp_path, checkpoint):
    for patient in ("p1", "p2"):
        write_exam(tmp_path / "data" / patient / "day-1", masks=("seg-a", "seg-b"))
    command = ["--data", str(tmp_path / "data"), "--out", str(tmp_path / "stars.csv"), "--checkpoint", str(checkpoint)]
    assert rate.main([*command, "--best", str(tmp_path / "best")]) == 0
    assert {path.relative_to(tmp_path / "best").as_posix() for path in (tmp_path / "best").rglob("*.nii.gz")} == {
        "p1/day-1.nii.gz",
        "p2/day-1.nii.gz",
    }


def test_only_exams_that_end_alike_get_folders_and_predictions_are_found_in_them(tmp_path, checkpoint):
    for name in ("p1/day-1", "p2/day-1", "p3/day-9"):
        write_exam(tmp_path / "data" / name, masks=("seg-a", "seg-b"))
    command = ["--data", str(tmp_path / "data"), "--out", str(tmp_path / "stars.csv"), "--checkpoint", str(checkpoint)]
    assert rate.main([*command, "--best", str(tmp_path / "best")]) == 0
    masks = {"p1/day-1.nii.gz", "p2/day-1.nii.gz", "day-9.nii.gz"}
    assert {name for name in contents(tmp_path / "best") if name.endswith(".gz")} == masks
    command[3] = str(tmp_path / "again.csv")
    assert rate.main([*command, "--predictions", str(tmp_path / "best")]) == 0
    again = pd.read_csv(tmp_path / "again.csv")
    assert sorted(again["mask"]) == sorted(f"best/{name}" for name in masks)


def test_masks_of_exams_that_are_gone_go_too(data, checkpoint):
    assert run(data, checkpoint) == 0
    assert "case-2.nii.gz" in contents(data / "best")
    shutil.rmtree(data / "data" / "site-0" / "case-2")
    assert run(data, checkpoint) == 0
    assert {name for name in contents(data / "best") if name.endswith(".gz")} == {"case-0.nii.gz", "case-1.nii.gz"}


def test_one_exam(tmp_path, checkpoint, capsys):
    exam = write_exam(tmp_path / "case-7", masks=("seg-a", "seg-b"))
    command = ["--exam", str(exam), "--checkpoint", str(checkpoint), "--best", str(tmp_path / "best")]
    assert rate.main([*command, "--json", str(tmp_path / "stars.json")]) == 0
    listed = pd.read_csv(tmp_path / "best" / "candidates.csv", keep_default_na=False)
    (row,) = listed[listed["best"] == 1].to_dict("records")
    assert row["mean"] == listed["mean"].max()
    assert (tmp_path / "best" / "case-7.nii.gz").read_bytes() == (exam / f"{row['segmentation']}.nii.gz").read_bytes()
    assert f"best: {row['segmentation']} 1" in capsys.readouterr().out


def test_what_cannot_be_is_refused_before_any_work(data, checkpoint, capsys):
    def refused(*more, **options):
        assert run(data, checkpoint, *more, **options) == 2
        assert not (data / "stars.csv").exists()
        return capsys.readouterr().err

    assert "no exam has more than one; name several folders, --predictions A B" in refused(predictions=("unet",))
    (data / "best").mkdir(exist_ok=True)
    (data / "best" / "mine.nii.gz").write_bytes(b"")
    assert "best: holds other files; give --best a new or empty folder" in refused()
    shutil.rmtree(data / "best")
    (data / "best").write_text("")
    assert "best is a file; give --best another name" in refused()
    (data / "best").unlink()
    assert run(data, checkpoint) == 0
    (data / "stars.csv").unlink()
    shutil.rmtree(data / "stars.csv.journal")
    assert "holds best masks with another center" in refused("--center", "mask", "brain")
    exams = [FoundExam(name, {}, {"a": data, "b": data}) for name in ("/tmp/x", "y/x")]
    with pytest.raises(ValueError, match="cannot write under the exam's name /tmp/x, which leads out of"):
        best.begin(data / "new", exams, {})

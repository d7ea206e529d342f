"""Names that are not UTF-8, which Linux allows: written with escapes by one rule, and nothing rated is lost."""

import json
import os
import string
from pathlib import Path

import pandas as pd
import pytest
from cohort import write_exam
from helpers import quick
from hypothesis import given
from hypothesis import strategies as st

from dqe_loss import MODALITIES
from dqe_loss.curate import command as curate
from dqe_loss.data.discovery.nnunet import find_nnunet
from dqe_loss.data.file_names import file_at, printable, written
from dqe_loss.data.tables.rated import read_rated
from dqe_loss.data.tables.ratings import read_ratings
from dqe_loss.data.tables.table import absolute_path, relative_path
from dqe_loss.evaluate import command as evaluate
from dqe_loss.rate import command as rate
from dqe_loss.simulate import command as simulate

CAFE, SEG = os.fsdecode(b"caf\xe9"), os.fsdecode(b"seg-\xff")


@pytest.fixture
def data(tmp_path):
    """Two sound exams, one of them with names that are not UTF-8, and a broken mask of such a name."""
    root = tmp_path / os.fsdecode(b"k\xf6ln")
    try:
        root.mkdir()
    except OSError:
        pytest.skip("a file system that takes UTF-8 alone")
    write_exam(root / CAFE, masks=(SEG, "seg-b"))
    write_exam(root / "plain", seed=1, masks=("seg-a", SEG))
    (root / "plain" / f"{SEG}.nii.gz").write_bytes(b"nothing")
    return root


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("case-7/Müller_ρ.nii.gz", "case-7/Müller_ρ.nii.gz"),
        (r"a\b\xyz", r"a\b\xyz"),
        (CAFE, r"caf\xe9"),
        (r"caf\xe9", r"caf\x5cxe9"),
        (r"\x5c", r"\x5cx5c"),
        ("\\\udcff", r"\\xff"),
    ],
)
def test_the_rule(name, text):
    assert written(name) == text
    assert file_at(text) == Path(name)


@quick
@given(st.text(string.hexdigits + "x\\/ρ\udc80\udce9\udcff", min_size=1, max_size=12))
def test_no_two_names_are_written_alike(name):
    text = written(name)
    text.encode()
    assert str(file_at(text)) == str(Path(name))
    assert printable(text) == text


def test_a_table_keeps_paths_that_are_not_utf_8(tmp_path):
    folder, path = tmp_path / CAFE, str(tmp_path / CAFE / f"{SEG}.nii.gz")
    assert relative_path(written(path), folder) == r"seg-\xff.nii.gz"
    assert relative_path(written(path), tmp_path) == r"caf\xe9/seg-\xff.nii.gz"
    assert file_at(absolute_path(r"caf\xe9/seg-\xff.nii.gz", tmp_path)) == Path(path)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_rate_writes_the_table_and_finds_each_exam_again(data, checkpoint, tmp_path, ending, capsys):
    out = data / f"stars.{ending}"
    command = ["--data", str(data), "--out", str(out), "--checkpoint", str(checkpoint), "--workers", "1"]
    assert rate.main(command) == 1
    table = read_rated(out)
    names = list(zip(table["exam"], table["segmentation"], strict=True))
    assert names == [(r"caf\xe9", "seg-b"), (r"caf\xe9", r"seg-\xff"), ("plain", "seg-a"), ("plain", r"seg-\xff")]
    assert (table["error"] == "").tolist() == [True, True, True, False]
    assert r"seg-\xff.nii.gz: expected a NIfTI file" in table["error"].iloc[3]
    for row in table.to_dict("records"):
        assert all(file_at(row[name]).is_file() for name in (*MODALITIES, "mask"))
    assert r"failed: plain/seg-\xff: " in capsys.readouterr().err
    assert rate.main(command) == 1
    assert capsys.readouterr().out.startswith("no exam was left to rate\n")


def test_a_table_of_paths_names_such_files(data, checkpoint, tmp_path):
    images = {modality: rf"caf\xe9/caf\xe9_{modality}.nii.gz" for modality in MODALITIES}
    row = {"exam": "a", "segmentation": r"caf\xe9/seg-\xff.nii.gz", **images}
    pd.DataFrame([row]).to_csv(data / "paths.csv", index=False)
    command = ["--data", str(data / "paths.csv"), "--out", str(tmp_path / "stars.csv"), "--checkpoint", str(checkpoint)]
    assert rate.main(command) == 0
    assert len(read_rated(tmp_path / "stars.csv")) == 1


def test_curate_draws_what_rate_has_written(data, checkpoint, tmp_path):
    rate.main(["--data", str(data), "--out", str(data / "stars.csv"), "--checkpoint", str(checkpoint)])
    assert curate.main([str(data / "stars.csv"), "--out", str(data / "curated"), "--threshold", "1"]) == 0
    assert json.loads((data / "curated" / "curation.json").read_bytes())["segmentations"] == 4
    page = (data / "curated" / "index.html").read_text("utf-8")
    assert page.count("image/png") + page.count("image/webp") + page.count("image/jpeg") >= 3


def test_one_exam_in_every_format(data, checkpoint, tmp_path, capsys):
    outputs = {kind: data / f"out.{kind}" for kind in ("json", "csv", "png")}
    (data / CAFE / "seg-b.nii.gz").unlink()
    flags = ["--json", str(outputs["json"]), "--csv", str(outputs["csv"]), "--figure", str(outputs["png"])]
    assert rate.main(["--exam", str(data / CAFE), "--checkpoint", str(checkpoint), *flags]) == 0
    content = json.loads(outputs["json"].read_bytes())
    assert content["exam"] == r"caf\xe9"
    assert list(content["ratings"]) == [r"seg-\xff"]
    assert outputs["csv"].read_text("utf-8").splitlines()[1].startswith(r"caf\xe9,seg-\xff,")
    assert r"seg-\xff" in capsys.readouterr().out


def test_predictions_and_nnunet(data, checkpoint, tmp_path):
    predictions = data / os.fsdecode(b"net-\xe4")
    predictions.mkdir()
    for exam, mask in ((CAFE, SEG), ("plain", "seg-a")):
        (data / exam / f"{mask}.nii.gz").rename(predictions / f"{exam}.nii.gz")
    command = ["--data", str(data), "--predictions", str(predictions), "--checkpoint", str(checkpoint)]
    assert rate.main([*command, "--out", str(tmp_path / "stars.csv")]) == 0
    assert set(read_rated(tmp_path / "stars.csv")["segmentation"]) == {r"net-\xe4"}

    for number in range(4):
        place = tmp_path / "raw" / "imagesTr" / f"{CAFE}_{number:04}.nii.gz"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    (tmp_path / "raw" / "labelsTr").mkdir()
    (tmp_path / "raw" / "labelsTr" / f"{CAFE}.nii.gz").touch()
    (case,) = find_nnunet(tmp_path / "raw")
    assert case.name == r"caf\xe9"
    assert case.masks["labelsTr"].exists()


@pytest.mark.slow
def test_simulate_and_evaluate(data, checkpoint, tmp_path):
    exam = data / CAFE
    (exam / "seg-b.nii.gz").rename(exam / "reference-seg.nii.gz")
    out = data / "simulated"
    arguments = ["--exams", str(exam), "--reference", "reference-seg", "--segmentations", "3", "--out", str(out)]
    assert simulate.main(arguments) == 0
    table = read_ratings([out / "ratings.csv"])
    assert set(table["exam"]) == {r"caf\xe9"}
    for name, what in (("1", ["--ratings", str(out / "ratings.csv")]), ("2", arguments[:4])):
        assert evaluate.main([str(checkpoint), *what, "--out", str(data / name), "--resamples", "9"]) == 0
        assert r"caf\xe9" in (data / name / "predictions.csv").read_text("utf-8")

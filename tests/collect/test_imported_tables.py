"""Ratings made elsewhere: what other programs write becomes a table of ratings."""

import json

import pandas as pd
import pytest
from cohort import write_exam

from dqe_loss.collect.command import main
from dqe_loss.data.tables.ratings import read_ratings


def run(source, out, *options, code=0):
    assert main(["import", str(source), "--out", str(out), *map(str, options)]) == code


def test_any_table(tmp_path):
    source = tmp_path / "theirs.csv"
    source.write_text("case;mask;reader;score;site\nc1;a;Dr. A;2,5;X\nc1;a;Dr. B;5;X\nc2;a;Dr. A;1;Y\nc1;a;Dr. A;5;X\n")
    columns = ["--columns", "exam=case", "segmentation=mask", "rater=reader", "stars=score"]
    run(source, tmp_path / "out.csv", *columns, "--scale", 1, 5)
    table = pd.read_csv(tmp_path / "out.csv")
    assert table["stars"].tolist() == [2.875, 6, 1, 6]
    assert table["repeat"].tolist() == [0, 0, 0, 1]
    assert table["rater"].tolist() == ["Dr. A", "Dr. B", "Dr. A", "Dr. A"]
    assert table["site"].tolist() == ["X", "X", "Y", "X"]
    assert set(table["kind"]) == {"human"}


def test_where_one_is_best(tmp_path):
    source = tmp_path / "t.csv"
    pd.DataFrame({"exam": ["a", "b"], "segmentation": ["s", "s"], "stars": [1, 4]}).to_csv(source, index=False)
    run(source, tmp_path / "out.csv", "--rater", "ann", "--scale", 4, 1)
    assert pd.read_csv(tmp_path / "out.csv")["stars"].tolist() == [6, 1]


@pytest.mark.parametrize("version", ["words", "numbers"])
def test_segmentation_review(tmp_path, version):
    source = tmp_path / "annotations.csv"
    source.write_text(
        "p1.nii.gz,Acceptable with no changes,,p1_mask.nii.gz,Mask loaded\n"
        "p2.nii.gz,Unacceptable and not visible,see rim,p2_mask.nii.gz,Mask loaded\n"
        'p3.nii.gz,Bad images,"moved, twice",,No mask\n'
        if version == "words"
        else "p1.nii.gz,1,\np2.nii.gz,4,see rim\np3.nii.gz,5,moved\n"
    )
    run(source, tmp_path / "out.csv", "--rater", "ann")
    table = pd.read_csv(tmp_path / "out.csv")
    assert table[["exam", "segmentation", "stars"]].values.tolist() == [["p1", "p1_mask", 6], ["p2", "p2_mask", 1]]
    assert table["comment"].fillna("").tolist() == ["", "see rim"]


def label_studio(tmp_path, tasks):
    source = tmp_path / "export.json"
    source.write_text(json.dumps(tasks))
    return source


def task(exam, *annotations, **more):
    return {"id": 7, "data": {"exam": exam, "seg": f"{exam}-a.nii.gz"}, "annotations": list(annotations)} | more


def annotation(rater, value, **more):
    return {"completed_by": rater, "result": [{"from_name": "quality", "value": value}]} | more


def test_label_studio(tmp_path):
    source = label_studio(
        tmp_path,
        [
            task("a", annotation({"id": 1, "email": "ann@x"}, {"rating": 4}), annotation(2, {"choices": ["5"]})),
            task("b", annotation(2, {"number": 1}), annotation(3, {"rating": 2}, was_cancelled=True)),
        ],
    )
    run(source, tmp_path / "out.parquet", "--columns", "segmentation=seg")
    table = pd.read_parquet(tmp_path / "out.parquet")
    assert table[["exam", "rater", "stars"]].values.tolist() == [["a", "ann@x", 4], ["a", "2", 5], ["b", "2", 1]]


def test_several_controls(tmp_path, capsys):
    one = annotation(1, {"rating": 4})
    one["result"].append({"from_name": "speed", "value": {"rating": 2}})
    source = label_studio(tmp_path, [task("a", one)])
    run(source, tmp_path / "out.csv", "--columns", "segmentation=seg", code=2)
    assert "task 7: 2 ratings in an annotation" in capsys.readouterr().err
    run(source, tmp_path / "out.csv", "--columns", "segmentation=seg", "stars=speed")
    assert pd.read_csv(tmp_path / "out.csv")["stars"].tolist() == [2]


def test_with_the_data_it_is_a_table_to_train_on(tmp_path, capsys):
    for number in range(2):
        write_exam(tmp_path / "data" / "site" / f"case-{number}", number)
    source = tmp_path / "t.csv"
    rows = [(f"case-{n}", mask, "ann", 3 + n) for n in range(2) for mask in ("seg-a.nii.gz", "b")]
    pd.DataFrame(rows, columns=["exam", "segmentation", "rater", "stars"]).to_csv(source, index=False)
    run(source, tmp_path / "out.csv", "--data", tmp_path / "data")
    table = read_ratings([tmp_path / "out.csv"])
    assert len(table) == 4
    assert table["segmentation"].str.contains("seg-a").sum() == 2
    pd.DataFrame([("case-9", "b", "ann", 3)], columns=["exam", "segmentation", "rater", "stars"]).to_csv(
        source, index=False
    )
    run(source, tmp_path / "no.csv", "--data", tmp_path / "data", code=2)
    assert "has no exam case-9" in capsys.readouterr().err
    assert not (tmp_path / "no.csv").exists()


@pytest.mark.parametrize(
    ("content", "options", "said"),
    [
        ("exam,segmentation,rater,stars\na,b,c,9\n", (), "row 2: '9': expected a number from 1 to 6; say --scale"),
        ("exam,segmentation,rater,stars\na,b,c,x\n", (), "expected a number from 1 to 6"),
        ("exam,segmentation,stars\na,b,3\n", (), "lacks the columns rater"),
        ("exam,segmentation,rater,stars\na,b,c,3\n", ("--columns", "star=score"), "--columns takes OURS=THEIRS"),
        ("exam,segmentation,rater,stars\na,b,c,3\n", ("--scale", "2", "2"), "got 2 twice"),
        ("p1.nii.gz,1,\np2.nii.gz,perfect,\n", ("--rater", "a"), "row 2: expected an answer of SegmentationReview"),
    ],
)
def test_what_cannot_be_read_is_told(tmp_path, capsys, content, options, said):
    source = tmp_path / "t.csv"
    source.write_text(content)
    run(source, tmp_path / "out.csv", *options, code=2)
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize("content", ["{", "{}", "[3]", "[]"])
def test_json_that_is_no_export(tmp_path, capsys, content):
    source = tmp_path / "t.json"
    source.write_text(content)
    run(source, tmp_path / "out.csv", code=2)
    assert "t.json: " in capsys.readouterr().err
    run(tmp_path / "gone.csv", tmp_path / "out.csv", code=2)
    assert "found nothing there" in capsys.readouterr().err


def test_a_field_of_label_studio_may_say_view_and_rater(tmp_path):
    rating = {"result": [{"from_name": "q", "value": {"rating": 3}}], "completed_by": {"email": "a@b.c"}}
    given = task("c1", rating)
    given["data"] |= {"plane": "axial", "reader": "eve"}
    source = label_studio(tmp_path, [given])
    run(source, tmp_path / "out.csv", "--columns", "segmentation=seg", "view=plane", "rater=reader")
    table = pd.read_csv(tmp_path / "out.csv")
    assert table[["rater", "view", "stars"]].values.tolist() == [["eve", "axial", 3]]


def test_who_rated_is_filled_in_where_it_is_blank(tmp_path):
    source = tmp_path / "t.csv"
    pd.DataFrame({"exam": ["a", "b"], "segmentation": "s", "rater": ["eve", ""], "stars": 3}).to_csv(
        source, index=False
    )
    run(source, tmp_path / "out.csv", "--rater", "ann")
    assert pd.read_csv(tmp_path / "out.csv")["rater"].tolist() == ["eve", "ann"]


def test_exams_of_one_name_in_two_folders_are_told_apart(tmp_path, capsys):
    for site in ("one", "two"):
        write_exam(tmp_path / "data" / site / "case", masks=("seg-a",))
    source = tmp_path / "t.csv"
    table = pd.DataFrame({"exam": ["case"], "segmentation": "seg-a", "rater": "ann", "stars": 3})
    table.to_csv(source, index=False)
    run(source, tmp_path / "out.csv", "--data", tmp_path / "data", code=2)
    assert "has one/case and two/case; say which in the column exam" in capsys.readouterr().err
    assert not (tmp_path / "out.csv").exists()
    table.assign(exam="two/case", path="theirs", name="unet").to_csv(source, index=False)
    run(source, tmp_path / "out.csv", "--data", tmp_path / "data")
    found = pd.read_csv(tmp_path / "out.csv").iloc[0]
    assert "two/case/seg-a" in found["segmentation"]
    assert (found["path"], found["name"]) == ("theirs", "unet")


def test_a_review_has_no_columns_to_name(tmp_path, capsys):
    source = tmp_path / "annotations.csv"
    source.write_text("p1.nii.gz,1,\n")
    run(source, tmp_path / "out.csv", "--rater", "ann", "--columns", "exam=case", code=2)
    assert "has no column names; leave it out" in capsys.readouterr().err

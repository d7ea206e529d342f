"""Ratings made elsewhere: what Label Studio and SegmentationReview write becomes a table of ratings."""

import json

import pandas as pd
import pytest
from studies import run_import as run


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


@pytest.mark.parametrize("folder", ["", "/data/exams/", "D:\\exams\\", "/"])
def test_segmentation_review_of_several_years(tmp_path, folder):
    """Paths of the rater's machine, and masks that the rater has edited after judging them."""
    source = tmp_path / "annotations.csv"
    source.write_text(
        f"{folder}p1.nii.gz,Acceptable with no changes,,{folder}p1-seg.nii.gz,Mask loaded\n"
        f"{folder}p2.nii.gz,Acceptable with minor changes,,{folder}p2_mask_ann.nii.gz,Mask edited\n"
    )
    run(source, tmp_path / "out.csv", "--rater", "ann")
    table = pd.read_csv(tmp_path / "out.csv")
    assert table[["exam", "segmentation"]].values.tolist() == [["p1", "p1-seg"], ["p2", "p2_mask"]]
    assert table["mask_status"].tolist() == ["Mask loaded", "Mask edited"]


def test_segmentation_review_that_does_not_say_which_exam(tmp_path, capsys):
    source = tmp_path / "annotations.csv"
    source.write_text("t1c.nii.gz,1,,seg.nii.gz,Mask loaded\n" * 2)
    run(source, tmp_path / "out.csv", "--rater", "ann", code=2)
    assert "row 2: row 1 is of an image t1c, too; write in the first column each exam" in capsys.readouterr().err


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


def test_annotations_without_a_result_and_out_of_order(tmp_path, capsys):
    later = annotation(1, {"rating": 5}, created_at="2025-03-02T09:00:00Z")
    earlier = annotation(1, {"rating": 2}, created_at="2025-03-01T09:00:00Z")
    source = label_studio(tmp_path, [task("a", later, earlier)])
    run(source, tmp_path / "out.csv", "--columns", "segmentation=seg")
    assert pd.read_csv(tmp_path / "out.csv")[["stars", "repeat"]].values.tolist() == [[2, 0], [5, 1]]
    source = label_studio(tmp_path, [task("a", {"completed_by": 1, "result": None})])
    run(source, tmp_path / "out.csv", "--columns", "segmentation=seg", code=2)
    assert "task 7: 0 ratings in an annotation" in capsys.readouterr().err


def test_several_controls(tmp_path, capsys):
    one = annotation(1, {"rating": 4})
    one["result"].append({"from_name": "speed", "value": {"rating": 2}})
    source = label_studio(tmp_path, [task("a", one)])
    run(source, tmp_path / "out.csv", "--columns", "segmentation=seg", code=2)
    assert "task 7: 2 ratings in an annotation" in capsys.readouterr().err
    run(source, tmp_path / "out.csv", "--columns", "segmentation=seg", "stars=speed")
    assert pd.read_csv(tmp_path / "out.csv")["stars"].tolist() == [2]


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


def test_a_review_has_no_columns_to_name(tmp_path, capsys):
    source = tmp_path / "annotations.csv"
    source.write_text("p1.nii.gz,1,\n")
    run(source, tmp_path / "out.csv", "--rater", "ann", "--columns", "exam=case", code=2)
    assert "has no column names; leave it out" in capsys.readouterr().err

"""Finding the exams of a data set: trees, nnU-Net's folders, tables of paths, folders of predictions."""

import json
import os
import re

import pandas as pd
import pytest
from cohort import write_exam

from dqe_loss import MODALITIES
from dqe_loss.data.discovery.cohort import find_tree, with_predictions
from dqe_loss.data.discovery.data_set import find_data_set
from dqe_loss.data.discovery.named_exams import find_by_pattern, find_named_exams
from dqe_loss.data.discovery.nnunet import find_nnunet, is_nnunet
from dqe_loss.data.discovery.path_table import find_in_table
from dqe_loss.data.nifti import ExamError
from dqe_loss.data.tables.table import TableError
from dqe_loss.task import FileNames, Task

NAMES = {  # each year's file names of the four modalities and the reference
    "2017": ("Brats17_2013_2_1_{}.nii.gz", ("t1ce", "t1", "t2", "flair", "seg")),
    "2020": ("BraTS20_Training_001_{}.nii", ("t1ce", "t1", "t2", "flair", "seg")),
    "2023": ("BraTS-GLI-00001-000-{}.nii.gz", ("t1c", "t1n", "t2w", "t2f", "seg")),
}


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return paths[0].parent


def touch_exam(folder, *masks, modalities=MODALITIES):
    return touch(*(folder / f"{name}.nii.gz" for name in (*modalities, *masks)))


@pytest.mark.parametrize("year", NAMES)
def test_a_tree_of_each_years_names(tmp_path, year):
    pattern, parts = NAMES[year]
    for exam in ("HGG/case-1", "HGG/case-2", "LGG/case-1"):
        touch(*(tmp_path / exam / pattern.format(part) for part in parts))
    cases = find_tree(tmp_path)
    assert [case.name for case in cases] == ["HGG/case-1", "HGG/case-2", "LGG/case-1"]
    for case in cases:
        assert [path.name for path in case.images.values()] == [pattern.format(part) for part in parts[:4]]
        assert list(case.images) == list(MODALITIES)
        mask = tmp_path / case.name / pattern.format("seg")
        assert case.masks == {re.sub(r"\.nii(\.gz)?$", "", mask.name): mask}


def test_masks_in_subfolders_belong_to_the_exam_above_and_keep_their_path(tmp_path):
    touch_exam(tmp_path / "a", "seg-x", "seg-y", "failed/seg-x", "failed/old/seg-z", ".hidden/seg-q", "failed/notes")
    (case,) = find_tree(tmp_path)
    assert list(case.masks) == ["seg-x", "seg-y", "failed/seg-x", "failed/old/seg-z"]
    assert case.paths.segmentations == tuple(case.masks.values())
    (alone,) = find_tree(tmp_path / "a")  # the root may be the exam
    assert (alone.name, list(alone.masks)) == ("a", list(case.masks))


def test_two_masks_that_differ_in_their_ending_alone_are_both_kept(tmp_path):
    touch(touch_exam(tmp_path / "a", "seg") / "seg.nii")
    (case,) = find_tree(tmp_path)
    assert sorted(case.masks) == [str(tmp_path / "a" / "seg.nii"), str(tmp_path / "a" / "seg.nii.gz")]


def test_an_exam_that_lacks_files_is_a_case_with_an_error(tmp_path):
    touch_exam(tmp_path / "b", "seg", modalities=("t1c", "t1", "t2"))
    touch_exam(tmp_path / "c", "seg", modalities=())
    touch_exam(tmp_path / "d", modalities=("t1",))
    touch_exam(tmp_path / "a", "seg")
    touch(tmp_path / "stray_t1.nii.gz")  # one modality above exams is no exam
    cases = {case.name: case for case in find_tree(tmp_path)}
    assert list(cases) == ["a", "b", "c", "d"]
    assert cases["a"].error == ""
    for name, missing in (("b", "flair"), ("c", "t1c"), ("d", "t1c")):
        assert cases[name].error.startswith(f"{tmp_path / name}: no {missing} file, expected a name that ends in")
    assert [list(case.masks) for case in cases.values()] == [["seg"], ["seg"], ["seg"], []]


def test_links_are_followed_and_loops_are_not(tmp_path):
    touch_exam(tmp_path / "store" / "x", "seg")
    root = tmp_path / "root"
    root.mkdir()
    for name in ("one", "two"):
        os.symlink(tmp_path / "store" / "x", root / name)
    os.symlink(root, root / "loop")
    assert [case.name for case in find_tree(root)] == ["one", "two"]


def test_no_exam_is_an_error(tmp_path):
    with pytest.raises(ExamError, match=r"none: expected the folder of a data set, found nothing there"):
        find_tree(tmp_path / "none")
    touch(tmp_path / "a" / "scan.nii.gz")
    with pytest.raises(
        ExamError, match=r"expected exams with file names such as .* found none; a table of paths takes"
    ):
        find_tree(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_dataset_json_as_windows_saves_it(tmp_path, encoding):
    root = touch_nnunet(tmp_path)
    content = {"name": "Gliome Köln", "channel_names": {"0": "Flair", "1": "T1", "2": "T1ce", "3": "T2"}}
    (root / "dataset.json").write_text(json.dumps(content, ensure_ascii=False), encoding)
    assert find_nnunet(root)[0].images["flair"].name == "case_1_0000.nii.gz"


def touch_nnunet(root, cases=("case_1", "case_2"), channels=4):
    for case in cases:
        touch(*(root / "imagesTr" / f"{case}_{number:04}.nii.gz" for number in range(channels)))
        touch(root / "labelsTr" / f"{case}.nii.gz")
    return root


@pytest.mark.parametrize(
    ("content", "order"),
    [
        (None, ("t1", "t1c", "t2", "flair")),  # as Dataset137_BraTS21.py of nnU-Net writes them
        ({"channel_names": {"0": "T1", "1": "T1ce", "2": "T2", "3": "Flair"}}, ("t1", "t1c", "t2", "flair")),
        ({"modality": {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"}}, ("flair", "t1", "t1c", "t2")),  # MSD
    ],
)
def test_channels_are_those_of_dataset_json(tmp_path, content, order):
    root = touch_nnunet(tmp_path)
    if content:
        (root / "dataset.json").write_text(json.dumps(content))
    assert is_nnunet(root)
    cases = find_nnunet(root)
    assert [case.name for case in cases] == ["case_1", "case_2"]
    for case in cases:
        assert case.masks == {"labelsTr": root / "labelsTr" / f"{case.name}.nii.gz"}
        for number, modality in enumerate(order):
            assert case.images[modality] == root / "imagesTr" / f"{case.name}_{number:04}.nii.gz"


def test_channels_by_option_and_those_that_are_none(tmp_path):
    root = touch_nnunet(tmp_path)
    (root / "dataset.json").write_text(json.dumps({"channel_names": {"0": "a", "1": "b", "2": "c", "3": "d"}}))
    with pytest.raises(ExamError, match=r"found a, b, c, d; say the order with --channels, such as --channels t1 t1c"):
        find_nnunet(root)
    assert find_nnunet(root, ("flair", "t1", "t1c", "t2"))[0].images["flair"].name == "case_1_0000.nii.gz"
    with pytest.raises(ExamError, match=r"--channels: expected channels .* once, found t1, t1, t2, flair"):
        find_nnunet(root, ("t1", "t1", "t2", "flair"))
    (root / "dataset.json").write_text("{")
    with pytest.raises(ExamError, match="could not read them"):
        find_nnunet(root)


def test_nnunet_test_images_missing_labels_and_missing_channels(tmp_path):
    root = touch_nnunet(tmp_path)
    (root / "labelsTr" / "case_1.nii.gz").unlink()
    touch(*(root / "imagesTs" / f"case_3_{number:04}.nii.gz" for number in (0, 1, 3)))
    one, two, three = find_nnunet(root)
    assert not one.masks["labelsTr"].exists()
    assert two.masks["labelsTr"].exists()
    assert three.masks == {}
    assert three.error.endswith("expected a file for each of four channels, lacks case_3_0002 (t2)")
    touch(root / "imagesTs" / "case_1_0000.nii.gz")
    with pytest.raises(ExamError, match="case case_1 lies in imagesTr and imagesTs"):
        find_nnunet(root)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_table_of_paths(tmp_path, ending):
    (tmp_path / "tables").mkdir()
    row = {name: f"../any/{name}.x" for name in MODALITIES}
    rows = [
        {"exam": "7", "segmentation": "../any/sub/m.nii.gz", **row},
        {"exam": "7", "segmentation": "../elsewhere/n.nii.gz", **row},
        {"exam": "7", "segmentation": "../any/sub/m.nii.gz", **row, "rater": "another"},  # ratings have it twice
        {"exam": "3", "segmentation": "../any/sub/m.nii.gz", **row},
    ]
    path = tmp_path / "tables" / f"paths.{ending}"
    table = pd.DataFrame(rows)
    table.to_csv(path, index=False) if ending == "csv" else table.to_parquet(path)
    three, seven = find_in_table(path)
    assert (three.name, seven.name) == ("3", "7")
    assert seven.masks == {"sub/m": tmp_path / "any/sub/m.nii.gz", "n": tmp_path / "elsewhere/n.nii.gz"}
    assert seven.images == {name: tmp_path / f"any/{name}.x" for name in MODALITIES}


def test_a_table_that_contradicts_itself_is_told_by_row(tmp_path):
    row = {name: name for name in MODALITIES}
    rows = [
        {"exam": "1", "segmentation": "a", **row},
        {"exam": "1", "segmentation": "b", **row, "t2": "other"},
        {"exam": "2", "segmentation": "", **row},
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(TableError, match=r"a.csv, row 4: segmentation '': expected a path, found nothing"):
        find_in_table(tmp_path / "a.csv")
    pd.DataFrame(rows[:2]).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(TableError, match=r"row 3: exam 1 has another t2 here than in .*row 2"):
        find_in_table(tmp_path / "a.csv")
    pd.DataFrame(rows[:2]).drop(columns="flair").to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(TableError, match="lacks the columns flair"):
        find_in_table(tmp_path / "a.csv")


def test_predictions_take_the_place_of_the_own_masks(tmp_path):
    for name in ("site/a", "site/b"):
        touch_exam(tmp_path / "data" / name, "seg")
    touch(tmp_path / "net-1" / "a.nii.gz", tmp_path / "net-1" / "b.nii", tmp_path / "net-2" / "a.nii.gz")
    cases = find_tree(tmp_path / "data")
    a, b = with_predictions(cases, [tmp_path / "net-1", tmp_path / "net-2"])
    assert a.masks == {"net-1": tmp_path / "net-1" / "a.nii.gz", "net-2": tmp_path / "net-2" / "a.nii.gz"}
    assert b.masks["net-1"] == tmp_path / "net-1" / "b.nii"
    assert not b.masks["net-2"].exists()
    assert a.images == cases[0].images
    with pytest.raises(ExamError, match=r"named like the exams, such as a.nii.gz; found none of them"):
        with_predictions(cases, [touch(tmp_path / "net-3" / "c.nii.gz")])
    with pytest.raises(ExamError, match="folder of predictions, found nothing there"):
        with_predictions(cases, [tmp_path / "net-4"])
    with pytest.raises(ExamError, match="two of one name"):
        with_predictions(cases, [tmp_path / "net-1", tmp_path / "x" / ".." / "net-1"])


def test_of_a_data_set_of_which_some_exams_were_predicted_these_are_taken_and_the_rest_is_told(tmp_path):
    for name in ("a", "b", "c"):
        touch_exam(tmp_path / "data" / name, "seg")
    touch(tmp_path / "net-1" / "a.nii.gz", tmp_path / "net-2" / "b.nii.gz")
    folders = [tmp_path / "net-1", tmp_path / "net-2"]
    with pytest.warns(UserWarning, match=r"1 of 3 exams have no prediction in .*net-1 or .*net-2: they are not rated"):
        a, b = with_predictions(find_tree(tmp_path / "data"), folders, some=True)
    assert (a.name, b.name) == ("a", "b")
    assert a.masks["net-1"].exists()
    assert not a.masks["net-2"].exists()  # told in its row
    touch(tmp_path / "net-1" / "c.nii.gz")
    assert len(with_predictions(find_tree(tmp_path / "data"), folders, some=True)) == 3


def test_names_of_files_are_compared_with_what_they_are_given_as(tmp_path):
    """The one kind of swapped modalities that can be seen."""
    from dqe_loss.data.exams import open_exam
    from dqe_loss.data.findings import image_findings
    from dqe_loss.data.tables.warning_kinds import Finding

    folder = write_exam(tmp_path / "a")
    (case,) = find_tree(tmp_path)
    swapped = {**case.images, "t1": case.images["t2"], "t2": case.images["t1"]}
    found = image_findings(open_exam(folder), swapped)
    assert Finding("named-as", "the file given as t1 is named as t2") in found
    assert Finding("named-as", "the file given as t2 is named as t1") in found
    assert not any(finding.kind == "named-as" for finding in image_findings(open_exam(folder), case.images))


def made_task(images, reference="", modalities=("t1",)):
    return Task("made", modalities, ("r",), ("r",), files=FileNames(images=images, reference=reference))


def test_masks_in_subfolders_of_an_exam_of_one_modality_are_no_exams(tmp_path):
    touch_exam(tmp_path / "case-1", "seg-x", "failed/seg-x", modalities=("t1",))
    (case,) = find_tree(tmp_path, Task("made", ("t1",), ("r",), ("r",)))
    assert (case.name, case.error, list(case.masks)) == ("case-1", "", ["seg-x", "failed/seg-x"])


def test_the_paths_of_a_task_come_before_the_folders_of_nnunet(tmp_path):
    touch(tmp_path / "imagesTr" / "a.nii.gz")  # as the Medical Segmentation Decathlon has it
    touch(tmp_path / "labelsTr" / "a.nii.gz")
    task = made_task({"t1": "imagesTr/{exam}.nii.gz"}, "labelsTr/{exam}.nii.gz")
    (case,) = find_data_set(tmp_path, None, task=task)
    assert (case.name, list(case.masks)) == ("a", ["labelsTr/a"])
    elsewhere = made_task({"t1": "images/{exam}.nii.gz"})
    touch(tmp_path / "imagesTr" / "b_0000.nii.gz")
    assert [case.name for case in find_data_set(tmp_path, None, task=elsewhere)] == ["b"]


def test_hidden_files_are_no_exams(tmp_path):
    touch(tmp_path / "images" / "a.nii.gz", tmp_path / "images" / "._a.nii.gz")
    assert [case.name for case in find_by_pattern(tmp_path, made_task({"t1": "images/{exam}.nii.gz"}))] == ["a"]
    touch(tmp_path / "imagesTr" / "a_0000.nii.gz", tmp_path / "imagesTr" / "._a_0000.nii.gz")
    assert [case.name for case in find_nnunet(tmp_path, task=made_task({}))] == ["a"]


def test_an_exam_that_lacks_a_modality_of_its_tasks_paths_is_told(tmp_path):
    task = made_task({"t1": "{exam}/t1.nii.gz", "t2": "{exam}/t2.nii.gz"}, "{exam}/seg.nii.gz", ("t1", "t2"))
    touch_exam(tmp_path / "a", "seg", modalities=("t1", "t2"))
    touch_exam(tmp_path / "b", "seg", modalities=("t2",))
    whole, broken = find_data_set(tmp_path, None, task=task)
    assert (whole.error, list(whole.images), list(whole.masks)) == ("", ["t1", "t2"], ["a/seg"])
    assert broken.error == f"{tmp_path}: exam b lacks {tmp_path / 'b' / 't1.nii.gz'} (t1)"
    with pytest.raises(ExamError, match=r"exam b lacks .*; complete the exam, or name the others in a table"):
        find_named_exams([tmp_path], task)


def test_files_that_fit_two_paths_of_a_task_are_one_exam(tmp_path):
    touch(*(tmp_path / f"a{ending}.nii.gz" for ending in ("", "_edge", "_seg")))
    images = {"t1": "{exam}.nii.gz", "edge": "{exam}_edge.nii.gz"}
    for task in (
        made_task({"t1": "{exam}.nii.gz"}, "{exam}_seg.nii.gz"),
        made_task(images, "{exam}_seg.nii.gz", ("t1", "edge")),
    ):
        found = {case.name: case for case in find_by_pattern(tmp_path, task)}
        assert list(found["a"].masks) == ["a_seg"]
        assert "a_seg" not in found
    assert list(found) == ["a"]

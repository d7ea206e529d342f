"""nnU-Net's dataset.json says which label is which tissue: held against --label-scheme."""

import json
from dataclasses import replace

import numpy as np
import pytest
from cohort import write, write_exam
from helpers import make_labels, small_surrogate

from dqe_loss import save_surrogate
from dqe_loss.data.discovery.data_set import find_data_set
from dqe_loss.data.discovery.named_exams import find_named_exams
from dqe_loss.data.discovery.nnunet_labels import settle_scheme
from dqe_loss.data.tables.rated import read_rated
from dqe_loss.rate import command as rate
from dqe_loss.rate.plan import RatePlan, find_planned_exams
from dqe_loss.task import FileNames, Task
from dqe_loss.tasks.glioma_labels import read_tissues

OWN = {"background": 0, "whole tumor": [1, 2, 3], "tumor core": [2, 3], "enhancing tumor": [3]}  # its BraTS conversion
MSD = {"0": "background", "1": "edema", "2": "non-enhancing tumor", "3": "enhancing tumour"}
BRATS24 = {"background": 0, "NETC": 1, "SNFH": 2, "ET": 3, "RC": 4}
PEDS = {"background": 0, "ET": 1, "NonEnh": 2, "Cystic": 3, "Edema": 4}
PEDS_REGIONS = {"background": 0, "whole_tumor": [1, 2, 3, 4], "tumor_core": [1, 2, 3], "enhancing_tumor": 1}
FILES = [
    (OWN, "nnunet"),
    (MSD, "nnunet"),
    ({"0": "background", "1": "necrotic and non-enhancing tumor core", "2": "peritumoral edema", "3": "GD-enhancing"},
     "brats23"),
    ({"background": 0, "NCR/NET": 1, "ED": 2, "ET": 4}, "brats21"),
    ({"background": 0, "WT": [1, 2, 4], "TC": [1, 4], "ET": [4]}, "brats21"),
    ({"background": 0, "edema": 1, "core": 2, "enhancing": 3}, "nnunet"),  # labels, of which none lies in another
    ({"background": 0, "TC": 1, "ED": 2, "ET": 3, "RC": 4}, "brats24"),
    (BRATS24, "brats24"),
    ({"background": 0, "non-enhancing tumor core": 1, "surrounding non-enhancing FLAIR hyperintensity": 2,
      "enhancing tissue": 3, "resection cavity": 4}, "brats24"),
    ({"background": 0, "whole tumor": [1, 2, 3], "tumor core": [1, 3], "ET": [3], "resection cavity": [4]}, "brats24"),
    (PEDS, "brats-peds"),
    (PEDS_REGIONS, "brats-peds"),
]  # fmt: skip


def describe(folder, labels):
    folder.mkdir(exist_ok=True)
    (folder / "dataset.json").write_text(json.dumps({"labels": labels}))
    return folder


@pytest.mark.parametrize(("labels", "scheme"), FILES)
def test_a_file_that_tells_is_taken_at_its_word_and_contradictions_are_refused(tmp_path, labels, scheme):
    folder = describe(tmp_path, labels)
    assert settle_scheme(folder, "brats") == scheme
    assert settle_scheme(folder, scheme) == scheme
    for wrong in {"nnunet", "brats21", "brats-peds"} - {scheme}:
        with pytest.raises(
            ValueError, match=rf"dataset.json: .*--label-scheme {wrong} has .*say --label-scheme {scheme}"
        ):
            settle_scheme(folder, wrong)


def test_what_the_file_leaves_out_is_no_contradiction(tmp_path):
    assert settle_scheme(describe(tmp_path, OWN), "msd") == "msd"
    assert (
        settle_scheme(describe(tmp_path, {"0": "background", "1": "necrosis", "2": "edema", "3": "ET"}), "brats24")
        == "brats24"
    )
    assert settle_scheme(describe(tmp_path, {"edema": 2}), "brats21") == "brats21"
    with pytest.raises(
        ValueError, match=r"describes the labels 1 edema, but --label-scheme brats21 .*say --label-scheme msd or nnunet"
    ):
        settle_scheme(describe(tmp_path, {"edema": 1}), "brats21")
    with pytest.raises(ValueError, match="no scheme has these; map the labels"):
        settle_scheme(describe(tmp_path, {"edema": 3}), "brats21")


@pytest.mark.parametrize(
    "labels",
    [
        None, {}, {"background": 0}, {"background": 0, "a": 1, "b": 2, "c": 3}, {"0": "background", "1": "tumor"},
        {"WT": 1, "TC": 2, "ET": 3},  # three labels that are called regions
        {"necrosis": 1, "edema": 1, "enhancing": 3},  # a label of two tissues
        {"edema and necrosis": 1, "ET": "many"}, [1, 2, 3], 7, {"ET": None},
    ],
)  # fmt: skip
def test_what_is_silent_or_not_understood_says_nothing(tmp_path, labels):
    folder = tmp_path if labels is None else describe(tmp_path, labels)
    assert read_tissues(folder / "dataset.json") == {}
    assert settle_scheme(folder, "brats23") == "brats23"
    with pytest.raises(ValueError, match=r"say --label-scheme nnunet .* for dataset.json does not tell"):
        settle_scheme(folder, "brats")


def test_a_damaged_file_says_nothing(tmp_path):
    (tmp_path / "dataset.json").write_text("{")
    assert read_tissues(tmp_path / "dataset.json") == {}


def test_rate_takes_the_scheme_from_the_file_and_says_so(tmp_path, capsys):
    checkpoint = tmp_path / "small.safetensors"
    save_surrogate(small_surrogate(), checkpoint)
    folder, root = write_exam(tmp_path / "case_1"), tmp_path / "Dataset137"
    (root / "labelsTr").mkdir(parents=True)
    (root / "imagesTr").mkdir()
    for number, name in enumerate(("t1", "t1c", "t2", "flair")):
        (folder / f"case_1_{name}.nii.gz").rename(root / "imagesTr" / f"case_1_{number:04}.nii.gz")
    write(root / "labelsTr" / "case_1.nii.gz", np.choose(make_labels(), [0, 2, 1, 3]).astype(np.uint8))
    names = {str(i): name for i, name in enumerate(("T1", "T1ce", "T2", "Flair"))}
    (root / "dataset.json").write_text(json.dumps({"channel_names": names, "labels": OWN}))
    command = ["--data", str(root), "--out", str(tmp_path / "a.csv"), "--checkpoint", str(checkpoint)]
    assert rate.main([*command, "--label-scheme", "brats23"]) == 2
    assert "say --label-scheme nnunet" in capsys.readouterr().err
    assert rate.main(command) == 0
    assert (
        f"{root / 'dataset.json'}: labels as --label-scheme nnunet (2 necrosis, 1 edema, 3 enh"
        in capsys.readouterr().out
    )
    row = read_rated(tmp_path / "a.csv").iloc[0]
    assert row["label_scheme"] == "nnunet"
    assert row["et_ml"] == pytest.approx((make_labels() == 3).sum() / 1000)
    with pytest.raises(ValueError, match="say --label-scheme nnunet"):
        find_planned_exams(RatePlan(root, tmp_path / "b.csv", "small", "brats23"))


@pytest.mark.filterwarnings("always:. of 3 exams")
def test_of_a_data_set_with_test_cases_those_are_rated_that_have_a_segmentation(tmp_path, capsys):
    checkpoint = tmp_path / "small.safetensors"
    save_surrogate(small_surrogate(), checkpoint)
    root, names = tmp_path / "Dataset137", ("t1", "t1c", "t2", "flair")
    for part, exam in (("Tr", "train_1"), ("Ts", "test_1"), ("Ts", "test_2")):
        folder = write_exam(tmp_path / exam)
        (root / f"images{part}").mkdir(parents=True, exist_ok=True)
        for number, name in enumerate(names):
            (folder / f"{exam}_{name}.nii.gz").rename(root / f"images{part}" / f"{exam}_{number:04}.nii.gz")
    describe(root, OWN)
    predictions = tmp_path / "predicted"
    own = np.choose(make_labels(), [0, 2, 1, 3]).astype(np.uint8)
    for folder, exams in ((predictions, ("test_1", "test_2")), (root / "labelsTr", ("train_1",))):
        folder.mkdir()
        for exam in exams:
            write(folder / f"{exam}.nii.gz", own)

    def command(out, *more):
        return rate.main(["--data", str(root), "--out", str(tmp_path / out), "--checkpoint", str(checkpoint), *more])

    assert command("a.csv", "--predictions", str(predictions)) == 0
    assert "warning: 1 of 3 exams have no prediction" in capsys.readouterr().err
    assert read_rated(tmp_path / "a.csv")["exam"].tolist() == ["test_1", "test_2"]
    assert command("b.csv") == 0
    told = capsys.readouterr().err
    assert "warning: 2 of 3 exams have no segmentation" in told
    assert "--predictions" in told
    assert read_rated(tmp_path / "b.csv")["exam"].tolist() == ["train_1"]
    (root / "labelsTr" / "train_1.nii.gz").unlink()
    (root / "labelsTr").rmdir()
    assert command("c.csv") == 2
    assert "none of its 3 exams has a segmentation; name the folder of their predictions" in capsys.readouterr().err


def test_labels_of_another_task_are_refused(tmp_path):
    """One channel could be any scan: its labels tell whose data set it is."""
    task = Task("organ", ("ct",), ("organ",), ("organ",), files=FileNames(images={"ct": "imagesTr/{exam}_0000.nii.gz"}))
    for name in ("Hippocampus", "hippocampus"):
        describe(tmp_path, {"background": 0, name: 1})
        (tmp_path / "imagesTr").mkdir(exist_ok=True)
        told = rf"its labels {name} are none of the task 'organ', which has organ; .*titles: {{organ: {name}}}"
        for find in (
            lambda task: find_data_set(tmp_path, None, task=task),
            lambda task: find_named_exams([tmp_path], task),
        ):
            with pytest.raises(ValueError, match=told):
                find(task)
            with pytest.raises(
                ValueError, match=r"expected (exams with the paths|images)"
            ):  # the same task: none there
                find(replace(task, titles={"organ": name}))
    whole = {"background": 0, "whole organ": [1, 2], "inner": 2}
    task = Task("organ", ("ct",), ("whole organ",), ("a",), parts={"whole organ": ("a",)})
    assert settle_scheme(describe(tmp_path, whole), None, task) == "labels"

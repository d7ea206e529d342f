"""Tasks: made, read, written, checked as a whole; built in ones as they were."""

import contextlib
import json
from dataclasses import asdict, fields, replace

import pytest

from dqe_loss.surrogate.refiner import SMALLEST_PLANE
from dqe_loss.task import BLOBS, BUILT_IN, GLIOMA, SchemeLabels, Task, TaskError, find_task, read_task
from dqe_loss.tasks.command import main as task_command
from dqe_loss.tasks.from_nnunet import task_from_nnunet
from dqe_loss.tasks.label_scheme import tissues_by_regions
from dqe_loss.tasks.problems import SMALLEST_SIDE
from dqe_loss.tasks.reading import check_task, task_from_dict, task_to_dict

FILE = """
name: hippocampus
modalities: [t1]
labels: {anterior: 1, posterior: 2}
regions:
  hippocampus: [anterior, posterior]
  anterior: [anterior]
  posterior: [posterior]
field_of_view: [64, 64]
spacing: [1, 1, 1]
"""


def test_what_follows_from_regions_of_gliomas():
    assert GLIOMA.painting == (("WT", 2), ("TC", 1), ("ET", 3))
    assert GLIOMA.scheme().nesting == (("ET", "TC"), ("TC", "WT"))
    assert GLIOMA.covering == ("WT",)
    assert GLIOMA.tissue_channels == 4
    assert GLIOMA.canonical.values == GLIOMA.scheme("brats23").values
    assert [GLIOMA.canonical.labels[t] for t in GLIOMA.tissues] == [
        GLIOMA.scheme("brats23").labels[t] for t in GLIOMA.tissues
    ]
    assert tissues_by_regions(GLIOMA.parts) == {
        "enhancing": {"ET": 1}, "necrosis": {"TC": 1, "ET": -1}, "edema": {"WT": 1, "TC": -1},
    }  # fmt: skip


def test_a_task_of_a_file(tmp_path):
    file = tmp_path / "task.yaml"
    file.write_text(FILE)
    task = read_task(file)
    assert (task.regions, task.tissues) == (("hippocampus", "anterior", "posterior"), ("anterior", "posterior"))
    assert (task.centers, task.whole) == (("hippocampus",), "hippocampus")
    assert task.scheme().region("hippocampus") == (1, 2)
    assert task.spacing == (1, 1, 1)
    as_json = tmp_path / "task.json"
    as_json.write_text(json.dumps(task_to_dict(task)))
    assert read_task(as_json) == task == find_task(as_json)


def test_built_in_tasks_by_name():
    assert find_task(None) is GLIOMA
    assert find_task("blobs") is BLOBS
    assert set(BUILT_IN) == {"glioma", "blobs"}
    with pytest.raises(ValueError, match=r"--task liver: expected glioma, blobs, or a \.yaml or \.json file"):
        find_task("liver")


def test_a_checkpoint_says_of_the_built_in_task_what_it_always_said():
    """Versions from before there were others read it, and their files are read."""
    first = {
        "name": "glioma", "modalities": ["t1c", "t1", "t2", "flair"], "regions": ["TC", "WT", "ET"],
        "tissues": ["necrosis", "edema", "enhancing"], "centers": ["TC", "WT"], "whole": "WT",
        "field_of_view": [240, 240],
    }  # fmt: skip
    assert task_to_dict(GLIOMA) == first
    assert task_from_dict(first) is GLIOMA


@pytest.mark.parametrize("task", [BLOBS, *BUILT_IN.values()], ids=lambda task: task.name)
def test_there_and_back(task):
    assert task_from_dict(json.loads(json.dumps(task_to_dict(task)))) == task
    assert task_from_dict(json.loads(json.dumps(asdict(task) | {"name": "another"}))) == replace(task, name="another")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"centers": ["head"]}, "centers must name anterior or hippocampus or posterior, got head"),
        ({"labels": {"anterior": 1}}, "region hippocampus must name tissues such as anterior; got posterior"),
        ({"labels": {"anterior": 1, "posterior": 1}}, "the label 1 stands for two things"),
        ({"labels": {"anterior": 0, "posterior": 2}}, "labels must be whole numbers from 1 to 255"),
        (
            {"regions": {"anterior": ["anterior"]}, "tissues": ["anterior", "posterior"]},
            "each tissue must be part of a",
        ),
        ({"spacing": [1, 1]}, r"spacing must be a list of 3 finite numbers, as in \[1, 1, 3\], got \[1, 1\]"),
        ({"spacing": [0, 1, 1]}, "spacing must be the size of a voxel in mm, above 0"),
        ({"views": ["axial", "oblique"]}, "views must be one or more of axial, coronal, sagittal"),
        ({"window": [240, -160]}, "window must rise"),
        ({"stars": [6, 1]}, "stars must rise"),
        ({"modalities": ["mask"]}, "mask has a meaning of its own"),
        ({"colour": {}}, "unknown fields colour; expected name"),
        ({"files": {"images": {"t1": "images/x.nii.gz"}}}, r"must hold \{exam\}"),
        ({"files": {"image": {}}}, "files: unknown fields image"),
        ({"modalities": []}, "lacks modalities"),
        ({"modalities": "t1"}, r"modalities must be a list of names, as in \[scan, adc\], got 't1'"),
        ({"field_of_view": 64}, r"field_of_view must be a list of 2 whole numbers, as in \[64, 64\], got 64"),
        (
            {"window": ["low", "high"]},
            r"window must be a list of 2 finite numbers, as in \[-160, 240\], got \['low', 'high'\]",
        ),
        ({"colors": ["#E69F00"]}, "colors must map names to values"),
        ({"files": "images"}, "files must say images, reference, endings, words or channels, got 'images'"),
        ({"colors": {"head": "#E69F00"}}, "colors must name anterior or hippocampus or posterior, got head"),
        ({"titles": {"head": "Head"}}, "titles must name t1 or anterior or hippocampus or posterior, got head"),
        ({"files": {"words": {"T2 weighted": "t2"}}}, "files.words must name t1, got t2"),
        ({"whole": "anterior"}, "whole: anterior must hold all tissues"),
        ({"lesion": "no"}, "lesion must be true or false without quotes, got 'no'"),
        ({"stars": [0, float("inf")]}, "stars must be a list of 2 finite numbers"),
        ({"error_size": float("inf")}, "error_size must be a number without quotes, and not infinite"),
        ({"error_size": "big"}, "error_size must be a number .*, as in 0.35, got 'big'"),
        ({"error_size": None}, "error_size must be .*, got nothing; leave the line out for its default"),
        ({"name": 5}, 'name must be text, got 5; write it with quotes: "5"'),
        ({"name": "a\nb"}, "must have no line break"),
        ({"modalities": ["t1/t2"]}, "'t1/t2' must have no line break and none of /"),
        ({"labels": {"anterior": True, "posterior": 2}}, "labels: anterior must be a whole number .*, got true$"),
        ({"labels": {False: 1}}, 'got false as a tissue; write "False" in quotes'),
        ({"labels": [1, 2]}, "labels must map each tissue to its label, as in {left: 1, right: 2}"),
        ({"grid": [1, 2]}, "grid must be a list of 3 whole numbers"),
        ({"grid": [0, 1, 2]}, "grid must be numbers of voxels above 0"),
        ({"contrast": ["t1"]}, "contrast must be two modalities, or left out"),
        ({"spurious": {"anterior": -1}}, "spurious must be 0 or above"),
        ({"unenhanced": {"anterior": "rim"}}, "unenhanced"),
        ({"unenhanced": {"anterior": "posterior"}}, "unenhanced says what contrast shows: name contrast, too"),
        ({"titles": {"t1": 5}}, "titles: t1 must be text, got 5"),
        ({"subject": None}, "subject must be text, got nothing"),
        ({"field_of_view": [63, 64]}, r"field_of_view must be two even numbers of voxels, 64 or more, got \[63, 64\]"),
        ({"field_of_view": [32, 32]}, "field_of_view must be two even numbers of voxels, 64 or more"),
        ({"field_of_view": [64.5, 64]}, "field_of_view must be a list of 2 whole numbers"),
        ({"regions": None}, "regions must map each region to its tissues, .*, got nothing"),
        ({"regions": {"hippocampus": 1}}, "region hippocampus must name tissues such as anterior, posterior; got 1$"),
        ({"regions": {"hippocampus": [1, 2]}}, "must name tissues such as anterior, posterior; got 1, 2$"),
        ({"regions": {"hippocampus": ["anterior", "postrior"]}}, "tissues such as anterior, posterior; got postrior$"),
        ({"files": {"images": "x"}}, "files.images must map names to values, as in {scan: .*, got 'x'"),
        ({"files": {"images": {"t1": 1}}}, "files.images: t1 must be text, got 1"),
        ({"smallest_crop": "x"}, "smallest_crop must be a whole number without quotes, got 'x'"),
        ({"bright": ["t1"]}, r"bright must be text, got \['t1'\]"),
    ],
)
def test_what_is_wrong_is_told_with_its_cure(tmp_path, change, message):
    import yaml

    file = tmp_path / "task.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(FILE) | change))
    with pytest.raises(TaskError, match=message) as caught:
        read_task(file)
    assert all(str(file) in problem for problem in caught.value.problems)


@pytest.mark.parametrize("field", [*(one.name for one in fields(Task)), "labels"])
def test_whatever_a_field_holds_its_task_is_valid_or_refused_in_words(field):
    """No other error: it would say nothing of the file."""
    import yaml

    odd = [None, True, 5, -1.5, "x", [], [None], [[1]], ["x", 1], {}, {"x": None}, {1: "x"}, {"x": {}}, {"x": [1]}]
    for value in odd:
        with contextlib.suppress(TaskError):
            task_from_dict(yaml.safe_load(FILE) | {field: value})


def test_a_field_of_view_is_as_refiners_take_it():
    assert SMALLEST_SIDE == SMALLEST_PLANE


def test_regions_that_are_left_out_are_the_labels():
    import yaml

    values = yaml.safe_load(FILE)
    del values["regions"]
    task = task_from_dict(values)
    assert task.regions == task.tissues == ("anterior", "posterior")


def test_planes_go_through_whatever_a_mask_has():
    """Not through the middle of the volume, for want of the first region."""
    overlapping = Task("x", ("a",), ("left", "right"), ("x", "y", "z"), parts={"left": ("x", "y"), "right": ("y", "z")})
    assert overlapping.centers == ("left", "right")
    assert replace(overlapping, centers=("right",)).centers == ("right",)
    nested = Task("x", ("a",), ("inner", "outer"), ("x", "y"), parts={"inner": ("x",), "outer": ("x", "y")})
    assert nested.centers == ("outer",)


def test_all_problems_are_told_at_once():
    with pytest.raises(TaskError) as caught:
        Task("x", ("a", "a"), ("r",), ("t",), centers=("q",), spacing=(0, 1, 1))
    assert len(caught.value.problems) >= 4


@pytest.mark.parametrize(
    ("name", "content"), [("t.yaml", "{: ["), ("t.json", "{"), ("t.yaml", "- 1"), ("t.json", None)]
)
def test_files_that_are_none(tmp_path, name, content):
    file = tmp_path / name
    if content is not None:
        file.write_text(content)
    with pytest.raises(ValueError, match=name):
        read_task(file)


def test_data_of_another_task_is_refused_by_name():
    with pytest.raises(ValueError, match="x is of the task 'glioma', and not of 'blobs'; give another"):
        check_task(BLOBS, GLIOMA, "x", "give another")
    other = replace(BLOBS, modalities=("scan", "other"))
    with pytest.raises(ValueError, match="knows another task 'blobs': modalities there is"):
        check_task(BLOBS, other, "x", "give another")
    check_task(replace(BLOBS, colors={"blob": "#000000"}), BLOBS, "x", "")  # decides no stars
    with pytest.raises(ValueError, match=r"stars there is \[1.0, 6.0\], here \[1.0, 5.0\]; give another"):
        check_task(replace(BLOBS, stars=(1.0, 5.0)), BLOBS, "x", "give another")
    with pytest.raises(ValueError, match=r"spacing there is \[1.0, 1.0, 1.0\], here \[1.0, 1.0, 3.0\]; give another"):
        check_task(replace(BLOBS, spacing=(1.0, 1.0, 3.0)), BLOBS, "x", "give another")


V1 = {"modality": {"0": "MRI"}, "labels": {"0": "background", "1": "Anterior", "2": "Posterior"}}
V2 = {
    "channel_names": {"0": "T2", "1": "ADC"},
    "labels": {"background": 0, "whole gland": [1, 2], "central": 2, "ignore": 3},
}


@pytest.mark.parametrize(
    ("content", "modalities", "parts", "labels"),
    [
        (V1, ("mri",), {"foreground": ("anterior", "posterior"), "anterior": ("anterior",),
                        "posterior": ("posterior",)}, {"anterior": (1,), "posterior": (2,)}),
        (V2, ("t2", "adc"), {"whole_gland": ("label_1", "central"), "central": ("central",)},
         {"label_1": (1,), "central": (2,)}),
        ({"modality": {"0": "CT"}, "labels": {"0": "background", "1": "spleen"}}, ("ct",), {"spleen": ("spleen",)},
         {"spleen": (1,)}),
    ],
    ids=["version 1", "regions", "ct"],
)  # fmt: skip
def test_a_task_of_nnunet(tmp_path, capsys, content, modalities, parts, labels):
    folder = tmp_path / "Dataset004_Thing"
    folder.mkdir()
    (folder / "dataset.json").write_text(json.dumps(content))
    task = task_from_nnunet(folder / "dataset.json")
    assert (task.name, task.modalities, task.parts, task.scheme().labels) == ("thing", modalities, parts, labels)
    assert (task.window is not None) == (modalities == ("ct",))
    # What the command writes is read as the same task.
    for ending in (".yaml", ".json"):
        out = tmp_path / f"task{ending}"
        assert task_command(["from-nnunet", str(folder / "dataset.json"), "--out", str(out)]) == 0
        assert read_task(out) == task
    assert task_command([str(out)]) == 0
    assert "label scheme labels" in capsys.readouterr().out


def test_the_command_prints_and_refuses_in_a_line(tmp_path, capsys):
    (tmp_path / "dataset.json").write_text(json.dumps(V1))
    assert task_command(["from-nnunet", str(tmp_path / "dataset.json"), "--name", "mine"]) == 0
    assert capsys.readouterr().out.startswith("name: mine\n")
    for words in (["from-nnunet"], ["from-nnunet", str(tmp_path / "no.json")], ["glioma", "blobs"], ["nothing"]):
        assert task_command(words) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_scheme_with_labels_that_are_not_rated():
    task = Task(
        "t",
        ("a",),
        ("r",),
        ("r",),
        schemes={"one": SchemeLabels({"r": (2,), "cyst": (5,)}), "two": SchemeLabels({"r": (1,)})},
    )
    assert task.scheme().outside == (5,)
    assert str(task.scheme()) == "2 r, 5 cyst (in no region)"
    assert task.default_scheme == "one"
    with pytest.raises(ValueError, match="unknown label scheme 'three'; expected one of one, two"):
        task.scheme("three")

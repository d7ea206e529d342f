"""Studies of other tasks: one scan, one region, thick voxels, single planes, other scales; from files to the report."""

import gzip
import json
from dataclasses import replace

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import yaml
from small_tasks import CT, FLAT, PARTS, write_data_set
from studies import serving

from dqe_loss.cli import main as dqe
from dqe_loss.collect.levels import answer_levels
from dqe_loss.collect.order import trials_of
from dqe_loss.collect.study_file import read_study
from dqe_loss.collect.table import ratings_table, read_answers
from dqe_loss.data.tables.ratings import read_ratings
from dqe_loss.task import BLOBS
from dqe_loss.tasks.reading import task_to_dict

FIVE = replace(CT, stars=(1.0, 5.0), colors={"organ": "#00ff00"}, titles={"ct": "CT", "organ": "the organ"})
TASKS = (replace(PARTS, stars=(0.0, 100.0)), FIVE, FLAT)
by_name = pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)


@pytest.fixture
def begun(tmp_path):
    """Makes a data set of a task, and begins a study of it with the command."""

    def begin(task, *options):
        described = tmp_path / "task.json"
        described.write_text(json.dumps(task_to_dict(task)))
        table = write_data_set(tmp_path / "data", task, 4)
        line = ["collect", "--task", described, "--data", table, "--out", tmp_path / "ratings", "--draw-only"]
        more = ["--workers", 1, "--raters", "ann", "bob", "--repeats", 0.25, *options]
        assert dqe([str(word) for word in (*line, *more)]) == 0
        return tmp_path / "ratings"

    return begin


@by_name
def test_from_files_to_a_table_and_a_report(begun, task):
    folder = begun(task)
    study = read_study(folder)
    assert study.design.task == task
    levels = answer_levels(task)
    with serving(study, folder) as (_, raters):
        for shift, (name, rater) in enumerate(raters.items()):
            page = rater.client.get(rater.base).text
            settings = json.loads(page.split('id="settings">')[1].split("</script>")[0])
            assert settings["answers"] == [[level.key, level.value] for level in levels]
            assert settings["views"] == list(task.views)
            assert [shown for shown, _ in settings["shown"]] == list(task.modalities)
            assert [(region, color) for region, color, _ in settings["outlines"]] == [
                (region, task.color(region)) for region, _ in task.painting
            ]
            assert ("open3d" in page) == (not task.planar)
            for trial in trials_of(study, name):
                state = rater.state()
                (side,) = state["case"]["sides"]
                assert [plane["view"] for plane in side] == list(task.views)
                assert all(set(plane["outlines"]) == set(task.regions) for plane in side)
                for view in ("axial", "coronal", "sagittal"):
                    response = rater.client.get(f"{rater.base}/picture/{state['case']['id']}/0/{view}")
                    assert response.status_code == (200 if view in task.views else 404)
                between = (levels[0].value + levels[1].value) / 2
                assert rater.answer(between, state).status_code == 400
                given = levels[(trial.cases[0] + shift) % len(levels)].value
                assert rater.answer(given, state).status_code == 200
    assert ratings_table(study, read_answers(study, folder))["stars"].max() <= task.stars[1]
    assert dqe(["collect", "report", str(folder), "--resamples", "20"]) == 0
    table = read_ratings([folder / "ratings.csv"], task)
    assert set(table["task"]) == {task.name}
    assert len(table) == 2 * 5
    numbers = json.loads((folder / "report" / "reliability.json").read_text())
    step = levels[1].value - levels[0].value
    assert numbers["settings"]["scale"] == list(task.stars)
    assert numbers["settings"]["wanted"] == pytest.approx(0.3 * step)
    agreement = numbers["groups"][""]["agreement"]
    assert agreement["within_one"]["value"] == 1  # the raters are a step apart throughout
    assert agreement["difference"]["value"] == pytest.approx(step)


@by_name
def test_the_3d_view_has_the_tasks_scans_and_regions(begun, task):
    folder = begun(task)
    study = read_study(folder)
    with serving(study, folder) as (_, raters):
        ann = raters["ann"]
        case = ann.state()["case"]["id"]
        answers = {
            name: ann.client.get(f"{ann.base}/volume/{case}/0/{name}.nii.gz")
            for name in ("flair", "mask", *task.modalities)
        }
    if task.planar:
        assert {answer.status_code for answer in answers.values()} == {404}
        return
    assert answers["flair"].status_code == 404
    shown = study.cases[trials_of(study, "ann")[0].cases[0]]
    volumes = {
        name: np.asarray(nib.Nifti1Image.from_bytes(gzip.decompress(answers[name].content)).dataobj)
        for name in ("mask", *task.modalities)
    }
    labels = np.asarray(nib.load(shown.mask).dataobj)
    for value, (region, _) in enumerate(task.painting, 1):
        own = np.isin(labels, task.scheme().region(region))
        assert volumes["mask"][own].min() >= value
    if task.window:
        raw = np.asarray(nib.load(shown.images[task.modalities[0]]).dataobj)
        low, high = task.window
        expected = np.rint(255 * ((raw - low) / (high - low)).clip(0, 1))
        assert np.abs(volumes[task.modalities[0]] - expected).max() <= 1


def test_a_study_goes_on_with_its_own_task_and_no_other(begun, tmp_path, capsys):
    folder = begun(FIVE)
    again = ["collect", "--out", str(folder), "--draw-only"]
    assert dqe(again) == 0
    more = ["--data", str(tmp_path / "data" / "paths.csv"), "--extend", "--raters", "eve"]
    assert dqe([*again, *more]) == 0  # options that were not said again ask for nothing else
    assert read_study(folder).raters == ("ann", "bob", "eve")
    capsys.readouterr()
    assert dqe([*again, "--task", "glioma"]) == 2
    assert "the study is of the task 'organ', and not of 'glioma'" in capsys.readouterr().err
    other = tmp_path / "other.yaml"
    other.write_text(yaml.safe_dump(task_to_dict(replace(FIVE, stars=(1.0, 6.0)))))
    assert dqe([*again, "--task", str(other)]) == 2
    assert "stars there is [1.0, 5.0], here [1.0, 6.0]; leave --task out" in capsys.readouterr().err
    assert dqe(["collect", "report", str(folder), "--task", "blobs"]) == 2
    assert "nobody has rated anything yet" in capsys.readouterr().err


def test_blobs_by_name_and_stars_of_a_surrogate(tmp_path, monkeypatch):
    """The whole way of the built-in second task, but for the browser: phantoms, study, stars, import."""
    monkeypatch.chdir(tmp_path)

    def run(line):
        assert dqe(line.split()) == 0, line

    run("simulate --task blobs --phantoms 2 --segmentations 3 --raters 1 --workers 1 --out sim")
    run("collect --task blobs --data sim/ratings.csv --raters ann --out ratings --draw-only --workers 1")
    study = read_study(tmp_path / "ratings")
    assert study.design.task == BLOBS
    assert yaml.safe_load((tmp_path / "ratings" / "study.yaml").read_text())["task"] == "blobs"
    with serving(study, tmp_path / "ratings") as (_, raters):
        for _ in trials_of(study, "ann"):
            assert raters["ann"].answer(4).status_code == 200
    theirs = pd.read_csv("sim/ratings.csv")[["exam", "segmentation", "rater"]].drop_duplicates()
    theirs["segmentation"] = theirs["segmentation"].str.rpartition("/")[2].str.removesuffix(".nii.gz")
    theirs.assign(score=2).to_csv("theirs.csv", index=False)
    run("collect import theirs.csv --out in.csv --columns stars=score --scale 0 2 --task blobs --data sim/ratings.csv")
    table = read_ratings(["in.csv"], BLOBS)
    assert set(table["stars"]) == {6.0}
    assert set(table["task"]) == {"blobs"}
    assert dqe(["collect", "report", "in.csv"]) == 2  # of another task than the built-in one
    run("collect report in.csv --task blobs --resamples 10")


@pytest.mark.parametrize(
    ("scale", "keys", "values"),
    [
        ((1, 6), "123456", (1, 2, 3, 4, 5, 6)),
        ((0, 4), "01234", (0, 1, 2, 3, 4)),
        ((1, 10), "1234567890", tuple(range(1, 11))),
        ((-2, 2), "12345", (-2, -1, 0, 1, 2)),
        ((0, 1), "123456", (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)),
        ((0, 100), "123456", (0, 20, 40, 60, 80, 100)),
    ],
)
def test_every_scale_has_a_key_for_each_value(scale, keys, values):
    levels = answer_levels(replace(BLOBS, stars=tuple(map(float, scale))))
    assert "".join(level.key for level in levels) == keys
    assert tuple(level.value for level in levels) == values
    assert levels[0].name
    assert levels[-1].name

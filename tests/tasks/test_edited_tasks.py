"""A task's file that was edited: nothing that depends on the edit is taken from a folder of before."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import small_surrogate
from small_tasks import CT, FLAT, PARTS, make_surrogate, write_data_set

from dqe_loss.audit.audited_exam import ExamSource, read_audited_exam
from dqe_loss.audit.stars_and_dice import AuditSettings
from dqe_loss.audit.whole_audit import AuditPlan
from dqe_loss.cli import main as dqe
from dqe_loss.data.discovery.path_table import find_in_table
from dqe_loss.data.exam_files import ExamPaths
from dqe_loss.data.tables.ratings import columns_of
from dqe_loss.data.tables.table import origin_columns, read_table
from dqe_loss.harden.scenes import draw_grid
from dqe_loss.harden.taught_exams import prepare_exam
from dqe_loss.rate.plan import RatePlan
from dqe_loss.simulate.simulate_exam import SimulationSettings
from dqe_loss.task import GLIOMA, SchemeLabels
from dqe_loss.tasks.reading import task_to_dict
from dqe_loss.train.plane_cache import PlaneCache

SWAPPED = replace(PARTS, schemes={"labels": SchemeLabels({"front": (2,), "back": (1,)})})
EDITS = {
    "labels": SWAPPED,
    "spacing": replace(PARTS, spacing=(1.0, 1.0, 2.0)),
    "error_size": replace(PARTS, error_size=0.5),
    "stars": replace(PARTS, stars=(1.0, 5.0)),
    "lesion": replace(PARTS, lesion=True),
    "spurious": replace(PARTS, spurious={"front": 1.0}),
    "taken_for": replace(PARTS, taken_for={"front": "back"}),
}


def audit_record(task):
    plan = AuditPlan("x", [ExamSource("a", task=task)], (), AuditSettings(), task.scheme())
    return plan.record("fingerprint")


@pytest.mark.parametrize("edit", EDITS)
def test_wrong_masks_are_made_anew(edit):
    for record in (lambda task: SimulationSettings(task=task).record(), audit_record):
        before, after = (json.loads(json.dumps(record(task))) for task in (PARTS, EDITS[edit]))
        assert {key for key in before["task"] if before["task"][key] != after["task"][key]} == {edit}


def test_planes_and_stars_of_other_labels_are_others(tmp_path):
    surrogate = make_surrogate(PARTS, refiner=False)
    write_data_set(tmp_path / "data", PARTS, 1)
    paths = ExamPaths({"t1": tmp_path / "data/images/case_0.nii.gz"}, (tmp_path / "data/labels/case_0.nii.gz",), "a")
    keys = {PlaneCache(tmp_path, replace(surrogate.config, task=task)).key(paths) for task in (PARTS, SWAPPED)}
    assert len(keys) == 2
    plans = (RatePlan(tmp_path, tmp_path / "stars.csv", "x", task=task) for task in (PARTS, SWAPPED))
    before, after = (plan.settings(surrogate) for plan in plans)
    assert {key for key in before if before[key] != after[key]} == {"labels"}


def test_exams_are_prepared_anew_for_hardening(tmp_path):
    write_data_set(tmp_path / "data", PARTS, 1)
    paths = ExamPaths({"t1": tmp_path / "data/images/case_0.nii.gz"}, (tmp_path / "data/labels/case_0.nii.gz",), "a")
    tasks = [PARTS, replace(PARTS, lesion=True), EDITS["spurious"], EDITS["taken_for"]]
    cases = [read_audited_exam(ExamSource("a", paths, task=task)) for task in (*tasks, PARTS)]
    folders = [prepare_exam(case, tmp_path / "taught", errors=1, synthetic=False).folder for case in cases]
    assert folders[0] == folders[-1]
    assert len(set(folders)) == len(tasks)


def test_lesions_are_turned_by_quarters_only_where_voxels_are_as_long_as_wide():
    labels, scans = torch.ones(40, 40), torch.ones(1, 40, 40)

    def turns(spacing):  # between the two output axes, how much of a step along the first goes along the second
        task = replace(PARTS, lesion=True, spacing=spacing)
        grids = [draw_grid(labels, scans, np.random.default_rng(seed), task) for seed in range(12)]
        return [
            bool((grid[0, 1, 0, 0] - grid[0, 0, 0, 0]).abs() > (grid[0, 1, 0, 1] - grid[0, 0, 0, 1]).abs())
            for grid in grids
        ]

    assert any(turns((1.0, 1.0, 1.0)))
    assert not any(turns((1.0, 1.0, 3.0)))


def test_folders_of_the_built_in_task_go_on(tmp_path):
    assert SimulationSettings().record() == {"segmentations": 5, "raters": 3, "seed": 0, "label_scheme": "brats"}
    assert sorted(audit_record(GLIOMA)) == ["checkpoint", "format", "label_scheme", "seed"]
    settings = RatePlan(tmp_path, tmp_path / "stars.csv", "x").settings(small_surrogate())
    assert "labels" not in settings


def test_edits_that_change_no_mask_keep_what_is_there():
    assert (
        SimulationSettings(task=replace(CT, colors={"organ": "#000000"})).record()
        == SimulationSettings(task=CT).record()
    )


def test_stars_of_another_scale_are_refused(tmp_path):
    """They would be read as if they were of this one."""
    table = tmp_path / "ratings.csv"
    row = {"exam": "a", "segmentation": "b", "t1": "c", "rater": "d", "view": "", "stars": "4"}
    to_five, to_six = replace(PARTS, stars=(1.0, 5.0)), PARTS

    def read(of, **more):
        pd.DataFrame([row | more]).to_csv(table, index=False)
        return read_table(table, columns_of(of), "table of ratings", ["stars"], task=of)

    with pytest.raises(
        ValueError, match="stars are from 1 to 5, but those of the task 'parts' from 1 to 6; write stars"
    ):
        read(to_six, **origin_columns(to_five))
    assert len(read(to_five, **origin_columns(to_five))) == 1
    assert len(read(to_six)) == 1  # a table of before
    assert len(read(to_six, scale="0.8")) == 1  # a column of one's own
    assert origin_columns(GLIOMA) == {}
    # Of a table of paths stars do not count.
    pd.DataFrame([row | origin_columns(to_five)]).to_csv(table, index=False)
    assert [exam.name for exam in find_in_table(table, to_six)] == ["a"]


def test_a_table_of_a_task_of_ones_own_is_refused_with_the_cure(tmp_path):
    pd.DataFrame([{"exam": "a", "task": "parts"}]).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(
        ValueError, match="holds data of the task 'parts', and not of 'glioma'; give its file with --task"
    ):
        read_table(tmp_path / "t.csv", ("exam",), "table", task=GLIOMA)


def test_simulated_ratings_say_their_scale(tmp_path):
    table = write_data_set(tmp_path / "data", FLAT, 2)
    file = tmp_path / "task.json"
    file.write_text(json.dumps(task_to_dict(FLAT)))
    words = ["simulate", "--task", str(file), "--exams", str(table), "--segmentations", "2", "--raters", "1"]
    assert dqe([*words, "--out", str(tmp_path / "out")]) == 0
    assert set(pd.read_csv(tmp_path / "out" / "ratings.csv")["scale"]) == {"0 to 1"}

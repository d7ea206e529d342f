"""The glioma part of the benefit study: who is in which part, what is measured, and what a part of its runs says."""

import json

import numpy as np
import pytest
import torch


def test_gliomas_change_sides_and_nobody_is_tested_twice(study):
    gliomas = study("gliomas")
    of_sources = {
        "BraTS-GLI-{}": 3,
        "BraTS19_CBICA_{}": 4,
        "BraTS19_2013_{}": 5,
        "BraTS19_TCIA01_{}": 8,
        "BraTS2021_{}": 4,
    }
    names = [shape.format(i) for shape, count in of_sources.items() for i in range(count)]
    found = gliomas.rotations(names)
    assert found == gliomas.rotations(names)
    assert len(found) == 3
    for parts in found.values():
        assert [len(part) for part in vars(parts).values()] == [12, 0, 3, 5, 4]
        assert sorted(p for part in vars(parts).values() for p in part) == list(range(24))
        taught = {gliomas.source_of(names[place]) for place in parts.teaching}
        assert taught == {"first", "CBICA", "2013", "TCIA01", "BraTS2021"}
    tested = [place for parts in found.values() for place in parts.test]
    assert len(set(tested)) == 12
    first, second, _ = found.values()
    assert not set(first.teaching) & set(second.teaching)


def test_lesions_are_matched_one_by_one(study):
    lesion_dice = study("lesions").lesion_dice
    truth = torch.zeros(1, 20, 20, 20, dtype=torch.bool)
    truth[0, 2:6, 2:6, 2:6] = truth[0, 12:14, 12:14, 12:14] = True  # 64 and 8 voxels
    assert lesion_dice(truth, truth).tolist() == [1]
    missed = truth.clone()
    missed[0, 12:14] = False
    assert lesion_dice(missed, truth).tolist() == [0.5]  # by volume it would be .94
    half = missed.clone()
    half[0, 4:6] = False  # 2 * 32 / 96
    assert lesion_dice(half, truth).item() == pytest.approx(2 / 3 / 2)
    invented = truth.clone()
    invented[0, 18:, 18:, 18:] = True
    assert lesion_dice(invented, truth).item() == pytest.approx(2 / 3)
    nothing = torch.zeros_like(truth)
    assert [lesion_dice(*pair).item() for pair in ((nothing, nothing), (nothing, truth), (truth, nothing))] == [1, 0, 0]


def test_an_empty_region_that_is_found_empty_is_no_distance_away(study):
    hausdorff = study("judges").hausdorff
    nothing, something = torch.zeros(1, 1, 6, 8, 24, dtype=torch.bool), torch.ones(1, 1, 6, 8, 24, dtype=torch.bool)
    pairs = ((nothing, nothing), (something, something), (nothing, something), (something, nothing))
    assert [hausdorff(*pair).item() for pair in pairs] == [0, 0, 26, 26]


def made_up(study, rotations, without=()):
    """Runs of some rotations but for a few: d is .02 above b in the first, and .02 more in each that follows."""
    design, measures = study("design"), study("analysis").MEASURES
    rng = np.random.default_rng(0)
    runs = []
    for run in design.GLIOMA_STUDY.planned():
        place = design.ROTATIONS.index(run.setting)
        if run.setting not in rotations or run in without:
            continue
        gain = 0.01 * "badrth".index(run.arm[0]) + 0.02 * place * (run.arm == "d")
        exams = [
            dict.fromkeys([*measures, "lesion_dice"], 0.5 + gain + noise) | {"person": 4 * place + i, "exam": str(i)}
            for i, noise in enumerate(rng.normal(0, 1e-4, 4))
        ]
        runs.append(vars(run) | {"exams": exams})
    return runs


def told(study, tmp_path, runs):
    report = study("report").summarize(runs, {}, study("design").GLIOMA_STUDY, tmp_path / "out.json")
    return json.loads((tmp_path / "out.json").read_text()), report


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_rotations_that_are_complete_are_pooled(study, tmp_path, count):
    design = study("design")
    begun = design.ROTATIONS[: count + 1]
    last = [run for run in design.GLIOMA_STUDY.planned() if run.setting == begun[-1]][-1:] if count < 3 else []
    stored, report = told(study, tmp_path, made_up(study, begun, without=last))
    assert stored["rotations"] == list(design.ROTATIONS[:count])
    assert stored["planned"] == 63
    pooled = [row for row in stored["arms"] if row["setting"] == design.ALL_ROTATIONS]
    assert [row["arm"] for row in pooled] == (list(design.GLIOMA_PLAN["rotation-1", 3]) if count else [])
    assert all(row["seeds"] == 3 for row in pooled)
    assert len(stored["readouts"]) == (12 if count else 0)  # two differences, six measures
    for row in stored["readouts"]:
        assert row["persons"] == 4 * count
        if row["arms"] == ["d", "b"]:
            assert row["difference"] == pytest.approx(0.02 + 0.01 * (count - 1), abs=1e-3)
            assert row["above"] == 4 * count
    if last:  # t's last seed is missing: its rotation has the six other arms
        assert {row["arm"] for row in stored["arms"] if row["setting"] == begun[-1]} == set("abdhr") | {"ad"}
    assert "on 3 unlabelled planes" in report


def test_a_rotation_that_has_begun_changes_nothing_in_those_that_are_complete(study, tmp_path):
    first, _, third = study("design").ROTATIONS
    alone, _ = told(study, tmp_path, made_up(study, [first]))
    begun = [run for run in made_up(study, [first, third]) if run["setting"] == first or run["seed"] == 0]
    beside, _ = told(study, tmp_path, begun)
    for key in ("arms", "readouts", "pairs", "rotations"):
        assert alone[key] == beside[key]


def test_gliomas_are_drawn_once_a_rotation_is_complete(study, tmp_path):
    plot, rotations = study("plot"), study("design").ROTATIONS
    stored, _ = told(study, tmp_path, made_up(study, rotations[:1])[:-1])
    assert plot.plot_gliomas(stored) is None
    for count in (1, 2):
        stored, _ = told(study, tmp_path, made_up(study, rotations[:count]))
        (axes,) = plot.plot_gliomas(stored).axes
        assert f"{count} rotation" in axes.get_title("left")
        assert [text.get_text() for text in axes.texts] == (["1"] * 6 + ["2"] * 6 if count == 2 else [])

"""The study of the loss's benefit: who is in which part, what its losses count, and its intervals."""

import importlib
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

ROOT = Path(__file__).parents[2]


@pytest.fixture
def study(monkeypatch):
    """Imports a module of the study; their names are plain ones, which other modules may have, too."""
    names = [path.stem for path in (ROOT / "benchmarks" / "benefit").glob("*.py")]
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks" / "benefit"))
    yield importlib.import_module
    for name in names:
        sys.modules.pop(name, None)


@dataclass(frozen=True)
class Side:
    person: int
    largest: float


@pytest.fixture
def sides():
    """170 persons, some with two sides, of three kinds of files."""
    largest = [200.0] * 36 + [2000.0] * 110 + [7e5] * 24
    return [Side(p, top) for p, top in enumerate(largest) for _ in range(1 + p % 2)]


@pytest.mark.parametrize("setting", ["same", "other"])
def test_no_person_is_in_two_parts_and_none_is_left_out(study, sides, setting):
    parts = study("hippocampi").split(sides, setting)
    everyone = [p for part in vars(parts).values() for p in part]
    assert sorted(everyone) == list(range(170))
    assert [len(part) for part in vars(parts).values()] == [40, 20, 12, 60, 38]


def test_teachers_of_another_source_share_no_kind_of_file_with_users(study, sides):
    parts = study("hippocampi").split(sides, "other")
    kind = {side.person: 255 < side.largest <= 2e4 for side in sides}
    assert not any(kind[p] for p in parts.teaching + parts.judge)
    assert all(kind[p] for p in parts.pool + parts.unlabelled + parts.test)


def test_fewer_labelled_persons_are_among_more(study, sides):
    parts = study("hippocampi").split(sides, "same")
    assert parts.labelled(12, 3)[:3] == parts.labelled(3, 3)
    assert sorted(parts.labelled(12, 3)) == sorted(parts.pool)
    assert parts.labelled(3, 0) != parts.labelled(3, 1)


def test_every_run_has_a_name_of_its_own_and_every_readout_its_arms(study):
    design, pooled = study("design"), study("analysis").pooled
    for part in (design.HIPPOCAMPUS_STUDY, design.GLIOMA_STUDY):
        names = [run.name for run in part.planned()]
        assert len(names) == len(set(names))
        plan = {(pooled(setting), labelled): arms for (setting, labelled), arms in part.plan.items()}
        for setting, labelled, *arms in part.readouts:
            assert set(arms) <= set(plan[setting, labelled]) <= set(design.ARMS)


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


def test_channels_are_normalized_one_by_one_and_within_the_head_where_there_is_air(study):
    exams = study("exams")
    image = torch.zeros(2, 4, 4, 4)
    image[0, :2] = torch.rand(2, 4, 4) + 5
    image[1, :2] = 100 * torch.rand(2, 4, 4) + 1
    of_head = exams.Exam(None, 0, image, None, of_head=True).normalized
    for one in of_head:
        assert (one[2:] == 0).all()
        assert one[:2].mean().item() == pytest.approx(0, abs=1e-5)
        assert one[:2].std().item() == pytest.approx(1, abs=1e-5)
    of_all = exams.Exam(None, 0, image, None, of_head=False).normalized
    assert of_all.mean((1, 2, 3)).tolist() == pytest.approx([0, 0], abs=1e-5)


def test_planes_that_are_trained_on_are_not_empty(study):
    exams, planes = study("exams"), study("planes")
    image = torch.zeros(1, 6, 5, 10, dtype=torch.short)
    image[0, ..., 3:8] = torch.arange(3, 8)  # each plane by its number
    exam = exams.Exam(None, 0, image, torch.zeros(3, 6, 5, 10, dtype=torch.bool), of_head=True)
    assert planes.planes_of([exam], 8).raw.shape == (10, 1, 8, 8)
    taken = planes.planes_of([exam, exam], 8, every=2)
    assert taken.raw.amax((1, 2, 3)).tolist() == [3, 5, 7, 3, 5, 7]
    assert taken.regions.shape == (6, 3, 8, 8)
    assert (taken.raw[..., 6:, :] == 0).all()


def test_partial_labels_teach_nothing_where_they_do_not_count(study):
    loss = study("region_loss").RegionLoss()
    logits = torch.randn(2, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    label, counts = (torch.rand(2, 3, 8, 8) > 0.5).double(), torch.rand(2, 3, 8, 8) > 0.3
    loss(logits, label, counts).backward()
    assert (logits.grad[~counts] == 0).all()
    assert (logits.grad[counts] != 0).all()
    other = torch.where(counts, label, 1 - label)
    assert loss(logits, other, counts).item() == loss(logits, label, counts).item()
    assert loss(logits, label, torch.zeros_like(counts)).item() == 0


def test_regions_that_overlap_do_not_compete(study):
    loss = study("region_loss").RegionLoss()
    regions = torch.zeros(2, 3, 8, 8, dtype=torch.float64)
    regions[0, :2, 2:6, 2:6] = 1  # one lies in the other
    perfect = (40 * (2 * regions - 1)).requires_grad_()
    assert loss(perfect, regions).item() == pytest.approx(0, abs=1e-6)
    raised = torch.zeros_like(regions).requires_grad_()
    loss(raised, regions).backward()
    assert (raised.grad[regions == 0] > 0).all()  # background is pushed down
    assert (raised.grad[regions == 1] < 0).all()


def test_planes_are_turned_alike_and_only_what_networks_see_changes_its_intensities(study):
    planes = study("planes")
    image = torch.rand(4, 1, 64, 64)
    regions = (image > 0.7).float().repeat(1, 3, 1, 1)
    batch = planes.draw(planes.Planes(image, image, regions, image), 16, torch.Generator().manual_seed(0))
    assert torch.equal(batch.raw, batch.clean)
    assert not torch.equal(batch.seen, batch.clean)
    inside = batch.regions[:, :1] > 0
    assert batch.clean[inside].mean() > 0.6 > batch.clean[~inside].mean()


def test_intervals_know_of_seeds_and_persons(study):
    analysis = study("analysis")
    rng = np.random.default_rng(0)
    by_seed = 1 + rng.normal(size=(5, 1)) + np.zeros((5, 40))  # persons say the same: only seeds differ
    spread = analysis.resampled(by_seed).std()
    assert spread == pytest.approx(by_seed[:, 0].std() / 5**0.5, rel=0.05)
    assert analysis.resampled(np.ones((5, 40))).std() < 1e-12


def test_a_difference_is_taken_person_by_person(study):
    analysis = study("analysis")
    runs = [
        {"setting": "same", "labelled": 3, "arm": arm, "seed": seed, "exams": exams}
        for arm, gain in (("a", 0.0), ("d", 0.1), ("h", 0.4))
        for seed in (0, 1)
        for exams in [
            [
                dict.fromkeys(analysis.MEASURES, person / 10 + gain) | {"person": person, "exam": f"{person}{side}"}
                for person in range(4)
                for side in range(2)
            ]
        ]
    ]
    table = analysis.table_of(runs)
    found = analysis.difference(table, "same", 3, "d", "a", "dice")
    assert found["difference"] == pytest.approx(0.1)
    assert found["interval"] == pytest.approx([0.1, 0.1])  # persons differ, the gain does not
    assert (found["seeds"], found["persons"]) == (2, 4)
    assert analysis.closed(table, "same", 3, "d") == pytest.approx(0.25)
    assert isinstance(table, pd.DataFrame)

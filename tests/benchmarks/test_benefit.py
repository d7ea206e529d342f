"""The study of the loss's benefit: who is in which part, what its losses count, and its intervals."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import torch


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
    design = study("design")
    for part in (design.HIPPOCAMPUS_STUDY, design.GLIOMA_STUDY):
        names = [run.name for run in part.planned()]
        assert len(names) == len(set(names))
        plan = part.plan | {(design.ALL_ROTATIONS, labelled): arms for (_, labelled), arms in part.plan.items()}
        for setting, labelled, *arms in part.readouts:
            assert set(arms) <= set(plan[setting, labelled]) <= set(design.ARMS)


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


def test_curves_are_drawn_once_labelled_planes_alone_have_run_with_more_persons(study):
    plot = study("plot")

    def stored(*places):
        return {
            "arms": [
                {"setting": "same", "labelled": n, "arm": arm, "what": arm, "dice": 0.8 + n / 100} for n, arm in places
            ]
        }

    assert plot.plot_labels(stored((3, "a"), (3, "ad"), (6, "ad")), "same") is None
    (axes,) = plot.plot_labels(stored((3, "a"), (12, "a"), (3, "d"), (3, "ad"), (6, "ad"), (12, "ad")), "same").axes
    assert [line.get_label() for line in axes.lines] == ["ad: ad", "a: a"]
    assert [list(line.get_xdata()) for line in axes.lines] == [[3, 12], [3, 12]]

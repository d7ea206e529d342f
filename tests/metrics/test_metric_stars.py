import warnings

import numpy as np
import pytest
import torch
from helpers import make_labels, quick
from hypothesis import given
from hypothesis import strategies as st

from dqe_loss import regions_from_labels
from dqe_loss.metrics.metric_stars import metric_stars, metric_stars_of_views
from dqe_loss.metrics.overlap import region_dice, region_surface_dice
from dqe_loss.simulate import raters
from dqe_loss.simulate.raters import SimulatedRater, make_raters, simulate_judgments, spread
from dqe_loss.tasks.scale import levels_of


def squares(*boxes, side=32):
    """Planes (1, 3, side, side); TC, WT, ET are the boxes given as (first, last + 1) rows and columns."""
    planes = torch.zeros(1, 3, side, side)
    for channel, box in enumerate(boxes):
        if box:
            rows, columns = box
            planes[0, channel, slice(*rows), slice(*columns)] = 1
    return planes


def regions_of(labels):
    return regions_from_labels(torch.from_numpy(labels)[None, None], "brats23")


def test_dice_by_hand():
    reference = squares(((0, 4), (0, 4)), ((0, 8), (0, 8)), None)
    prediction = squares(((0, 4), (2, 6)), ((0, 8), (0, 4)), None)
    # 2*8/(16+16), 2*32/(32+64), both empty
    assert region_dice(prediction, reference)[0].tolist() == pytest.approx([0.5, 2 / 3, 1.0])


def test_surface_dice_by_hand():
    """Two outlines of 10 x 10 pixels, 36 each, one 3 rows below the other."""
    square, moved = ((5, 15), (5, 15)), ((8, 18), (5, 15))
    reference, prediction = squares(square, square, square), squares(moved, moved, moved)

    def expected(tolerance):
        """The definition, pixel by pixel."""
        a = {(r, c) for r in range(5, 15) for c in range(5, 15) if r in (5, 14) or c in (5, 14)}
        b = {(r + 3, c) for r, c in a}
        near = [min(np.hypot(r - s, c - d) for s, d in two) for one, two in ((a, b), (b, a)) for r, c in one]
        return np.mean(np.array(near) <= tolerance)

    for tolerance in (0, 1, 2, 3):
        scores = region_surface_dice(prediction, reference, tolerance)
        assert scores[0].tolist() == pytest.approx([expected(tolerance)] * 3)
    assert expected(0) == 28 / 72  # rows 8 to 14 of both sides, of both outlines
    assert expected(3) == 1


def test_surface_dice_counts_mm():
    one, two = ((5, 6), (5, 15)), ((8, 9), (5, 15))
    pair = squares(one, one, one), squares(two, two, two)
    assert region_surface_dice(*pair, 2.9)[0, 0] == 0
    assert region_surface_dice(*pair, 3.0)[0, 0] == 1
    assert region_surface_dice(*pair, 3.0, spacing=(1.5, 1.0))[0, 0] == 0
    assert region_surface_dice(*pair, 3.0, spacing=0.5)[0, 0] == 1


@pytest.mark.parametrize("score", [region_dice, region_surface_dice])
def test_empty_regions(score):
    full = squares(((0, 4), (0, 4)), ((0, 4), (0, 4)), None)
    other = squares(((0, 4), (0, 4)), None, None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert score(full, other)[0].tolist() == [1, 0, 1]
        assert score(other, full)[0].tolist() == [1, 0, 1]
        assert score(full * 0, full * 0)[0].tolist() == [1, 1, 1]


@pytest.mark.parametrize("score", [region_dice, region_surface_dice])
def test_volumes_batches_and_borders(score):
    labels = np.stack([make_labels(center=c) for c in ((0.1, 0, 0), (0.3, -0.3, 0.2))])
    a, b = (torch.cat([regions_of(x) for x in pair]) for pair in (labels, labels[::-1].copy()))
    together = score(a, b)
    assert together.shape == (2, 3)
    assert together.dtype == torch.float32
    assert torch.equal(together, torch.cat([score(a[:1], b[:1]), score(a[1:], b[1:])]))
    assert torch.equal(together, score(b, a))
    assert (score(a, a) == 1).all()
    assert torch.equal(score(a, b), score(a.double(), b.float()))
    full = torch.ones(1, 3, 6, 6, 6)
    assert (score(full, full) == 1).all()


def test_a_hole_costs_surface():
    full = torch.ones(1, 3, 9, 9)
    hole = full.clone()
    hole[..., 4, 4] = 0
    # Outlines: 32 pixels of the border; the prediction has 4 more around the hole, 3 from the border.
    assert region_surface_dice(hole, full, 1.0)[0, 0].item() == pytest.approx(64 / 68)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prediction": torch.ones(1, 2, 4, 4)}, r"one shape, got \(1, 2, 4, 4\) and \(1, 3, 4, 4\)"),
        ({"prediction": torch.ones(4, 4)}, r"got a prediction of shape \(4, 4\)"),
        ({"reference": torch.ones(3, 4, 4)}, r"got a reference of shape \(3, 4, 4\)"),
        ({"reference": torch.ones(1, 3, 4, 5)}, r"one shape, got \(1, 3, 4, 4\) and \(1, 3, 4, 5\)"),
        ({"prediction": torch.full((1, 3, 4, 4), 0.5)}, "a prediction of 0 and 1, got other values; binarize"),
        ({"tolerance": -1}, "tolerance must be a distance in mm, 0 or above, got -1"),
        ({"spacing": (1, 1, 1)}, "one for each of 2 axes"),
        ({"spacing": 0}, "spacing must be one number above 0"),
    ],
)
def test_bad_inputs(change, message):
    arguments = {"prediction": torch.ones(1, 3, 4, 4), "reference": torch.ones(1, 3, 4, 4)} | change
    with pytest.raises(ValueError, match=message):
        region_surface_dice(**arguments)


def test_metric_stars_by_hand():
    box = ((0, 10), (0, 10))
    reference = squares(box, box, None)
    assert metric_stars(reference, reference).tolist() == [6]
    # Dice and surface Dice: 1 and 1; 0 and 0; both empty.
    assert metric_stars(squares(box, None, None), reference).item() == pytest.approx(1 + 5 * 2 / 3)
    half = squares(((0, 10), (0, 5)), box, None)
    dice, surface = region_dice(half, reference)[0, 0].item(), region_surface_dice(half, reference)[0, 0].item()
    assert dice == pytest.approx(2 / 3)
    assert metric_stars(half, reference).item() == pytest.approx(1 + 5 * (2 + (dice + surface) / 2) / 3)


def test_views_are_cut_through_the_predictions_center():
    reference = regions_of(make_labels())
    prediction = torch.roll(reference, 4, 2)
    x = int(prediction[0, 0].nonzero()[:, 0].float().mean())
    stars = metric_stars_of_views(prediction, reference)
    assert stars.shape == (1, 3)
    expected = metric_stars(prediction[:, :, x], reference[:, :, x]).item()
    assert stars[0, 2].item() == pytest.approx(expected)
    assert (metric_stars_of_views(reference, reference) == 6).all()


def test_an_empty_mask_gets_one_star_though_its_planes_miss_the_tumor():
    labels = np.zeros((32, 28, 24), np.uint8)
    labels[2:6, 2:6, 2:6] = 2
    labels[3:5, 3:5, 3:5] = 1
    labels[4, 4, 4] = 3
    reference = regions_of(labels)
    assert (metric_stars_of_views(torch.zeros_like(reference), reference) == 1).all()
    crossing = regions_of(np.where(make_labels() == 3, 2, make_labels()).astype(np.uint8))  # no ET in it at all
    assert metric_stars_of_views(torch.zeros_like(crossing), crossing).tolist() == [[pytest.approx(1 + 5 / 3)] * 3]


def test_a_plane_between_two_parts_takes_the_stars_of_the_volume():
    labels = np.zeros((32, 28, 24), np.uint8)
    labels[2:6, 10:16, 10:16] = 3
    prediction = labels.copy()
    prediction[26:30, 10:16, 10:16] = 3
    stars = metric_stars_of_views(regions_of(prediction), regions_of(labels))
    assert stars[0, 2].item() == pytest.approx(metric_stars(regions_of(prediction), regions_of(labels)).item())
    assert stars[0, 2] < 5


@quick
@given(stars=st.lists(st.floats(1, 6), min_size=1, max_size=9), bias=st.floats(-2, 2), seed=st.integers(0, 99))
def test_judgments_are_whole_stars(stars, bias, seed):
    judged = simulate_judgments(SimulatedRater("r", bias), stars, np.random.default_rng(seed))
    assert judged.dtype == np.int64
    assert set(judged.tolist()) <= {1, 2, 3, 4, 5, 6}
    assert np.array_equal(judged, simulate_judgments(SimulatedRater("r", bias), stars, np.random.default_rng(seed)))


@pytest.mark.parametrize("scale", [(0.0, 1.0), (0.0, 10.0), (0.0, 100.0), (1.0, 5.0), (0.5, 3.0)])
def test_simulated_raters_say_what_humans_can(scale):
    stars = np.linspace(*scale, 2000)
    judged = simulate_judgments(SimulatedRater("r", 0), stars, np.random.default_rng(0), scale)
    assert set(judged.tolist()) == set(levels_of(scale))
    # As far from the metric stars as the spread makes them, and half a step.
    assert np.abs(judged - stars).mean() < 0.3 * (scale[1] - scale[0])


def test_raters_agree_on_good_and_disagree_on_bad_segmentations():
    rng = np.random.default_rng(0)
    deviations = [simulate_judgments(SimulatedRater("r", 0), np.full(4000, s), rng).std() for s in (2.5, 4, 5)]
    assert deviations == sorted(deviations, reverse=True)
    assert spread(6) == pytest.approx(raters.SPREAD_GOOD)
    assert spread(1) == pytest.approx(raters.SPREAD_BAD)
    # Rounding to whole stars adds a variance of 1/12.
    assert deviations[1] == pytest.approx(np.sqrt(spread(4) ** 2 + 1 / 12), rel=0.05)


def test_simulated_raters_overestimate_the_worst():
    judged = simulate_judgments(SimulatedRater("r", 0), np.full(2000, 1.0), np.random.default_rng(0))
    assert 1.2 < judged.mean() < 1.8


def test_raters_are_named_and_seeded():
    three = make_raters(3, seed=1)
    assert [rater.name for rater in three] == ["simulated-1", "simulated-2", "simulated-3"]
    assert three == make_raters(5, seed=1)[:3]
    assert three != make_raters(3, seed=2)
    assert np.std([rater.bias for rater in make_raters(2000)]) == pytest.approx(raters.BIAS, rel=0.1)
    lenient = simulate_judgments(SimulatedRater("r", 0.5), np.full(2000, 3.5), np.random.default_rng(0))
    assert lenient.mean() == pytest.approx(4.0, abs=0.05)


def test_raters_errors():
    with pytest.raises(ValueError, match="at least one rater, got 0"):
        make_raters(0)
    with pytest.raises(ValueError, match="expected metric stars from 1 to 6, got 0 to 3"):
        simulate_judgments(SimulatedRater("r", 0), [0.0, 3.0], np.random.default_rng(0))

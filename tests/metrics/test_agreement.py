"""Agreement numbers, their bootstrap, the raters' own ceiling and the baselines: by hand, and by their invariances."""

import math

import numpy as np
import pandas as pd
import pytest
from helpers import quick
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dqe_loss.data.findings import region_volumes
from dqe_loss.evaluate.baselines import predict_baselines
from dqe_loss.metrics.agreement import METRICS, agreement, bootstrap_intervals, leave_one_rater_out

CORRELATIONS = ("pearson", "spearman", "kendall")
# Halves, so that ties are common.
stars = st.lists(st.tuples(st.integers(2, 12), st.integers(2, 12), st.integers(0, 7)), min_size=8, max_size=30)


def split(rows):
    x, y, exams = (np.array(column) for column in zip(*rows, strict=True))
    return x / 2, y / 2, exams


def same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_allclose(a[name], b[name], rtol=1e-9, atol=1e-9, err_msg=name)


def test_golden_table():
    """Differences 0, -1, -1, +1; means 2.5 and 2.75; one discordant pair of six, no ties but one in the ratings."""
    numbers = agreement([1, 2, 3, 4], [1, 3, 4, 3])
    assert numbers["mae"] == 0.75
    assert numbers["rmse"] == pytest.approx(math.sqrt(3 / 4))
    # Products of deviations: 2.625 - 0.125 + 0.625 + 0.375 = 3.5; squares: 5 and 4.75.
    assert numbers["pearson"] == pytest.approx(3.5 / math.sqrt(5 * 4.75))
    # Ranks 1 2 3 4 and 1 2.5 4 2.5: products 2.25 + 0 + 0.75 + 0 = 3, squares 5 and 4.5.
    assert numbers["spearman"] == pytest.approx(3 / math.sqrt(5 * 4.5))
    # Concordant 4, discordant 1, tied in the ratings 1.
    assert numbers["kendall"] == pytest.approx((4 - 1) / math.sqrt(6 * 5))


@pytest.mark.parametrize(("x", "y"), [([3.3, 3.3, 3.3], [1, 2, 3]), ([1, 2, 3], [4, 4, 4]), ([1], [2])])
def test_correlation_of_constants_is_undefined_and_the_error_is_not(x, y):
    numbers = agreement(x, y)
    assert all(math.isnan(numbers[name]) for name in CORRELATIONS)
    assert numbers["mae"] == pytest.approx(np.abs(np.subtract(x, y)).mean())


def test_nothing_has_no_agreement():
    assert all(math.isnan(value) for value in agreement([], []).values())
    assert all(math.isnan(low) for low, _ in bootstrap_intervals([], [], []).values())


@quick
@given(stars, st.floats(0.1, 5), st.floats(-3, 3))
def test_correlations_know_no_scale_and_errors_no_shift(rows, scale, shift):
    x, y, _ = split(rows)
    plain, moved = agreement(x, y), agreement(x * scale + shift, y)
    same({n: plain[n] for n in CORRELATIONS}, {n: moved[n] for n in CORRELATIONS})
    both = agreement(x + shift, y + shift)
    same({n: plain[n] for n in ("mae", "rmse")}, {n: both[n] for n in ("mae", "rmse")})
    assert plain["mae"] <= plain["rmse"] + 1e-12


@quick
@given(stars, st.randoms())
def test_order_of_the_segmentations_does_not_matter(rows, random):
    shuffled = random.sample(rows, len(rows))
    same(agreement(*split(rows)[:2]), agreement(*split(shuffled)[:2]))


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [([1, 2], [1], "two arrays of one length"), ([1, math.nan], [1, 2], "expected finite ratings, got NaN or Inf")],
)
def test_bad_arrays_are_refused(x, y, message):
    with pytest.raises(ValueError, match=message):
        agreement(x, y)


def resampled(x, y, exams, resamples, seed):
    """The bootstrap as one would write it naively: copy the drawn exams, and compute anew."""
    names = list(dict.fromkeys(exams.tolist()))
    draws = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
    for counts in draws:
        rows = np.concatenate([np.tile(np.flatnonzero(exams == n), c) for n, c in zip(names, counts, strict=True)])
        yield agreement(x[rows.astype(int)], y[rows.astype(int)])


@pytest.mark.slow
@quick
@given(stars, st.integers(0, 5))
def test_bootstrap_equals_copying_exams(rows, seed):
    x, y, exams = split(rows)
    intervals = bootstrap_intervals(x, y, exams, resamples=25, seed=seed)
    if len(set(exams.tolist())) < 5:
        assert all(math.isnan(bound) for interval in intervals.values() for bound in interval)
        return
    values = list(resampled(x, y, exams, 25, seed))
    for name in METRICS:
        column = np.array([value[name] for value in values])
        defined = np.isfinite(column).mean() >= 0.5
        expected = np.nanquantile(column, (0.025, 0.975)) if defined else [math.nan] * 2
        np.testing.assert_allclose(intervals[name], expected, atol=1e-9, err_msg=name)


def noisy(exams=30, each=4, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.uniform(1, 6, exams * each)
    return y + rng.normal(size=y.size), y, np.repeat(np.arange(exams), each)


def test_bootstrap_is_determined_by_its_seed_and_holds_the_value():
    x, y, exams = noisy()
    first, again, other = (bootstrap_intervals(x, y, exams, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first != other
    for name, value in agreement(x, y).items():
        low, high = first[name]
        assert low < value < high
        assert other[name] == pytest.approx(first[name], abs=0.05)


def test_bootstrap_agrees_with_that_of_scipy():
    x, y, exams = noisy(each=1)
    ours = bootstrap_intervals(x, y, exams, metrics=("pearson",), resamples=4000)["pearson"]
    options = {"paired": True, "vectorized": True, "method": "percentile", "n_resamples": 4000}
    theirs = stats.bootstrap((x, y), lambda a, b, axis: stats.pearsonr(a, b, axis=axis).statistic, **options)
    assert ours == pytest.approx(tuple(theirs.confidence_interval), abs=0.02)


def test_bootstrap_by_exam_is_wider_than_by_segmentation():
    """Copies of one exam's segmentations add no knowledge."""
    x, y, exams = noisy(each=1)
    x, y, exams = (np.repeat(values, 6) for values in (x, y, exams))
    by_exam = bootstrap_intervals(x, y, exams)["mae"]
    by_segmentation = bootstrap_intervals(x, y, np.arange(len(x)))["mae"]
    assert np.diff(by_exam) > 2 * np.diff(by_segmentation)


def test_blocks_do_not_change_the_bootstrap(monkeypatch):
    x, y, exams = noisy()
    expected = bootstrap_intervals(x, y, exams, resamples=50)
    monkeypatch.setattr("dqe_loss.metrics.agreement._BLOCK", 700)
    same(bootstrap_intervals(x, y, exams, resamples=50), expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"exams": [1]}, "an exam for each of 2 values, got 1"),
        ({"resamples": 0}, "resamples >= 1"),
        ({"level": 1}, "a level in"),
    ],
)
def test_bad_options_of_the_bootstrap(options, message):
    with pytest.raises(ValueError, match=message):
        bootstrap_intervals([1, 2], [1, 2], **{"exams": [0, 1], **options})


def judgments(**stars):
    """Judgments from ``item_rater=stars``."""
    return pd.DataFrame([(*name.split("_"), float(value)) for name, value in stars.items()], columns=JUDGED)


JUDGED = ["item", "rater", "stars"]


def test_raters_against_the_mean_of_the_others():
    """Item a: |1 - 4|, |3 - 3|, |5 - 2|; item b: |2 - 4| twice; item c has one rater and does not count."""
    ceiling = leave_one_rater_out(judgments(a_x=1, a_y=3, a_z=5, b_x=2, b_y=4, c_z=6))
    assert ceiling == {"mae": pytest.approx((3 + 0 + 3 + 2 + 2) / 5), "judgments": 5, "raters": 3}


def test_several_views_of_a_rater_are_one_refined_mask():
    table = pd.concat([judgments(a_x=1, a_y=4), judgments(a_x=3, a_y=4)])
    assert leave_one_rater_out(table)["mae"] == 2


def test_one_rater_has_no_others():
    ceiling = leave_one_rater_out(judgments(a_x=1, b_x=3))
    assert math.isnan(ceiling["mae"])
    assert (ceiling["judgments"], ceiling["raters"]) == (0, 0)


def test_region_volumes_by_hand():
    labels = np.array([[0, 1, 1], [2, 2, 2], [4, 4, 0]], np.uint8)
    assert region_volumes(labels, "brats21").tolist() == pytest.approx([0.004, 0.007, 0.002])  # TC, WT, ET in cm³
    assert region_volumes(labels, "brats", voxel=500).tolist() == pytest.approx([2, 3.5, 1])
    assert region_volumes(np.array([2, 1, 1, 3], np.uint8), "nnunet").tolist() == pytest.approx([0.002, 0.004, 0.001])
    assert region_volumes(np.zeros(4, np.uint8)).tolist() == [0, 0, 0]


def test_linear_baseline_finds_a_line_and_constant_the_mean():
    volumes = np.random.default_rng(0).uniform(0, 50, (20, 3))
    rated = 2 + volumes @ [0.01, 0.03, -0.02]
    fit = predict_baselines(volumes[:4], rated[:4], np.arange(4), train_volumes=volumes[4:], train_rated=rated[4:])
    assert fit["linear in volume"] == pytest.approx(rated[:4])
    assert fit["constant mean"] == pytest.approx(np.full(4, rated[4:].mean()))


def test_without_a_training_set_an_exam_is_predicted_from_the_others():
    rated = np.array([1.0, 2.0, 4.0, 6.0])
    predicted = predict_baselines(np.zeros((4, 3)), rated, ["a", "a", "b", "c"])
    assert predicted["constant mean"].tolist() == pytest.approx([5, 5, 3, 7 / 3])
    alone = predict_baselines(np.zeros((2, 3)), rated[:2], ["a", "a"])
    assert all(np.isnan(values).all() for values in alone.values())


def test_half_a_training_set_is_refused():
    with pytest.raises(ValueError, match="both the volumes and the ratings"):
        predict_baselines(np.zeros((1, 3)), [1], ["a"], train_rated=[1])
    with pytest.raises(ValueError, match="got an empty training set"):
        predict_baselines(np.zeros((1, 3)), [1], ["a"], train_volumes=np.zeros((0, 3)), train_rated=[])

"""The guaranteed threshold: by hand, and by how often it is wrong where the truth is known."""

import numpy as np
import pytest
from helpers import quick
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, binom

from dqe_loss.curate.guarantee import chosen_threshold, minimum_labels, order_thresholds, try_thresholds


def test_golden_tests_by_hand():
    """30 kept without a failure: .9 ** 30 = .042 <= .1; with one failure among 31 it is .164, and the testing ends."""
    stars, bad = [5.0] * 30 + [4.0, 3.0], [False] * 30 + [True, False]
    trials = try_thresholds(stars, bad, [4.5, 3.5, 2.5], 0.1, 0.9)
    assert [(t.threshold, t.kept, t.unacceptable, t.passed) for t in trials] == [
        (4.5, 30, 0, True),
        (3.5, 31, 1, False),
    ]
    assert trials[0].p_value == pytest.approx(0.9**30)
    assert trials[1].p_value == pytest.approx(0.9**31 + 31 * 0.1 * 0.9**30)
    assert trials[0].upper == pytest.approx(1 - 0.1 ** (1 / 30))
    assert chosen_threshold(trials).threshold == 4.5


@given(st.integers(1, 200), st.data(), st.sampled_from([0.05, 0.1, 0.3]), st.sampled_from([0.8, 0.9, 0.95]))
@quick
def test_a_test_passes_just_where_clopper_and_pearson_bound_the_rate(kept, data, error_rate, confidence):
    failures = data.draw(st.integers(0, kept))
    bad = np.arange(kept) < failures
    (trial,) = try_thresholds(np.full(kept, 4.0), bad, [3.0], error_rate, confidence)
    expected = 1.0 if failures == kept else beta.ppf(confidence, failures + 1, kept - failures)
    assert trial.upper == pytest.approx(expected)
    assert trial.passed == (trial.upper <= error_rate)
    assert trial.p_value == pytest.approx(binom.cdf(failures, kept, error_rate))


@pytest.mark.parametrize(("error_rate", "confidence"), [(0.1, 0.9), (0.05, 0.95), (0.2, 0.8), (0.5, 0.5)])
def test_the_fewest_labels_are_just_enough(error_rate, confidence):
    count = minimum_labels(error_rate, confidence)
    for kept, passed in ((count, True), (count - 1, False)):
        if kept:
            (trial,) = try_thresholds(np.full(kept, 5.0), np.zeros(kept, bool), [4.0], error_rate, confidence)
            assert trial.passed == passed


def test_nothing_that_no_threshold_keeps_counts():
    stars = np.array([5.0] * 22 + [-np.inf] * 50)
    (trial,) = try_thresholds(stars, ~np.isfinite(stars), [-100.0], 0.1, 0.9)
    assert (trial.kept, trial.unacceptable, trial.passed) == (22, 0, True)
    assert not try_thresholds([4.0], [False], [5.0], 0.1, 0.9)[0].passed  # nothing kept, nothing shown


def simulate(rng, labeled, useful):
    """Stars of masks, whether each is unacceptable, and the true rate at or above a threshold."""
    stars = rng.normal(4, 1, 4 * labeled)
    risk = 1 / (1 + np.exp(3 * (stars - 3.3))) if useful else np.full(len(stars), 0.3)
    return stars, rng.random(len(stars)) < risk


def true_rate(threshold, useful):
    grid = np.linspace(threshold, 10, 4000)
    weight = np.exp(-((grid - 4) ** 2) / 2)
    risk = 1 / (1 + np.exp(3 * (grid - 3.3))) if useful else np.full(len(grid), 0.3)
    return float((weight * risk).sum() / weight.sum())


@pytest.mark.slow
@pytest.mark.parametrize("useful", [True, False])
def test_the_stated_rate_is_exceeded_no_more_often_than_stated(useful):
    """400 data sets: the chosen threshold may be wrong in a tenth of them, and in not many more by chance."""
    rng = np.random.default_rng(0)
    wrong, found = 0, []
    for _ in range(400):
        stars, bad = simulate(rng, 100, useful)
        thresholds = order_thresholds(stars[100:], 100, 0.1, 0.9)
        chosen = chosen_threshold(try_thresholds(stars[:100], bad[:100], thresholds, 0.1, 0.9))
        if chosen:
            found.append(np.mean(stars >= chosen.threshold))
            wrong += true_rate(chosen.threshold, useful) > 0.1
    assert wrong <= binom.ppf(0.999, 400, 0.1)
    if useful:
        # Not by never answering: most data sets get a threshold, and it keeps a good part (the right one keeps .73).
        assert len(found) > 0.75 * 400
        assert np.median(found) > 0.5
    else:
        assert len(found) < 0.05 * 400


@given(st.lists(st.floats(0, 7), min_size=1, max_size=60), st.integers(22, 500), st.integers(0, 40))
@quick
def test_thresholds_fall_and_end_with_all_that_can_be_kept(stars, labeled, rejected):
    thresholds = order_thresholds([*stars, *[-np.inf] * rejected], labeled, 0.1, 0.9)
    assert thresholds == sorted(set(thresholds), reverse=True)
    assert thresholds[-1] == min(stars)
    assert set(thresholds) <= set(stars)


def test_the_first_threshold_keeps_about_twice_the_fewest_labels():
    stars = np.linspace(1, 6, 1001)
    for labeled, share in ((440, 0.1), (100, 0.44), (60, (22 + 2 * 22**0.5) / 60), (22, 1.0)):
        first = order_thresholds(stars, labeled, 0.1, 0.9)[0]
        assert np.mean(stars >= first) == pytest.approx(share, abs=0.002)


def test_errors():
    with pytest.raises(ValueError, match=r"expected the error rate between 0 and 1, such as 0.1, got 1"):
        try_thresholds([1], [True], [0], 1.0, 0.9)
    with pytest.raises(ValueError, match=r"expected the confidence between 0 and 1, such as 0.1, got 90"):
        minimum_labels(0.1, 90)
    with pytest.raises(ValueError, match=r"expected thresholds from strict to lax, each once, got \[3.0, 4.0\]"):
        try_thresholds([1], [True], [3.0, 4.0], 0.1, 0.9)
    with pytest.raises(ValueError, match=r"a label for each, got the shapes \(1,\) and \(2,\)"):
        try_thresholds([1], [True, False], [3.0], 0.1, 0.9)
    with pytest.raises(ValueError, match="expected stars, not NaN"):
        try_thresholds([np.nan], [True], [3.0], 0.1, 0.9)
    assert order_thresholds([-np.inf], 30, 0.1, 0.9) == []

"""Risk-coverage curves and their areas: by hand, and by what must hold for any order."""

import math
from itertools import permutations

import numpy as np
import pytest
from helpers import quick
from hypothesis import assume, given
from hypothesis import strategies as st

from dqe_loss.metrics.failure import failure_detection, risk_coverage

cases = st.lists(st.tuples(st.integers(0, 10), st.integers(0, 4)), min_size=1, max_size=20)


def split(rows):
    risk, confidence = (np.array(column, float) for column in zip(*rows, strict=True))
    return risk / 10, confidence


def test_golden_curve_and_areas():
    """Accepted in the order .2, 0, .4: means .2, .1, .2. Best order 0, .2, .4: means 0, .1, .2."""
    risk, stars = [0.4, 0.0, 0.2], [1.5, 3.0, 5.0]
    coverage, selected = risk_coverage(risk, stars)
    assert coverage.tolist() == pytest.approx([1 / 3, 2 / 3, 1])
    assert selected.tolist() == pytest.approx([0.2, 0.1, 0.2])
    areas = failure_detection(risk, stars)
    assert areas.aurc == pytest.approx(0.5 / 3)
    assert areas.optimal == pytest.approx(0.3 / 3)
    assert areas.excess == pytest.approx(0.2 / 3)
    assert areas.random == pytest.approx(0.2)


def test_excess_of_a_binary_risk_is_that_of_the_source():
    """Geifman et al.: with error rate r, the best AURC tends to r + (1 - r) ln(1 - r)."""
    risk = np.repeat([0.0, 1.0], [70_000, 30_000])
    assert failure_detection(risk, -risk).optimal == pytest.approx(0.3 + 0.7 * math.log(0.7), abs=1e-4)


def test_perfect_and_reversed_order():
    risk = np.linspace(0, 1, 11)
    assert failure_detection(risk, 6 - risk).excess == 0
    assert failure_detection(risk, risk).aurc > failure_detection(risk, risk).random


def test_equal_stars_say_nothing():
    risk = np.array([0.1, 0.5, 0.9, 0.3])
    areas = failure_detection(risk, np.full(4, 5.0))
    assert areas.aurc == pytest.approx(areas.random) == pytest.approx(0.45)


def test_ties_are_the_mean_over_all_orders():
    risk, stars = np.array([0.0, 0.6, 0.3, 0.9]), np.array([2.0, 4.0, 2.0, 2.0])
    orders = [failure_detection(risk, stars + 1e-6 * np.array([a, 0, b, c])).aurc for a, b, c in permutations(range(3))]
    assert failure_detection(risk, stars).aurc == pytest.approx(np.mean(orders))


@quick
@given(cases, st.randoms())
def test_input_order_and_monotone_maps_do_not_matter(rows, random):
    shuffled = random.sample(rows, len(rows))
    risk, stars = split(rows)
    expected = risk_coverage(risk, stars)[1]
    np.testing.assert_allclose(risk_coverage(*split(shuffled))[1], expected, atol=1e-12)
    np.testing.assert_allclose(risk_coverage(risk, np.exp(stars))[1], expected, atol=1e-12)


@quick
@given(cases)
def test_areas_have_bounds(rows):
    risk, stars = split(rows)
    areas = failure_detection(risk, stars)
    worst = failure_detection(risk, risk).aurc
    assert areas.optimal - 1e-12 <= areas.aurc <= worst + 1e-12
    assert areas.optimal - 1e-12 <= areas.random <= worst + 1e-12
    assert risk_coverage(risk, stars)[1][-1] == pytest.approx(risk.mean())


@quick
@given(cases)
def test_a_better_star_for_a_better_mask_lowers_the_area(rows):
    risk, stars = split(rows)
    best, other = int(risk.argmin()), int(risk.argmax())
    low, high = sorted(stars[[best, other]])
    assume(risk[best] < risk[other] and low < high)
    wrong, right = stars.copy(), stars.copy()
    wrong[[best, other]], right[[best, other]] = (low, high), (high, low)
    assert failure_detection(risk, right).aurc < failure_detection(risk, wrong).aurc


def test_nothing_and_nonsense():
    assert all(math.isnan(value) for value in vars(failure_detection([], [])).values())
    with pytest.raises(ValueError, match=r"a confidence for each risk, got the shapes \(2,\) and \(1,\)"):
        failure_detection([0, 1], [1])
    with pytest.raises(ValueError, match="no risk below 0"):
        failure_detection([-0.1], [1])
    with pytest.raises(ValueError, match="expected finite risks"):
        failure_detection([math.nan], [1])

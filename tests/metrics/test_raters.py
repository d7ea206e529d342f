"""Statistics of raters against worked examples of the literature, and against raters that were made up."""

import numpy as np
import pytest
from helpers import quick
from hypothesis import given
from hypothesis import strategies as st

from dqe_loss.metrics.krippendorff import alpha_of, coincidences, ordinal_alpha
from dqe_loss.metrics.latent_raters import fit_latent
from dqe_loss.metrics.rater_likelihood import RaterLikelihood
from dqe_loss.metrics.variance_components import variance_components

NAN = np.nan
KRIPPENDORFF = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
        [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
    ]
)
"""Four observers, twelve units: "Computing Krippendorff's Alpha-Reliability" (2011), section D; ordinal alpha .815."""
SHROUT_FLEISS = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float)
"""Six targets, four judges: Shrout and Fleiss 1979, table 2."""


def long(values):
    """Items and values of a table (raters, items)."""
    items = np.broadcast_to(np.arange(values.shape[1]), values.shape)
    known = ~np.isnan(values)
    return items[known], values[known]


def test_ordinal_alpha_is_krippendorffs():
    assert ordinal_alpha(*long(KRIPPENDORFF)) == pytest.approx(0.815, abs=5e-4)


def test_alpha_of_perfect_and_of_opposite_raters():
    agree = np.array([[1, 2, 5, 6], [1, 2, 5, 6]], float)
    assert ordinal_alpha(*long(agree)) == 1
    assert ordinal_alpha(*long(np.array([[1, 6, 1, 6], [6, 1, 6, 1]], float))) < -0.5
    assert np.isnan(ordinal_alpha(*long(np.full((2, 3), 5.0))))
    assert np.isnan(ordinal_alpha([0, 1, 2], [1, 2, 3]))


@given(st.integers(0, 1000))
@quick
def test_alpha_does_not_depend_on_the_distance_of_values(seed):
    rng = np.random.default_rng(seed)
    values = rng.integers(1, 7, (3, 12)).astype(float)
    values[rng.random(values.shape) < 0.2] = NAN
    items, given_values = long(values)
    assert ordinal_alpha(items, given_values) == pytest.approx(ordinal_alpha(items, given_values**3), nan_ok=True)


def test_a_weight_counts_as_a_copy():
    rng = np.random.default_rng(0)
    values = rng.integers(1, 7, (3, 10)).astype(float)
    counts = rng.integers(0, 3, 10)
    pairs, _ = coincidences(*long(values))
    copied = np.repeat(values, counts, 1)
    assert alpha_of(pairs, counts[None])[0] == pytest.approx(ordinal_alpha(*long(copied)))
    weighted, plain = variance_components(values.T, counts[None]), variance_components(copied.T)
    for name in ("items", "raters", "rest"):
        assert getattr(weighted, name) == pytest.approx(getattr(plain, name))


def test_icc_is_shrout_and_fleiss():
    components = variance_components(SHROUT_FLEISS)
    assert components.icc()[0] == pytest.approx(0.290, abs=5e-4)
    assert components.icc(4)[0] == pytest.approx(0.620, abs=5e-4)
    # Their mean squares: between targets 11.24, judges 32.49, residual 1.02.
    assert components.rest[0] == pytest.approx(1.02, abs=5e-3)
    assert components.items[0] == pytest.approx((11.24 - 1.02) / 4, abs=5e-3)
    assert components.raters[0] == pytest.approx((32.49 - 1.02) / 6, abs=5e-3)


def test_components_with_raters_missing_are_those_that_were_put_in():
    rng = np.random.default_rng(0)
    true, found = (1.5, 0.4, 0.8), []
    for _ in range(60):
        values = true[0] * rng.standard_normal((80, 1)) + true[1] * rng.standard_normal((1, 6))
        values = values + true[2] * rng.standard_normal((80, 6))
        values[rng.random(values.shape) < 0.6] = NAN
        components = variance_components(values)
        found.append([components.items[0], components.raters[0], components.rest[0]])
    mean, error = np.mean(found, 0), np.std(found, 0) / np.sqrt(len(found))
    assert (np.abs(mean - np.square(true)) < 3 * error).all()


def test_one_rater_has_no_components():
    assert np.isnan(variance_components(np.arange(5.0)[:, None]).icc()).all()


# ---- raters as instruments

BIAS = np.array([-0.6, 0.1, 0.0, 0.1, 0.4])
NOISE = np.array([0.3, 0.4, 0.8, 1.2, 1.6])


def judged(seed, items=80, bias=BIAS, noise=NOISE):
    """Qualities, and whole stars (items, raters) of made-up raters."""
    rng = np.random.default_rng(seed)
    quality = np.clip(rng.normal(3.8, 1.3, items), 1, 6)
    stars = np.rint(quality[:, None] + bias + noise * rng.standard_normal((items, len(bias))))
    return quality, np.clip(stars, 1, 6)


def fitted(stars):
    item, rater = np.indices(stars.shape)
    return fit_latent(item.ravel(), rater.ravel(), stars.ravel())


def test_the_gradient_is_that_of_the_likelihood():
    _, stars = judged(0, 15)
    item, rater = np.indices(stars.shape)
    problem = RaterLikelihood.of(item.ravel(), rater.ravel(), (stars.ravel() - 1) / 5, None, 5)
    rng = np.random.default_rng(1)
    for _ in range(3):
        at = np.concatenate([rng.normal(0, 0.5, 9), [3.5, 0.2]])
        step = 1e-5 * np.eye(len(at))
        numeric = [(problem.value(at + s)[0] - problem.value(at - s)[0]) / 2e-5 for s in step]
        assert problem.value(at)[1] == pytest.approx(numeric, abs=1e-6)


@pytest.mark.parametrize(("scale", "star"), [((0.0, 1.0), 0.2), ((0.0, 100.0), 20.0), ((1.0, 6.0), 1.0)])
def test_estimates_follow_the_scale(scale, star):
    """The same ratings on another scale: the same raters and segmentations, in its units."""
    _, stars = judged(0, 30)
    item, rater = (index.ravel() for index in np.indices(stars.shape))
    expected = fit_latent(item, rater, stars.ravel())
    found = fit_latent(item, rater, scale[0] + star * (stars.ravel() - 1), scale=scale)
    assert found.raters["bias"].to_numpy() == pytest.approx(star * expected.raters["bias"].to_numpy(), abs=1e-3 * star)
    for name in ("spread", "spread_low", "spread_high"):
        assert found.raters[name].to_numpy() == pytest.approx(star * expected.raters[name].to_numpy(), rel=1e-3)
    quality = scale[0] + star * (expected.items["quality"].to_numpy() - 1)
    assert found.items["quality"].to_numpy() == pytest.approx(quality, abs=1e-3 * star)
    assert found.deviation == pytest.approx(star * expected.deviation, rel=1e-3)


def test_bias_and_noise_are_recovered_within_the_intervals():
    """Of 20 studies x 5 raters, some 95 in 100 intervals hold the truth."""
    hits = []
    for seed in range(20):
        raters = fitted(judged(seed)[1]).raters
        hits.append((raters["bias_low"] <= BIAS) & (raters["bias_high"] >= BIAS))
        hits.append((raters["spread_low"] <= NOISE) & (raters["spread_high"] >= NOISE))
    assert 0.88 <= np.mean(hits) <= 1


@pytest.mark.slow
@pytest.mark.parametrize(("noise", "exams", "masks"), [((0.5, 0.5, 0.6), 10, 3), ((0.4, 1.2, 0.6), 10, 4)])
def test_intervals_hold_the_truth_as_often_as_they_say(noise, exams, masks):
    """Segmentations of an exam are alike; of 95 % intervals, 90 to 98 in 100 hold the truth."""
    rng = np.random.default_rng(3)
    bias, hits = np.array([-0.4, 0.0, 0.4]), []
    exam = np.repeat(np.arange(exams), masks)
    for _ in range(50):
        quality = 3.8 + rng.normal(0, 0.5, exams)[exam] + rng.normal(0, 1.1, len(exam))
        stars = np.rint(quality[:, None] + bias + np.array(noise) * rng.standard_normal((len(exam), 3))).clip(1, 6)
        item, rater = (index.ravel() for index in np.indices(stars.shape))
        raters = fit_latent(item, rater, stars.ravel(), groups=exam[item]).raters
        hits.append((raters["bias_low"] <= bias) & (raters["bias_high"] >= bias))
        hits.append((raters["spread_low"] <= noise) & (raters["spread_high"] >= noise))
    assert 0.9 <= np.mean(hits) <= 0.98


def test_no_interval_of_the_noise_from_few_shared_segmentations():
    """There it would be too narrow; that of the bias holds."""
    for raters, items, told in ((2, 60, False), (2, 300, True), (3, 29, False), (3, 30, True)):
        found = fitted(judged(0, items, BIAS[:raters], NOISE[:raters])[1]).raters
        assert found["spread_low"].notna().all() == found["spread_high"].notna().any() == told
        assert found["bias_low"].notna().all()
        assert found["spread"].notna().all()


def test_qualities_are_closer_to_the_truth_than_the_mean():
    """Raters of unequal quality: better in every study. Equal ones, of whom all have rated all: about the same."""
    equal = np.full(5, 0.8)
    for noise, most in ((NOISE, 0.85), (equal, 1.04)):
        errors = []
        for seed in range(8):
            quality, stars = judged(seed, bias=BIAS - BIAS.mean(), noise=noise)
            found = fitted(stars).items["quality"].to_numpy()
            errors.append([np.sqrt(np.mean((guess - quality) ** 2)) for guess in (stars.mean(1), found)])
        mean, latent = np.array(errors).T
        assert latent.mean() < most * mean.mean()
        assert noise is equal or (latent < mean).all()


def test_missing_raters_are_made_up_for():
    """Each segmentation is rated by two of five: the lenient ones' are not better for that."""
    rng = np.random.default_rng(0)
    bias = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
    quality, stars = judged(3, 200, bias, np.full(5, 0.5))
    chosen = np.argsort(rng.random(stars.shape), 1)[:, :2]
    item = np.repeat(np.arange(200), 2)
    given_stars = np.take_along_axis(stars, chosen, 1)
    found = fit_latent(item, chosen.ravel(), given_stars.ravel()).items["quality"].to_numpy()
    errors = [np.sqrt(np.mean((guess - quality) ** 2)) for guess in (given_stars.mean(1), found)]
    assert errors[1] < 0.8 * errors[0]


def test_few_and_odd_ratings_do_not_break_it():
    one = fit_latent(["a", "b", "c"], ["ann"] * 3, [1, 6, 6])
    assert one.raters.loc["ann", "bias"] == 0
    assert np.isnan(one.raters.loc["ann", "bias_low"])
    same = fit_latent(list("aabbccddee"), ["ann", "bob"] * 5, [5] * 10)
    assert same.items["quality"].between(4, 6).all()
    assert fit_latent(list("aabb"), ["ann", "bob"] * 2, [2.33, 3.1, 5.2, 4.9]).items["quality"].is_monotonic_increasing
    for stars in ([0.0], [7.0], [NAN], []):
        with pytest.raises(ValueError, match="expected ratings from 1 to 6"):
            fit_latent(["a"] * len(stars), ["ann"] * len(stars), stars)

"""In which order cases are asked: by seed, balanced by exam, with repeats that come late enough."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from helpers import quick
from hypothesis import given
from hypothesis import strategies as st

from dqe_loss.collect.active import by_priority
from dqe_loss.collect.order import GAP, PAIRS_PER_EXAM, trials_of
from dqe_loss.collect.study import Case, Study, StudyDesign


def study(exams=10, masks=4, training=0, **design):
    def case(exam, mask):
        return Case(f"exam-{exam}", f"seg-{mask}", {}, f"/data/{exam}/{mask}", "0")

    cases = tuple(case(exam, mask) for exam in range(exams) for mask in range(masks))
    practice = tuple(case("practice", mask) for mask in range(training))
    return Study(StudyDesign(**design), cases, (len(cases),), practice, ("ann", "bob"))


def test_every_rater_has_an_order_of_their_own_that_does_not_change():
    one = study()
    orders = {rater: [t.key for t in trials_of(one, rater)] for rater in ("ann", "bob")}
    assert orders["ann"] != orders["bob"]
    assert orders["ann"] == [t.key for t in trials_of(one, "ann")]
    assert orders["ann"] != [t.key for t in trials_of(study(seed=1), "ann")]
    assert {k for k in orders["ann"] if "/" not in k} == {str(n) for n in range(40)}


@given(st.integers(2, 12), st.integers(1, 6), st.integers(0, 50))
@quick
def test_exams_are_balanced_whenever_a_rater_stops(exams, masks, seed):
    one = study(exams, masks, repeats=0.0, seed=seed)
    shown = [one.cases[t.cases[0]].exam for t in trials_of(one, "ann")]
    for stop in range(1, len(shown) + 1):
        counts = Counter(shown[:stop])
        assert max(counts.values()) - min(counts[f"exam-{e}"] for e in range(exams)) <= 1
    assert all(a != b for a, b in pairwise(shown)) or masks == 1 or exams == 1


@pytest.mark.parametrize("share", [0, 0.1, 0.5])
def test_repeats(share):
    trials = trials_of(study(repeats=share), "ann")
    keys = [t.key for t in trials]
    again = [t for t in trials if t.repeat]
    assert len(again) == round(40 * share)
    assert len(set(keys)) == len(keys) == 40 + len(again)
    for trial in again:
        first = keys.index(trial.key.removesuffix("/again"))
        assert keys.index(trial.key) - first > (GAP if share < 0.5 else 0)


@given(st.integers(4, 12), st.integers(2, 8), st.integers(0, 50))
@quick
def test_repeats_take_turns_among_exams_and_come_apart(exams, masks, seed):
    one = study(exams, masks, repeats=0.1, seed=seed)
    shown = [(one.cases[t.cases[0]].exam, t.repeat) for t in trials_of(one, "ann")]
    again = Counter(exam for exam, repeat in shown if repeat)
    assert len(again) == min(sum(again.values()), exams)
    if exams * masks > 3 * GAP:
        assert all(a != b for (a, _), (b, _) in pairwise(shown))
    for stop in range(1, len(shown) + 1):
        counts = Counter(exam for exam, _ in shown[:stop])
        assert max(counts.values()) - min(counts[f"exam-{e}"] for e in range(exams)) <= 2


def test_an_extension_leaves_the_order_of_what_was_there():
    one = study(5)
    longer = one.extended(study(8).cases, ["eve"])
    assert longer.batches == (20, 12)
    before, after = ([t.key for t in trials_of(s, "ann")] for s in (one, longer))
    assert after[: len(before)] == before
    assert longer.extended(longer.cases, ["bob"]) == longer


def test_practice_comes_first_and_is_the_same_for_all():
    one = study(training=3)
    for rater in one.raters:
        trials = trials_of(one, rater)
        assert [t.key for t in trials if t.training] == [t.key for t in trials[:3]]
        assert [t.cases for t in trials[:3]] == [(0,), (1,), (2,)]


def test_pairs_are_of_one_exam_and_change_sides():
    one = study(6, 4, mode="pairs", repeats=0.25)
    asked = {rater: trials_of(one, rater) for rater in one.raters}
    for trials in asked.values():
        first = [t for t in trials if not t.repeat]
        assert len(first) == 6 * 6
        assert all(len({one.cases[n].exam for n in t.cases}) == 1 for t in trials)
        sides = {t.key: t.cases for t in first}
        for trial in trials:
            if trial.repeat:
                assert trial.cases == sides[trial.key.removesuffix("/again")][::-1]
        assert 0 < sum(t.cases[0] < t.cases[1] for t in first) < len(first)
    many = trials_of(study(2, 10, mode="pairs", repeats=0.0), "ann")
    assert len(many) == 2 * PAIRS_PER_EXAM
    assert {t.key for t in many} == {t.key for t in trials_of(study(2, 10, mode="pairs", repeats=0.0), "bob")}


def test_a_new_algorithm_is_compared_with_those_before_it():
    one = study(5, 2, mode="pairs", repeats=0.0)
    longer = one.extended(study(5, 3).cases, [])
    before, after = (trials_of(s, "ann") for s in (one, longer))
    assert after[: len(before)] == before
    new = after[len(before) :]
    assert len(new) == 5 * 2  # the third mask with each of the two
    assert all(max(t.cases) >= 10 and len({longer.cases[n].exam for n in t.cases}) == 1 for t in new)
    assert len({t.key for t in after}) == len(after)


def test_what_comes_at_random_is_a_random_sample():
    """Drawn before priorities are looked at: their mean priority is that of all."""
    one = study(40, 5, repeats=0.1)
    priority = np.linspace(0, 1, 200)
    sampled = []
    for seed in range(40):
        ordered = by_priority(trials_of(one, "ann"), priority, 0.3, np.random.default_rng(seed))
        first = [t for t in ordered if not t.repeat][:60]
        sampled += [priority[t.cases[0]] for t in first if t.chosen == "random"]
        assert {t.chosen for t in first} == {"random", "disagreement"}
        keys = [t.key for t in ordered]
        late = [keys.index(t.key) - keys.index(t.key.removesuffix("/again")) for t in ordered if t.repeat]
        assert min(late) > GAP / 2
    assert np.mean(sampled) == pytest.approx(0.5, abs=0.04)


def test_priority_comes_first_with_random_ones_among_them():
    one = study(20, 2, training=2, repeats=0.2)
    trials = trials_of(one, "ann")
    priority = np.random.default_rng(0).random(40)
    ordered = by_priority(trials, priority, 0.0, np.random.default_rng(0))
    assert sorted(t.key for t in ordered) == sorted(t.key for t in trials)
    assert [t.training for t in ordered[:2]] == [True, True]
    again = {t.cases for t in trials if t.repeat}  # some of them come earlier, so that they can come back
    first = [priority[t.cases[0]] for t in ordered if not t.training and t.cases not in again]
    assert first == sorted(first, reverse=True)
    assert len(first) == 32
    keys = [t.key for t in ordered]
    assert all(keys.index(t.key) > keys.index(t.key.removesuffix("/again")) for t in ordered if t.repeat)
    random = [t.key for t in trials if not t.repeat and not t.training]
    assert [t.key for t in by_priority(trials, priority, 1.0, np.random.default_rng(0)) if t.key in random] == random
    mixed = [priority[t.cases[0]] for t in by_priority(trials, priority, 0.3, np.random.default_rng(0))[2:22]]
    assert np.mean(mixed) > 0.6
    assert min(mixed) < 0.6

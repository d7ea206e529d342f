"""The watch over stars: fair bets, false alarms within what is promised, departures found, files on an alarm."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
from helpers import quick
from hypothesis import given
from hypothesis import strategies as st

from dqe_loss.monitor.drift import CHARTS, DriftWatch, find_alarms

pd = pytest.importorskip("pandas")

EXAMPLES = Path(__file__).parents[2] / "examples"


def normal(seed, count, mean=5.0):
    return np.random.default_rng(seed).normal(mean, 0.3, count)


def test_ranks_are_uniform_whatever_the_stars():
    rng = np.random.default_rng(0)
    # Three values, so that nearly all are ties.
    watch = DriftWatch(rng.choice([3.0, 4.0, 5.0], 30))
    ranks = np.array([watch._rank(float(star)) for star in rng.choice([3.0, 4.0, 5.0], 2000)])
    counts = np.histogram(ranks, 10, (0, 1))[0]
    assert np.abs(counts - 200).max() < 50  # 3.7 standard deviations
    assert abs(np.corrcoef(ranks[1:], ranks[:-1])[0, 1]) < 0.08


def test_bets_on_the_share_pay_one_on_average():
    rng = np.random.default_rng(1)
    watch = DriftWatch(np.where(rng.random(100) < 0.1, 2.0, 5.0))
    pay = np.array([watch._bets_on_share(bool(bad)) for bad in rng.random(6000) < 0.1])
    assert (pay >= 0).all()
    np.testing.assert_allclose(pay.mean(0), 1, atol=0.15)


def test_false_alarms_are_as_rare_as_promised():
    patience, exams, runs = 200, 1000, 12
    alarms = sum(
        len(find_alarms(DriftWatch(normal(i, 50), patience=patience), normal(100 + i, exams))) for i in range(runs)
    )
    # At most 60 are expected; a Poisson variable of that mean exceeds 85 once in a thousand times.
    assert 0 < alarms < 85


@pytest.mark.parametrize(("change", "chart", "within"), [(-0.6, "mean fell", 25), (0.6, "mean rose", 25)])
def test_a_shift_of_two_deviations_is_found_soon_and_dated(change, chart, within):
    for seed in range(5):
        watch = DriftWatch(normal(seed, 200), seed=seed)
        stars = np.concatenate([normal(seed + 50, 100), normal(seed + 90, 60, 5.0 + change)])
        alarm = find_alarms(watch, stars)[0]
        assert alarm.chart == chart
        assert 100 <= alarm.exam < 100 + within
        assert abs(alarm.since - 100) <= 8
        assert alarm.evidence >= alarm.limit == len(CHARTS) * 5000


@pytest.mark.parametrize("bad", [1.5, float("nan")])
def test_failures_among_good_segmentations_are_found_even_if_they_cannot_be_rated(bad):
    watch = DriftWatch(normal(0, 200))
    stars = normal(1, 100)
    stars[::4] = bad
    alarm = find_alarms(watch, stars)[0]
    assert alarm.exam < 60
    assert alarm.chart == "more below threshold" or not np.isnan(bad)


@quick
@given(st.lists(st.sampled_from([1.0, 2.5, 4.0, 5.0, float("nan")]), min_size=1, max_size=60))
def test_any_stars_give_finite_evidence_and_a_watch_starts_anew_after_an_alarm(stars):
    watch = DriftWatch(np.tile([4.0, 5.0], 15), patience=3)
    for star in stars:
        if watch.add(star):
            assert not watch._collected.any()
        assert np.isfinite(watch._collected).all()
        assert (watch._collected >= 0).all()
    assert watch.exams == len(stars)


@pytest.mark.parametrize(
    ("reference", "options", "message"),
    [
        ([5.0] * 19, {}, "expected a reference of at least 20 exams with finite stars, got 19"),
        ([5.0] * 19 + [float("nan")], {}, "got 19"),
        ([5.0] * 20, {"patience": 0}, "expected a patience >= 1"),
        ([5.0] * 20, {"threshold": float("nan")}, "a finite threshold"),
    ],
)
def test_what_cannot_be_watched_is_named(reference, options, message):
    with pytest.raises(ValueError, match=message):
        DriftWatch(reference, **options)


@pytest.fixture
def example(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module("watch_inference")


def write(path, stars, checkpoint="abc"):
    exams = [f"case-{i}" for i in range(len(stars))]
    table = pd.DataFrame({"exam": exams, "segmentation": "seg", "mean": stars, "unit": "stars"})
    table.assign(checkpoint_sha256=checkpoint).to_csv(path, index=False)
    return str(path)


@pytest.fixture
def tables(tmp_path):
    """A table of 300 exams that get worse after 200, with a reference of its own."""
    stars = np.concatenate([normal(1, 200), normal(2, 100, 4.4)])
    return write(tmp_path / "new.csv", stars), write(tmp_path / "accepted.csv", normal(3, 150))


def test_an_alert_says_what_departed_and_since_when(example, tables, tmp_path, capsys):
    alert = tmp_path / "alert.json"
    table, reference = tables
    arguments = [table, "--reference", reference, "--alert", str(alert)]
    assert example.main(arguments) == 1
    told = json.loads(alert.read_text())
    assert told["departure"] == "mean fell"
    assert 200 < told["seen_at"]["number"] < 225
    assert told["seen_at"]["exam"] == f"case-{told['seen_at']['number'] - 1}"
    assert abs(told["probably_since"]["number"] - 201) <= 8
    assert told["reference"]["segmentations"] == 150
    assert told["recent"]["mean"] < told["reference"]["mean"]
    assert told["message"] in capsys.readouterr().out
    # A watch that is started again comes to the same alarm; behind it, it is quiet or finds the same departure anew.
    before = alert.read_bytes()
    assert example.main(arguments) == 1
    assert alert.read_bytes() == before
    assert not list(tmp_path.glob(".*"))


def test_no_alert_without_a_departure_and_the_first_rows_as_reference(example, tables, tmp_path, capsys):
    alert = tmp_path / "alert.json"
    whole = Path(tables[0]).read_text().splitlines(keepends=True)
    # The table is being written to: 199 rows and half a row.
    Path(tables[0]).write_text("".join(whole[:200]) + whole[200][:9])
    assert example.main([tables[0], "--first", "100", "--alert", str(alert)]) == 0
    assert "no departure in 99 segmentations, by 100 of reference" in capsys.readouterr().out
    assert not alert.exists()


def test_following_goes_on_where_it_was_when_rows_come(example, tables, tmp_path, monkeypatch):
    table, alert = Path(tables[0]), tmp_path / "alert.json"
    whole = table.read_text().splitlines(keepends=True)
    at_once = example.main([*tables[:1], "--reference", tables[1], "--alert", str(alert)]), alert.read_bytes()
    table.write_text("".join(whole[:1]))
    sizes = iter([50, 120, 260])
    monkeypatch.setattr(example.time, "sleep", lambda _: table.write_text("".join(whole[: next(sizes)])))
    alert.unlink()
    assert example.main([*tables[:1], "--reference", tables[1], "--alert", str(alert), "--follow", "1"]) == 1
    assert (1, alert.read_bytes()) == at_once


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda text: text.replace("mean", "stars"),
            "expected a table of python -m dqe_loss.rate, found no column mean",
        ),
        (lambda text: text.replace("abc", "xyz"), "the stars come from more than one checkpoint (abc, xyz)"),
        (lambda text: text.replace("case-0,seg,", "case-0,seg,?"), "row 2: the stars are '?"),
    ],
)
def test_wrong_tables_are_named_in_one_line(example, tables, tmp_path, capsys, change, message):
    path = Path(tables[0])
    path.write_text(change(path.read_text()))
    assert example.main([*tables[:1], "--reference", tables[1], "--alert", str(tmp_path / "alert.json")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1

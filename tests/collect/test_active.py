"""Active rating: cases that a surrogate is wrong about come early, on tables as ``dqe rate`` writes them."""

import numpy as np
import pytest
from rated_table import rated_table

from dqe_loss.collect.active import by_priority, priorities
from dqe_loss.collect.command import main
from dqe_loss.collect.journal import RaterJournal
from dqe_loss.collect.order import GAP, trials_of
from dqe_loss.collect.session import Answer, RaterSession
from dqe_loss.collect.study import Case, Study, StudyDesign


@pytest.fixture
def study():
    cases = tuple(Case(f"case-{i}", "seg", {}, f"/data/{i}.nii.gz", "0") for i in range(60))
    return Study(StudyDesign(repeats=0.1), cases, (60,), (), ("ann", "bob"))


def rated(study, stars, spread=None):
    """What a surrogate says of the study."""
    table = rated_table(stars, [case.exam for case in study.cases])
    return table.assign(mask=[case.mask for case in study.cases], **({} if spread is None else {"spread": spread}))


def answers(**given):
    return {
        r: {str(n): {"trial": str(n), "cases": [n], "verdict": v} for n, v in own.items()} for r, own in given.items()
    }


def test_before_anybody_has_rated_uncertain_ones_come_first(study):
    spread = np.random.default_rng(0).permutation(60) / 20
    found = priorities(study, rated(study, np.full(60, 4.0), spread), {})
    assert np.argsort(found).tolist() == np.argsort(spread).tolist()


def test_a_gap_to_the_raters_counts_apart_from_a_common_shift(study):
    """The surrogate gives a star more than raters do, and three more in case 7."""
    stars = np.linspace(2, 5, 60)
    given = {n: round(stars[n]) - 1 for n in range(20)}
    given[7] = 1
    surrogate = np.where(np.arange(60) == 7, 6.0, np.round(stars))
    found = priorities(study, rated(study, surrogate), answers(ann=given))
    assert np.argmax(found[:20]) == 7
    assert ((found >= 0) & (found <= 1)).all()


def test_errors_are_rated_earlier_than_at_random(study):
    """A surrogate that is unsure where it is wrong: its errors are among the first cases."""
    rng = np.random.default_rng(1)
    wrong = rng.random(60) < 0.2
    spread = np.where(wrong, 1.5, 0.7) + rng.normal(0, 0.5, 60)
    priority = priorities(study, rated(study, rng.uniform(2, 6, 60), spread), {})
    trials = trials_of(study, "ann")
    found = {}
    for share in (0.3, 1.0):
        first = by_priority(trials, priority, share, np.random.default_rng(0))[:18]
        found[share] = np.mean([wrong[t.cases[0]] for t in first])
    assert found[0.3] > 1.5 * wrong.mean()
    assert found[0.3] > found[1.0]


def test_repeats_keep_their_distance_over_restarts(study):
    """Every restart orders what is left anew, by what was answered until then."""
    rng = np.random.default_rng(2)
    table = rated(study, rng.uniform(2, 6, 60), rng.random(60))
    distances = []
    for seed in range(10):
        given, seen = {"ann": {}}, []
        while len(seen) < 66:
            order = np.random.default_rng(seed)
            trials = by_priority(
                trials_of(study, "ann"), priorities(study, table, given), 0.3, order, list(given["ann"])
            )
            assert [t.key for t in trials[: len(seen)]] == seen  # what is taken back is the next one
            for trial in trials[len(seen) : len(seen) + 13]:
                given["ann"][trial.key] = {"cases": list(trial.cases), "verdict": float(rng.integers(1, 7))}
                seen.append(trial.key)
        distances += [seen.index(k) - seen.index(k.removesuffix("/again")) for k in seen if k.endswith("/again")]
    assert len(distances) == 60
    assert min(distances) >= GAP


def test_undo_after_a_restart_shows_the_case_again(study, tmp_path):
    path, trials = tmp_path / "ann.jsonl", trials_of(study, "ann")
    for order in (
        trials,
        by_priority(trials, np.arange(60.0), 0.0, np.random.default_rng(0), [t.key for t in trials[:3]]),
    ):
        session = RaterSession("ann", "secret", order, RaterJournal(path))
        while session.progress()["done"] < 3:
            session.answer(session.name_of(session.open_trials()[0]), session.turn, Answer(4))
        for trial in reversed(trials[:3]):
            session.undo(session.turn)
            assert session.open_trials()[0].key == trial.key
        session.journal.close()


def test_segmentations_without_stars_and_strange_tables(study):
    stars = np.where(np.arange(60) < 30, 4.0, np.nan)
    found = priorities(study, rated(study, stars), {})
    assert (found[30:] == 0.5).all()
    with pytest.raises(ValueError, match="--stars knows none of the study's segmentations"):
        priorities(study, rated_table([4.0]), {})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--next-by", "disagreement"], "--next-by disagreement needs --stars"),
        (["--stars", "s.csv"], "--next-by disagreement needs --stars"),
        (["--next-by", "disagreement", "--stars", "s.csv", "--mode", "pairs"], "not for --mode pairs"),
        (["--random-share", "2"], "--random-share is a share"),
        (["--repeats", "-1"], "--repeats is a share"),
        (["--key", "k.pem"], "HTTPS needs --certificate and --key"),
        (["--port", "99999"], "--port from 0 to 65535"),
        (["--extend"], "--extend needs --data"),
        (["--predictions", "p"], "--predictions needs --data"),
        (["--certificate", "c.pem", "--key", "k.pem"], "c.pem: expected a file, found none"),
        (["--instructions", "i.txt"], "i.txt: expected a file, found none"),
        ([], "holds no study yet; begin one with --data"),
    ],
)
def test_options_that_do_not_fit(tmp_path, capsys, options, said):
    assert main(["--out", str(tmp_path / "r"), *options]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "r").exists()

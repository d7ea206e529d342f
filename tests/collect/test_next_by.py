"""``--next-by disagreement`` from the command to journal, table and study file; and that file as a reader finds it."""

import json

import numpy as np
import pandas as pd
import pytest
import yaml
from rated_table import rated_table
from studies import MASKS, begin, serving, write_data

from dqe_loss.collect import serve
from dqe_loss.collect.command import main
from dqe_loss.collect.order import trials_of
from dqe_loss.collect.study_file import read_study, write_study
from dqe_loss.collect.table import journal_path, write_answers
from dqe_loss.data.tables.rated import write_rated

SPREADS = np.random.default_rng(0).permutation(12) / 10


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture
def folder(tmp_path, data):
    begin(tmp_path / "ratings", data, repeats=0.25, tags=("rim missed",), title="Gliomas", seed=3)
    return tmp_path / "ratings"


@pytest.fixture
def stars(tmp_path, folder):
    """What a surrogate says: more or less sure of each case."""
    cases = read_study(folder).cases
    table = rated_table(np.full(12, 4.0), [case.exam for case in cases]).assign(mask=[case.mask for case in cases])
    middle = {"coronal": table["mean"], "axial": table["mean"] - SPREADS / 2, "sagittal": table["mean"] + SPREADS / 2}
    write_rated(table.assign(**middle, spread=SPREADS), tmp_path / "stars.csv")
    return tmp_path / "stars.csv"


@pytest.fixture
def served(monkeypatch, folder, stars):
    """Runs the command, but for the server; returns what it would have served."""

    def run(*options):
        calls = []
        monkeypatch.setattr(serve, "serve", lambda *given: calls.append(given))
        line = ["--out", folder, "--next-by", "disagreement", "--stars", stars, "--workers", 1, *options]
        assert main([str(word) for word in line]) == 0
        ((study, place, _, reorder),) = calls
        assert place == folder
        return study, reorder

    return run


def test_the_order_of_the_command(served):
    study, reorder = served("--random-share", 0)
    asked = reorder("ann", trials_of(study, "ann"))
    first = [trial for trial in asked if not trial.repeat]
    shown = [trial.cases[0] for trial in first]
    repeated = {trial.cases[0] for trial in asked if trial.repeat}
    once = [number for number in shown if number not in repeated]  # those that come back come earlier
    assert once == sorted(once, key=lambda number: -SPREADS[number])
    assert {trial.chosen for trial in first} == {"disagreement"}
    study, reorder = served("--random-share", 1)
    trials = trials_of(study, "ann")
    asked = reorder("ann", trials)
    assert {trial.chosen for trial in asked if not trial.repeat} == {"random"}
    assert sorted(trial.key for trial in asked) == sorted(trial.key for trial in trials)
    assert reorder("bob", trials_of(study, "bob")) != asked


def test_answers_of_before_count_in_the_order(served, folder):
    """The surrogate gives 4 stars to all; the raters give 1 to case 5, and 4 to all others that they have seen."""
    study = read_study(folder)
    with serving(study, folder) as (_, raters):
        for trial in trials_of(study, "ann"):
            assert raters["ann"].answer(1 if trial.cases == (5,) else 4).status_code == 200
    study, reorder = served("--random-share", 0)
    assert reorder("bob", trials_of(study, "bob"))[0].cases == (5,)


def test_why_a_case_came_is_in_journal_and_table(served, folder):
    study, reorder = served("--random-share", 0.5)
    trials = reorder("ann", trials_of(study, "ann"))
    with serving(study, folder, reorder=reorder) as (_, raters):
        for _ in trials:
            assert raters["ann"].answer(3).status_code == 200
    with serving(study, folder) as (_, raters):  # later again in the random order
        assert raters["bob"].answer(3).status_code == 200
    expected = [trial.chosen for trial in trials]
    assert {"random", "disagreement"} <= set(expected)
    lines = [json.loads(line) for line in journal_path(folder, "ann").read_text().splitlines()]
    assert [line.get("chosen", "") for line in lines] == expected
    table = pd.read_csv(write_answers(study, folder)[0], keep_default_na=False)
    assert table[table["rater"] == "ann"]["chosen"].tolist() == expected
    assert table[table["rater"] == "bob"]["chosen"].tolist() == [""]


def test_the_study_file_says_what_was_shown_and_by_what_order(served, folder, stars):
    written = yaml.safe_load((folder / "study.yaml").read_text())
    told = {"format": 2, "task": "glioma", "mode": "stars", "seed": 3, "repeats": 0.25, "kind": "human"}
    told |= {"label_scheme": "brats", "title": "Gliomas", "instructions": "", "tags": ["rim missed"]}
    told |= {"raters": ["ann", "bob"], "batches": [12], "training": [], "reordered": []}
    assert {name: written[name] for name in told} == told
    assert set(written) == {*told, "created", "versions", "cases"}
    assert {"dqe_loss", "numpy"} <= set(written["versions"])
    assert [case["segmentation"] for case in written["cases"]] == list(MASKS) * 4
    case = written["cases"][0]
    assert set(case) == {"exam", "segmentation", "t1c", "t1", "t2", "flair", "mask", "stamp"}
    assert not case["mask"].startswith("/")
    assert (folder / case["mask"]).is_file()

    for share in (0.3, 0.6):
        served("--random-share", share)
    notes = yaml.safe_load((folder / "study.yaml").read_text())["reordered"]
    assert [note["random_share"] for note in notes] == [0.3, 0.6]
    assert {note["checkpoint_sha256"] for note in notes} == {"0123456789abcdef"}
    assert all((folder / note["stars"]).resolve() == stars.resolve() for note in notes)
    assert all(note["when"] > written["created"][:10] for note in notes)
    study = read_study(folder)
    write_study(study, folder)
    assert read_study(folder) == study
    assert yaml.safe_load((folder / "study.yaml").read_text())["reordered"] == notes


def test_a_start_in_the_random_order_leaves_no_note(folder, monkeypatch):
    monkeypatch.setattr(serve, "serve", lambda *given: None)
    assert main(["--out", str(folder), "--workers", "1"]) == 0
    assert read_study(folder).reordered == ()

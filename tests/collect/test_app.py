"""The application without a browser: what it asks, what it takes, and the table."""

import json
import os
from collections import Counter
from dataclasses import replace

import pandas as pd
import pytest
from studies import TAGS, begin, serving, write_data

from dqe_loss.collect.order import trials_of
from dqe_loss.collect.study_file import read_study
from dqe_loss.collect.table import journal_path, ratings_table, read_answers, write_answers
from dqe_loss.data.tables.ratings import mean_ratings, read_ratings


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_a_study_from_the_first_case_to_the_table(study, folder, data, ending):
    with serving(study, folder) as (_, raters):
        for name, bias in (("ann", 0), ("bob", 1)):
            rater, seen = raters[name], []
            while (state := rater.state())["case"]:
                trial = trials_of(study, name)[len(seen)]
                seen.append(state["case"]["id"])
                response = rater.answer(1 + bias + trial.cases[0] % 4, state, comment=" Rand\nfehlt ", tags=[TAGS[0]])
                assert response.status_code == 200
            assert len(set(seen)) == len(seen) == 12 + 3
            assert state["progress"] == {"done": 15, "total": 15, "seconds_left": 0.0}
    path, rows = write_answers(study, folder)
    assert rows == 30
    table = read_ratings([path.with_suffix(ending)])
    assert set(table["repeat"]) == {"0", "1"}
    assert set(table["view"]) == {""}
    assert set(table["kind"]) == {"human"}
    assert set(table["label_scheme"]) == {study.design.label_scheme}
    for number, case in enumerate(study.cases):
        own = table[(table["exam"] == case.exam) & (table["name"] == case.segmentation)]
        assert own.groupby("rater")["stars"].mean().to_dict() == {"ann": 1 + number % 4, "bob": 2 + number % 4}
        assert set(own["segmentation"]) == {str((data / case.exam / f"{case.segmentation}.nii.gz").resolve())}
    assert set(table["tags"]) == {TAGS[0]}
    assert set(table["comment"]) == {"Rand fehlt"}
    means = mean_ratings(table)
    assert set(means["raters"]) == {2}
    assert len(means) == 12 * 3


def test_a_restart_goes_on_where_it_was(study, folder):
    with serving(study, folder) as (_, raters):
        for verdict in (1, 2, 3):
            raters["ann"].answer(verdict)
        before = raters["ann"].state()
    with serving(read_study(folder), folder) as (_, raters):
        assert raters["ann"].state() == before
        assert raters["bob"].state()["progress"]["done"] == 0


def test_an_answer_that_comes_twice_counts_once(study, folder):
    """A connection that broke after the answer was taken; and a second tab that shows the same case."""
    with serving(study, folder) as (app, raters):
        ann = raters["ann"]
        state = ann.state()
        first, second = ann.answer(4, state), ann.answer(4, state)
        assert (first.status_code, second.status_code) == (200, 200)
        assert first.json() == second.json()
        other = ann.answer(2, state)
        assert other.status_code == 409
        assert "another tab" in other.json()["problem"]
        assert app.sessions["ann"].turn == 1
        ahead = {"case": {"id": first.json()["ahead"]["id"]}, "turn": 1}
        assert ann.answer(3, ahead).status_code == 409


def test_a_remark_that_comes_with_the_second_sending_counts(study, folder):
    """The connection broke, the rater answers again, and has thought of something."""
    with serving(study, folder) as (_, raters):
        ann = raters["ann"]
        state = ann.state()
        ann.answer(4, state, comment="rim")
        assert ann.answer(4, state, comment="rim, and edema", tags=[TAGS[0]]).status_code == 200
        assert ann.state()["progress"]["done"] == 1
    (entry,) = read_answers(study, folder)["ann"].values()
    assert (entry["comment"], entry["tags"]) == ("rim, and edema", [TAGS[0]])
    with serving(study, folder) as (_, raters):
        back = raters["ann"].post("/undo", {"turn": raters["ann"].state()["turn"]}).json()["case"]
    assert (back["comment"], back["tags"]) == ("rim, and edema", [TAGS[0]])  # not to be written once more


def test_undo(study, folder):
    with serving(study, folder) as (_, raters):
        ann = raters["ann"]
        assert ann.post("/undo", {"turn": 0}).status_code == 409
        state = ann.state()
        after = ann.answer(4, state).json()
        assert ann.post("/undo", {"turn": 0}).status_code == 409  # of a page that had not seen the answer
        back = ann.post("/undo", {"turn": after["turn"]}).json()
        assert back["case"]["id"] == state["case"]["id"]
        assert back["progress"]["done"] == 0
        ann.answer(6)
    answers = read_answers(study, folder)
    assert [a["verdict"] for a in answers["ann"].values()] == [6]
    assert len(journal_path(folder, "ann").read_text().splitlines()) == 3


def test_a_full_disk_is_told_and_nothing_changes(study, folder, monkeypatch):
    with serving(study, folder) as (_, raters):
        ann = raters["ann"]
        state = ann.answer(4).json()

        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        refused = ann.answer(5)
        assert refused.status_code == 507
        assert "Nothing is lost" in refused.json()["problem"]
        assert ann.state() == state
        monkeypatch.undo()
        assert ann.answer(5).status_code == 200
    assert [a["verdict"] for a in read_answers(study, folder)["ann"].values()] == [4, 5]


def test_time_left(study, folder):
    with serving(study, folder) as (_, raters):
        for seconds in (4.0, 2.0, 6.0, 5000.0):
            raters["ann"].answer(4, seconds=seconds)
        assert raters["ann"].state()["progress"]["seconds_left"] == 4 * 11


def test_pairs(folder, data):
    study = begin(folder, data, mode="pairs", repeats=0.1)
    with serving(study, folder) as (_, raters):
        trials = trials_of(study, "ann")
        assert len(trials) == 4 * 3 + 1
        for trial in trials:
            better = "left" if trial.cases[0] < trial.cases[1] else "right"
            state = raters["ann"].state()
            assert len(state["case"]["sides"]) == 2
            assert raters["ann"].answer(3, state).status_code == 400
            assert raters["ann"].answer(better, state).status_code == 200
    path, rows = write_answers(study, folder)
    assert (path.name, rows) == ("pairs.csv", 13)
    table = pd.read_csv(path)
    assert pd.read_parquet(path.with_suffix(".parquet"))["better"].tolist() == table["better"].tolist()
    assert set(table["better"]) == {"first"}
    assert Counter(table["repeat"]) == {0: 12, 1: 1}
    assert set(table["left"]) == {"first", "second"}


def test_practice_is_not_in_the_table(folder, data, tmp_path):
    study = begin(folder, data, training=write_data(tmp_path / "practice", 1, ("seg-x",)), repeats=0.0)
    with serving(study, folder) as (_, raters):
        state = raters["ann"].state()
        assert state["case"]["training"]
        assert state["progress"]["total"] == 13
        raters["ann"].answer(2)
        assert not raters["ann"].state()["case"]["training"]
        raters["ann"].answer(5)
    assert ratings_table(study, read_answers(study, folder))["stars"].tolist() == [5]


def test_a_journal_of_another_study_is_told(study, folder):
    """An older study.yaml, from before an extension, or one that was begun anew: numbers would be of other cases."""
    with serving(study, folder) as (_, raters):
        while raters["ann"].state()["case"]:
            raters["ann"].answer(4)
    shorter = replace(study, cases=study.cases[:6], batches=(6,))
    other = replace(study, cases=study.cases[::-1])
    for wrong in (shorter, other):
        with pytest.raises(ValueError, match=r"ann\.jsonl: the answer \d+ is not of a case of this study; study\.yaml"):
            write_answers(wrong, folder)
    path = journal_path(folder, "ann")
    before = ratings_table(study, read_answers(study, folder))
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps({k: v for k, v in e.items() if k != "shown"}) + "\n" for e in entries))
    assert ratings_table(study, read_answers(study, folder)).equals(before)  # as an earlier version wrote it
    with pytest.raises(ValueError, match="is not of a case of this study"):
        write_answers(shorter, folder)

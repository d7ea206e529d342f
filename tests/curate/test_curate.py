"""The command `python -m dqe_loss.curate`: decisions, the labeled subset, its files and its errors."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from helpers import quick
from hypothesis import given
from hypothesis import strategies as st
from page import Page
from rated_table import rated_table, write_exams

from dqe_loss.curate import command as curate
from dqe_loss.curate.curation import CurationSettings
from dqe_loss.curate.curation import curate as curate_table
from dqe_loss.curate.decide import Rule, decide, deciding_stars, find_candidates, find_centers, quantile_threshold
from dqe_loss.curate.labeled_sample import draw_judged, read_labels
from dqe_loss.data.tables.rated import read_rated, write_rated
from dqe_loss.task import GLIOMA

FILES = {"kept.csv", "review.csv", "dropped.csv", "curation.json", "index.html"}
NAN = np.nan


def decisions(table, rule, **options):
    return decide(table, deciding_stars(table), rule, **options)


def test_golden_decisions():
    table = rated_table([5.0, 4.0, 3.9, 3.0, 1.5, NAN, 4.5])
    table.loc[6, "warnings"] = "affine of the mask differs"
    result = decisions(table, Rule(threshold=4.0, margin=0.2, drop_below=2.0))
    assert result["decision"].tolist() == ["keep", "keep", "review", "review", "drop", "review", "review"]
    assert result["reason"].tolist() == [
        "", "", "near the threshold", "low", "low", "no stars: mask.nii.gz: truncated",
        "warning: affine of the mask differs",
    ]  # fmt: skip
    accepted = decisions(table, Rule(threshold=4.0, accept_warnings=("affine",)))
    assert accepted["decision"].tolist()[6] == "keep"


def test_what_a_human_found_wanting_is_never_kept():
    table = rated_table([5.0, 5.0])
    result = decisions(table, Rule(threshold=4.0), unacceptable={(table["exam"][1], "seg-0")})
    assert result["decision"].tolist() == ["keep", "review"]
    assert result["reason"][1] == "labeled as unacceptable"


def test_the_best_of_each_exam():
    """The best one with a warning is reviewed, and the best without takes its place."""
    table = rated_table([4.0, 5.0, 4.5, 3.0, 3.5, NAN], ["a", "a", "a", "b", "b", "c"])
    table.loc[1, "warnings"] = "empty region ET"
    result = decisions(table, Rule(threshold=4.0, per_exam="best"))
    assert result["decision"].tolist() == ["drop", "review", "keep", "drop", "review", "review"]
    assert result["reason"][0] == result["reason"][3] == "another segmentation of the exam is rated higher"
    assert result["reason"][4] == "low"


def test_a_budget_keeps_the_best_of_each_center():
    table = rated_table([5.0, 4.0, 3.0, 4.5, 1.0, 2.0], ["x/1", "x/2", "x/3", "y/1", "y/2", "z/1"])
    result = decisions(table, Rule(budget=2), centers=find_centers(table["exam"], r"^([^/]+)/"))
    assert result["decision"].tolist() == ["keep", "keep", "drop", "keep", "keep", "keep"]
    assert result["reason"][2] == "beyond the budget of its center"
    both = decisions(table, Rule(threshold=2.5, budget=1), centers=find_centers(table["exam"], r"^([^/]+)/"))
    assert both["decision"].tolist() == ["keep", "drop", "drop", "keep", "review", "review"]


def test_stars_that_decide():
    table = rated_table([4.0, NAN])
    assert deciding_stars(table, "lowest")[0] == 3.5
    assert deciding_stars(table, "sagittal")[0] == 4.5
    assert np.isnan(deciding_stars(table, "lowest")[1])


tables = st.lists(
    st.tuples(st.sampled_from("abc"), st.one_of(st.just(NAN), st.floats(1, 6)), st.booleans()), min_size=1, max_size=12
)


@given(tables, st.floats(1, 6), st.sampled_from(["all", "best"]), st.one_of(st.none(), st.integers(1, 3)))
@quick
def test_decisions_hold_what_they_say(rows, threshold, per_exam, budget):
    exams, stars, warned = zip(*rows, strict=True)
    table = rated_table(stars, [f"{exam}/1" for exam in exams], warnings=["w" if w else "" for w in warned])
    table.index += 7  # decisions go by the index, whatever it is
    centers = find_centers(table["exam"], "^(.)")
    rule = Rule(threshold=threshold, per_exam=per_exam, budget=budget, drop_below=threshold - 1)
    result = decisions(table, rule, centers=centers)
    kept = table[result["decision"] == "keep"]
    assert (kept["mean"] >= threshold).all()
    assert (kept["warnings"] == "").all()
    assert (result.loc[kept.index, "reason"] == "").all()
    assert (result.loc[result.index.difference(kept.index), "reason"] != "").all()
    if per_exam == "best":
        assert kept["exam"].is_unique
    if budget:
        assert (kept.groupby(centers).size() <= budget).all()
    # No other candidate of its exam, or of its center, is better than a kept one and left out.
    able = (table["mean"] >= threshold) & (table["warnings"] == "")
    for name, part in table[able].groupby("exam"):
        best = part["mean"].max()
        assert best in kept.loc[kept["exam"] == name, "mean"].tolist()


@given(st.lists(st.floats(1, 6), min_size=1, max_size=50), st.floats(0, 0.99))
@quick
def test_a_quantile_leaves_out_no_more_than_its_share(stars, share):
    values = pd.Series(stars)
    threshold = quantile_threshold(values, share)
    assert (values < threshold).mean() <= share + 1 / len(values)
    assert threshold in stars


def test_one_label_an_exam_is_drawn():
    table = rated_table([4.0, 5.0, 3.0, 2.0, NAN], ["a", "a", "b", "b", "c"])
    path_labels = pd.DataFrame({"exam": list("aabbc"), "segmentation": ["seg-0", "seg-1"] * 2 + ["seg-0"]})
    candidates = find_candidates(table, table["mean"], "all")
    drawn = set()
    for seed in range(20):
        labels = as_labels(path_labels, table)
        chosen = draw_judged(table, labels, candidates, "all", seed)
        assert table.loc[chosen, "exam"].tolist().count("a") == table.loc[chosen, "exam"].tolist().count("b") == 1
        drawn |= set(chosen)
        # The order of the label table does not matter.
        backward = as_labels(path_labels[::-1], table)
        assert set(draw_judged(table, backward, candidates, "all", seed)) == set(chosen)
    assert drawn == set(table.index)


def test_the_best_of_an_exam_stands_for_it_if_it_is_labeled():
    table = rated_table([4.0, 5.0, 3.0, 2.0, NAN], ["a", "a", "b", "b", "c"])
    candidates = find_candidates(table, table["mean"], "best")
    given_labels = pd.DataFrame({"exam": list("abbc"), "segmentation": ["seg-0", "seg-0", "seg-1", "seg-0"]})
    chosen = draw_judged(table, as_labels(given_labels, table), candidates, "best", 0)
    # a's best (row 1) has no label; c has no candidate, and stands for itself.
    assert list(chosen) == [2, 4]


def as_labels(frame, table):
    from dqe_loss.curate.labeled_sample import Labels

    known = pd.MultiIndex.from_frame(table[["exam", "segmentation"]])
    index = table.index[known.get_indexer(pd.MultiIndex.from_frame(frame))]
    return Labels(pd.DataFrame({"quality": 1.0, "unacceptable": False}, index=index), "acceptable", 1.0)


@pytest.fixture
def run(capsys, tmp_path):
    """Run the command in this process; returns exit code, output, errors."""

    def run(table, *arguments, out="out"):
        path = tmp_path / "stars.csv"
        if table is not None:
            write_rated(table.assign(**{c: [str(tmp_path / p) for p in table[c]] for c in PATHS}), path)
        code = curate.main([str(path), "--out", str(tmp_path / out), *map(str, arguments)])
        return code, *capsys.readouterr()

    return run


PATHS = ("t1c", "t1", "t2", "flair", "mask")


def read(folder, name):
    return pd.read_csv(folder / name, keep_default_na=False)


def test_everything_from_one_command(run, tmp_path):
    table = rated_table([5.0, 3.0, 4.0, 2.0, NAN], ["a/1", "a/1", "b/1", "b/2", "b/3"])
    table.loc[2, "warnings"] = "tumor touches the border"
    write_exams(tmp_path, table)
    code, printed, errors = run(table, "--threshold", 3, "--drop-below", 2.5)
    out = tmp_path / "out"
    assert (code, errors) == (0, "")
    assert printed == (
        f"Kept 2 of 5 segmentations at 3.00 stars or above, 2 to review, 1 dropped. All of it: {out / 'index.html'}\n"
    )
    assert {path.name for path in out.iterdir()} == FILES
    kept, review, dropped = (read(out, name) for name in ("kept.csv", "review.csv", "dropped.csv"))
    assert kept["mean"].tolist() == [3.0, 5.0]
    assert review["reason"].tolist() == ["no stars: mask.nii.gz: truncated", "warning: tumor touches the border"]
    assert dropped["exam"].tolist() == ["b/2"]
    assert kept["t1c"].tolist() == ["../a/1/t1c.nii.gz"] * 2
    again = read_rated(out / "kept.csv")  # a list is a rated table, too
    assert again["mask"].tolist() == [str(tmp_path / "a/1/seg-1.nii.gz"), str(tmp_path / "a/1/seg-0.nii.gz")]
    content = json.loads((out / "curation.json").read_text())
    assert {k: content[k] for k in ("keep", "review", "drop", "segmentations", "kept_exams", "guarantee", "unit")} == {
        "keep": 2, "review": 2, "drop": 1, "segmentations": 5, "kept_exams": 1, "guarantee": None, "unit": "stars",
    }  # fmt: skip
    assert content["rule"]["threshold"] == 3
    words = " ".join(Page((out / "index.html").read_text()).words)
    assert "Kept: 3.00 stars (mean of views) or above" in words
    assert "below 2.5 they are dropped without a review" in words


def test_the_worst_tenth_is_put_aside_where_nothing_is_said(run, tmp_path):
    code, printed, _ = run(rated_table(np.linspace(2, 5, 40)), "--pictures", 0)
    assert code == 0
    assert printed.startswith("Kept 36 of 40 segmentations at 2.31 stars or above, 4 to review, 0 dropped.")


def test_files_that_have_gone_are_told_in_the_page(run, tmp_path):
    table = rated_table([5.0, 3.0])
    code, *_ = run(table, "--threshold", 4)
    assert code == 0
    text = (tmp_path / "out" / "index.html").read_text()
    assert "case-1/t1c.nii.gz: expected a NIfTI file, found nothing there; check the path" in text


def test_a_table_of_errors_alone(run, tmp_path):
    code, printed, errors = run(rated_table([NAN, NAN]), "--threshold", 4)
    assert (code, errors) == (0, "")
    assert printed.startswith("Kept 0 of 2 segmentations at 4.00 stars or above, 2 to review, 0 dropped.")
    assert (tmp_path / "out" / "index.html").exists()
    code, _, errors = run(None, "--quantile", 0.1)
    assert (code, errors) == (
        2,
        "dqe curate: error: no segmentation has stars and no warning to review; look at the table, or give "
        "--accept-warnings\n",
    )


def stored(table, tmp_path):
    write_rated(table.assign(**{c: [str(tmp_path / p) for p in table[c]] for c in PATHS}), tmp_path / "stars.csv")
    return tmp_path / "stars.csv"


SMALL = replace(GLIOMA, stars=(0.0, 1.0))


def test_what_is_near_a_threshold_goes_by_the_scale(tmp_path):
    for stars, threshold, task in (([4.0, 3.8, 3.7], 4.0, GLIOMA), ([0.6, 0.56, 0.54], 0.6, SMALL)):
        found = curate_table(stored(rated_table(stars), tmp_path), CurationSettings(threshold=threshold), task)
        assert found.table["reason"].tolist() == ["", "near the threshold", "low"]


def test_thresholds_go_down_by_the_scale(tmp_path):
    path = stored(labeled(tmp_path), tmp_path)
    settings = CurationSettings(labels=tmp_path / "labels.csv", start=4.0)
    for task, step in ((GLIOMA, 0.1), (SMALL, 0.02)):
        first, second, *_ = curate_table(path, settings, task).calibration.trials
        assert first.threshold - second.threshold == pytest.approx(step)


def labeled(tmp_path, count=60, failures=0, unlabeled=100):
    """A table whose stars find failures, and labels of its first exams: those below 3.5 stars are unacceptable."""
    rng = np.random.default_rng(1)
    table = rated_table(rng.uniform(2, 6, count + unlabeled))
    first = table.iloc[:count]
    acceptable = (first["mean"] >= 3.5).astype(int).to_numpy().copy()
    acceptable[np.argsort(-first["mean"].to_numpy())[:failures]] = 0
    labels = first[["exam", "segmentation"]].assign(acceptable=acceptable, dice=acceptable * 0.4 + 0.5)
    labels.to_csv(tmp_path / "labels.csv", index=False)
    return table


def test_a_threshold_by_labels(run, tmp_path):
    table = labeled(tmp_path)
    code, printed, errors = run(table, "--labels", tmp_path / "labels.csv", "--pictures", 0)
    assert (code, errors) == (0, "")
    assert printed.rstrip().endswith(f"All of it: {tmp_path / 'out' / 'index.html'}")
    content = json.loads((tmp_path / "out" / "curation.json").read_text())
    guarantee, threshold = content["guarantee"], content["rule"]["threshold"]
    assert "Unacceptable among the kept: 0.1 or less, with confidence 0.9" in printed
    assert guarantee["reached"]
    assert guarantee["judged_exams"] == guarantee["labels"] == 60
    assert guarantee["chosen"]["threshold"] == threshold
    assert 3.0 < threshold < 4.2
    # The threshold is a star of an exam without a label.
    assert threshold in table["mean"][60:].tolist()
    assert guarantee["chosen"] == [t for t in guarantee["tests"] if t["passed"]][-1]
    assert [t["passed"] for t in guarantee["tests"][:-1]] == [True] * (len(guarantee["tests"]) - 1)
    kept = table["mean"] >= threshold
    # Labeled failures above the threshold are known, and reviewed.
    assert content["keep"] == int(kept.sum()) - int((kept & (table["mean"] < 3.5) & (table.index < 60)).sum())
    assert guarantee["failure_detection"]["aurc"] == pytest.approx(guarantee["failure_detection"]["optimal"])
    words = " ".join(Page((tmp_path / "out" / "index.html").read_text()).words)
    for text in (guarantee["statement"], *guarantee["assumptions"]):
        assert " ".join(text.split()) in " ".join(words.split())


def test_a_quality_needs_a_limit(run, tmp_path):
    table = labeled(tmp_path)
    by_dice = ("--labels", tmp_path / "labels.csv", "--quality", "dice", "--pictures", 0)
    code, _, errors = run(table, *by_dice)
    assert code == 2
    assert len(errors.splitlines()) == 60
    assert errors.splitlines()[0] == (
        f"dqe curate: error: {tmp_path / 'labels.csv'}, row 2: dice 0.9: expected 0 or 1; say with "
        "--acceptable-from from where on it is acceptable"
    )
    assert run(None, *by_dice, "--acceptable-from", 0.8)[0] == 0
    by_one = json.loads((tmp_path / "out" / "curation.json").read_text())
    assert run(None, "--labels", tmp_path / "labels.csv", "--pictures", 0, out="other")[0] == 0
    by_other = json.loads((tmp_path / "other" / "curation.json").read_text())
    assert by_one["guarantee"]["tests"] == by_other["guarantee"]["tests"]


def test_no_guarantee_keeps_nothing_and_fails(run, tmp_path):
    table = labeled(tmp_path, failures=20)
    code, printed, errors = run(table, "--labels", tmp_path / "labels.csv", "--pictures", 0)
    assert code == 1
    assert printed.startswith("Kept 0 of 160 segmentations, 160 to review, 0 dropped.")
    assert errors.startswith("dqe curate: No threshold could be shown to keep the rate of unacceptable")
    assert len(errors.splitlines()) == 1
    content = json.loads((tmp_path / "out" / "curation.json").read_text())
    assert content["rule"]["threshold"] is None
    assert not content["guarantee"]["reached"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES


def test_where_all_is_labeled_the_first_threshold_is_asked_for(run, tmp_path):
    table = labeled(tmp_path, count=100, unlabeled=0)
    code, _, errors = run(table, "--labels", tmp_path / "labels.csv", "--pictures", 0)
    assert code == 2
    assert "give --start STARS, the first threshold, without a look at them" in errors
    assert run(None, "--labels", tmp_path / "labels.csv", "--start", 4.5, "--pictures", 0)[0] == 0
    tests = json.loads((tmp_path / "out" / "curation.json").read_text())["guarantee"]["tests"]
    assert [t["threshold"] for t in tests[:3]] == [4.5, 4.4, 4.3]


def test_bad_labels_are_told_with_their_rows(tmp_path):
    table = rated_table([4.0, 5.0])
    path = tmp_path / "labels.csv"
    rows = [(table["exam"][0], "seg-0", "1"), (table["exam"][0], "seg-0", "0"), ("nobody", "seg-0", "1")]
    rows.append((table["exam"][1], "seg-0", "good"))
    pd.DataFrame(rows, columns=["exam", "segmentation", "acceptable"]).to_csv(path, index=False)
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        read_labels(path, table)
    assert caught.value.problems == (
        f"{path}, row 3: site-0/case-0 seg-0: has a label before",
        f"{path}, row 4: nobody seg-0: no such exam and segmentation in the rated table",
        f"{path}, row 5: acceptable 'good': expected a number from 0 to 1",
    )
    with pytest.raises(ValueError, match=r"lacks the columns dice; it has exam, segmentation, acceptable"):
        read_labels(path, table, "dice")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--threshold", 4, "--quantile", 0.1],
         "expected one of --threshold, --quantile, --labels, found --threshold and --quantile; leave the others out"),
        (["--start", 4], "--start need --labels TABLE"),
        (["--center-column", "site"],
         "--center-column and --center-pattern need --budget N: they say what it is counted by"),
        (["--budget", 0], "--budget must be 1 or above, got 0"),
        (["--quantile", 1], "expected a quantile of 0 or above and below 1, such as 0.1, got 1"),
        (["--threshold", 3, "--drop-below", 4],
         "--drop-below 4 is above the threshold of 3.00: it would drop what that keeps; give a lower one"),
        (["--budget", 1, "--center-pattern", "^(x)"],
         "2 exams' names do not match the pattern '^(x)' that finds the center, such as 'site-0/case-0'; give "
         "--center-pattern or --center-column"),
        (["--budget", 1, "--center-pattern", "site"],
         "--center-pattern 'site': expected a regular expression with a group that is the center, such as '^([^/]+)/'"),
        (["--budget", 1, "--center-pattern", "(("], "--center-pattern '((': is no regular expression (missing ), "
                                                    "unterminated subpattern at position 1)"),
        (["--budget", 1, "--center-column", "site"],
         "--center-column site: the table has no such column; it has exam, segmentation, axial, coronal, sagittal, "
         "mean, spread, tc_ml, wt_ml, et_ml, warnings, error, t1c, t1, t2, flair, mask, label_scheme, unit, center, "
         "checkpoint, checkpoint_sha256"),
    ],
)  # fmt: skip
def test_errors_are_one_line_and_leave_nothing(run, tmp_path, arguments, message):
    code, printed, errors = run(rated_table([4.0, 5.0]), *arguments)
    assert (code, printed, errors) == (2, "", f"dqe curate: error: {message}\n")
    assert not (tmp_path / "out").exists()


def test_too_few_labels(run, tmp_path):
    table = labeled(tmp_path, count=21)
    code, _, errors = run(table, "--labels", tmp_path / "labels.csv")
    assert code == 2
    assert errors == (
        f"dqe curate: error: {tmp_path / 'labels.csv'}: 21 labeled exams cannot show an error rate of 0.1 with "
        "confidence 0.9: it takes at least 22 that are kept, all of them acceptable; label more, or ask for less\n"
    )


def test_bad_tables_are_told_with_their_rows(run, tmp_path):
    table = rated_table([4.0, 5.0])
    table.to_csv(tmp_path / "stars.csv", index=False)
    text = (tmp_path / "stars.csv").read_text().replace("5.0,5.5", "five,5.5")
    (tmp_path / "stars.csv").write_text(text)
    code, _, errors = run(None)
    assert code == 2
    assert f"{tmp_path / 'stars.csv'}, row 3: " in errors
    (tmp_path / "stars.csv").unlink()
    assert "found nothing there; check the path" in run(None)[2]


def test_a_page_of_before_does_not_outlive_its_lists(run, tmp_path, monkeypatch):
    table = rated_table([4.0, 5.0])
    assert run(table, "--pictures", 0)[0] == 0

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("dqe_loss.curate.page.read_pictures", interrupted)
    assert run(None, "--threshold", 6)[0] == 130
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES - {"index.html"}
    assert len(read(tmp_path / "out", "kept.csv")) == 0
    shutil.rmtree(tmp_path / "out")


def test_metric_stars_are_called_so(run, tmp_path):
    run(rated_table([4.0, 5.0], unit="metric stars"), "--pictures", 0)
    page = Page((tmp_path / "out" / "index.html").read_text())
    words = " ".join(page.words)
    assert "metric stars estimate that overlap, not a human judgment" in words
    assert "median metric stars" in words
    assert not [link for link in page.links if not link.startswith("data:")]

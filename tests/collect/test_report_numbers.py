"""The numbers of a report, each against an example that can be done by hand or copied out naively."""

import json

import numpy as np
import pandas as pd
import pytest

from dqe_loss.collect.command import main
from dqe_loss.collect.comparisons import comparison_numbers
from dqe_loss.collect.each_rater import rater_numbers, retest
from dqe_loss.collect.needed import _icc, needed_cases
from dqe_loss.collect.raters_together import agreement_numbers
from dqe_loss.collect.reliability import reliability
from dqe_loss.collect.report_settings import ReportSettings
from dqe_loss.metrics.agreement import draw_exams

NAN = np.nan
SHROUT_FLEISS = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float)
"""Six targets, four judges: Shrout and Fleiss 1979, table 2; ICC(2,1) .29, ICC(3,1) .71."""
SETTINGS = ReportSettings(resamples=200)


def judged(stars, exams=None, repeat=False):
    """Judgments of a table (segmentations, raters), NaN where there is none; an exam each unless they are named."""
    rows = [
        {"exam": exams[i] if exams else f"e{i}", "segmentation": f"s{i:03}", "rater": f"r{j}", "stars": float(value)}
        for i, row in enumerate(stars)
        for j, value in enumerate(row)
        if not np.isnan(value)
    ]
    table = pd.DataFrame(rows).assign(view="", kind="human", repeat=repeat)
    return table.assign(item=table["segmentation"])


def wide(table):
    return table.pivot(index="item", columns="rater", values="stars")


def test_simulated_studies_know_the_icc_with_random_raters():
    assert _icc(SHROUT_FLEISS[None])[0] == pytest.approx(0.290, abs=5e-4)


def test_raters_who_differ_in_bias_alone_leave_the_icc_unknown():
    """Without their variance it would be 1 in every study."""
    rows = needed_cases({"items": 1.0, "raters": 1.0, "rest": 0.0}, seed=0)
    assert rows[0]["half_width"]["400"] > 0.3
    assert all(row["cases"] is None for row in rows[:3])


def test_copies_of_a_segmentation_in_its_exam_add_no_knowledge_of_agreement():
    rng = np.random.default_rng(0)
    stars = rng.integers(1, 7, (12, 3)).astype(float)
    found = []
    for copies in (1, 9):
        table = judged(np.repeat(stars, copies, 0), [f"e{i // copies}" for i in range(12 * copies)])
        both = wide(table)
        exams = table.drop_duplicates("item").set_index("item")["exam"].reindex(both.index)
        found.append(agreement_numbers(both, exams, SETTINGS)["difference"])
    assert found[0]["low"] < found[0]["value"] < found[0]["high"]
    assert found[1] == pytest.approx(found[0])


def test_nor_of_raters():
    rng = np.random.default_rng(0)
    stars = np.clip(np.rint(rng.uniform(2, 5, (12, 1)) + rng.normal(0, 1, (12, 3))), 1, 6)
    widths = {}
    for name in ("exam", "segmentation"):
        exams = [f"e{i // 4 if name == 'exam' else i}" for i in range(48)]
        table = judged(np.repeat(stars, 4, 0), exams)
        bias = rater_numbers(table, wide(table), SETTINGS)[0]["bias"]
        widths[name] = bias["high"] - bias["low"]
    assert widths["exam"] / widths["segmentation"] == pytest.approx(2, rel=0.2)  # four times as many observations


def test_the_mean_of_unequal_numbers_of_raters():
    """Two raters of half the cases, four of the others: errors of means average like those of 2.67 raters."""
    stars = np.array([[2, 3, NAN, NAN], [5, 5, NAN, NAN], [1, 2, 2, 1], [6, 5, 4, 5]], float)
    table = judged(stars)
    both = wide(table)
    found = agreement_numbers(both, pd.Series(both.index, both.index), SETTINGS)
    k, single = 2 / (1 / 2 + 1 / 4), found["icc_single"]["value"]
    assert found["raters_per_case"] == pytest.approx(k)
    assert found["icc_mean"]["value"] == pytest.approx(k * single / (1 + (k - 1) * single))


def test_disagreement_by_quality_and_what_to_discuss():
    stars = [[1, 1], [1, 2], [2, 4], [3, 3], [5, 6], [2, 6], [6, 6]]  # means 1, 1.5, 3, 3, 5.5, 4, 6
    found = reliability(judged(np.array(stars, float)), SETTINGS)
    rows = {row["stars"]: row for row in found["by_quality"]}
    assert {stars: row["segmentations"] for stars, row in rows.items()} == {1: 1, 2: 1, 3: 2, 4: 1, 6: 2}
    assert {stars: row["range"] for stars, row in rows.items()} == {1: 0, 2: 1, 3: 1, 4: 4, 6: 0.5}
    variances = {1: 0, 2: 1 / 2, 3: (2 + 0) / 2, 4: 8, 6: (1 / 2 + 0) / 2}
    assert {stars: row["deviation"] ** 2 for stars, row in rows.items()} == pytest.approx(variances)
    discussed = [(case["segmentation"], case["range"], case["ratings"]) for case in found["discuss"]]
    assert discussed[:2] == [("s005", 4, {"r0": 2, "r1": 6}), ("s002", 2, {"r0": 2, "r1": 4})]
    assert [case[1] for case in discussed] == [4, 2, 1, 1]  # what raters agree on is not listed


def test_second_looks():
    """Apart by 1, 0 and -2."""
    looks = [judged(np.array([stars], float).T, repeat=i > 0) for i, stars in enumerate(([1, 3, 5], [2, 3, 3]))]
    found = retest(pd.concat(looks), 1.0)
    expected = {"pairs": 3, "sd": np.sqrt(5 / 6), "exact": 1 / 3, "within_one": 2 / 3, "shift": -1 / 3}
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("wanted", [0.2, 0.5])
def test_the_wanted_error_is_that_of_the_option(tmp_path, wanted):
    stars = np.random.default_rng(0).integers(1, 7, (12, 3)).astype(float)
    judged(stars).drop(columns=["item", "repeat"]).to_csv(tmp_path / "t.csv", index=False)
    assert main(["report", str(tmp_path / "t.csv"), "--wanted", str(wanted), "--resamples", "9"]) == 0
    needed = json.loads((tmp_path / "report" / "reliability.json").read_text())["groups"][""]["needed"]
    assert needed["wanted"] == wanted
    assert needed["raters"] == np.ceil((needed["errors"]["1"] / wanted) ** 2)


def pairs(verdicts, repeat=False):
    """Comparisons of algorithms a and b: exam to verdicts."""
    rows = [
        {"exam": f"e{i}", "first": f"e{i}/a", "second": f"e{i}/b", "first_name": "a", "second_name": "b"}
        | {"rater": f"r{j}", "better": better, "left": "first", "kind": "human", "repeat": repeat}
        for i, own in enumerate(verdicts)
        for j, better in enumerate(own)
    ]
    return pd.DataFrame(rows)


def test_no_difference_is_half_a_win_for_either():
    found = comparison_numbers(pairs([["same", "same"]] * 6), resamples=9)
    assert [row["strength"] for row in found["names"]] == [pytest.approx({"value": 0, "low": 0, "high": 0})] * 2
    assert [row["strength"] for row in found["segmentations"]] == pytest.approx([0] * 12)
    assert (found["same"], found["left"]["value"]) == (1, pytest.approx(NAN, nan_ok=True))
    one = comparison_numbers(pairs([["first", "same"]] * 6), resamples=9)["names"]
    assert one[0]["strength"]["value"] - one[1]["strength"]["value"] == pytest.approx(np.log(3), abs=0.05)


def test_intervals_of_strengths_are_those_of_copied_exams():
    table = pairs([["first", "first"], ["first", "second"], ["second", "second"], ["first", "same"], ["first"] * 2])
    found = comparison_numbers(table, resamples=40, seed=3)["names"]
    drawn = []
    for counts in draw_exams(5, 40, 3):
        copies = pd.concat([table[table["exam"] == f"e{i}"] for i in range(5) for _ in range(counts[i])])
        # Under names of their own, for a single exam that was drawn alone has no names of several.
        copies = copies.assign(exam=[f"copy-{i // 2}" for i in range(len(copies))])
        drawn.append({row["name"]: row["strength"]["value"] for row in comparison_numbers(copies, 1)["names"]})
    for row in found:
        low, high = np.quantile([one[row["name"]] for one in drawn], (0.025, 0.975))
        assert (row["strength"]["low"], row["strength"]["high"]) == pytest.approx((low, high), abs=1e-6)


def test_the_share_of_second_verdicts_that_are_the_same():
    first, again = pairs([["first"], ["second"], ["same"], ["first"]]), pairs([["first"], ["first"], ["same"]], True)
    assert comparison_numbers(pd.concat([first, again]), 9)["retest"] == pytest.approx({"pairs": 3, "same": 2 / 3})

"""The report: published tables, scripted raters, pairs, and what it says where it cannot say much."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from page import Page

from dqe_loss.collect.command import main
from dqe_loss.collect.comparisons import comparison_numbers, strengths
from dqe_loss.collect.judgments import read_comparisons, read_judgments
from dqe_loss.collect.needed import needed_cases, needed_raters

AIMI = Path(__file__).parent / "aimi.csv"
PUBLISHED = {"breast-pet-ct": 0.50, "liver-ct": 0.79, "liver-mr": 0.68, "lung-ct": 0.34, "lung-pet-ct": 0.04}
"""Ordinal alpha of the two raters of each set; .36 pooled, exact 55 %, mean difference .74."""


def run(*options, code=0):
    assert main(["report", *map(str, options)]) == code


def numbers(folder):
    return json.loads((folder / "reliability.json").read_text())


def test_aimi(tmp_path):
    table = tmp_path / "aimi.csv"
    assert main(["import", str(AIMI), "--out", str(table), "--columns", "stars=score"]) == 0
    run(table, "--by", "set", "--scale", 1, 5, "--resamples", 200)
    groups = numbers(tmp_path / "report")["groups"]
    # Two names are in both sets of lungs: by the set, each is looked at for the first time.
    assert [groups[name]["shared"] for name in ("lung-ct", "lung-pet-ct")] == [47, 77]
    for name, alpha in PUBLISHED.items():
        assert groups[name]["agreement"]["alpha"]["value"] == pytest.approx(alpha, abs=0.005)
        low, high = (groups[name]["agreement"]["alpha"][end] for end in ("low", "high"))
        assert low < alpha < high
    assert groups["prostate-mr"]["agreement"]["alpha"]["value"] is None  # all the same
    five = tmp_path / "five.csv"
    whole = pd.read_csv(table)
    whole[whole["set"].isin(list(PUBLISHED))].to_csv(five, index=False)
    run(five, "--by", "set", "--scale", 1, 5, "--resamples", 200, "--out", tmp_path / "pooled")
    pooled = numbers(tmp_path / "pooled")["groups"][""]["agreement"]
    assert pooled["alpha"]["value"] == pytest.approx(0.36, abs=0.005)
    assert pooled["exact"]["value"] == pytest.approx(0.55, abs=0.005)
    assert pooled["difference"]["value"] == pytest.approx(0.74, abs=0.005)
    page = Page((tmp_path / "report" / "index.html").read_text())
    assert page.open == []
    assert [link for link in page.links if not link.startswith("data:")] == []


def test_steps_are_those_of_the_raters(tmp_path, capsys):
    table = tmp_path / "liver.csv"
    ratings = pd.read_csv(AIMI)
    ratings[ratings["set"] == "liver-ct"].to_csv(table, index=False)
    command = ["import", str(table), "--out", str(table), "--columns", "stars=score", "--scale", "1", "5"]
    assert main(command) == 0
    run(table, "--resamples", 9)
    told = numbers(tmp_path / "report")
    assert told["settings"]["step"] == 1.25  # five values, brought to 1 to 6 stars
    agreement = told["groups"][""]["agreement"]
    assert agreement["within_one"]["value"] > agreement["exact"]["value"]
    assert "agreement within 1.25 stars" in capsys.readouterr().out


def test_nothing_is_said_of_the_noise_of_raters_who_never_differ(tmp_path):
    table = tmp_path / "ratings.csv"
    rows = [(f"exam-{i}", "seg", rater, 6) for i in range(30) for rater in ("ann", "bob")]
    pd.DataFrame(rows, columns=["exam", "segmentation", "rater", "stars"]).to_csv(table, index=False)
    run(table, "--resamples", 9)
    for rater in numbers(tmp_path / "report")["groups"][""]["raters"]:
        assert rater["spread"]["value"] is None
    assert "Bias and noise of each rater" not in (tmp_path / "report" / "index.html").read_text()


def scripted(folder, bias, noise, exams=15, masks=4, seed=0, repeats=0.2):
    """A table of ratings as raters with these biases and noises would leave it."""
    rng = np.random.default_rng(seed)
    rows = []
    for item in range(exams * masks):
        quality = rng.uniform(1.5, 5.5)
        for rater, (b, n) in enumerate(zip(bias, noise, strict=True)):
            for repeat in range(1 + (rng.random() < repeats)):
                stars = int(np.clip(np.rint(quality + b + n * rng.standard_normal()), 1, 6))
                row = {"exam": f"exam-{item % exams}", "segmentation": f"seg-{item // exams}", "rater": f"r{rater}"}
                rows.append(row | {"stars": stars, "repeat": repeat})
    path = folder / "ratings.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def test_scripted_raters_are_recognized(tmp_path, capsys):
    bias, noise = np.array([-1.0, 0.2, 0.4, 0.4]), np.array([0.4, 0.5, 0.5, 1.5])
    run(scripted(tmp_path, bias, noise), "--resamples", 300)
    said = capsys.readouterr().out
    assert "r0" in said
    group = numbers(tmp_path / "report")["groups"][""]
    for rater, b, n in zip(group["raters"], bias, noise, strict=True):
        assert rater["bias"]["low"] - 0.1 <= b <= rater["bias"]["high"] + 0.1
        assert rater["spread"]["low"] - 0.1 <= n <= rater["spread"]["high"] + 0.1
        assert rater["retest"]["pairs"] > 5
        assert rater["retest"]["sd"] == pytest.approx(n, abs=0.45)
    remarks = [rater["remarks"] for rater in group["raters"]]
    assert remarks[0] == ["more severe than the others"]
    assert remarks[3] == ["noisier than the others"]
    assert remarks[1] == remarks[2] == []
    agreement = group["agreement"]
    for name in ("alpha", "icc_single", "exact", "within_one", "difference"):
        assert agreement[name]["low"] < agreement[name]["value"] < agreement[name]["high"]
    assert agreement["icc_mean"]["value"] > agreement["icc_single"]["value"]
    assert agreement["raters_per_case"] == 4
    widest = group["discuss"][0]
    assert widest["range"] == max(widest["ratings"].values()) - min(widest["ratings"].values())
    assert [case["range"] for case in group["discuss"]] == sorted((c["range"] for c in group["discuss"]), reverse=True)
    words = " ".join(Page((tmp_path / "report" / "index.html").read_text()).words)
    for text in ("more severe than the others", "Cases to discuss", "How many raters and cases"):
        assert text in words


def test_who_rates_the_other_way_round_is_pointed_out_if_cases_are_enough(tmp_path):
    for exams, told in ((3, []), (15, ["rates the other way round than the others"])):
        table = pd.read_csv(scripted(tmp_path, [0.0, 0.0, 0.0], [0.4, 0.4, 0.4], exams=exams, masks=2, repeats=0))
        other = table["rater"] == "r2"
        table.loc[other, "stars"] = 7 - table.loc[other, "stars"]
        if exams == 3:  # a little the other way: chance
            table.loc[other, "stars"] = [3, 4, 3, 4, 4, 3]
        table.to_csv(tmp_path / "t.csv", index=False)
        run(tmp_path / "t.csv", "--resamples", 50)
        remarks = numbers(tmp_path / "report")["groups"][""]["raters"][2]["remarks"]
        assert [r for r in remarks if "other way" in r] == told


def test_one_rater_alone(tmp_path):
    run(scripted(tmp_path, [0.0], [0.5]), "--resamples", 50)
    group = numbers(tmp_path / "report")["groups"][""]
    assert group["agreement"]["alpha"]["value"] is None
    assert group["raters"][0]["remarks"] == ["shares no case with another rater"]
    assert group["retest"]["pairs"] > 0
    words = " ".join(Page((tmp_path / "report" / "index.html").read_text()).words)
    assert "nothing can be said about their agreement" in words


def test_no_intervals_from_four_exams(tmp_path):
    run(scripted(tmp_path, [0.0, 0.3], [0.5, 0.5], exams=4), "--resamples", 50)
    agreement = numbers(tmp_path / "report")["groups"][""]["agreement"]
    assert agreement["alpha"]["low"] is agreement["icc_single"]["high"] is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.assign(stars=9), "row 2: stars '9': expected a number from 1 to 6"),
        (lambda t: t.assign(stars="good"), "expected a number from 1 to 6"),
        (lambda t: t.assign(rater=" "), "row 2: rater '': expected a name"),
        (lambda t: pd.concat([t, t]), "has judged this segmentation before; number second looks"),
        (lambda t: t.drop(columns="stars"), "lacks the columns stars"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path, capsys, change, said):
    path = tmp_path / "t.csv"
    table = pd.DataFrame({"exam": ["a", "b"], "segmentation": ["s", "s"], "rater": ["r", "r"], "stars": [3, 4]})
    change(table).to_csv(path, index=False)
    run(path, code=2)
    assert said in capsys.readouterr().err
    assert not (tmp_path / "report").exists()


def test_options_that_cannot_be_used(tmp_path, capsys):
    path = scripted(tmp_path, [0.0], [0.5], exams=3)
    for options in (["--wanted", "0"], ["--scale", "6", "1"], ["--resamples", "0"]):
        run(path, *options, code=2)
    run(tmp_path / "nothing", code=2)
    (tmp_path / "empty").mkdir()
    run(tmp_path / "empty", code=2)
    assert "expected a study" in capsys.readouterr().err


def test_views_are_items_of_their_own(tmp_path):
    table = pd.DataFrame(
        {"exam": "a", "segmentation": "s", "rater": "r", "view": ["axial", "coronal", ""], "stars": [1, 2, 3]}
    )
    table.to_csv(tmp_path / "t.csv", index=False)
    assert read_judgments([tmp_path / "t.csv"], (1, 6))["item"].nunique() == 3


# ---- how much is needed


def test_raters_needed_follow_from_the_variances():
    needed = needed_raters({"raters": 0.3, "rest": 0.4}, wanted=0.25)
    assert needed["errors"]["1"] == pytest.approx(0.5)
    assert needed["raters"] == 4
    assert needed_raters({"raters": 0.3, "rest": 0.4}, wanted=0.01)["raters"] is None
    assert needed_raters({"raters": float("nan"), "rest": 0.4}, wanted=0.3)["raters"] is None


def test_cases_needed_fall_with_raters_and_cases():
    rows = needed_cases({"items": 1.0, "raters": 0.2, "rest": 0.6}, seed=0)
    widths = pd.DataFrame({row["raters"]: row["half_width"] for row in rows})
    assert (widths.iloc[0] > widths.iloc[-1]).all()
    assert widths[12]["100"] < widths[2]["100"]
    assert rows[-1]["cases"] <= 100
    assert needed_cases({"items": float("nan"), "raters": 0.2, "rest": 0.6}, seed=0) == []


# ---- pairs


def compared(strength, exams=12, raters=3, seed=0):
    """Pairs of algorithms as raters of Bradley and Terry's would judge them."""
    rng = np.random.default_rng(seed)
    names = list(strength)
    rows = []
    for exam in range(exams):
        for i, first in enumerate(names):
            for second in names[i + 1 :]:
                for rater in range(raters):
                    for repeat in range(1 + (rng.random() < 0.2)):
                        wins = rng.random() < 1 / (1 + np.exp(strength[second] - strength[first]))
                        row = {"exam": f"e{exam}", "first": f"e{exam}/{first}", "second": f"e{exam}/{second}"}
                        row |= {"first_name": f"e{exam}-{first}", "second_name": f"e{exam}-{second}"}
                        row |= {"rater": f"r{rater}", "better": "first" if wins else "second"}
                        left = "first" if (rng.random() < 0.5) else "second"
                        rows.append(row | {"left": left, "kind": "human", "repeat": repeat})
    return pd.DataFrame(rows)


def test_strengths_of_two_are_the_log_odds():
    found = strengths(np.array([[0.0, 75.0], [25.0, 0.0]]))
    assert found[0] - found[1] == pytest.approx(np.log(3), abs=0.01)
    assert np.isfinite(strengths(np.array([[0.0, 5.0], [0.0, 0.0]]))).all()


def test_pairs(tmp_path, capsys):
    true = {"nnunet": 1.2, "fusion": 0.4, "old": -1.6}
    path = tmp_path / "which-is-better.csv"
    compared(true).to_csv(path, index=False)
    run(path)
    assert "comparisons" in capsys.readouterr().out
    pairs = numbers(tmp_path / "report")["pairs"]
    assert [row["name"] for row in pairs["names"]] == list(true)
    for row in pairs["names"]:
        assert row["strength"]["low"] - 0.2 <= true[row["name"]] <= row["strength"]["high"] + 0.2
    assert len(pairs["segmentations"]) == 36
    assert {row["segmentation"] for row in pairs["segmentations"]} == set(true)
    assert pairs["retest"]["same"] > 0.5
    assert pairs["left"]["low"] < 0.5 < pairs["left"]["high"]
    page = Page((tmp_path / "report" / "index.html").read_text())
    assert page.open == []
    assert "Strength of what has one name" in " ".join(page.words)


def test_a_rater_who_always_takes_the_left_one_is_found_out():
    table = compared({"a": 0.0, "b": 0.0})
    table = table.assign(better=table["left"], repeat=table["repeat"] > 0)
    found = comparison_numbers(table)
    assert found["left"]["value"] == 1
    assert found["left"]["low"] > 0.5


def test_of_two_raters_nobody_is_noisy_and_what_one_judged_alone_does_not_count(tmp_path):
    table = pd.read_csv(scripted(tmp_path, [0.0, 0.0], [0.3, 1.5], repeats=0))
    alone = pd.DataFrame({"exam": [f"lone-{i}" for i in range(60)], "segmentation": "seg", "rater": "r0", "repeat": 0})
    stars = np.where(np.arange(60) % 3 > 0, 6, 1)
    found = []
    for name, rows in (("shared", table), ("all", pd.concat([table, alone.assign(stars=stars)]))):
        rows.to_csv(tmp_path / f"{name}.csv", index=False)
        run(tmp_path / f"{name}.csv", "--resamples", 50, "--out", tmp_path / name)
        found.append(numbers(tmp_path / name)["groups"][""]["raters"])
    for shared, everything in zip(*found, strict=True):
        assert everything["bias"] == shared["bias"]
        assert everything["spread"] == shared["spread"]
        assert everything["remarks"] == []
    assert [rater["ratings"] for rater in found[1]] == [
        rater["ratings"] + (i == 0) * 60 for i, rater in enumerate(found[0])
    ]


def test_blank_cells_of_a_group_are_a_group(tmp_path):
    table = tmp_path / "ratings.csv"
    rows = [
        (f"exam-{i}", "seg", rater, 1 + (i + r) % 6, "" if i % 2 else "A")
        for i in range(8)
        for r, rater in enumerate(("ann", "bob"))
    ]
    pd.DataFrame(rows, columns=["exam", "segmentation", "rater", "stars", "site"]).to_csv(table, index=False)
    run(table, "--by", "site", "--resamples", 9)
    groups = numbers(tmp_path / "report")["groups"]
    assert {name: group["judgments"] for name, group in groups.items()} == {"": 16, "(none)": 8, "A": 8}


@pytest.mark.parametrize("by", ["exam", "segmentation", "view", "kind"])
def test_a_table_is_reported_by_its_own_columns_too(tmp_path, by):
    table = pd.read_csv(scripted(tmp_path, [0.0, 0.3], [0.5, 0.5], exams=6, masks=2, repeats=0))
    table = table.assign(view=np.where(table["segmentation"] == "seg-0", "axial", "coronal"), kind="simulated")
    table.to_csv(tmp_path / "t.csv", index=False)
    run(tmp_path / "t.csv", "--by", by, "--resamples", 9)
    groups = numbers(tmp_path / "report")["groups"]
    assert {name: group["judgments"] for name, group in groups.items() if name} == table[by].value_counts().to_dict()


def test_the_parts_of_a_report_hold_whole_segmentations(tmp_path, capsys):
    run(scripted(tmp_path, [0.0, 0.3], [0.5, 0.5], exams=3), "--by", "rater", code=2)
    assert "--by rater: ratings of one segmentation would be parted" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("exam", "name", "expected"),
    [("3", "unet3d", "unet3d"), ("3", "3-unet", "unet"), ("case-2", "seg-a-case-2", "seg-a"), ("2", "2", "2")],
)
def test_names_of_algorithms_lose_that_of_the_exam_alone(tmp_path, exam, name, expected):
    row = {"exam": exam, "first": "f", "second": "s", "rater": "ann", "better": "first", "left": "first"}
    row |= {"repeat": 0, "first_name": name, "second_name": "b", "kind": "human"}
    pd.DataFrame([row]).to_csv(tmp_path / "pairs.csv", index=False)
    assert read_comparisons(tmp_path / "pairs.csv")["first_name"].tolist() == [expected]

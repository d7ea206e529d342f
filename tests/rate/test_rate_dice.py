"""Two more columns where a checkpoint says what its stars mean in Dice, and nothing at all where it does not."""

import csv
import json

import numpy as np
import pandas as pd
import pytest
from cohort import write_exam
from helpers import small_surrogate
from rated_table import rated_table

from dqe_loss import save_surrogate
from dqe_loss.curate import command as curate
from dqe_loss.data.tables.rated import COLUMNS, read_rated, write_rated
from dqe_loss.data.tables.table import TableError
from dqe_loss.rate import command as rate
from dqe_loss.surrogate.checkpoint import add_dice_map
from dqe_loss.surrogate.dice_map import DICE_COLUMNS, DiceMap
from dqe_loss.viz.cases.page import render_cases

MAP = DiceMap((1.0, 6.0), (0.2, 0.9), 0.25, learned_from="12 masks")
DESCRIPTION = "learned from references (12 masks), not from humans"
WITH_DICE = [*COLUMNS[:7], *DICE_COLUMNS, *COLUMNS[7:]]


@pytest.fixture
def data(tmp_path):
    """Two exams of two masks; one mask is no file that can be read."""
    for number in range(2):
        write_exam(tmp_path / "data" / f"case-{number}", seed=number)
    (tmp_path / "data" / "case-1" / "seg-b.nii.gz").write_bytes(b"torn")
    return tmp_path / "data"


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "small.safetensors"
    save_surrogate(small_surrogate(), path)
    return path


def test_a_data_set_has_them_where_the_checkpoint_has_a_map(data, checkpoint, tmp_path, capsys):
    """A map that comes later needs no exam to be rated again, for it changes no stars."""
    out = tmp_path / "stars.csv"
    command = ["--data", str(data), "--out", str(out), "--checkpoint", str(checkpoint)]
    assert rate.main(command) == 1
    assert "dice" not in capsys.readouterr().out
    before = read_rated(out)
    assert list(before) == [*COLUMNS, "labels"]

    add_dice_map(checkpoint, MAP)
    assert rate.main(command) == 1
    printed = capsys.readouterr().out
    assert printed.startswith("no exam was left to rate\n")
    assert DESCRIPTION in printed
    table = read_rated(out)
    assert list(table) == [*WITH_DICE, "labels"]
    pd.testing.assert_frame_equal(table.drop(columns=list(DICE_COLUMNS)), before)
    rated = table["error"] == ""
    assert rated.tolist() == [True, True, True, False]
    assert table["dice"].tolist() == pytest.approx(MAP.estimate(table["mean"]), abs=1e-4, nan_ok=True)
    assert table["dice_low"].tolist() == pytest.approx(MAP.lower_bound(table["mean"]), abs=1e-4, nan_ok=True)
    assert table.loc[~rated, list(DICE_COLUMNS)].isna().all(axis=None)


def test_stars_of_other_planes_have_none_and_it_is_told(data, checkpoint, tmp_path, capsys):
    add_dice_map(checkpoint, MAP)
    out = tmp_path / "stars.csv"
    command = ["--data", str(data), "--out", str(out), "--checkpoint", str(checkpoint)]
    assert rate.main([*command, "--center", "mask", "flair"]) == 1
    assert "no dice: what the stars mean in Dice was learned with --center mask\n" in capsys.readouterr().out
    assert list(read_rated(out)) == [*COLUMNS, "labels"]


def test_an_exam_has_them_in_text_json_and_csv(data, checkpoint, tmp_path, capsys):
    add_dice_map(checkpoint, MAP)
    files = {kind: tmp_path / f"a.{kind}" for kind in ("json", "csv", "svg")}
    command = ["--exam", str(data / "case-0"), "--checkpoint", str(checkpoint)]
    flags = ["--json", str(files["json"]), "--csv", str(files["csv"]), "--figure", str(files["svg"])]
    assert rate.main([*command, *flags]) == 0
    _, description, empty, header, first, _ = capsys.readouterr().out.splitlines()
    assert DESCRIPTION in description
    assert empty == ""
    assert header.split() == ["segmentation", "axial", "coronal", "sagittal", "mean", *DICE_COLUMNS]
    content = json.loads(files["json"].read_text())
    assert content["dice"] == MAP.describe()
    ratings = content["ratings"]["seg-a"]
    assert ratings["dice"] == pytest.approx(float(MAP.estimate(ratings["mean"])))
    assert ratings["dice_low"] == pytest.approx(float(MAP.lower_bound(ratings["mean"])))
    assert first.split()[-2:] == [f"{ratings[name]:.2f}" for name in DICE_COLUMNS]
    with files["csv"].open(newline="") as file:
        row = next(csv.DictReader(file))
    assert [float(row[name]) for name in DICE_COLUMNS] == pytest.approx([ratings[n] for n in DICE_COLUMNS], abs=1e-4)

    assert rate.main([*command, *flags, "--center", "mask", "brain"]) == 0
    assert "dice" not in json.loads(files["json"].read_text())
    assert "no dice" in capsys.readouterr().out.splitlines()[1]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_tables_keep_and_check_them(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    table = rated_table([4.0, np.nan], dice=[0.8, np.nan], dice_low=[0.55, np.nan], site="A")
    write_rated(table, path)
    read = read_rated(path)
    assert list(read) == [*WITH_DICE, "site"]
    assert read["dice"].tolist() == pytest.approx([0.8, np.nan], nan_ok=True)
    for wrong, told in (("1.4", "row 2: dice '1.4': expected a Dice from 0 to 1"), ("good", "expected a number, or")):
        write_rated(table.assign(dice=[wrong, ""]), path)
        with pytest.raises(TableError, match=told):
            read_rated(path)


def test_a_table_with_decimal_commas_is_read(tmp_path):
    write_rated(rated_table([4.0], dice=[0.8], dice_low=[0.5]), tmp_path / "a.csv")
    pd.read_csv(tmp_path / "a.csv").to_csv(tmp_path / "b.csv", sep=";", decimal=",", index=False)
    assert read_rated(tmp_path / "b.csv")[list(DICE_COLUMNS)].iloc[0].tolist() == [0.8, 0.5]


def test_curate_hands_them_on_and_its_page_shows_them(tmp_path):
    table = rated_table([5.0, 4.0, 2.0])
    told = table.assign(**{name: np.round(values, 4) for name, values in MAP.tell(table["mean"]).items()})
    write_rated(told, tmp_path / "a.csv")
    assert curate.main([str(tmp_path / "a.csv"), "--out", str(tmp_path / "out"), "--threshold", "3"]) == 0
    kept = read_rated(tmp_path / "out" / "kept.csv")
    assert list(kept)[: len(WITH_DICE)] == WITH_DICE
    assert sorted(kept["dice"]) == sorted(told["dice"])[1:]
    page = (tmp_path / "out" / "index.html").read_text()
    assert '"key": "dice_low"' in page.replace('"key":"', '"key": "')
    assert "dice_low" not in render_cases(table, {}, title="none")

"""The table of rated segmentations: what is written is what is read, and every problem has its row."""

import numpy as np
import pandas as pd
import pytest

from dqe_loss import LABEL_SCHEMES
from dqe_loss.data.tables.rated import COLUMNS, read_rated, write_rated
from dqe_loss.data.tables.table import TableError

STARS = {"axial": 4.0, "coronal": 5.0, "sagittal": 3.0, "mean": 4.0, "spread": 2.0}
ROW = {
    "exam": "site/1", "segmentation": "failed/seg-x", **STARS, "tc_ml": 1.0, "wt_ml": 3.5, "et_ml": 0.0,
    "warnings": "empty region ET", "error": "", "t1c": "/data/1/a.nii.gz", "t1": "/data/1/b.nii.gz",
    "t2": "/data/1/c.nii.gz", "flair": "/data/1/d.nii.gz", "mask": "/data/1/failed/seg-x.nii.gz",
    "label_scheme": "brats", "unit": "metric stars", "center": "mask flair", "checkpoint": "my.safetensors",
    "checkpoint_sha256": "0123456789",
}  # fmt: skip
FAILED = {**ROW, "exam": "site/2", **dict.fromkeys(STARS, np.nan), "wt_ml": np.nan, "error": "gone", "mask": ""}


@pytest.fixture(params=["csv", "parquet"])
def path(request, tmp_path):
    return tmp_path / f"stars.{request.param}"


def save(table, path):
    table.to_csv(path, index=False) if path.suffix == ".csv" else table.to_parquet(path, index=False)


def problems(path, *rows):
    table = pd.DataFrame([{**ROW, "exam": str(number), **row} for number, row in enumerate(rows)])
    save(table, path)
    with pytest.raises(TableError) as caught:
        read_rated(path)
    return [problem.removeprefix(f"{path}, ") for problem in caught.value.problems]


def test_round_trip_keeps_everything_and_moves_with_its_folder(path, tmp_path):
    table = pd.DataFrame([{**ROW, "site": "A"}, {**FAILED, "site": "B"}])
    local = tmp_path / "exams" / "m.nii.gz"
    table.loc[0, "mask"] = str(local)
    write_rated(table, path)
    again = read_rated(path)
    assert list(again) == [*COLUMNS, "site"]
    pd.testing.assert_frame_equal(again, table[[*COLUMNS, "site"]], check_dtype=False)
    moved = tmp_path / "elsewhere" / path.name
    moved.parent.mkdir()
    path.rename(moved)
    assert read_rated(moved).loc[0, "mask"] == str(tmp_path / "elsewhere" / "exams" / "m.nii.gz")


def test_a_table_written_when_center_was_called_look(path):
    table = pd.DataFrame([ROW, {**FAILED, "exam": "site/2"}])
    write_rated(table, path)
    before = read_rated(path)
    save(table.rename(columns={"center": "look"}), path)
    pd.testing.assert_frame_equal(read_rated(path)[list(before)], before)
    save(table.rename(columns={"center": "look"}).assign(center="a hospital"), path)
    with pytest.raises(TableError, match="the columns look and center, and center is what look is called now; rename"):
        read_rated(path)


def test_each_problem_is_told_with_its_row(path):
    found = problems(
        path,
        {},
        {"axial": np.nan},
        {"error": "no reason"},
        {"mean": 4.4},
        {"spread": 1.0},
        {"tc_ml": -1.0},
        {"label_scheme": "own"},
        {"exam": " "},
        {"sagittal": np.inf},
    )
    assert sorted(found) == sorted(
        [
            "row 3: axial '': expected a number, or a reason in the column error",
            "row 4: has stars and an error; expected one of them",
            "row 5: mean 4.4: that of the views is 4; leave it as rated, or round to no less than two digits",
            "row 6: spread 1: that of the views is 2; leave it as rated, or round to no less than two digits",
            "row 7: tc_ml '-1.0': expected a volume of 0 or more ml",
            f"row 8: label_scheme 'own': expected one of {', '.join(LABEL_SCHEMES)}",
            "row 9: exam ' ': expected a name, found nothing",
            "row 10: sagittal 'inf': expected a number, or a reason in the column error",
        ]
    )


def test_text_where_a_number_belongs_is_told_as_it_stands(tmp_path):
    row = {**ROW, "axial": "many", "tc_ml": "some"}
    pd.DataFrame([row]).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(TableError) as caught:
        read_rated(tmp_path / "a.csv")
    assert caught.value.problems[0].endswith("row 2: axial 'many': expected a number, or a reason in the column error")
    assert caught.value.problems[1].endswith("row 2: tc_ml 'some': expected a number, or nothing")


def test_stars_of_two_kinds_do_not_mix(path):
    assert problems(path, {}, {"checkpoint_sha256": "9"}, {"unit": "stars"}, {"exam": "0"}) == [
        "row 5: exam 0 has segmentation 'failed/seg-x' in a row before",
        "row 4: unit is stars, in the rows before metric stars; keep tables of different stars apart",
        "row 3: checkpoint_sha256 is 9, in the rows before 0123456789; keep tables of different stars apart",
    ]


def test_other_tables_are_refused(tmp_path):
    pd.DataFrame([ROW]).drop(columns=["mean", "unit"]).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(TableError, match=r"a.csv: lacks the columns mean, unit; it has exam, "):
        read_rated(tmp_path / "a.csv")
    with pytest.raises(TableError, match="expected a table of rated segmentations, found nothing there"):
        read_rated(tmp_path / "b.csv")
    with pytest.raises(ValueError, match=r"expected a table that ends in \.csv or \.parquet"):
        write_rated(pd.DataFrame([ROW]), tmp_path / "a.txt")

"""Tables as other programs save them: Excel in Europe, Google Sheets, R; what is ambiguous is told with its row."""

import io

import pandas as pd
import pytest
from test_rated_table import FAILED, ROW

from dqe_loss.data.discovery.path_table import find_in_table
from dqe_loss.data.split import read_split
from dqe_loss.data.tables.rated import STARS, VOLUMES, read_rated
from dqe_loss.data.tables.ratings import read_ratings
from dqe_loss.data.tables.table import TableError, read_table

TABLE = pd.DataFrame([{**ROW, "tc_ml": 1.5}, {**ROW, "exam": "site/3", "axial": 4.25, "mean": 4.25, "coronal": 5.5}])
TABLE.loc[1, "spread"] = 2.5


def as_text(table=TABLE, **options):
    text = io.StringIO()
    table.to_csv(text, index=False, **options)
    return text.getvalue()


def with_quoted_numbers():
    """Commas between cells and within numbers, as the German Google Sheets has it."""
    return as_text(TABLE.map(lambda cell: f"{cell}".replace(".", ",") if isinstance(cell, float) else cell))


@pytest.mark.parametrize(
    "content",
    [
        as_text(sep=";", decimal=",").encode(),
        as_text(sep=";", decimal=",").encode("utf-8-sig"),
        ("sep=;\r\n" + as_text(sep=";", decimal=",", lineterminator="\r\n")).encode(),
        as_text(sep="\t", decimal=",").encode("utf-16"),
        as_text(sep=";").encode(),
        as_text().encode("utf-8-sig"),
        with_quoted_numbers().encode(),
        (as_text() + "," * (TABLE.shape[1] - 1) + "\n\n").encode(),  # rows that were emptied in a spreadsheet
        as_text().replace("exam,", " exam ,", 1).encode(),
    ],
    ids=["semicolon", "BOM", "sep=", "UTF-16", "decimal points", "comma BOM", "sheets", "empty rows", "blanks"],
)
def test_separators_decimals_and_encodings(tmp_path, content):
    path = tmp_path / "stars.csv"
    path.write_bytes(content)
    read = read_rated(path)
    pd.testing.assert_frame_equal(
        read[["exam", *STARS, *VOLUMES]], TABLE[["exam", *STARS, *VOLUMES]], check_dtype=False
    )


@pytest.mark.parametrize("nothing", ["NA", "nan", "NaN", "N/A", "None", ""])
def test_words_for_nothing(tmp_path, nothing):
    """R writes NA for every empty cell, pandas nan or None if told to."""
    path = tmp_path / "stars.csv"
    good, failed = {**ROW, "error": nothing, "warnings": nothing}, {**FAILED, **dict.fromkeys(STARS, nothing)}
    pd.DataFrame([good, {**failed, "tc_ml": nothing, "wt_ml": nothing, "mask": nothing}]).to_csv(path, index=False)
    read = read_rated(path)
    assert read["error"].tolist() == ["", "gone"]
    assert read["warnings"].tolist()[0] == ""
    assert read["mask"].tolist()[1] == ""
    assert read.loc[1, [*STARS, "tc_ml"]].isna().all()


def test_an_exam_may_be_called_na(tmp_path):
    path = tmp_path / "stars.csv"
    pd.DataFrame([{**ROW, "exam": "NA"}]).to_csv(path, index=False)
    assert read_rated(path)["exam"].tolist() == ["NA"]


def test_stars_of_two_digits(tmp_path):
    path = tmp_path / "stars.csv"
    exact = {"axial": 4.225, "coronal": 5.334, "sagittal": 3.226}
    values = list(exact.values())
    row = exact | {"mean": sum(values) / 3, "spread": max(values) - min(values)}
    rounded = {name: round(value, 2) for name, value in row.items()}
    pd.DataFrame([{**ROW, **rounded}]).to_csv(path, index=False)
    assert read_rated(path)["mean"].tolist() == [rounded["mean"]]
    pd.DataFrame([{**ROW, **rounded, "mean": rounded["mean"] + 0.03}]).to_csv(path, index=False)
    with pytest.raises(TableError, match=r"row 2: mean 4.29: that of the views is 4.26.*two digits"):
        read_rated(path)


def test_ratings_paths_and_split(tmp_path):
    for name in ("s", "a", "b", "c", "d"):
        (tmp_path / name).touch()
    row = "e1;s;a;b;c;d;ann"
    path = tmp_path / "ratings.csv"
    path.write_text(f"exam;segmentation;t1c;t1;t2;flair;rater;view;stars;kind\n{row};NA;4,5;NA\n", "utf-8-sig")
    read = read_ratings([path])
    assert read[["view", "stars", "kind"]].to_numpy().tolist() == [["", 4.5, "human"]]
    (case,) = find_in_table(path.rename(tmp_path / "RATINGS.CSV"))
    assert case.images["t1c"] == tmp_path / "a"
    (tmp_path / "split.csv").write_text("exam;split\ne1;train\n", "utf-8-sig")
    assert read_split(tmp_path / "split.csv", ["e1"]) == {"e1": "train"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a,b\n1,2\n\n3,4,5\n", r"t.csv, row 4: expected 2 cells as in the header, found 3; put .* quotation marks"),
        (b"a,b\n1,2\n3\n", r"t.csv, row 3: expected 2 cells as in the header, found 1; put .* or save it again"),
        (b'a,b\n1,2\n3,"4\n5,6\n', r"t.csv, row 3: a quotation mark is not closed, or stands in the middle of a cell"),
        (b"a,b,a\n1,2,3\n", r"t.csv: has the column a twice; rename one"),
        (b"a,b\n1,caf\xe9\n", r"t.csv, row 2: expected UTF-8, found the byte 0xe9; save it as .CSV UTF-8"),
        (b"PK\x03\x04" + bytes(99), r"t.csv: is an Excel workbook; save it as CSV"),
        (b"", r"t.csv: found an empty file, expected a header and rows"),
        (b"a;c\n1;2\n", r"t.csv: lacks the columns b; it has a, c"),
    ],
)  # fmt: skip
def test_one_error_without_a_parsers_words(tmp_path, content, message):
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(TableError, match=message) as caught:
        read_table(path, ("a", "b"), "table of things")
    assert "\n" not in str(caught.value)
    assert "C error" not in str(caught.value)


def test_a_comma_that_could_part_thousands_is_no_decimal_comma(tmp_path):
    path = tmp_path / "stars.csv"
    pd.DataFrame([{**ROW, "wt_ml": "1,234"}]).to_csv(path, index=False)
    with pytest.raises(TableError, match=r"row 2: wt_ml '1,234': expected a number, or nothing"):
        read_rated(path)

"""Ratings made elsewhere: any table becomes a table of ratings."""

import pandas as pd
import pytest
from cohort import write_exam
from studies import run_import as run

from dqe_loss import MODALITIES
from dqe_loss.collect.judgments import read_judgments
from dqe_loss.data.tables.ratings import read_ratings
from dqe_loss.data.tables.table import TableError


def write_any(table, path):
    if path.suffix == ".csv":
        table.to_csv(path, index=False)
    else:
        table.to_parquet(path, index=False)


def test_any_table(tmp_path):
    source = tmp_path / "theirs.csv"
    source.write_text("case;mask;reader;score;site\nc1;a;Dr. A;2,5;X\nc1;a;Dr. B;5;X\nc2;a;Dr. A;1;Y\nc1;a;Dr. A;5;X\n")
    columns = ["--columns", "exam=case", "segmentation=mask", "rater=reader", "stars=score"]
    run(source, tmp_path / "out.csv", *columns, "--scale", 1, 5)
    table = pd.read_csv(tmp_path / "out.csv")
    assert table["stars"].tolist() == [2.875, 6, 1, 6]
    assert table["repeat"].tolist() == [0, 0, 0, 1]
    assert table["rater"].tolist() == ["Dr. A", "Dr. B", "Dr. A", "Dr. A"]
    assert table["site"].tolist() == ["X", "X", "Y", "X"]
    assert set(table["kind"]) == {"human"}


def test_what_is_rated_twice_is_told_and_what_two_sets_call_alike_is_not_lost(tmp_path, capsys):
    """Two data sets name an exam alike: as a column tells them apart, each is looked at for the first time."""
    source = tmp_path / "theirs.csv"
    source.write_text("set,exam,segmentation,rater,stars\nA,1,s,ann,2\nA,1,s,bob,2\nB,1,s,ann,5\nB,1,s,bob,5\n")
    run(source, tmp_path / "out.csv")
    assert "2 of them repeat an earlier row (same rater, exam and segmentation)" in capsys.readouterr().out
    apart = read_judgments([tmp_path / "out.csv"], (1, 6), "set")
    assert apart["repeat"].tolist() == [False] * 4
    together = read_judgments([tmp_path / "out.csv"], (1, 6))
    assert together["repeat"].tolist() == [False, False, True, True]


@pytest.mark.parametrize(
    ("looks", "numbers"),
    [
        (("FALSE", "TRUE"), [0, 1]),
        (("1", "2"), [1, 2]),
        (("0.0", "1.0"), [0, 1]),
        (("NA", "true"), [0, 1]),
        (("", ""), [0, 1]),
    ],
)
def test_second_looks_as_others_write_them(tmp_path, looks, numbers):
    source = tmp_path / "theirs.csv"
    rows = "".join(f"a,s,ann,{3 + i},{look}\n" for i, look in enumerate(looks))
    source.write_text(f"exam,segmentation,rater,stars,again\n{rows}")
    run(source, tmp_path / "out.csv", "--columns", "repeat=again")
    assert pd.read_csv(tmp_path / "out.csv")["repeat"].tolist() == numbers
    for table in (source, tmp_path / "out.csv"):
        named = tmp_path / f"named-{table.name}"
        named.write_text(table.read_text().replace("again", "repeat"))
        if looks[0]:  # an import numbers what is not numbered, a report does not
            assert read_judgments([named], (1, 6))["repeat"].tolist() == [False, True]


def test_a_look_that_is_no_number_is_told(tmp_path, capsys):
    source = tmp_path / "t.csv"
    for look in ("yes", "-1", "0.5"):
        source.write_text(f"exam,segmentation,rater,stars,repeat\na,s,ann,3,{look}\n")
        run(source, tmp_path / "out.csv", code=2)
        assert f"row 2: repeat '{look}': expected 0, or 1, 2" in capsys.readouterr().err
        with pytest.raises(TableError, match="row 2: repeat"):
            read_judgments([source], (1, 6))


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_simulated_stays_simulated(tmp_path, capsys, ending):
    source = tmp_path / f"t.{ending}"
    table = pd.DataFrame({"exam": ["a", "b"], "segmentation": "s", "rater": "r", "stars": [3, 4]})
    write_any(table.assign(kind=["simulated", "simulated"]), source)
    run(source, tmp_path / "out.csv")
    assert set(pd.read_csv(tmp_path / "out.csv")["kind"]) == {"simulated"}
    run(source, tmp_path / "no.csv", "--kind", "human", code=2)
    assert "row 2: kind 'simulated': expected human, as --kind says" in capsys.readouterr().err
    write_any(table.assign(kind=["CT", None]), source)
    run(source, tmp_path / "no.csv", code=2)
    assert "row 2: kind 'CT': expected one of human, simulated, metric" in capsys.readouterr().err
    write_any(table, source)
    run(source, tmp_path / "out.csv", "--kind", "simulated")
    assert set(pd.read_csv(tmp_path / "out.csv")["kind"]) == {"simulated"}


def test_one_of_their_columns_may_be_two_of_ours(tmp_path):
    source = tmp_path / "t.csv"
    source.write_text("id,rater,stars,segmentation\na,ann,3,s\n")
    run(source, tmp_path / "out.csv", "--columns", "exam=id", "segmentation=id")
    assert pd.read_csv(tmp_path / "out.csv")[["exam", "segmentation"]].values.tolist() == [["a", "a"]]
    run(source, tmp_path / "out.csv", "--columns", "exam=segmentation")
    assert pd.read_csv(tmp_path / "out.csv")[["exam", "segmentation"]].values.tolist() == [["s", "s"]]


def test_a_table_with_paths_may_move_to_another_folder(tmp_path):
    for number in range(2):
        write_exam(tmp_path / "data" / f"case-{number}", number, masks=("seg-a",))
    (tmp_path / "elsewhere").mkdir()
    source = tmp_path / "data" / "t.csv"
    rows = [{"exam": f"case-{n}", "segmentation": f"case-{n}/seg-a.nii.gz", "rater": "ann"} for n in range(2)]
    table = pd.DataFrame([r | {m: f"{r['exam']}/{r['exam']}_{m}.nii.gz" for m in MODALITIES} for r in rows])
    table.assign(view="", stars=3).to_csv(source, index=False)
    run(source, tmp_path / "elsewhere" / "out.csv")
    (tmp_path / "elsewhere" / "out.csv").rename(tmp_path / "elsewhere" / "other.csv")
    expected = read_ratings([source])
    assert read_ratings([tmp_path / "elsewhere" / "other.csv"])[list(expected)].equals(expected)


def test_where_one_is_best(tmp_path):
    source = tmp_path / "t.csv"
    pd.DataFrame({"exam": ["a", "b"], "segmentation": ["s", "s"], "stars": [1, 4]}).to_csv(source, index=False)
    run(source, tmp_path / "out.csv", "--rater", "ann", "--scale", 4, 1)
    assert pd.read_csv(tmp_path / "out.csv")["stars"].tolist() == [6, 1]


def test_with_the_data_it_is_a_table_to_train_on(tmp_path, capsys):
    for number in range(2):
        write_exam(tmp_path / "data" / "site" / f"case-{number}", number)
    source = tmp_path / "t.csv"
    rows = [(f"case-{n}", mask, "ann", 3 + n) for n in range(2) for mask in ("seg-a.nii.gz", "b")]
    pd.DataFrame(rows, columns=["exam", "segmentation", "rater", "stars"]).to_csv(source, index=False)
    run(source, tmp_path / "out.csv", "--data", tmp_path / "data")
    table = read_ratings([tmp_path / "out.csv"])
    assert len(table) == 4
    assert table["segmentation"].str.contains("seg-a").sum() == 2
    pd.DataFrame([("case-9", "b", "ann", 3)], columns=["exam", "segmentation", "rater", "stars"]).to_csv(
        source, index=False
    )
    run(source, tmp_path / "no.csv", "--data", tmp_path / "data", code=2)
    assert "has no exam case-9" in capsys.readouterr().err
    assert not (tmp_path / "no.csv").exists()


def test_a_wrong_cell_leaves_what_is_there(tmp_path, capsys):
    """The source itself, written over with paths: it stays as it was until all is well."""
    write_exam(tmp_path / "data" / "case", masks=("seg-a",))
    source = tmp_path / "t.csv"
    content = "exam,segmentation,rater,view,stars\ncase,seg-a,ann,oblique,3\n"
    source.write_text(content)
    run(source, source, "--data", tmp_path / "data", code=2)
    assert f"{source}, row 2: view 'oblique': expected one of" in capsys.readouterr().err
    assert source.read_text() == content
    source.write_text(content.replace("oblique", "axial"))
    run(source, source, "--data", tmp_path / "data")
    assert read_ratings([source])["view"].tolist() == ["axial"]


@pytest.mark.parametrize(
    ("content", "options", "said"),
    [
        ("exam,segmentation,rater,stars\na,b,c,9\n", (), "row 2: '9': expected a number from 1 to 6; say --scale"),
        ("exam,segmentation,rater,stars\na,b,c,x\n", (), "expected a number from 1 to 6"),
        ("exam,segmentation,stars\na,b,3\n", (), "lacks the columns rater"),
        ("exam,segmentation,rater,stars\na,b,c,3\n", ("--columns", "star=score"), "--columns takes OURS=THEIRS"),
        ("exam,segmentation,rater,stars\na,b,c,3\n", ("--scale", "2", "2"), "got 2 twice"),
        ("p1.nii.gz,1,\np2.nii.gz,perfect,\n", ("--rater", "a"), "row 2: expected an answer of SegmentationReview"),
    ],
)
def test_what_cannot_be_read_is_told(tmp_path, capsys, content, options, said):
    source = tmp_path / "t.csv"
    source.write_text(content)
    run(source, tmp_path / "out.csv", *options, code=2)
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out.csv").exists()


def test_who_rated_is_filled_in_where_it_is_blank(tmp_path):
    source = tmp_path / "t.csv"
    pd.DataFrame({"exam": ["a", "b"], "segmentation": "s", "rater": ["eve", ""], "stars": 3}).to_csv(
        source, index=False
    )
    run(source, tmp_path / "out.csv", "--rater", "ann")
    assert pd.read_csv(tmp_path / "out.csv")["rater"].tolist() == ["eve", "ann"]


def test_exams_of_one_name_in_two_folders_are_told_apart(tmp_path, capsys):
    for site in ("one", "two"):
        write_exam(tmp_path / "data" / site / "case", masks=("seg-a",))
    source = tmp_path / "t.csv"
    table = pd.DataFrame({"exam": ["case"], "segmentation": "seg-a", "rater": "ann", "stars": 3})
    table.to_csv(source, index=False)
    run(source, tmp_path / "out.csv", "--data", tmp_path / "data", code=2)
    assert "has one/case and two/case; say which in the column exam" in capsys.readouterr().err
    assert not (tmp_path / "out.csv").exists()
    table.assign(exam="two/case", path="theirs", name="unet").to_csv(source, index=False)
    run(source, tmp_path / "out.csv", "--data", tmp_path / "data")
    found = pd.read_csv(tmp_path / "out.csv").iloc[0]
    assert "two/case/seg-a" in found["segmentation"]
    assert (found["path"], found["name"]) == ("theirs", "unet")

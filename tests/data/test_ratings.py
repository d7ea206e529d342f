"""The ratings table and the split: golden values by hand, and every problem with its row."""

import numpy as np
import pandas as pd
import pytest
from helpers import quick
from hypothesis import given
from hypothesis import strategies as st

from dqe_loss.data.split import PARTS, read_split, split_exams, write_split
from dqe_loss.data.tables.ratings import RatingsError, judgments_by_view, mean_ratings, read_ratings, write_ratings
from dqe_loss.data.tables.ratings_scheme import scheme_of
from dqe_loss.task import GLIOMA

ROW = {"exam": "e1", "segmentation": "seg1", "t1c": "a", "t1": "b", "t2": "c", "flair": "d", "rater": "ann"}


@pytest.fixture
def write(tmp_path):
    """Write rows, each a change of a good one, and the files they name; returns the table's path."""
    for name in ("seg1", "seg2", "a", "b", "c", "d", "a2", "b2", "c2", "d2"):
        (tmp_path / name).write_text(name)

    def write(*changes, name="ratings.csv", drop=()):
        rows = [{**ROW, "view": "", "stars": 4, **change} for change in changes]
        table = pd.DataFrame(rows).drop(columns=list(drop))
        path = tmp_path / name
        table.to_csv(path, index=False) if name.endswith("csv") else table.to_parquet(path, index=False)
        return path

    return write


def problems_of(path):
    with pytest.raises(RatingsError) as caught:
        read_ratings([path])
    return [problem.partition(f"{path}, ")[2] or problem for problem in caught.value.problems]


def test_table_is_read_with_absolute_paths_and_types(write, tmp_path):
    table = read_ratings([write({}, {"rater": "bob", "view": "axial", "stars": 2.5, "comment": "blurred"})])
    first, second = table.to_dict("records")
    assert first["segmentation"] == str(tmp_path / "seg1")
    assert (first["view"], first["stars"], first["kind"]) == ("", 4.0, "human")
    assert (second["view"], second["stars"], second["comment"]) == ("axial", 2.5, "blurred")


@pytest.mark.parametrize("name", ["again.csv", "again.parquet"])
def test_written_table_is_relative_and_reads_the_same(write, tmp_path, name):
    table = read_ratings([write({"exam": "007"}, {"exam": "007", "view": "sagittal", "kind": "human"})])
    (tmp_path / "sub").mkdir()
    write_ratings(table, tmp_path / "sub" / name)
    again = read_ratings([tmp_path / "sub" / name])
    pd.testing.assert_frame_equal(again, table, check_dtype=False)
    if name.endswith("csv"):
        assert "../seg1" in (tmp_path / "sub" / name).read_text()
        assert str(tmp_path) not in (tmp_path / "sub" / name).read_text()


def test_the_label_scheme_of_a_table_counts(write):
    plain, told, other = (
        write({**scheme, "rater": rater}, name=f"{rater}.csv")
        for rater, scheme in (("ann", {}), ("bob", {"label_scheme": "brats23"}), ("eve", {"label_scheme": "nnunet"}))
    )
    assert scheme_of(read_ratings([plain]), None).name == GLIOMA.default_scheme
    assert scheme_of(read_ratings([plain]), "nnunet").name == "nnunet"
    assert scheme_of(read_ratings([told]), None).name == "brats23"
    assert scheme_of(read_ratings([plain, told]), "brats23").name == "brats23"
    with pytest.raises(ValueError, match="column label_scheme and --label-scheme say brats23 and nnunet"):
        scheme_of(read_ratings([told]), "nnunet")
    with pytest.raises(ValueError, match="column label_scheme say brats23 and nnunet"):
        scheme_of(read_ratings([told, other]), None)
    assert "label_scheme 'mine': expected one of" in problems_of(write({"label_scheme": "mine"}))[0]


def test_tables_are_put_together(write):
    paths = [write({}), write({"rater": "bob"}, name="more.parquet")]
    assert read_ratings(paths)["rater"].tolist() == ["ann", "bob"]


def test_mean_ratings_by_hand(write):
    table = read_ratings(
        [
            write(
                {"stars": 3}, {"rater": "bob", "view": "axial", "stars": 6}, {"segmentation": "seg2", "view": "coronal"}
            )
        ]
    )
    means = mean_ratings(table)
    found = [(r.view, r.stars, r.lowest, r.highest, r.raters) for r in means.itertuples()]
    assert found == [
        ("axial", 4.5, 3, 6, 2),
        ("coronal", 3, 3, 3, 1),
        ("sagittal", 3, 3, 3, 1),
        ("coronal", 4, 4, 4, 1),
    ]
    assert len(judgments_by_view(table)) == 5


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"stars": 7}, "row 3: stars '7': expected a number from 1 to 6"),
        ({"stars": "good"}, "row 3: stars 'good': expected a number from 1 to 6"),
        ({"stars": None}, "row 3: stars '': expected a number from 1 to 6"),
        ({"stars": np.inf}, "row 3: stars 'inf': expected a number from 1 to 6"),
        ({"view": "top"}, "row 3: view 'top': expected one of axial, coronal, sagittal, or nothing"),
        ({"exam": ""}, "row 3: exam '': expected a name, found nothing"),
        ({"rater": " "}, "row 3: rater ' ': expected a name, found nothing"),
        ({"kind": "expert"}, "row 3: kind 'expert': expected one of human, simulated, metric"),
        (
            {"view": "", "rater": "ann"},
            "row 3: ann has judged this segmentation and view before; number second looks in a column repeat",
        ),
    ],
)
def test_problem_of_a_value(write, change, expected):
    assert problems_of(write({}, {"rater": "bob", **change})) == [expected]


def test_problems_of_files_and_names(write):
    second_exam = {"exam": "e2", "segmentation": "seg2", "t1c": "a2", "t1": "b2", "t2": "c2", "flair": "d2"}
    assert problems_of(write({}, {**second_exam, "t2": "nowhere"}))[0].startswith("row 3: t2 ")
    assert "exam e1 has another t1 here" in problems_of(write({}, {"segmentation": "seg2", "t1": "b2"}))[0]
    shared = problems_of(write({}, {**second_exam, "flair": "d"}))
    assert len(shared) == 1
    assert "is of the exams e1, e2" in shared[0]
    assert "would be trained and tested on" in shared[0]
    mixed = problems_of(write({}, {"rater": "bob", "kind": "simulated"}))
    assert mixed == ["the tables hold human and simulated ratings, expected one kind: train and evaluate them apart"]


def test_every_problem_is_listed_and_long_lists_are_cut_short_in_the_message(write):
    path = write(*({"rater": f"r{i}", "stars": 9} for i in range(30)))
    assert len(problems_of(path)) == 30
    with pytest.raises(RatingsError, match=r"^30 problems: .*row 2: .*row 21: [^;]*; and 10 more$"):
        read_ratings([path])


def test_tables_that_are_none(write, tmp_path):
    with pytest.raises(RatingsError, match=r"lacks the columns t2, stars; it has exam"):
        read_ratings([write({}, drop=("t2", "stars"))])
    with pytest.raises(RatingsError, match="expected at least one table"):
        read_ratings([])
    with pytest.raises(RatingsError, match="found nothing there"):
        read_ratings([tmp_path / "none.csv"])
    with pytest.raises(RatingsError, match=r"ends in \.csv or \.parquet"):
        read_ratings([tmp_path / "ratings.xlsx"])
    (tmp_path / "broken.parquet").write_bytes(b"no parquet")
    with pytest.raises(RatingsError, match="cannot be read as a table"):
        read_ratings([tmp_path / "broken.parquet"])
    (tmp_path / "empty.csv").write_text("exam,segmentation,t1c,t1,t2,flair,rater,view,stars\n")
    with pytest.raises(RatingsError, match="without rows"):
        read_ratings([tmp_path / "empty.csv"])


names = st.lists(st.text("abcdef0123", min_size=1, max_size=5), min_size=4, max_size=40, unique=True)


@quick
@given(names, st.integers(0, 5), st.floats(0, 0.4), st.floats(0, 0.4))
def test_split_has_each_exam_once_whatever_the_order(exams, seed, validation, test):
    split = split_exams(exams, validation=validation, test=test, seed=seed)
    assert sorted(split) == sorted(exams)
    assert split == split_exams([*reversed(exams), exams[0]], validation=validation, test=test, seed=seed)
    counts = {part: list(split.values()).count(part) for part in PARTS}
    assert counts["train"] >= 1
    assert (counts["validation"] > 0) == (validation > 0)
    assert (counts["test"] > 0) == (test > 0)


def test_paper_split():
    split = split_exams([str(i) for i in range(75)], validation=0)
    assert list(split.values()).count("test") == 15
    assert split != split_exams([str(i) for i in range(75)], validation=0, seed=1)


def test_split_round_trip_and_errors(tmp_path):
    split = split_exams("abcdef")
    path = tmp_path / "split.csv"
    write_split(split, path)
    assert read_split(path, "abc") == split
    with pytest.raises(ValueError, match=r"has no part for 1 exams of the ratings, such as z"):
        read_split(path, ["a", "z"])
    path.write_text("exam,split\na,train\nb,test\na,test\n")
    with pytest.raises(ValueError, match="exam a lies in train and test; it must be in one part alone"):
        read_split(path)
    path.write_text("exam,split\na,training\n")
    with pytest.raises(ValueError, match="expected the parts train, validation, test, found 'training'"):
        read_split(path)
    path.write_text("name,split\na,train\n")
    with pytest.raises(ValueError, match="expected the columns exam, split, found name, split"):
        read_split(path)
    with pytest.raises(ValueError, match="found nothing there"):
        read_split(tmp_path / "none.csv")
    with pytest.raises(ValueError, match="leave none to train on"):
        split_exams("ab")

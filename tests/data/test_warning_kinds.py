"""Warnings have kinds and grades: what is only told keeps nothing back, what asks for a look does, by name."""

import numpy as np
import pandas as pd
import pytest
from cohort import write, write_exam
from helpers import make_labels, small_surrogate
from rated_table import rated_table

from dqe_loss.curate import command as curate
from dqe_loss.curate.decide import Rule, decide, deciding_stars
from dqe_loss.data.exams import open_exam
from dqe_loss.data.findings import mask_findings, region_volumes
from dqe_loss.data.tables.rated import read_rated, write_rated
from dqe_loss.data.tables.warning_kinds import KINDS, REVIEW, Finding, check_kinds, describe_aside, kind_of, to_review
from dqe_loss.rate.plan import RatePlan
from dqe_loss.rate.rate_data_set import rate_data_set

FORMER = {  # as the version before wrote them, without a name
    "182 x 218 x 182 voxels, expected 240 x 240 x 155 as in BraTS": "grid",
    "voxels of 2 x 2 x 2 mm, expected 1 mm": "spacing",
    "affine of the segmentation differs from that of t1c": "affine",
    "affine of t1 and flair differs from that of t1c": "affine",
    "t1c and t1 are the same image": "same-image",
    "the file given as t1 is named as t2": "named-as",
    "empty region TC, ET": "empty-region",
    "tumor touches the border of the volume": "border",
    "tumor as large as 57% of the head": "large",
    "ask Anna": "other",
}
GRID = "182 x 218 x 182 voxels, expected 240 x 240 x 155 as in BraTS"


def test_grades():
    assert {name for name, kind in KINDS.items() if not kind.review} == {"grid", "header"}
    assert set(REVIEW) == {
        "spacing", "affine", "same-image", "named-as", "empty-region", "border", "large", "other",
    }  # fmt: skip


@pytest.mark.parametrize(("text", "kind"), FORMER.items())
def test_kinds_are_known_with_their_name_and_in_tables_of_former_versions(text, kind):
    assert kind_of(text) == kind
    assert kind_of(str(Finding(kind, text))) == kind
    assert kind_of(str(Finding("header", text))) == "header"  # the name counts, not the words
    aside = to_review(pd.Series([text, f"{GRID}; {text}", ""]))
    assert aside.tolist() == ([text, text, ""] if KINDS[kind].review else [""] * 3)


@pytest.mark.parametrize("ending", ["", " [grid]"])
def test_a_cohort_on_the_grid_of_2024_is_kept(tmp_path, ending):
    table = rated_table(np.linspace(3, 5, 6), warnings=GRID + ending)
    table.loc[0, "warnings"] = f"tumor touches the border of the volume; {GRID}{ending}"
    write_rated(table, tmp_path / "stars.csv")
    arguments = [str(tmp_path / "stars.csv"), "--threshold", "1", "--pictures", "0"]
    assert curate.main([*arguments, "--out", str(tmp_path / "out")]) == 0
    assert len(read_rated(tmp_path / "out" / "kept.csv")) == 5
    assert read_rated(tmp_path / "out" / "review.csv")["reason"].tolist() == [
        "warning: tumor touches the border of the volume"
    ]


def test_from_files_to_the_list_of_kept(tmp_path):
    for number in range(2):
        write_exam(tmp_path / "data" / f"case-{number}", number)
    write(tmp_path / "data" / "case-1" / "seg-b.nii.gz", np.roll(make_labels(), -10, 0))
    outcome = rate_data_set(RatePlan(tmp_path / "data", tmp_path / "stars.csv", "small"), small_surrogate())
    assert [text.rpartition(" ")[2] for text in outcome.table["warnings"]] == ["[grid]"] * 4
    assert "tumor touches the border of the volume [border]; " in outcome.table.loc[3, "warnings"]
    arguments = [str(tmp_path / "stars.csv"), "--threshold", "-9", "--pictures", "0"]
    for more, kept in (((), 3), (("--accept-warnings",), 4), (("--accept-warnings", "border", "large"), 4),
                       (("--accept-warnings", "large"), 3), (("--accept-warnings", "grid"), 3)):  # fmt: skip
        assert curate.main([*arguments, "--out", str(tmp_path / "out"), *more]) == 0
        assert len(read_rated(tmp_path / "out" / "kept.csv")) == kept


@pytest.mark.parametrize("kind", REVIEW)
def test_each_kind_to_review_is_put_aside_unless_it_is_accepted(kind):
    table = rated_table([5.0, 5.0], warnings=[str(Finding(kind, "so it is")), ""])
    stars = deciding_stars(table)
    assert decide(table, stars, Rule())["decision"].tolist() == ["review", "keep"]
    assert decide(table, stars, Rule())["reason"][0] == f"warning: so it is [{kind}]"
    assert decide(table, stars, Rule(accept_warnings=(kind,)))["decision"].tolist() == ["keep", "keep"]
    others = tuple(name for name in KINDS if name != kind)
    assert decide(table, stars, Rule(accept_warnings=others))["decision"].tolist() == ["review", "keep"]


def test_unknown_names_are_refused_with_the_list(tmp_path, capsys):
    write_rated(rated_table([4.0]), tmp_path / "stars.csv")
    arguments = [str(tmp_path / "stars.csv"), "--out", str(tmp_path / "out"), "--accept-warnings", "edge", "border"]
    assert curate.main(arguments) == 2
    err = capsys.readouterr().err
    assert "--accept-warnings edge: expected names of warnings: " in err
    for name, kind in KINDS.items():
        assert f"{name} ({kind.meaning})" in err
    assert not (tmp_path / "out").exists()
    check_kinds(KINDS)


def test_what_is_put_aside_in_words():
    assert describe_aside(()) == "a warning to review"
    assert describe_aside(("border",)) == "a warning to review (other than border)"
    assert describe_aside(REVIEW) == ""


def test_a_cavity_is_no_tumor_at_the_border_and_does_not_make_it_large(tmp_path):
    folder = write_exam(tmp_path / "a", masks=("seg",))
    labels = make_labels()
    labels[:16][labels[:16] == 0] = 4
    write(folder / "seg.nii.gz", labels)
    found = {}
    for scheme in ("brats24", "brats-peds"):
        exam = open_exam(folder, label_scheme=scheme)
        (array,) = exam.segmentations.values()
        volumes = region_volumes(array, scheme)
        found[scheme] = {finding.kind for finding in mask_findings(exam, array, folder / "seg.nii.gz", volumes, scheme)}
    assert found == {"brats24": set(), "brats-peds": {"border", "large"}}

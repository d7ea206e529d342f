"""What one label map cannot tell and many can: told once, wherever exams of many are read under one scheme."""

import warnings
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
from cohort import write, write_exam
from helpers import make_labels, small_surrogate
from rated import write_rated_exams
from rated_table import rated_table

from dqe_loss.audit import whole_audit as audit
from dqe_loss.audit.audited_exam import find_sources
from dqe_loss.audit.stars_and_dice import AuditSettings
from dqe_loss.curate import command as curate
from dqe_loss.data.label_sets import LabelSurvey
from dqe_loss.data.tables.rated import COLUMNS, read_rated, write_rated
from dqe_loss.data.tables.ratings import read_ratings
from dqe_loss.evaluate import command as evaluate
from dqe_loss.harden import sources as hardening
from dqe_loss.harden.config import HardenConfig
from dqe_loss.rate import command as rate
from dqe_loss.rate.plan import RatePlan
from dqe_loss.rate.rate_data_set import rate_data_set
from dqe_loss.simulate import command as simulate
from dqe_loss.task import GLIOMA
from dqe_loss.train.plane_cache import PlaneCache, fill_cache

MIXED = r"'brats' takes 3 and 4 as enhancing tumor, and this data set mixes them: {} holds 3, {} holds 4.*brats24.*"
shown = pytest.mark.filterwarnings("default")
"""As a user has it; in the suite else, a warning of this package is an error."""


def with_cavity(labels):
    """No enhancing tumor is left, and there is a hole: what BraTS 2024 has, and what passes for BraTS 2021."""
    return np.where(labels == 3, np.uint8(4), labels)


def mixed_exams(root, count=3):
    for number in range(count):
        folder = write_exam(root / f"case-{number}", number)
        for name in ("seg-a", "seg-b"):
            write(folder / f"{name}.nii.gz", with_cavity(make_labels()) if number == 1 else make_labels())
    return root


def told(caught):
    return [str(w.message) for w in caught if "this data set mixes them" in str(w.message)]


def test_an_exam_of_either_is_told_once():
    survey = LabelSurvey("brats")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        survey.add("plain", (1, 2))
        survey.add("old", (1, 2, 4))
        survey.add("old too", (4,))
        survey.add("both in two masks", (1, 2, 3, 4))
        assert not told(caught)
        survey.add("new", (3,))
        survey.add("new too", (3,))
        survey.add("another", (4,))
    (message,) = told(caught)
    assert "new holds 3, old holds 4" in message
    for advice in ("brats24", "brats-peds", "brats21", "brats23", "--label-scheme"):
        assert advice in message


@pytest.mark.parametrize("scheme", ["brats24", "brats-peds", "brats23", "msd"])
def test_a_scheme_that_says_what_4_is_needs_no_telling(scheme):
    survey = LabelSurvey(scheme)
    survey.add("a", (3,))
    survey.add("b", (4,))


@shown
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_rate_and_curate_tell_it(tmp_path, checkpoint, capsys, ending):
    root, table = mixed_exams(tmp_path / "data"), tmp_path / f"stars.{ending}"
    command = ["--data", str(root), "--out", str(table), "--checkpoint", str(checkpoint)]
    assert rate.main(command) == 0
    err = capsys.readouterr().err
    assert err.count("this data set mixes them: case-0 holds 3, case-1 holds 4") == 1
    assert read_rated(table)["labels"].tolist() == ["1 2 3"] * 2 + ["1 2 4"] * 2 + ["1 2 3"] * 2
    assert rate.main(command) == 0  # all is in the journal already
    assert capsys.readouterr().err.count("this data set mixes them") == 1
    assert curate.main([str(table), "--out", str(tmp_path / "curated"), "--accept-warnings"]) == 0
    assert capsys.readouterr().err.count("this data set mixes them: case-0 holds 3, case-1 holds 4") == 1
    named = ["--data", str(root), "--checkpoint", str(checkpoint), "--label-scheme", "brats24"]
    assert rate.main([*named, "--out", str(tmp_path / "named.csv")]) == 0
    assert "mixes them" not in capsys.readouterr().err
    assert read_rated(tmp_path / "named.csv").loc[2, "et_ml"] == 0


def test_rows_of_former_journals_and_tables_say_nothing(tmp_path):
    write_rated(rated_table([4.0, 5.0], label_scheme="brats"), tmp_path / "old.csv")
    table = read_rated(tmp_path / "old.csv")
    assert list(table) == list(COLUMNS)
    LabelSurvey("brats").add_table(table)
    write_exam(tmp_path / "data" / "a")
    plan = RatePlan(tmp_path / "data", tmp_path / "stars.csv", "small")
    rate_data_set(plan, small_surrogate())
    journal = tmp_path / "stars.csv.journal" / "rank-0.jsonl"
    journal.write_text(journal.read_text().replace('"labels": "1 2 3"', '"former": ""'))
    assert rate_data_set(plan, small_surrogate()).table["labels"].tolist() == ["", ""]


@shown
def test_evaluate_tells_it(tmp_path, checkpoint, capsys):
    mixed_exams(tmp_path / "data")
    folders = [str(tmp_path / "data" / f"case-{number}") for number in range(3)]
    arguments = [str(checkpoint), "--exams", *folders, "--reference", "seg-a", "--out", str(tmp_path / "out")]
    assert evaluate.main([*arguments, "--resamples", "10"]) == 0
    assert capsys.readouterr().err.count("this data set mixes them: case-0 holds 3, case-1 holds 4") == 1


def test_training_tells_it_whether_planes_are_cached_or_not(tmp_path):
    table = read_ratings([write_rated_exams(tmp_path, 3)])
    for file in table.loc[table["exam"] == "exam-2", "segmentation"].unique():
        image = nib.load(file)
        nib.Nifti1Image(with_cavity(np.asarray(image.dataobj)), image.affine).to_filename(file)
    cache = PlaneCache(tmp_path / "planes", small_surrogate().config)
    for _ in range(2):
        with pytest.warns(UserWarning, match=MIXED.format("exam-0", "exam-2")):
            fill_cache(cache, table, progress=False)
    fill_cache(PlaneCache(tmp_path / "planes", small_surrogate().config, "brats24"), table, progress=False)


@shown
@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_simulate_tells_it(tmp_path, capsys, workers):
    mixed_exams(tmp_path / "data")
    folders = [str(tmp_path / "data" / f"case-{number}") for number in range(3)]
    arguments = ["--exams", *folders, "--reference", "seg-a", "--out", str(tmp_path / "out"), "--segmentations", "2"]
    assert simulate.main([*arguments, "--workers", str(workers)]) == 0
    assert capsys.readouterr().err.count("this data set mixes them") == 1


@pytest.fixture
def sources(tmp_path):
    mixed_exams(tmp_path / "data")
    return find_sources([tmp_path / "data" / f"case-{number}" for number in range(3)], ["seg-a"])


def test_an_audit_tells_it(sources, monkeypatch):
    part = SimpleNamespace(
        uses_steps=False, count=lambda _: 0, measure=lambda *_: SimpleNamespace(numbers={}, panels=[])
    )
    monkeypatch.setattr(audit, "PARTS", {"absurd": part})
    plan = audit.AuditPlan("small", sources, ("absurd",), AuditSettings())
    state = SimpleNamespace(find=lambda *_: None, add=lambda *_: None)
    with pytest.warns(UserWarning, match=MIXED.format("case-0", "case-1")):
        audit._measure(plan, small_surrogate(), state)


def test_hardening_tells_it(sources, monkeypatch):
    monkeypatch.setattr(hardening, "prepare_exam", lambda *_, **__: SimpleNamespace(stock=[], predicted=0))
    survey, config = LabelSurvey("brats"), HardenConfig(natural=False)
    hardening.prepare_exams(config, sources[:1], survey, GLIOMA)
    with pytest.warns(UserWarning, match=MIXED.format("case-0", "case-1")):
        hardening.prepare_exams(config, sources[1:2], survey, GLIOMA)

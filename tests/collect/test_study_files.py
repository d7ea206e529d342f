"""A study and its files: volumes, data that changes, extension, and what is refused before a rater sees it."""

import gzip
import json
import os
import time
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from studies import TAGS, begin, serving, write_data

from dqe_loss.collect.begin import go_on
from dqe_loss.collect.command import main
from dqe_loss.collect.order import trials_of
from dqe_loss.collect.pictures import PICTURES, PictureFolder
from dqe_loss.collect.study import StudyDesign, cases_of
from dqe_loss.collect.study_file import read_study
from dqe_loss.collect.volumes import volume_bytes
from dqe_loss.data.discovery.data_set import find_data_set


def test_volumes_for_3d(study, folder):
    with serving(study, folder) as (_, raters):
        ann = raters["ann"]
        case = ann.state()["case"]["id"]
        shown = study.cases[trials_of(study, "ann")[0].cases[0]]
        found = {}
        for name in ("flair", "mask"):
            content = ann.client.get(f"{ann.base}/volume/{case}/0/{name}.nii.gz").content
            found[name] = nib.Nifti1Image.from_bytes(gzip.decompress(content))
            assert found[name].header["descrip"].tobytes().strip(b"\0") == b""
        labels = np.asarray(nib.load(shown.mask).dataobj)
        assert found["flair"].get_data_dtype() == np.uint8
        assert np.array_equal(np.asarray(found["mask"].dataobj) > 0, labels > 0)
        assert np.array_equal(np.asarray(found["mask"].dataobj) == 3, labels == 3)


def test_a_volume_of_another_mask_is_not_kept(tmp_path):
    """Changed while the server runs, asked for, and put back: the planes are of the file as it was."""
    data, folder = write_data(tmp_path / "data", 2, ("seg-a",)), tmp_path / "ratings"
    study = begin(folder, data, raters=("ann",), repeats=0.0)
    mask = data / "hospital-0" / "seg-a.nii.gz"
    whole = mask.read_bytes()
    case = next(case for case in study.cases if case.exam == "hospital-0")
    with serving(study, folder) as (_, raters):
        ann = raters["ann"]
        number = study.cases.index(case)
        if trials_of(study, "ann")[0].cases != (number,):
            ann.answer(4)
        url = f"{ann.base}/volume/{ann.state()['case']['id']}/0/mask.nii.gz"
        mask.write_bytes((data / "hospital-1" / "seg-a.nii.gz").read_bytes())
        assert ann.client.get(url).status_code == 500
        mask.write_bytes(whole)
        content = ann.client.get(url).content
    shown = np.asarray(nib.Nifti1Image.from_bytes(gzip.decompress(content)).dataobj)
    assert np.array_equal(shown > 0, np.asarray(nib.load(mask).dataobj) > 0)


def test_a_name_is_looked_up_before_any_file(study, folder, monkeypatch):
    asked = []
    with serving(study, folder) as (_, raters):
        ann = raters["ann"]
        url = f"{ann.base}/volume/{ann.state()['case']['id']}/0"
        is_file = Path.is_file
        monkeypatch.setattr(Path, "is_file", lambda path: asked.append(path.name) or is_file(path))
        for name in ("x" * 250, "links"):
            assert ann.client.get(f"{url}/{name}.nii.gz").status_code == 404
    assert not [name for name in asked if name.endswith(".nii.gz")]


def test_equal_masks_of_two_exams_do_not_share_their_scans(tmp_path):
    """Both empty, and the images of one size: in earlier studies their stamps were equal."""
    data = write_data(tmp_path / "data", 2, ("seg-a",))
    for exam in sorted(data.iterdir()):
        mask = nib.load(exam / "seg-a.nii.gz")
        nib.Nifti1Image(np.zeros(mask.shape, np.uint8), mask.affine).to_filename(exam / "seg-a.nii.gz")
        for image in [*exam.glob("*.nii.gz")]:
            if not image.name.startswith("seg"):
                nib.load(image).to_filename(image.with_suffix(""))
                image.unlink()
    one, two = (replace(case, stamp=case.stamp_now("earlier")) for case in cases_of(find_data_set(data, "brats")))
    assert one.stamp == two.stamp
    scans = [volume_bytes(case, "flair", StudyDesign(), tmp_path / "volumes") for case in (one, two)]
    assert scans[0] != scans[1]


def test_a_file_that_has_changed_is_told(study, folder, data, tmp_path):
    copy = write_data(tmp_path / "data")
    study = begin(tmp_path / "other", copy)
    assert go_on(read_study(tmp_path / "other"), tmp_path / "other", StudyDesign(), [], [], False) == (study, 0)
    os.utime(copy / "hospital-1" / "seg-b.nii.gz", (time.time(), time.time()))
    go_on(read_study(tmp_path / "other"), tmp_path / "other", StudyDesign(), [], [], False)  # touched is not changed
    (copy / "hospital-1" / "seg-b.nii.gz").write_bytes((copy / "hospital-2" / "seg-b.nii.gz").read_bytes())
    with pytest.raises(ValueError, match=r"seg-b\.nii\.gz: this file, .* exam hospital-1, is not as it was"):
        go_on(read_study(tmp_path / "other"), tmp_path / "other", StudyDesign(), [], [], False)
    (copy / "hospital-1" / "seg-b.nii.gz").unlink()
    with pytest.raises(ValueError, match="is not as it was"):
        go_on(read_study(tmp_path / "other"), tmp_path / "other", StudyDesign(), [], [], False)


def test_new_segmentations_join_only_if_asked(tmp_path):
    copy = write_data(tmp_path / "data", 2)
    folder = tmp_path / "ratings"
    study = begin(folder, copy, repeats=0.0)
    with serving(study, folder) as (_, raters):
        raters["ann"].answer(3)
        before = raters["ann"].state()["case"]["id"]
    write_data(tmp_path / "more", 1, ("seg-z",))
    (tmp_path / "more" / "hospital-0").rename(copy / "hospital-9")
    cases = cases_of(find_data_set(copy, "brats"))
    assert go_on(read_study(folder), folder, StudyDesign(), cases, [], False) == (study, 1)
    longer, left = go_on(read_study(folder), folder, StudyDesign(), cases, [], True)
    assert (len(longer.cases), left) == (7, 0)
    PictureFolder(folder / PICTURES, longer).draw_missing(1)
    with serving(longer, folder) as (_, raters):
        state = raters["ann"].state()
        assert state["progress"] == {"done": 1, "total": 7, "seconds_left": None}
        assert state["case"]["id"] == before


def test_other_files_of_the_same_names_are_refused(tmp_path):
    study = begin(tmp_path / "ratings", write_data(tmp_path / "data", 1))
    other = write_data(tmp_path / "other", 2)
    (other / "hospital-0" / "seg-a.nii.gz").write_bytes((other / "hospital-1" / "seg-a.nii.gz").read_bytes())
    cases = cases_of(find_data_set(other, "brats"))
    with pytest.raises(ValueError, match="the study has another segmentation seg-a of exam hospital-0; give the study"):
        go_on(study, tmp_path / "ratings", StudyDesign(), cases, [], True)


@pytest.mark.parametrize("more", [["--seed", "7"], ["--mode", "pairs"], ["--tags", "other"], ["--kind", "simulated"]])
def test_options_count_without_data_too(study, folder, capsys, more):
    assert main(["--out", str(folder), "--draw-only", *more]) == 2
    assert f"holds a study with another {more[0][2:]}" in capsys.readouterr().err


def test_other_practice_cases_are_refused(tmp_path, data, capsys):
    folder, practice = str(tmp_path / "ratings"), write_data(tmp_path / "practice", 1)
    begun = ["--out", folder, "--draw-only", "--workers", "1"]
    command = [*begun, "--data", str(data), "--raters", "ann"]
    assert main([*command, "--training", str(practice)]) == 0
    assert main([*command, "--training", str(practice)]) == 0
    assert main([*begun, "--training", str(write_data(tmp_path / "other", 1, ("seg-a",)))]) == 2
    assert "the study began with other practice cases; leave --training out" in capsys.readouterr().err


def test_an_exam_that_cannot_be_read_begins_no_study(tmp_path, capsys):
    data, folder = write_data(tmp_path / "data", 1), tmp_path / "ratings"
    image = next(path for path in (data / "hospital-0").iterdir() if "seg" not in path.name)
    whole = image.read_bytes()
    image.write_bytes(whole[:200])
    command = ["--data", str(data), "--out", str(folder), "--raters", "ann", "--draw-only", "--workers", "1"]
    assert main(command) == 2
    assert image.name in capsys.readouterr().err
    image.write_bytes(whole)
    assert main(command) == 0  # the study begins with the file as it is now


def test_an_exam_that_cannot_be_read_joins_no_study(tmp_path, capsys):
    data, folder = write_data(tmp_path / "data", 1, ("seg-a",)), tmp_path / "ratings"
    again = ["--out", str(folder), "--draw-only", "--workers", "1"]
    begun = [*again, "--data", str(data)]
    assert main([*begun, "--raters", "ann"]) == 0
    before = (folder / "study.yaml").read_bytes()
    write_data(tmp_path / "more", 2, ("seg-a",))
    (tmp_path / "more" / "hospital-1").rename(data / "hospital-9")
    image = next(path for path in (data / "hospital-9").iterdir() if "seg" not in path.name)
    whole = image.read_bytes()
    image.write_bytes(whole[:200])
    assert main([*begun, "--extend"]) == 2
    assert image.name in capsys.readouterr().err
    assert (folder / "study.yaml").read_bytes() == before
    assert main(again) == 0
    image.write_bytes(whole)
    assert main([*begun, "--extend"]) == 0
    assert len(read_study(folder).cases) == 2


def test_a_mask_that_is_not_there_joins_no_study(study, folder, tmp_path):
    new = replace(study.cases[0], segmentation="seg-z", mask=str(tmp_path / "seg-z.nii.gz"))
    new = replace(new, stamp=new.stamp_now())
    with pytest.raises(ValueError, match=r"seg-z\.nii\.gz: this file, or an image of its exam, is not there"):
        go_on(study, folder, StudyDesign(), [new], [], True)
    assert go_on(study, folder, StudyDesign(), [new], [], False) == (study, 1)


def test_a_first_try_leaves_no_pictures_of_another_scheme(tmp_path):
    """The first start fails at the second exam; what it drew has outlines of its own label scheme."""
    data, folder = write_data(tmp_path / "data", 2, ("seg-a",)), tmp_path / "ratings"
    image = next(path for path in (data / "hospital-1").iterdir() if "seg" not in path.name)
    whole = image.read_bytes()
    image.write_bytes(whole[:200])
    command = ["--data", str(data), "--out", str(folder), "--raters", "ann", "--draw-only", "--workers", "1"]
    assert main(command) == 2
    first = list((folder / PICTURES).glob("*.json"))
    assert len(first) == 1
    image.write_bytes(whole)
    assert main([*command, "--label-scheme", "msd"]) == 0
    shown = PictureFolder(folder / PICTURES, read_study(folder))
    assert shown.planes(0)[0]["outlines"] != json.loads(first[0].read_text())[0]["outlines"]
    before = {path: path.stat().st_mtime_ns for path in (folder / PICTURES).iterdir()}
    assert main(["--out", str(folder), "--draw-only", "--workers", "1"]) == 0
    assert {path: path.stat().st_mtime_ns for path in (folder / PICTURES).iterdir()} == before  # nothing drawn anew


def test_another_design_is_refused(study, folder, data):
    with pytest.raises(ValueError, match=r"holds a study with another seed \(seed was 0, is 1\)"):
        go_on(read_study(folder), folder, StudyDesign(tags=TAGS, repeats=0.25, seed=1), [], [], False)


@pytest.mark.parametrize("text", ["", "[]", "format: 9", "format: 1\ncases: 3", "{"])
def test_a_damaged_study_is_told(study, folder, text):
    (folder / "study.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"study\.yaml: cannot be read"):
        read_study(folder)

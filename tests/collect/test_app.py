"""The application without a browser: what it asks, what it takes, and what it refuses."""

import gzip
import io
import json
import os
import re
import shutil
import socket
import time
from collections import Counter

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from studies import MASKS, begin, serving, write_data

from dqe_loss.collect.begin import go_on
from dqe_loss.collect.command import main
from dqe_loss.collect.headers import HEADERS
from dqe_loss.collect.links import LINKS, rater_of
from dqe_loss.collect.order import trials_of
from dqe_loss.collect.pictures import PICTURES, PictureFolder
from dqe_loss.collect.serve import Address
from dqe_loss.collect.study import StudyDesign, cases_of
from dqe_loss.collect.study_file import read_study, write_study
from dqe_loss.collect.table import journal_path, ratings_table, read_answers, write_answers
from dqe_loss.collect.volumes import volume_bytes
from dqe_loss.data.discovery.data_set import find_data_set
from dqe_loss.data.tables.ratings import mean_ratings, read_ratings

TAGS = ("enhancing rim missed", "edema too large")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "ratings"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory, data):
    """A study before its first answer."""
    folder = tmp_path_factory.mktemp("drawn")
    return folder, begin(folder, data, tags=TAGS, repeats=0.25)


@pytest.fixture
def study(folder, drawn):
    shutil.copytree(drawn[0], folder)
    write_study(drawn[1], folder)  # its paths are relative
    return drawn[1]


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_a_study_from_the_first_case_to_the_table(study, folder, data, ending):
    with serving(study, folder) as (_, raters):
        for name, bias in (("ann", 0), ("bob", 1)):
            rater, seen = raters[name], []
            while (state := rater.state())["case"]:
                trial = trials_of(study, name)[len(seen)]
                seen.append(state["case"]["id"])
                response = rater.answer(1 + bias + trial.cases[0] % 4, state, comment=" Rand\nfehlt ", tags=[TAGS[0]])
                assert response.status_code == 200
            assert len(set(seen)) == len(seen) == 12 + 3
            assert state["progress"] == {"done": 15, "total": 15, "seconds_left": 0.0}
    path, rows = write_answers(study, folder)
    assert rows == 30
    table = read_ratings([path.with_suffix(ending)])
    assert set(table["repeat"]) == {"0", "1"}
    assert set(table["view"]) == {""}
    assert set(table["kind"]) == {"human"}
    assert set(table["label_scheme"]) == {study.design.label_scheme}
    for number, case in enumerate(study.cases):
        own = table[(table["exam"] == case.exam) & (table["name"] == case.segmentation)]
        assert own.groupby("rater")["stars"].mean().to_dict() == {"ann": 1 + number % 4, "bob": 2 + number % 4}
        assert set(own["segmentation"]) == {str((data / case.exam / f"{case.segmentation}.nii.gz").resolve())}
    assert set(table["tags"]) == {TAGS[0]}
    assert set(table["comment"]) == {"Rand fehlt"}
    means = mean_ratings(table)
    assert set(means["raters"]) == {2}
    assert len(means) == 12 * 3


def test_a_restart_goes_on_where_it_was(study, folder):
    with serving(study, folder) as (_, raters):
        for verdict in (1, 2, 3):
            raters["ann"].answer(verdict)
        before = raters["ann"].state()
    with serving(read_study(folder), folder) as (_, raters):
        assert raters["ann"].state() == before
        assert raters["bob"].state()["progress"]["done"] == 0


def test_an_answer_that_comes_twice_counts_once(study, folder):
    """A connection that broke after the answer was taken; and a second tab that shows the same case."""
    with serving(study, folder) as (app, raters):
        ann = raters["ann"]
        state = ann.state()
        first, second = ann.answer(4, state), ann.answer(4, state)
        assert (first.status_code, second.status_code) == (200, 200)
        assert first.json() == second.json()
        other = ann.answer(2, state)
        assert other.status_code == 409
        assert "another tab" in other.json()["problem"]
        assert app.sessions["ann"].turn == 1
        ahead = {"case": {"id": first.json()["ahead"]["id"]}, "turn": 1}
        assert ann.answer(3, ahead).status_code == 409


def test_a_remark_that_comes_with_the_second_sending_counts(study, folder):
    """The connection broke, the rater answers again, and has thought of something."""
    with serving(study, folder) as (_, raters):
        ann = raters["ann"]
        state = ann.state()
        ann.answer(4, state, comment="rim")
        assert ann.answer(4, state, comment="rim, and edema", tags=[TAGS[0]]).status_code == 200
        assert ann.state()["progress"]["done"] == 1
    (entry,) = read_answers(study, folder)["ann"].values()
    assert (entry["comment"], entry["tags"]) == ("rim, and edema", [TAGS[0]])
    with serving(study, folder) as (_, raters):
        back = raters["ann"].post("/undo", {"turn": raters["ann"].state()["turn"]}).json()["case"]
    assert (back["comment"], back["tags"]) == ("rim, and edema", [TAGS[0]])  # not to be written once more


def test_undo(study, folder):
    with serving(study, folder) as (_, raters):
        ann = raters["ann"]
        assert ann.post("/undo", {"turn": 0}).status_code == 409
        state = ann.state()
        after = ann.answer(4, state).json()
        assert ann.post("/undo", {"turn": 0}).status_code == 409  # of a page that had not seen the answer
        back = ann.post("/undo", {"turn": after["turn"]}).json()
        assert back["case"]["id"] == state["case"]["id"]
        assert back["progress"]["done"] == 0
        ann.answer(6)
    answers = read_answers(study, folder)
    assert [a["verdict"] for a in answers["ann"].values()] == [6]
    assert len(journal_path(folder, "ann").read_text().splitlines()) == 3


def test_a_full_disk_is_told_and_nothing_changes(study, folder, monkeypatch):
    with serving(study, folder) as (_, raters):
        ann = raters["ann"]
        state = ann.answer(4).json()

        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        refused = ann.answer(5)
        assert refused.status_code == 507
        assert "Nothing is lost" in refused.json()["problem"]
        assert ann.state() == state
        monkeypatch.undo()
        assert ann.answer(5).status_code == 200
    assert [a["verdict"] for a in read_answers(study, folder)["ann"].values()] == [4, 5]


def test_time_left(study, folder):
    with serving(study, folder) as (_, raters):
        for seconds in (4.0, 2.0, 6.0, 5000.0):
            raters["ann"].answer(4, seconds=seconds)
        assert raters["ann"].state()["progress"]["seconds_left"] == 4 * 11


def test_pairs(folder, data):
    study = begin(folder, data, mode="pairs", repeats=0.1)
    with serving(study, folder) as (_, raters):
        trials = trials_of(study, "ann")
        assert len(trials) == 4 * 3 + 1
        for trial in trials:
            better = "left" if trial.cases[0] < trial.cases[1] else "right"
            state = raters["ann"].state()
            assert len(state["case"]["sides"]) == 2
            assert raters["ann"].answer(3, state).status_code == 400
            assert raters["ann"].answer(better, state).status_code == 200
    path, rows = write_answers(study, folder)
    assert (path.name, rows) == ("pairs.csv", 13)
    table = pd.read_csv(path)
    assert pd.read_parquet(path.with_suffix(".parquet"))["better"].tolist() == table["better"].tolist()
    assert set(table["better"]) == {"first"}
    assert Counter(table["repeat"]) == {0: 12, 1: 1}
    assert set(table["left"]) == {"first", "second"}


def test_practice_is_not_in_the_table(folder, data, tmp_path):
    study = begin(folder, data, training=write_data(tmp_path / "practice", 1, ("seg-x",)), repeats=0.0)
    with serving(study, folder) as (_, raters):
        state = raters["ann"].state()
        assert state["case"]["training"]
        assert state["progress"]["total"] == 13
        raters["ann"].answer(2)
        assert not raters["ann"].state()["case"]["training"]
        raters["ann"].answer(5)
    assert ratings_table(study, read_answers(study, folder))["stars"].tolist() == [5]


# ---- blinding and safety


def everything(raters, folder):
    """Every text and image that a rater's browser gets in a whole study."""
    ann = raters["ann"]
    texts, images = [ann.client.get(ann.base).text], []
    while (state := ann.state())["case"]:
        case = state["case"]["id"]
        texts.append(json.dumps(state))
        for view in ("axial", "coronal", "sagittal"):
            response = ann.client.get(f"{ann.base}/picture/{case}/0/{view}")
            assert response.headers["content-type"] == "image/webp"
            images.append(response.content)
        ann.answer(4)
    return texts, images


def test_neither_file_names_nor_raters_reach_the_browser(study, folder, data):
    with serving(study, folder) as (app, raters):
        texts, images = everything(raters, folder)
    words = ["hospital", "seg-a", "seg-b", *MASKS, str(data), str(folder), "ann", "bob", "journal", "again"]
    for text in texts:
        for word in words:
            assert not re.search(rf"\b{re.escape(word)}\b", text), word
    for image in images:
        opened = Image.open(io.BytesIO(image))
        assert not opened.getexif()
        assert not {"exif", "xmp", "icc_profile"} & set(opened.info)
        assert b"hospital" not in image
    ids = {name for session in app.sessions.values() for name in session.by_name}
    assert len(ids) == sum(len(s.by_name) for s in app.sessions.values())  # a case is called otherwise for each rater


def test_another_raters_answers_cannot_be_had(study, folder):
    with serving(study, folder) as (app, raters):
        ann, bob = raters["ann"], raters["bob"]
        ann.answer(1)
        theirs = ann.state()["case"]["id"]
        for path in (f"/picture/{theirs}/0/axial", f"/volume/{theirs}/0/flair.nii.gz"):
            assert bob.client.get(bob.base + path).status_code == 404
        body = {"id": theirs, "turn": 0, "verdict": 6, "comment": "", "tags": [], "seconds": 1}
        assert bob.post("/answer", body).status_code == 404
        secret = app.links["ann"]
        for guess in ("", secret[:-1], secret + "x", secret.swapcase(), "é", "ann", "../ann", "%00", "x" * 5000):
            for path in ("", "/case", "/answer", "/journal/ann.jsonl"):
                assert bob.client.get(f"/r/{guess}{path}").status_code in (404, 405)
        for path in ("/", "/r", "/r/", "/journal/ann.jsonl", "/links.json", "/study.yaml", "/ratings.csv", "/docs"):
            response = bob.client.get(path)
            assert response.status_code == 404
            assert "ann" not in response.text
        assert read_answers(study, folder)["bob"] == {}


@pytest.mark.parametrize(
    "path",
    [
        "/picture/{id}/1/axial",
        "/picture/{id}/-1/axial",
        "/picture/{id}/0/../../study.yaml",
        "/picture/{id}/0/axial%2F..%2F..%2Fstudy.yaml",
        "/picture/{id}/0/oblique",
        "/picture/../../links.json/0/axial",
        "/picture/%2Fetc%2Fpasswd/0/axial",
        "/picture/0/0/axial",
        "/volume/{id}/0/links.json.nii.gz",
        "/volume/{id}/0/..%2F..%2Flinks.nii.gz",
        "/volume/{id}/0/%2e%2e%2fmask.nii.gz",
        "/volume/{id}/1/mask.nii.gz",
        "/../../static/collect.py",
    ],
)
def test_no_file_outside_the_study(study, folder, path):
    with serving(study, folder) as (_, raters):
        ann = raters["ann"]
        response = ann.client.get(ann.base + path.format(id=ann.state()["case"]["id"]))
        assert response.status_code == 404
        for name in ("collect.py", "../app.py", "..%2Fapp.py", "%2e%2e/app.py", "niivue.LICENSE"):
            assert ann.client.get(f"/static/{name}").status_code == 404


GOOD = {"verdict": 4, "comment": "", "tags": [], "seconds": 1.5}


@pytest.mark.parametrize(
    "change",
    [
        {"verdict": 0},
        {"verdict": 7},
        {"verdict": 3.5},
        {"verdict": "4"},
        {"verdict": True},
        {"verdict": None},
        {"verdict": [4]},
        {"verdict": "left"},
        {"tags": ["of my own"]},
        {"tags": "edema too large"},
        {"tags": [["edema too large"]]},
        {"comment": 3},
        {"comment": "x" * 2001},
        {"comment": "x" * 30_000},
        {"seconds": -1},
        {"seconds": "1"},
        {"seconds": 1e9},
        {"turn": "0"},
        {"turn": None},
        {"turn": True},
        {"id": 3},
        {"id": None},
    ],
)
def test_what_the_page_does_not_send_is_refused(study, folder, change):
    with serving(study, folder) as (app, raters):
        state = raters["ann"].state()
        body = {"id": state["case"]["id"], "turn": 0} | GOOD | change
        assert raters["ann"].post("/answer", body).status_code == 400
        assert app.sessions["ann"].turn == 0


def test_bodies_that_are_no_answers(study, folder):
    with serving(study, folder) as (app, raters):
        ann = raters["ann"]
        state = ann.state()
        good = {"id": state["case"]["id"], "turn": 0} | GOOD
        url, kind = f"{ann.base}/answer", {"content-type": "application/json"}
        for body in (b"", b"{", b"[]", b"3", b"\xff", b"[" * 10_000, json.dumps(good).encode() + b" " * 20_000):
            assert ann.client.post(url, content=body, headers=kind).status_code == 400
        as_form = {"content-type": "text/plain"}
        assert ann.client.post(url, content=json.dumps(good), headers=as_form).status_code == 400
        elsewhere = kind | {"sec-fetch-site": "cross-site"}
        assert ann.client.post(url, content=json.dumps(good), headers=elsewhere).status_code == 400
        assert ann.client.get(url).status_code == 405
        nan = json.dumps(good | {"seconds": float("nan")})
        assert ann.client.post(url, content=nan, headers=kind).status_code == 400
        assert app.sessions["ann"].turn == 0
        odd = json.dumps(good | {"comment": "a\ud800b\u0000c"})
        assert ann.client.post(url, content=odd, headers=kind).status_code == 200
    assert [a["comment"] for a in read_answers(study, folder)["ann"].values()] == ["a\ufffdbc"]


def test_every_response_has_the_headers(study, folder):
    with serving(study, folder) as (_, raters):
        ann = raters["ann"]
        case = ann.state()["case"]["id"]
        for path in (
            ann.base,
            f"{ann.base}/case",
            f"{ann.base}/picture/{case}/0/axial",
            "/static/collect.js",
            "/no",
            "/r/no",
        ):
            headers = ann.client.get(path).headers
            for name, value in HEADERS.items():
                assert headers[name] == value
            assert "server" not in headers
        page = ann.client.get(ann.base).text
        assert not re.search(r"<script(?![^>]*(src=|application/json))", page)
        assert not re.search(r"\son\w+=|style=", page)
        assert not re.search(r"https?://", page)


def test_an_error_tells_no_path(study, folder):
    with serving(study, folder) as (_, raters):
        for file in (folder / "pictures").glob("*.webp"):
            file.unlink()
        ann = raters["ann"]
        response = ann.client.get(f"{ann.base}/picture/{ann.state()['case']['id']}/0/axial")
        assert response.status_code == 500
        assert str(folder) not in response.text


def test_links(study, folder):
    with serving(study, folder) as (app, _):
        links = dict(app.links)
    assert (folder / LINKS).stat().st_mode & 0o077 == 0
    assert all(len(secret) > 40 for secret in links.values())
    assert rater_of(links["bob"], links) == "bob"
    assert rater_of("", links) is rater_of(links["bob"] + " ", links) is rater_of("\udcff", links) is None
    longer, _ = go_on(read_study(folder), folder, StudyDesign(), [], ["eve"], False)
    with serving(longer, folder) as (app, raters):
        assert app.links.items() > links.items()
        assert raters["eve"].state()["progress"]["done"] == 0


def test_a_formula_in_a_comment_is_text_in_the_table(study, folder):
    with serving(study, folder) as (_, raters):
        raters["ann"].answer(4, comment='=HYPERLINK("http://x")')
    assert ratings_table(study, read_answers(study, folder))["comment"].tolist() == ['\'=HYPERLINK("http://x")']


# ---- volumes, and a data folder that changes


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


def test_equal_masks_of_two_exams_do_not_share_their_scans(tmp_path):
    """Both empty, and the images of one size: their stamps are equal."""
    data = write_data(tmp_path / "data", 2, ("seg-a",))
    for exam in sorted(data.iterdir()):
        mask = nib.load(exam / "seg-a.nii.gz")
        nib.Nifti1Image(np.zeros(mask.shape, np.uint8), mask.affine).to_filename(exam / "seg-a.nii.gz")
        for image in [*exam.glob("*.nii.gz")]:
            if not image.name.startswith("seg"):
                nib.load(image).to_filename(image.with_suffix(""))
                image.unlink()
    one, two = cases_of(find_data_set(data, "brats"))
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
    assert read_study(folder) == longer
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


def test_another_design_is_refused(study, folder, data):
    with pytest.raises(ValueError, match=r"holds a study with another seed \(seed was 0, is 1\)"):
        go_on(read_study(folder), folder, StudyDesign(tags=TAGS, repeats=0.25, seed=1), [], [], False)


@pytest.mark.parametrize("text", ["", "[]", "format: 9", "format: 1\ncases: 3", "{"])
def test_a_damaged_study_is_told(study, folder, text):
    (folder / "study.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"study\.yaml: cannot be read"):
        read_study(folder)


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "..", "ä", "x" * 41, "a b"])
def test_names_of_raters_are_names_of_files(tmp_path, data, name):
    with pytest.raises(ValueError, match="--raters takes names"):
        begin(tmp_path / "r", data, raters=("ann", name))


@pytest.mark.parametrize(
    ("full", "short", "expected"),
    [
        ("reading-room.lab.example", "reading-room", "reading-room.lab.example"),
        ("localhost", "reading-room", "reading-room"),
        ("localhost.localdomain", "localhost", None),
    ],
)
def test_links_for_the_network_name_the_machine(monkeypatch, full, short, expected):
    monkeypatch.setattr(socket, "getfqdn", lambda: full)
    monkeypatch.setattr(socket, "gethostname", lambda: short)
    url = Address("0.0.0.0", 8765).url(8765)
    if expected:
        assert url == f"http://{expected}:8765"
    else:  # an address, unless the machine has no network at all
        assert re.fullmatch(r"http://(\d+\.\d+\.\d+\.\d+|localhost):8765", url)
    assert Address("127.0.0.1", 8765).url(8765) == "http://127.0.0.1:8765"
    assert Address("::1", 8765).url(8765) == "http://[::1]:8765"

"""What must not be had or done: by another rater, by a made-up request, by looking at what the browser gets."""

import io
import json
import re
import shutil
import socket

import pytest
from PIL import Image
from studies import MASKS, begin, serving

from dqe_loss.collect.begin import go_on
from dqe_loss.collect.headers import HEADERS
from dqe_loss.collect.links import LINKS, rater_of
from dqe_loss.collect.serve import Address
from dqe_loss.collect.study import StudyDesign
from dqe_loss.collect.study_file import read_study
from dqe_loss.collect.table import ratings_table, read_answers


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
        shutil.rmtree(folder / "pictures")
        failed = ann.client.get(f"{ann.base}/picture/{case}/0/axial")
        assert failed.status_code == 500
        assert HEADERS.items() <= dict(failed.headers).items()
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

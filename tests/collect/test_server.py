"""The command and its server: what it says, what it logs, what it keeps, and what it serves of which case."""

import gzip
import json
import os
import re
import urllib.error
import urllib.request

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from studies import begin, serving, write_data

from dqe_loss.collect import serve
from dqe_loss.collect.command import main
from dqe_loss.collect.headers import HEADERS
from dqe_loss.collect.links import claim_links
from dqe_loss.collect.order import trials_of
from dqe_loss.collect.pictures import PICTURES, PictureFolder
from dqe_loss.collect.study_file import write_study


def fetch(url, body=None):
    """Status and headers of a response."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, {"content-type": "application/json"})) as answer:
            return answer.status, answer.headers
    except urllib.error.HTTPError as error:
        return error.code, error.headers


def test_no_secret_is_logged_and_no_server_is_named(served):
    server = served(raters=("ann", "bob"), repeats=0.0)
    secrets = {rater: link.rpartition("/")[2] for rater, link in server.links.items()}
    link = server.links["ann"]
    with urllib.request.urlopen(f"{link}/case") as answer:
        case = json.load(answer)["case"]["id"]
    for picture in (server.folder / PICTURES).glob("*.webp"):
        picture.unlink()
    asked = {
        link: 200,
        f"{link}/case": 200,
        f"{link}x/case": 404,
        f"{link}/answer": 405,
        f"{link}/picture/{case}/0/oblique": 404,
        f"{link}/picture/{case}/0/axial": 500,
        f"{link}/volume/{case}/0/{'x' * 250}.nii.gz": 404,
    }
    for url, status in asked.items():
        found, headers = fetch(url)
        assert found == status, url
        assert "server" not in headers
        assert HEADERS.items() <= {name.lower(): value for name, value in headers.items()}.items()
    assert fetch(f"{link}/answer", b"{")[0] == 400
    said = "".join(server.said) + server.stop()
    assert "Traceback" in said  # the failure is logged, for whoever runs the server
    for secret in secrets.values():
        assert said.count(secret) == 1  # the link
    assert f"/picture/{case}" not in said


def test_the_table_is_written_while_the_study_goes_on(study, folder, monkeypatch):
    monkeypatch.setattr(serve, "_TABLE_EVERY", 0.05)
    written = []
    write = serve.write_answers
    monkeypatch.setattr(serve, "write_answers", lambda *of: written.append(write(*of)))
    with serving(study, folder) as (app, raters), serve._keeping_table(study, folder, app):
        raters["ann"].answer(4)
        end = serve.threading.Event()
        for _ in range(1200):
            if written and written[-1][1] == 1:
                break
            end.wait(0.1)
        assert len(pd.read_csv(folder / "ratings.csv")) == 1
        count = len(written)
        end.wait(0.5)
        assert len(written) == count  # nothing new, nothing written


@pytest.mark.parametrize(("options", "told"), [(["--host", "0.0.0.0"], True), ([], False)])
def test_an_unencrypted_host_is_warned_of(study, folder, capsys, monkeypatch, options, told):
    monkeypatch.setattr(serve, "serve", lambda *_: None)
    assert main(["--out", str(folder), *options]) == 0
    assert ("cross the network unencrypted; give --certificate" in capsys.readouterr().err) == told


def test_instructions_are_read_first(folder, data):
    study = begin(folder, data, instructions="Look at the rim.\n\nThen at <edema>.")
    with serving(study, folder) as (_, raters):
        page = raters["ann"].client.get(raters["ann"].base).text
    intro = re.search(r'<dialog id="intro".*?</dialog>', page, re.DOTALL)[0]
    assert "<p>Look at the rim.</p>\n<p>Then at &lt;edema&gt;.</p>" in intro


def test_the_browser_is_not_told_where_a_plane_lies(study, folder):
    with serving(study, folder) as (_, raters):
        (side,) = raters["ann"].state()["case"]["sides"]
        for plane in side:
            assert plane.keys() == {"view", "size", "spacing", "outlines", "letters"}


def mask_of(rater, case, side=0):
    """Voxels of the segmentation in 3D."""
    content = rater.client.get(f"{rater.base}/volume/{case}/{side}/mask.nii.gz").content
    return np.asarray(nib.Nifti1Image.from_bytes(gzip.decompress(content)).dataobj) > 0


def test_practice_shows_its_own_pictures(folder, data, tmp_path):
    write_data(tmp_path / "practice", 3, ("seg-x",))
    for number in (0, 1):
        (tmp_path / "practice" / f"hospital-{number}").rename(tmp_path / f"aside-{number}")
    study = begin(folder, data, training=tmp_path / "practice", repeats=0.0)
    shown = PictureFolder(folder / PICTURES, study)
    with serving(study, folder) as (_, raters):
        ann = raters["ann"]
        case = ann.state()["case"]
        assert case["sides"] == [shown.planes(0, True)] != [shown.planes(0)]
        picture = ann.client.get(f"{ann.base}/picture/{case['id']}/0/axial").content
        assert picture == shown.image(0, "axial", True) != shown.image(0, "axial")
        assert np.array_equal(mask_of(ann, case["id"]), np.asarray(nib.load(study.training[0].mask).dataobj) > 0)


def test_each_side_shows_its_own_segmentation(folder, data):
    study = begin(folder, data, mode="pairs", repeats=0.0, raters=("ann",))
    shown = PictureFolder(folder / PICTURES, study)
    with serving(study, folder) as (_, raters):
        ann = raters["ann"]
        for trial in trials_of(study, "ann")[:4]:
            case = ann.state()["case"]
            assert case["sides"] == [shown.planes(number) for number in trial.cases]
            assert case["sides"][0] != case["sides"][1]
            for side, number in enumerate(trial.cases):
                picture = ann.client.get(f"{ann.base}/picture/{case['id']}/{side}/axial").content
                assert picture == shown.image(number, "axial")
                labels = np.asarray(nib.load(study.cases[number].mask).dataobj)
                assert np.array_equal(mask_of(ann, case["id"], side), labels > 0)
            ann.answer("left")


def test_study_and_links_are_on_disk_before_they_are_there(drawn, tmp_path, monkeypatch):
    """A power cut must not leave an empty file in place of what cannot be made again."""
    done = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda file: done.append("sync") or sync(file))
    monkeypatch.setattr(os, "replace", lambda *paths: done.append("replace") or replace(*paths))
    write_study(drawn[1], tmp_path)
    claim_links(tmp_path, ["ann"])
    assert done == ["sync", "replace", "sync"] * 2

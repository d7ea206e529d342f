"""The rater's page in a real Chromium, served by the real command: keys, pause, kill -9, repeats, pairs, 3D, phone."""

import io

import pandas as pd
import pytest
from PIL import Image
from rater_page import begin_rating, press, press_for_message, tap, until
from small_tasks import FLAT, write_data_set
from studies import TAGS

from dqe_loss.cli import main as dqe
from dqe_loss.collect.order import trials_of
from dqe_loss.collect.study_file import read_study
from dqe_loss.collect.table import journal_path, read_answers
from dqe_loss.data.tables.ratings import read_ratings
from dqe_loss.task import BLOBS

pytestmark = [pytest.mark.slow, pytest.mark.browser]


def test_three_raters_keys_only_with_a_kill_in_the_middle(served, tab_of):
    server = served(raters=("ann", "bob", "eve"), tags=TAGS, repeats=0.25)
    study = read_study(server.folder)
    trials = {rater: trials_of(study, rater) for rater in study.raters}
    assert [len(t) for t in trials.values()] == [15] * 3
    stars = {"ann": 0, "bob": 1, "eve": 2}

    def wanted(rater, done):
        return str(1 + (trials[rater][done].cases[0] + stars[rater]) % 6)

    tabs = {rater: tab_of(link) for rater, link in server.links.items()}
    for rater, tab in tabs.items():
        begin_rating(tab)
        for done in range(5):
            press(tab, wanted(rater, done))
    ann = tabs["ann"]
    ann.bring_to_front()

    # space: outlines; P: pause, in which nothing can be answered; A: a remark; C: a comment
    path = ann.locator(".plane path").first
    assert path.is_visible()
    ann.keyboard.press("Space")
    assert not path.is_visible()
    ann.keyboard.press("Space")
    ann.keyboard.press("p")
    assert ann.get_by_role("heading", name="Paused").is_visible()
    assert not ann.locator("#case").is_visible()
    ann.wait_for_timeout(400)
    ann.keyboard.press("1")
    ann.keyboard.press("p")
    assert ann.locator("#count").inner_text().startswith("5 of 15 done")
    ann.keyboard.press("a")
    assert ann.get_by_role("button", name=TAGS[0]).get_attribute("aria-pressed") == "true"
    ann.keyboard.press("c")
    ann.keyboard.type("456 rim")  # digits of a comment are no stars
    ann.keyboard.press("Enter")
    ann.keyboard.press("+")
    assert ann.locator("#zoom").inner_text() == "125 %"

    # kill -9; the page says so, keeps the case, and goes on when the server is back
    server.kill()
    assert "No connection" in press_for_message(ann, wanted("ann", 5))
    server.start()
    press(ann, wanted("ann", 5))
    assert not ann.locator("#message").is_visible()
    answers = read_answers(study, server.folder)
    assert [len(own) for own in answers.values()] == [6, 5, 5]
    last = list(answers["ann"].values())[-1]
    assert (last["tags"], last["comment"]) == ([TAGS[0]], "456 rim")
    assert last["seconds"] > 0.5

    # U: undo, and answered otherwise
    press(ann, "u")
    press(ann, wanted("ann", 5))

    # a second tab of the same rater: what it shows is answered in the first
    second = tab_of(server.links["ann"])
    begin_rating(second)
    press(ann, wanted("ann", 6))
    second.bring_to_front()
    assert "another tab" in press_for_message(second, "6")
    now = ann.evaluate("document.body.dataset.case")
    assert until(second, "now => document.body.dataset.case === now", now)

    # a closed laptop: a new browser goes on
    tabs["bob"] = tab_of(server.links["bob"])
    begin_rating(tabs["bob"])
    for rater, first in (("ann", 7), ("bob", 5), ("eve", 5)):
        for done in range(first, 15):
            press(tabs[rater], wanted(rater, done))
        assert tabs[rater].get_by_role("heading", name="All cases are rated").is_visible()
        assert tabs[rater].locator("#count").inner_text() == "15 of 15 done"
    assert "45 judgments" in server.stop()
    table = read_ratings([server.folder / "ratings.csv"])
    assert table.groupby("rater")["repeat"].apply(lambda r: (r == "1").sum()).tolist() == [3, 3, 3]
    for (rater, mask), rows in table.groupby(["rater", "segmentation"]):
        number = [case.mask for case in study.cases].index(mask)
        assert set(rows["stars"]) == {1 + (number + stars[rater]) % 6}
    # every key of every rater is in the journal once, with the undo and nothing else
    assert [len(journal_path(server.folder, r).read_text().splitlines()) for r in study.raters] == [17, 15, 15]


def test_side_by_side(served, tab_of):
    server = served(mode="pairs", repeats=0.1, raters=("ann",))
    study = read_study(server.folder)
    tab = tab_of(server.links["ann"])
    tab.get_by_role("button", name="Begin").click()
    assert [h.inner_text() for h in tab.locator(".side h2").all()] == ["left", "right"]
    assert tab.locator(".side").nth(0).bounding_box()["x"] < tab.locator(".side").nth(1).bounding_box()["x"]
    keys = {"left": "ArrowLeft", "right": "2", "same": "ArrowDown"}
    for trial in trials_of(study, "ann"):
        better = "same" if min(trial.cases) % 3 else "left" if trial.cases[0] < trial.cases[1] else "right"
        press(tab, keys[better])
    assert "13 judgments" in server.stop()
    table = pd.read_csv(server.folder / "pairs.csv")
    assert set(table["better"]) == {"first", "same"}
    assert set(table["left"]) == {"first", "second"}


def test_3d(served, tab_of):
    server = served(raters=("ann",))
    tab = tab_of(server.links["ann"])
    tab.keyboard.press("Enter")
    tab.keyboard.press("v")
    tab.wait_for_selector("#volume[data-loaded='2']", timeout=120_000)
    tab.wait_for_timeout(500)
    box = tab.locator("#canvas").bounding_box()
    assert box["width"] > 600
    shown = Image.open(io.BytesIO(tab.locator("#canvas").screenshot())).convert("RGB")
    colors = {color for _, color in shown.getcolors(10**7)}
    assert len(colors) > 500  # a picture, in which gray scans and colored regions are
    assert any(max(color) - min(color) > 80 for color in colors)
    # Edema is blue as in the planes: the colors of the regions are not exchanged.
    assert any(blue - red > 60 for red, _, blue in colors)
    tab.locator("#scan").select_option("t1c")
    tab.wait_for_timeout(300)
    tab.keyboard.press("Escape")
    assert not tab.locator("#volume").is_visible()
    press(tab, "3")  # keys are the case's again


def test_a_phone(served, tab_of):
    server = served(raters=("ann",), tags=TAGS)
    tab = tab_of(server.links["ann"], 390, 800, has_touch=True, is_mobile=True)
    tap(tab, tab.get_by_role("button", name="Begin"), "!document.getElementById('intro').open")
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    panels = [svg.bounding_box() for svg in tab.locator(".plane").first.locator("svg").all()]
    assert len(panels) == 4
    assert all(panel["width"] > 150 for panel in panels)
    before = tab.evaluate("document.body.dataset.case")
    assert until(tab, "document.body.dataset.ready === 'yes'")
    good = tab.get_by_role("button", name="5 of 6 stars: good")
    tap(tab, good, "before => document.body.dataset.case !== before", before)
    assert tab.locator("#count").inner_text().startswith("1 of 13 done")


def test_a_tablet_and_how_the_picture_looks(served, tab_of):
    server = served(raters=("ann",), tags=TAGS)
    tab = tab_of(server.links["ann"], 834, 1112, has_touch=True)
    tap(tab, tab.get_by_role("button", name="Begin"), "!document.getElementById('intro').open")
    assert tab.evaluate("document.documentElement.scrollWidth") <= 834
    look = """() => [
      getComputedStyle(document.querySelector('.plane image')).filter,
      getComputedStyle(document.querySelector('.plane path')).opacity,
    ]"""
    plain = tab.evaluate(look)
    for name, value in (("brightness", "150"), ("contrast", "80"), ("opacity", "40")):
        tab.locator(f"#{name}").fill(value)
    assert tab.evaluate(look) == ["brightness(1.5) contrast(0.8)", "0.4"]
    tap(tab, tab.get_by_role("button", name="reset"), "document.getElementById('brightness').value === '100'")
    assert tab.evaluate(look) == plain == ["brightness(1) contrast(1)", "0.9"]


def test_a_remark_is_there_after_an_undo(served, tab_of):
    server = served(raters=("ann",), tags=TAGS)
    tab = tab_of(server.links["ann"])
    begin_rating(tab)
    tab.locator("#comment").fill("rim")
    tab.keyboard.press("Escape")
    tab.keyboard.press("a")
    press(tab, "4")
    assert tab.locator("#comment").input_value() == ""
    press(tab, "u")
    assert tab.locator("#comment").input_value() == "rim"
    assert tab.locator(".tag[aria-pressed=true]").count() == 1


def test_names_for_screen_readers_and_light(served, tab_of):
    server = served(raters=("ann",), tags=TAGS)
    tab = tab_of(server.links["ann"])
    tab.keyboard.press("Enter")
    names = [tab.get_by_role("button", name=f"{star} of 6 stars").count() for star in range(1, 7)]
    assert names == [1] * 6
    for name in ("axial plane, FLAIR", "sagittal plane, T1c"):
        assert tab.get_by_role("img", name=name).count() == 1
    unnamed = "[...document.querySelectorAll('button')].filter(b => !(b.textContent.trim() || b.ariaLabel)).length"
    assert tab.evaluate(unnamed) == 0
    assert until(tab, "document.getElementById('announce').textContent === 'Case 1 of 13'")
    dark = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    tab.get_by_role("button", name="Light").click()
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") != dark


def test_another_task(served, tab_of, tmp_path):
    """Blobs: one scan, one region in the task's color, whose planes fill the page; in 3D, too."""
    simulate = "simulate --task blobs --phantoms 2 --segmentations 2 --raters 1 --workers 1 --out"
    assert dqe([*simulate.split(), str(tmp_path / "sim")]) == 0
    server = served(of=tmp_path / "sim" / "ratings.csv", task=BLOBS, raters=("ann",), repeats=0.0)
    tab = tab_of(server.links["ann"])
    assert "the center of the segmentation (blob)" in tab.locator("#intro").inner_text()
    begin_rating(tab)
    assert tab.locator(".legend").inner_text() == "blob"
    panels = [tab.get_by_role("img", name=f"{view} plane, scan") for view in BLOBS.views]
    assert all(panel.bounding_box()["height"] > 150 for panel in panels)
    color = tuple(int(BLOBS.color("blob")[i : i + 2], 16) for i in (1, 3, 5))
    stroke = "getComputedStyle(document.querySelector('.plane path')).stroke"
    assert tab.evaluate(stroke) == "rgb({}, {}, {})".format(*color)
    letters = panels[0].locator("text").first.bounding_box()
    assert letters["height"] < 0.2 * panels[0].bounding_box()["height"]
    tab.keyboard.press("v")
    tab.wait_for_selector("#volume[data-loaded='2']", timeout=120_000)
    tab.wait_for_timeout(500)
    assert tab.locator("#scan option").all_inner_texts() == ["scan"]
    shown = Image.open(io.BytesIO(tab.locator("#canvas").screenshot())).convert("RGB")
    red, _, blue = (channel / 255 for channel in color)
    assert any((r - b) * (red - blue) > 60 for _, (r, _, b) in shown.getcolors(10**7))
    tab.keyboard.press("Escape")
    for _ in range(len(read_study(server.folder).cases)):
        press(tab, "5")
    server.stop()
    assert set(read_ratings([server.folder / "ratings.csv"], BLOBS)["stars"]) == {5}


def test_single_planes_from_0_to_1(served, tab_of, tmp_path):
    server = served(of=write_data_set(tmp_path / "photographs", FLAT, 3), task=FLAT, raters=("ann",), repeats=0.0)
    tab = tab_of(server.links["ann"])
    assert "Rate each segmentation from 0 (very bad) to 1 (very good)." in tab.locator("#intro").inner_text()
    begin_rating(tab)
    assert tab.get_by_role("button", name="3D").count() == 0
    assert tab.get_by_role("img").count() == 1
    tab.keyboard.press("v")  # there is no volume to scroll through
    press(tab, "3")
    assert until(tab, "document.body.dataset.ready === 'yes'")
    tab.get_by_role("button", name="1 of 1 stars: very good").dispatch_event("click")
    assert until(tab, "document.body.dataset.done === '2'")
    press(tab, "1")
    server.stop()
    assert sorted(read_ratings([server.folder / "ratings.csv"], FLAT)["stars"]) == [0.0, 0.4, 1.0]

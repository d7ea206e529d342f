"""The rater's page in a real Chromium where things go another way: late files, proxies, undo, small windows."""

import time

import pytest
from rater_page import begin_rating, press, press_for_message, tap, until
from studies import TAGS, write_data

from dqe_loss.collect.order import trials_of
from dqe_loss.collect.study_file import read_study
from dqe_loss.collect.table import read_answers

pytestmark = [pytest.mark.slow, pytest.mark.browser]
SIX = (*TAGS, "core too small", "false positive far away", "cyst", "other lesion")
DONE = "document.body.dataset.done"
VIEWER = """() => {
  const made = window.niivue.Niivue.prototype, attach = made.attachToCanvas;
  made.attachToCanvas = function (...of) { window.viewer = this; return attach.apply(this, of); };
}"""
SHOWN = "viewer.volumes.map(volume => volume.url.split('/volume/')[1])"


def open_volume(tab):
    """Open the 3D view; it is loaded when this returns."""
    assert until(tab, "document.body.dataset.ready === 'yes'")
    tab.keyboard.press("v")
    assert until(tab, "document.getElementById('volume').dataset.loaded === '2'")


def watch_viewer(tab):
    """Let a test see what NiiVue holds."""
    tab.add_script_tag(url="/static/niivue.js")
    tab.evaluate(VIEWER)


def test_volumes_that_come_late_are_not_added_to_those_of_the_next_case(served, tab_of):
    server = served(raters=("ann",), repeats=0.0)
    tab = tab_of(server.links["ann"])
    begin_rating(tab)
    watch_viewer(tab)
    first, held = tab.evaluate("document.body.dataset.case"), []
    tab.route(f"**/volume/{first}/**", lambda route: held.append(route))
    tab.keyboard.press("v")
    end = time.monotonic() + 120
    while not held and time.monotonic() < end:
        tab.wait_for_timeout(50)
    tab.keyboard.press("Escape")
    assert until(tab, "!document.getElementById('volume').open")
    press(tab, "4")
    second = tab.evaluate("document.body.dataset.case")
    assert until(tab, "document.body.dataset.ready === 'yes'")  # keys right after a new case do not count for it
    tab.keyboard.press("v")
    assert until(tab, "document.getElementById('volume').open")
    assert not tab.locator("#canvas").is_visible()  # nothing is seen until it is there
    tab.wait_for_timeout(300)
    while held or not tab.evaluate("document.getElementById('volume').dataset.loaded"):
        if held:
            held.pop().continue_()
        tab.wait_for_timeout(50)
        assert time.monotonic() < end + 120
    assert tab.evaluate(SHOWN) == [f"{second}/0/flair.nii.gz", f"{second}/0/mask.nii.gz"]
    assert tab.evaluate("document.getElementById('loading').textContent") == ""

    # another scan, and a failure: what was there before is not seen in its place
    for scan in ("t1c", "t2"):
        tab.locator("#scan").select_option(scan)
    loaded = "(scan) => document.getElementById('volume').dataset.loaded && viewer.volumes[0].url.includes(scan)"
    assert until(tab, loaded, "/t2.")
    assert len(tab.evaluate(SHOWN)) == 2
    assert tab.evaluate("viewer.opts.isRadiologicalConvention")
    tab.route("**/volume/**/t1.nii.gz", lambda route: route.fulfill(status=404, body="{}"))
    tab.locator("#scan").select_option("t1")
    assert until(tab, "document.getElementById('loading').textContent.startsWith('The volume cannot be shown here')")
    assert not tab.locator("#canvas").is_visible()
    tab_of.problems[:] = [problem for problem in tab_of.problems if "404" not in problem]


def test_3d_of_a_pair_shows_the_side_that_is_chosen(served, tab_of):
    server = served(mode="pairs", repeats=0.0, raters=("ann",))
    tab = tab_of(server.links["ann"])
    begin_rating(tab)
    watch_viewer(tab)
    case = tab.evaluate("document.body.dataset.case")
    open_volume(tab)
    assert tab.evaluate(SHOWN)[1] == f"{case}/0/mask.nii.gz"
    tab.locator("#side").select_option("1")
    assert until(tab, "document.getElementById('volume').dataset.loaded && viewer.volumes[1].url.includes('/1/mask')")
    assert tab.evaluate(SHOWN) == [f"{case}/1/flair.nii.gz", f"{case}/1/mask.nii.gz"]


def test_what_the_server_or_a_proxy_refuses_is_told(served, tab_of):
    server = served(raters=("ann",), repeats=0.0)
    tab = tab_of(server.links["ann"])
    begin_rating(tab)
    page = {"status": 502, "content_type": "text/html", "body": "<html><h1>502 Bad Gateway</h1></html>"}
    tab.route("**/answer", lambda route: route.fulfill(**page))
    assert press_for_message(tab, "4").startswith("No connection to the server.")
    tab.unroute("**/answer")
    full = {"status": 507, "json": {"problem": "The server could not save this. Nothing is lost."}}
    tab.route("**/answer", lambda route: route.fulfill(**full))
    assert until(tab, "document.body.dataset.ready === 'yes'")
    tab.keyboard.press("4")
    assert until(tab, "document.getElementById('message').textContent.startsWith('The server could not save this')")
    tab.unroute("**/answer")
    # out of date, and then no connection: told, and not lost in a promise
    tab.route("**/answer", lambda route: route.fulfill(status=409, json={"problem": "out of date"}))
    tab.route("**/case", lambda route: route.abort())
    tab.keyboard.press("4")
    assert until(tab, "document.getElementById('message').textContent.startsWith('No connection')")
    tab.unroute("**/answer")
    tab.unroute("**/case")
    press(tab, "4")
    assert tab.locator("#message").is_hidden()
    expected = ("502", "507", "ERR_FAILED")
    tab_of.problems[:] = [p for p in tab_of.problems if not any(word in p for word in expected)]


def test_undo_pause_and_the_end(served, tab_of, tmp_path):
    practice = write_data(tmp_path / "practice", 1, ("seg-x",))
    server = served(raters=("ann",), tags=TAGS, repeats=0.0, training=practice, of=write_data(tmp_path / "one", 1))
    tab = tab_of(server.links["ann"])
    begin_rating(tab)
    count, undo, pause = tab.locator("#count"), tab.locator("#undo"), tab.locator("#pause")
    assert count.inner_text() == "practice case, 0 of 4 done"
    assert undo.is_disabled()
    press(tab, "4")
    assert count.inner_text() == "1 of 4 done"
    tab.keyboard.press("p")
    assert undo.is_disabled()
    tab.evaluate("document.getElementById('undo').disabled = false")
    tab.evaluate("document.getElementById('undo').click()")
    tab.keyboard.press("p")
    assert tab.evaluate(DONE) == "1"

    # what was written on the case that is shown is there when it comes again
    tab.locator("#comment").fill("a long remark")
    tab.keyboard.press("Escape")
    tab.keyboard.press("a")
    press(tab, "u")
    assert tab.locator("#comment").input_value() == ""
    assert undo.is_disabled()  # there is nothing left to take back, though the journal has lines
    press(tab, "3")
    assert tab.locator("#comment").input_value() == "a long remark"
    assert tab.locator(".tag[aria-pressed=true]").count() == 1

    # a key that is held answers once
    before = tab.evaluate("document.body.dataset.case")
    assert until(tab, "document.body.dataset.ready === 'yes'")
    tab.keyboard.down("5")
    assert until(tab, "before => document.body.dataset.case !== before", before)
    assert until(tab, "document.body.dataset.ready === 'yes'")
    for _ in range(3):
        tab.keyboard.down("5")  # what a keyboard repeats
    tab.keyboard.up("5")
    tab.wait_for_timeout(500)
    assert tab.evaluate(DONE) == "2"
    press(tab, "5")
    assert count.inner_text() == "3 of 4 done, about a minute left"
    press(tab, "5")
    assert pause.is_disabled()
    tab.keyboard.press("p")
    assert tab.locator("#done").is_visible()
    assert not tab.locator("#paused").is_visible()
    press(tab, "u")  # and back
    assert tab.locator("#case").is_visible()


def test_only_looking_counts_as_time(served, tab_of):
    """Neither instructions, nor pauses, nor another tab in front."""
    server = served(raters=("ann",), repeats=0.0)
    tab = tab_of(server.links["ann"])
    tab.evaluate("""() => {
      window.hiddenNow = false;
      Object.defineProperty(document, 'hidden', { get: () => window.hiddenNow });
      window.past = 0;
      const now = performance.now.bind(performance);
      performance.now = () => now() + window.past;
    }""")
    later = "window.past += 1000 * 1000"  # a clock that says that many seconds went by
    tab.evaluate(later)
    begin_rating(tab)
    tab.keyboard.press("p")
    assert until(tab, "!document.getElementById('paused').hidden")
    tab.evaluate(later)
    tab.keyboard.press("p")
    tab.keyboard.press("?")
    assert until(tab, "document.getElementById('intro').open")
    tab.wait_for_timeout(300)
    tab.evaluate(later)
    tab.keyboard.press("Enter")
    assert until(tab, "!document.getElementById('intro').open")
    tab.evaluate("window.hiddenNow = true; document.dispatchEvent(new Event('visibilitychange'))")
    tab.evaluate(later)
    tab.evaluate("window.hiddenNow = false; document.dispatchEvent(new Event('visibilitychange'))")
    press(tab, "4")
    tab.evaluate("window.past += 500 * 1000")
    press(tab, "4")
    seconds = [a["seconds"] for a in read_answers(read_study(server.folder), server.folder)["ann"].values()]
    assert 0 < seconds[0] < 500
    assert 500 < seconds[1] < 1000


def test_the_theme_is_kept(served, tab_of):
    server = served(raters=("ann",), repeats=0.0)
    tab = tab_of(server.links["ann"])
    begin_rating(tab)
    tab.locator("#theme").click()
    tab.reload()
    tab.wait_for_selector("body[data-case]")
    assert tab.evaluate("document.documentElement.dataset.theme") == "light"


@pytest.mark.parametrize(("width", "height"), [(390, 800), (844, 390)])
@pytest.mark.parametrize("mode", ["stars", "pairs"])
def test_phones(served, tab_of, width, height, mode):
    server = served(raters=("ann",), tags=SIX, mode=mode, repeats=0.0)
    tab = tab_of(server.links["ann"], width, height, has_touch=True, is_mobile=True)
    tap(tab, tab.get_by_role("button", name="Begin"), "!document.getElementById('intro').open")
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.evaluate("scrollY") == 0
    assert [key.is_visible() for key in tab.locator(".key").all()] == [True] * 3
    smallest = 100 if mode == "stars" else 60
    for svg in tab.locator(".plane svg").all():
        box = svg.bounding_box()
        assert min(box["width"], box["height"]) >= smallest
    assert tab.locator("footer").bounding_box()["height"] <= 0.5 * height or width > height
    seen = """button => {
      const box = button.getBoundingClientRect(), at = (x, y) => button.contains(document.elementFromPoint(x, y));
      return at(box.left + 5, box.top + 5) && at(box.right - 5, box.bottom - 5);
    }"""
    for button in tab.locator(".answer, header button").all():
        assert button.evaluate(seen), button.inner_text()
    trial = trials_of(read_study(server.folder), "ann")[0]
    before = tab.evaluate("document.body.dataset.case")
    tab.evaluate("window.scrollTo(0, 10000)")
    assert until(tab, "document.body.dataset.ready === 'yes'")
    tap(tab, tab.locator(".answer").first, "before => document.body.dataset.case !== before", before)
    assert tab.evaluate("scrollY") == 0
    (entry,) = read_answers(read_study(server.folder), server.folder)["ann"].values()
    assert (entry["trial"], entry["verdict"]) == (trial.key, 1 if mode == "stars" else "left")

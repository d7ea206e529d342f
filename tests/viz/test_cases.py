"""The page of cases: outlines and pictures by hand, what the page holds, and what it looks like to a browser."""

import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from chromium import headless
from helpers import SHAPE, make_image, make_labels, quick
from hypothesis import given
from hypothesis import strategies as st
from page import Page
from PIL import Image
from rated_table import rated_table, write_exams
from scipy import ndimage

from dqe_loss.core.slicing import VIEWS
from dqe_loss.curate.decide import Rule, decide
from dqe_loss.data.exams import Exam
from dqe_loss.data.phantom import make_blob
from dqe_loss.task import BLOBS, GLIOMA
from dqe_loss.viz.cases.collect import read_pictures
from dqe_loss.viz.cases.page import flag_rows, render_cases
from dqe_loss.viz.cases.pictures import ViewPicture, draw_cases, outline_path
from dqe_loss.viz.planes import plot_planes

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
NAN = np.nan


def points_of(path):
    """The lines of a path, in half pixels."""
    lines = []
    for line in re.findall(r"M(-?\d+) (-?\d+)l([^z]*)z", path):
        steps = np.array(re.findall(r"-?\d+", line[2]), int).reshape(-1, 2)
        lines.append(np.cumsum(np.vstack([np.array(line[:2], int), steps]), 0))
    return lines


def area(path):
    """Enclosed by all lines (holes count negative), in pixels."""
    total = 0.0
    for line in points_of(path):
        x, y = line.T / 2
        total += (x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2
    return abs(total)


def test_golden_outline():
    """One pixel is a diamond around its center, at (3, 3) in half pixels."""
    assert points_of(outline_path(np.array([[False, False], [False, True]])))[0].tolist() == [
        [2, 3], [3, 2], [4, 3], [3, 4],
    ]  # fmt: skip
    assert outline_path(np.zeros((3, 3), bool)) == ""
    # 3 x 2 pixels: the sides lie on the pixels' edges, the four corners are cut by an eighth each.
    assert area(outline_path(np.ones((2, 3), bool))) == pytest.approx(6 - 4 / 8)


@given(st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=1, max_size=7))
@quick
def test_outlines_part_a_mask_from_the_rest(rows):
    mask = np.array(rows)
    lines = points_of(outline_path(mask))
    parts = ndimage.label(mask, np.ones((3, 3)))[1]
    assert (len(lines) > 0) == mask.any()
    assert len(lines) >= min(1, parts)
    for line in lines:
        assert line.min() >= 0
        assert (line.max(0) <= 2 * np.array(mask.shape[::-1])).all()
        # Each corner lies between a pixel of the mask and one outside it: one coordinate odd (a pixel's center).
        assert (line.sum(1) % 2 == 1).all()


def tiny_exam():
    return Exam("tiny", make_image(), {"a": make_labels(), "b": np.roll(make_labels(), 3, 0)}, LPS)


def test_planes_are_hung_as_radiologists_do():
    """A bright spot in front, above, at the left of the patient is up and at the right."""
    exam = tiny_exam()
    exam.image[:] = exam.image.min(0) + 1
    center = 16, 12, 12
    labels = np.zeros(SHAPE, np.uint8)
    labels[center] = 3
    exam.image[:, 20:, center[1], center[2]] = 5000  # X grows toward the patient's left
    exam.image[:, center[0], :6, center[2]] = 5000  # Y grows backward
    exam.image[:, center[0], center[1], 18:] = 5000  # Z grows upward
    exam.segmentations.clear()
    exam.segmentations["spot"] = labels
    views = {view.view: view for view in draw_cases(exam, "brats23")["spot"]}
    assert [views[view].index for view in VIEWS] == [12, 12, 16]
    for name, across, down in (("axial", 0, 1), ("coronal", 0, 2), ("sagittal", 1, 2)):
        view = views[name]
        width, height = view.size
        assert (width, height) == (SHAPE[across], SHAPE[down])
        strip = np.asarray(Image.open(io.BytesIO(view.strip)).convert("L"))
        assert strip.shape == (height, len(GLIOMA.pictured) * width)
        panel = strip[:, :width]
        assert panel[:4, center[across]].min() > 200  # up: in front in axial planes, above in the others
        assert panel[-4:, center[across]].max() < 100
        row = center[1] if name == "axial" else height - 1 - center[2]
        ends = panel[row, :4].mean(), panel[row, -4:].mean()
        assert (ends[0] > 200) == (name == "sagittal")  # in front is at the left there
        assert (ends[1] > 200) == (name != "sagittal")  # the patient's left is at the right
        diamond = points_of(view.outlines["ET"])[0]
        assert diamond.mean(0).tolist() == [2 * center[across] + 1, 2 * row + 1]
        assert view.letters == ("A" if name == "sagittal" else "R", "A" if name == "axial" else "S")


def turned_blob():
    """Blobs, and the same turned around with a header that says so."""
    exam = make_blob(3)
    labels = np.zeros_like(exam.segmentations["reference"])
    labels[10:21, 12:27, 20:25] = 1  # its center is a voxel, whichever way one counts
    exam = replace(exam, segmentations={"reference": labels})
    turned = replace(
        exam,
        image=exam.image[:, ::-1, ::-1, ::-1],
        segmentations={"reference": np.ascontiguousarray(labels[::-1, ::-1, ::-1])},
        affine=np.diag([1.0, 1.0, -1.0, 1.0]),
    )
    return exam, turned


def test_files_of_another_task_hang_alike_whichever_way_they_run():
    """The same pictures, outlines and letters."""
    exam, turned = turned_blob()
    [straight] = draw_cases(exam, task=BLOBS).values()
    [found] = draw_cases(turned, task=BLOBS).values()
    for one, other in zip(straight, found, strict=True):
        assert (one.letters, one.outlines, one.strip) == (other.letters, other.outlines, other.strip)
    unknown = replace(exam, affine=np.diag([-1.0, -1.0, 1.0, 1.0])[[1, 0, 2, 3]])  # axes are exchanged
    [views] = draw_cases(unknown, task=BLOBS).values()
    assert {view.letters for view in views} == {("", "")}


def test_figures_of_another_task_hang_alike_whichever_way_files_run():
    stars = {"reference": dict.fromkeys((*VIEWS, "mean"), 4.0)}
    pictures = []
    for exam in turned_blob():
        axes = plot_planes(exam, stars, task=BLOBS).axes
        pictures.append(([np.asarray(ax.images[0].get_array()) for ax in axes], [len(ax.texts) for ax in axes]))
    (straight, letters), (found, told) = pictures
    assert letters == told == [3, 3, 3]
    assert all(np.array_equal(one, other) for one, other in zip(straight, found, strict=True))


def test_photographs_have_no_sides():
    flat = replace(BLOBS, name="photograph", views=("axial",))
    exam = turned_blob()[0]
    assert [len(ax.texts) for ax in plot_planes(exam, {"reference": {"axial": 4.0, "mean": 4.0}}, task=flat).axes] == [
        1
    ]


def test_a_header_that_is_not_lps_gets_no_letters():
    exam = tiny_exam()
    views = draw_cases(Exam("ras", exam.image, exam.segmentations, np.diag([1.0, 1.0, 2.0, 1.0])), "brats23")["a"]
    assert {view.letters for view in views} == {("", "")}
    assert [view.spacing for view in views] == [(1, 1), (1, 2), (1, 2)]


def test_pictures_of_a_table(tmp_path):
    table = rated_table([4.0, 3.0, 2.0], ["a", "a", "b"])
    write_exams(tmp_path, table)
    paths = {c: [str(tmp_path / p) for p in table[c]] for c in ("t1c", "t1", "t2", "flair", "mask")}
    absolute = table.assign(**paths)
    (tmp_path / "b" / "t2.nii.gz").unlink()
    pictures = read_pictures(absolute, GLIOMA)
    assert list(pictures) == [("a", "seg-0"), ("a", "seg-1"), ("b", "seg-0")]
    first, second = (pictures["a", f"seg-{i}"] for i in (0, 1))
    assert [view.index for view in first] != [view.index for view in second]
    assert [view.size for view in first] == [view.size for view in second]
    assert "t2.nii.gz: expected a NIfTI file, found nothing there" in pictures["b", "seg-0"]
    assert read_pictures(absolute.iloc[[1]], GLIOMA)["a", "seg-1"] == second


def test_what_gets_pictures():
    table = rated_table([5.0, 3.0, NAN, 4.0, 2.0, 4.5])
    decided = table.assign(**decide(table, table["mean"], Rule(threshold=3.5)))
    assert flag_rows(decided, 2).tolist() == [4, 1]
    assert sorted(flag_rows(decided, 10)) == [0, 1, 3, 4, 5]
    assert flag_rows(decided, 10)[:2].tolist() == [4, 1]
    table.loc[0, "warnings"] = "empty region ET"
    assert flag_rows(table, 3).tolist() == [0, 4, 1]


def picture(index=7):
    """A picture as small as can be."""
    content = io.BytesIO()
    Image.new("L", (8, 2), 128).save(content, "WEBP")
    path = {"WT": "M1 1l2 0 0 2-2 0z", "TC": "", "ET": ""}
    return [ViewPicture(view, index, (2, 2), (1.0, 1.0), content.getvalue(), path, ("R", "A")) for view in VIEWS]


def test_names_cannot_break_out_of_the_page():
    evil = "</script><script>document.title='broken'</script>"
    table = rated_table([4.0], [evil], warnings=[f"<img src=x onerror=alert(1)> {evil}"])
    text = render_cases(table, {(evil, "seg-0"): picture()}, title=evil, notices=[evil])
    page = Page(text)
    assert page.open == []
    assert not [link for link in page.links if not link.startswith("data:")]
    assert text.count("<script") == 3  # the table, the case, the program
    data = json.loads(re.search(r'id="data">(.*?)</script>', text).group(1))
    assert data["rows"][0][0] == evil


def test_the_page_says_the_scale_the_views_and_the_window_of_its_task():
    text = " ".join(render_cases(rated_table([4.0]), {}, title="x").split())
    assert "mean of the three views" in text
    assert "scale of 1 (worst) to 6 (best)" in text
    assert "Black and white are percentiles of each plane." in text
    other = replace(GLIOMA, name="other", stars=(0.0, 1.0), window=(-160.0, 240.0), views=("axial",))
    text = " ".join(render_cases(rated_table([0.5]), {}, title="x", task=other).split())
    assert "scale of 0 (worst) to 1 (best)" in text
    assert "Black and white are -160 and 240, the task's window." in text
    assert "three views" not in text
    assert "radiologists" not in text  # a photograph


def test_the_page_without_decisions():
    page = Page(render_cases(rated_table([4.0, NAN]), {}, title="Stars of a table"))
    assert "decision" not in " ".join(page.words[page.words.index("Cases") :]).split("script")[0]


@pytest.mark.parametrize(
    ("centers", "unit", "said"),
    [
        ("mask", "stars", "three planes through the center of the segmentation's tumor core, and are not clamped to"),
        (
            "flair",
            "hybrid stars",
            "planes through the place where FLAIR is brightest, from 1 (worst) to 6 (best)",
        ),
        (
            "mask survey",
            "hybrid stars",
            "segmentation's tumor core, lowered by what a refiner finds wrong all over the head, from 1 (worst) to 6",
        ),
        (
            "mask flair brain",
            "metric stars",
            "segmentation's tumor core, the place where FLAIR is brightest and the center of the brain "
            "each, of each view the lowest, and are not clamped",
        ),
    ],
)
def test_the_page_says_where_the_planes_lie(centers, unit, said):
    words = " ".join(Page(render_cases(rated_table([4.0], unit=unit, center=centers), {}, title="Stars")).words)
    assert said in " ".join(words.split())
    assert ("need not be those with the lowest stars" in words) == (
        not centers.startswith("mask") or "flair" in centers
    )


def test_a_page_of_errors_alone():
    assert "no stars: mask.nii.gz: truncated" in render_cases(rated_table([NAN]), {}, title="Errors")


COUNT = 2000


@pytest.fixture(scope="module")
def browser():
    """A headless browser."""
    with headless("--disable-gpu") as started:
        yield started


@pytest.fixture(scope="module")
def big_page(tmp_path_factory):
    """2,000 rows, every fifth of two exams' masks with pictures, some errors and warnings."""
    stars = np.random.default_rng(0).uniform(1, 6, COUNT).round(3)
    stars[::100] = NAN
    table = rated_table(stars, unit="metric stars")
    table.loc[1::100, "warnings"] = "tumor touches the border"
    table = table.assign(**decide(table, table["mean"], Rule(threshold=3.0, drop_below=2.0)))
    keys = list(zip(table["exam"], table["segmentation"], strict=True))
    pictures = {key: picture(i) for i, key in enumerate(keys) if i % 5 == 1}
    pictures[keys[2]] = "case-2/t1c.nii.gz: gone"
    path = tmp_path_factory.mktemp("page") / "index.html"
    path.write_text(render_cases(table, pictures, title="Two thousand", threshold=3.0))
    return path, table


@pytest.fixture
def opened(browser, big_page):
    """The page in a tab of the browser, what it complains about, and what it asks for."""
    tab = browser.new_page(viewport={"width": 1280, "height": 900})
    tab.set_default_timeout(10_000)
    tab.problems, tab.asked = [], []
    tab.on("pageerror", lambda error: tab.problems.append(str(error)))
    tab.on("console", lambda message: tab.problems.append(message.text))
    tab.on("request", lambda request: tab.asked.append(request.url))
    tab.goto(big_page[0].as_uri())
    yield tab
    problems, asked = tab.problems, [url for url in tab.asked if not url.startswith("data:")]
    tab.close()
    assert problems == []
    assert asked == [big_page[0].as_uri()]  # the page itself, and nothing else


def column(tab, name):
    """A column of the rows that are shown, as text."""
    heads = tab.locator("#rows thead th").all_inner_texts()
    at = next(i for i, head in enumerate(heads) if head.split(" ")[0].strip("▲▼") == name)
    return [row.split("\t")[at].strip() for row in tab.locator("#rows tbody tr[data-row]").all_inner_texts()]


@pytest.mark.slow
@pytest.mark.browser
def test_browser_sorts(opened, big_page):
    lowest = sorted(big_page[1]["mean"].dropna())
    assert opened.locator("#count").inner_text() == "1–25 of 2,000"
    assert column(opened, "mean") == [f"{value:.2f}" for value in lowest[:25]]
    head = opened.get_by_role("button", name="mean", exact=True)
    head.click()
    assert column(opened, "mean") == [f"{value:.2f}" for value in lowest[::-1][:25]]
    assert head.locator("..").get_attribute("aria-sort") == "descending"
    opened.get_by_role("button", name="exam", exact=True).click()
    assert column(opened, "exam")[:3] == ["site-0/case-0", "site-0/case-3", "site-0/case-6"]
    opened.get_by_role("button", name="next").click()
    assert opened.locator("#count").inner_text() == "26–50 of 2,000"
    assert column(opened, "exam")[0] == "site-0/case-75"


@pytest.mark.slow
@pytest.mark.browser
def test_browser_filters(opened, big_page):
    table = big_page[1]
    opened.locator("#search").fill("site-1 case-4")
    fits = table["exam"].str.contains("site-1") & table["exam"].str.contains("case-4")
    assert opened.locator("#count").inner_text() == f"1–25 of {fits.sum()} (of 2,000)"
    opened.locator("#decision").select_option("keep")
    opened.locator("#from").fill("4")
    opened.locator("#to").fill("4.5")
    expected = table[fits & (table["decision"] == "keep") & table["mean"].between(4, 4.5)]["mean"].sort_values()
    assert 0 < len(expected) <= 25
    assert column(opened, "mean") == [f"{value:.2f}" for value in expected]
    opened.locator("#pictured").check()
    assert set(column(opened, "exam")) <= set(table["exam"][1::5])
    opened.locator("#search").fill("nobody")
    assert opened.locator("#count").inner_text() == "no segmentation fits (of 2,000)"
    opened.locator("#search").fill("truncated")
    for name in ("#from", "#to"):
        opened.locator(name).fill("")
    opened.locator("#decision").select_option("")
    opened.locator("#pictured").uncheck()
    assert opened.locator("#count").inner_text() == "1–20 of 20 (of 2,000)"
    assert set(column(opened, "mean")) == {"–"}


@pytest.mark.slow
@pytest.mark.browser
def test_browser_opens_a_case(opened, big_page):
    opened.locator("#search").fill("case-6")
    opened.get_by_role("button", name="exam", exact=True).click()
    row = big_page[1].iloc[6]
    assert opened.locator("svg image").count() == 0  # nothing is decoded before it is opened
    opened.get_by_role("button", name="site-0/case-6", exact=True).click()
    case = opened.locator("tr.case")
    captions = case.locator("figcaption").all_inner_texts()
    assert captions == [
        f"axial, Z = 6: {row['axial']:.2f} metric stars",
        f"coronal, Y = 6: {row['coronal']:.2f} metric stars",
        f"sagittal, X = 6: {row['sagittal']:.2f} metric stars",
    ]
    assert case.locator("image").count() == 3
    assert case.locator("path").count() == 12
    assert case.locator("text").all_text_contents()[0] == "FLAIR"
    assert "t1c: site-0/case-6/t1c.nii.gz" in case.inner_text()
    box = case.locator("svg").first.bounding_box()
    assert box["width"] / box["height"] == pytest.approx(4, rel=0.02)
    assert case.locator("path").first.is_visible()
    opened.locator("#outlines").uncheck()
    assert not case.locator("path").first.is_visible()
    opened.get_by_role("button", name="site-0/case-6", exact=True).click()
    assert opened.locator("tr.case").count() == 0


@pytest.mark.slow
@pytest.mark.browser
def test_browser_opens_a_whole_page_and_what_has_no_picture(opened):
    opened.get_by_role("button", name="exam", exact=True).click()
    opened.locator("#pictured").check()
    opened.get_by_role("button", name="open this page's pictures").click()
    assert opened.locator("tr.case").count() == 25
    assert opened.locator("tr.case image").count() == 75
    opened.get_by_role("button", name="close all").click()
    assert opened.locator("tr.case").count() == 0
    opened.locator("#pictured").uncheck()
    opened.locator("#search").fill("site-2/case-2")
    opened.get_by_role("button", name="site-2/case-2", exact=True).click()
    assert "No pictures: case-2/t1c.nii.gz: gone" in opened.locator("tr.case").inner_text()
    opened.locator("#search").fill("site-0/case-3")
    opened.get_by_role("button", name="site-0/case-3", exact=True).click()
    assert "This page holds no pictures of this segmentation." in opened.locator("tr.case").inner_text()


@pytest.mark.slow
@pytest.mark.browser
def test_browser_in_the_dark_and_on_paper(opened):
    background = "getComputedStyle(document.body).backgroundColor"
    opened.emulate_media(color_scheme="light")
    light = opened.evaluate(background)
    opened.emulate_media(color_scheme="dark")
    dark = opened.evaluate(background)
    assert light == "rgb(255, 255, 255)"
    assert max(map(int, re.findall(r"\d+", dark))) < 60

    opened.locator("#search").fill("case-6")
    found = int(re.search(r"of (\d+)", opened.locator("#count").inner_text()).group(1))
    assert found > 25
    opened.emulate_media(media="print", color_scheme="dark")
    assert opened.evaluate(background) == "rgb(255, 255, 255)"  # paper is white, whatever the screen
    assert not opened.locator("#controls").is_visible()
    printed = opened.pdf()
    assert printed.startswith(b"%PDF")
    # Paper has no next page: all that the filter leaves was there while it was printed, and only then.
    shown = []
    opened.expose_function("count_rows", lambda count: shown.append(count))
    opened.evaluate(
        "window.addEventListener('beforeprint', () => count_rows(document.querySelectorAll('[data-row]').length))"
    )
    opened.pdf()
    assert shown == [found]
    assert opened.locator("tr[data-row]").count() == 25


@pytest.mark.slow
@pytest.mark.browser
def test_browser_shows_names_as_they_are(browser, tmp_path):
    evil = "</script><img src=x onerror=\"document.title='broken'\">"
    path = tmp_path / "evil.html"
    path.write_text(render_cases(rated_table([4.0], [evil]), {(evil, "seg-0"): picture()}, title="Names"))
    tab = browser.new_page()
    tab.goto(path.as_uri())
    assert column(tab, "exam") == [evil]
    tab.locator("tbody button").click()
    assert tab.locator("tr.case image").count() == 3
    assert tab.title() == "Names"
    tab.close()

"""The page of cases in a real browser: its size, and how long it takes to load, to filter, to sort, to open a case.

The rows are made up; the pictures are of one phantom with each kind of segmentation error, repeated (the page holds a
copy for each row all the same). Needs Chromium on the path and playwright (``pip install -e .[dev]``).

Run: ``python benchmarks/page_of_cases.py``.
"""

import shutil
import statistics
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import tyro
from _options import ResultFile
from _report import machine, markdown_table, write_json
from playwright.sync_api import Browser, sync_playwright

from dqe_loss.curate.decide import Rule, decide
from dqe_loss.data.corruption import CORRUPTIONS, corrupt
from dqe_loss.data.phantom import make_phantom
from dqe_loss.data.tables.rated import COLUMNS, PATHS
from dqe_loss.viz.cases.page import flag_rows, render_cases
from dqe_loss.viz.cases.pictures import ViewPicture, draw_cases

# Each step is over when its picture is on the screen: two frames later.
STEPS = """async () => {
  const find = (id) => document.getElementById(id);
  const type = (text) => {
    find("search").value = text;
    find("search").dispatchEvent(new Event("input", {bubbles: true}));
  };
  const measure = async (work) => {
    const before = performance.now();
    work();
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    return performance.now() - before;
  };
  return {
    filter: await measure(() => type("case-1")),
    clear: await measure(() => type("")),
    sort: await measure(() => document.querySelectorAll("#rows thead button")[4].click()),
    "open a case": await measure(() => { find("pictured").click(); document.querySelector("tbody button").click(); }),
    "open 25 cases": await measure(() => find("expand").click()),
  };
}"""


@dataclass(frozen=True)
class PageOfCasesOptions:
    """Options of the command line."""

    rows: int = 2000
    """Rows of the table."""
    pictures: tuple[int, ...] = (300, 2000)
    """How many of them have pictures, a page each."""
    repeats: int = 5
    """Times that each page is opened; medians are told."""
    json: ResultFile = Path("benchmarks/results/page_of_cases.json")


def make_pictures() -> list[list[ViewPicture]]:
    """Pictures of a phantom with each kind of error."""
    exam, rng = make_phantom(), np.random.default_rng(0)
    reference, brain = exam.segmentations["reference"], exam.image[0] > 0
    names = [name for name in CORRUPTIONS if name != "other"]
    masks = {name: corrupt(reference, [(name, 0.5)], rng=rng, brain=brain) for name in names}
    return list(draw_cases(replace(exam, segmentations=masks), "brats23").values())


def make_table(rows: int) -> pd.DataFrame:
    """A rated and decided table."""
    stars = np.random.default_rng(0).normal(4.3, 0.8, rows).clip(1, 6)
    texts = {"warnings": "", "error": "", "label_scheme": "brats23", "unit": "stars", "center": "mask"}
    table = pd.DataFrame({"exam": [f"site-{i % 5}/case-{i}" for i in range(rows)], "segmentation": "seg", **texts})
    table = table.assign(**{name: f"{name}.nii.gz" for name in PATHS}, checkpoint="none", checkpoint_sha256="0" * 16)
    table = table.assign(axial=stars - 0.2, coronal=stars, sagittal=stars + 0.2, mean=stars, spread=0.4)
    table = table.assign(tc_ml=20.0, wt_ml=60.0, et_ml=10.0)[list(COLUMNS)]
    return table.assign(**decide(table, table["mean"], Rule(threshold=3.3)))


def measure(browser: Browser, page: Path, settings: PageOfCasesOptions) -> dict[str, float]:
    """Median milliseconds of each step."""
    runs: list[dict[str, float]] = []
    for _ in range(settings.repeats):
        tab = browser.new_page(viewport={"width": 1280, "height": 900})
        tab.goto(page.as_uri())
        load = tab.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
        runs.append({"load": load} | tab.evaluate(STEPS))
        tab.close()
    return {name: round(statistics.median(run[name] for run in runs), 1) for name in runs[0]}


def main(settings: PageOfCasesOptions) -> None:
    """Measures, prints a table and writes the JSON."""
    chromium = shutil.which("chromium")
    if not chromium:
        raise SystemExit("no Chromium on the path; run: apt-get install chromium")
    drawn, table, rows = make_pictures(), make_table(settings.rows), []
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for count in settings.pictures:
            flagged = table.loc[flag_rows(table, count), ["exam", "segmentation"]].itertuples(index=False, name=None)
            pictures = {key: drawn[i % len(drawn)] for i, key in enumerate(flagged)}
            page = Path(folder) / f"{count}.html"
            page.write_text(render_cases(table, pictures, title=f"{settings.rows} rows"))
            size = {"rows": settings.rows, "pictures": len(pictures), "megabytes": page.stat().st_size / 1e6}
            rows.append(size | {f"{name} (ms)": value for name, value in measure(browser, page, settings).items()})
        version = browser.version
        browser.close()
    print(markdown_table(rows))
    write_json(settings.json, {"machine": machine(), "chromium": version, "rows": rows})


if __name__ == "__main__":
    main(tyro.cli(PageOfCasesOptions, description=__doc__))

"""Small studies for the tests of collecting: tiny exams, a study, its application and a client."""

from contextlib import contextmanager
from pathlib import Path

from cohort import write_exam
from starlette.testclient import TestClient

from dqe_loss.collect.begin import begin_study
from dqe_loss.collect.command import main
from dqe_loss.collect.pictures import PICTURES, PictureFolder
from dqe_loss.collect.serve import opened
from dqe_loss.collect.study import Study, StudyDesign, cases_of
from dqe_loss.collect.study_file import write_study
from dqe_loss.data.discovery.data_set import find_data_set
from dqe_loss.task import GLIOMA

MASKS = ("seg-a", "seg-b", "seg-c")
TAGS = ("enhancing rim missed", "edema too large")


def write_data(folder: Path, exams: int = 4, masks: tuple[str, ...] = MASKS) -> Path:
    """Tiny exams with file names that a rater must not see."""
    for number in range(exams):
        write_exam(folder / f"hospital-{number}", seed=number, masks=masks)
    return folder


def begin(folder: Path, data: Path, raters=("ann", "bob"), training: Path | None = None, **design) -> Study:
    """A study whose pictures are drawn."""
    task = design.get("task", GLIOMA)
    shown, practice = (cases_of(find_data_set(d, None, task=task), task) if d else [] for d in (data, training))
    study = begin_study(StudyDesign(**design), shown, practice, raters)
    PictureFolder(folder / PICTURES, study).draw_missing(1)
    write_study(study, folder)
    return study


class Rater:
    """A rater's browser without a window."""

    def __init__(self, client: TestClient, secret: str) -> None:
        self.client, self.base = client, f"/r/{secret}"

    def state(self):
        response = self.client.get(f"{self.base}/case")
        assert response.status_code == 200, response.text
        return response.json()

    def post(self, path, body, **options):
        return self.client.post(self.base + path, json=body, **options)

    def answer(self, verdict, state=None, **more):
        state = state or self.state()
        body = {"id": state["case"]["id"], "turn": state["turn"], "verdict": verdict}
        return self.post("/answer", body | {"comment": "", "tags": [], "seconds": 2.0} | more)


@contextmanager
def serving(study: Study, folder: Path, **options):
    """The application and its raters, as if a server ran."""
    with opened(study, folder, **options) as app, TestClient(app.build(), raise_server_exceptions=False) as client:
        yield app, {rater: Rater(client, secret) for rater, secret in app.links.items()}


def run_import(source, out, *options, code=0):
    """``dqe collect import``, and with which exit code it must end."""
    assert main(["import", str(source), "--out", str(out), *map(str, options)]) == code

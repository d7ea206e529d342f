"""A small study for the tests of collecting, the real server, and a browser."""

import shutil

import pytest
from chromium import headless
from real_server import Server
from studies import TAGS, begin, write_data

from dqe_loss.collect.study_file import write_study


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "ratings"


@pytest.fixture(scope="session")
def drawn(tmp_path_factory, data):
    """A study before its first answer."""
    folder = tmp_path_factory.mktemp("drawn")
    return folder, begin(folder, data, tags=TAGS, repeats=0.25)


@pytest.fixture
def study(folder, drawn):
    shutil.copytree(drawn[0], folder)
    write_study(drawn[1], folder)  # its paths are relative
    return drawn[1]


@pytest.fixture
def served(tmp_path, data):
    """Begins a study and serves it; stops what still runs."""
    servers = []

    def serve(*options, of=data, **design):
        folder = tmp_path / "ratings"
        begin(folder, of, **design)
        servers.append(Server(folder, *options))
        return servers[-1]

    yield serve
    for server in servers:
        if server.process.poll() is None:
            server.kill()


@pytest.fixture(scope="session")
def browser():
    """A headless browser with WebGL computed by the processor."""
    with headless("--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist") as started:
        yield started


@pytest.fixture
def tab_of(browser):
    """Opens a link in a browser of its own, and sees to it that the page never complains."""
    contexts, problems = [], []

    def open_tab(link, width=1280, height=800, scheme="dark", **options):
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, **options)
        contexts.append(context)
        tab = context.new_page()
        tab.set_default_timeout(120_000)
        tab.on("pageerror", lambda error: problems.append(str(error)))
        tab.on("console", lambda m: problems.append(m.text) if m.type == "error" else None)
        local = ("http://127.0.0.1", "blob:", "data:")
        tab.on("request", lambda r: None if r.url.startswith(local) else problems.append(r.url))
        tab.goto(link)
        tab.wait_for_selector("body[data-case]")
        return tab

    open_tab.problems = problems
    yield open_tab
    for context in contexts:
        context.close()
    assert [p for p in problems if "ERR_CONNECTION" not in p and "409" not in p] == []

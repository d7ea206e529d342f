"""A headless Chromium of the machine's own, for tests of pages; playwright's is not downloaded."""

import atexit
import shutil
from contextlib import contextmanager
from functools import cache

import pytest


@contextmanager
def headless(*options):
    """Start it with some options, or skip the test visibly where there is none."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not found:
        pytest.skip("no Chromium on the path (apt-get install chromium)")
    started = _playwright(api).chromium.launch(executable_path=found, args=["--no-sandbox", *options])
    yield started
    started.close()


@cache
def _playwright(api):
    """One for all browsers of a process: a second one is refused while the first runs."""
    playwright = api.sync_playwright().start()
    atexit.register(playwright.stop)
    return playwright

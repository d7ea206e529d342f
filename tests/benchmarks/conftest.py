"""What tests of the benchmarks share."""

import importlib
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def study(monkeypatch):
    """Imports a module of the study; their names are plain ones, which other modules may have, too."""
    names = [path.stem for path in (ROOT / "benchmarks" / "benefit").glob("*.py")]
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks" / "benefit"))
    yield importlib.import_module
    for name in names:
        sys.modules.pop(name, None)

"""Fixtures shared by the tests: one surrogate, one phantom, and the real exams where there are any."""

import os

# A second thread gains little on planes, and costs much where other processes want the cores; numpy reads this once.
for library in ("OMP", "OPENBLAS"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

from collections import Counter
from pathlib import Path

import pytest
import torch
from helpers import small_surrogate

from dqe_loss import Surrogate, load_surrogate, save_surrogate
from dqe_loss.data.exams import Exam
from dqe_loss.data.phantom import make_phantom

torch.set_num_threads(1)
collect_ignore_glob = ["*conftest.py"]  # two of one name cannot be searched for doctests, of which they have none


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))
    # Files are handed to workers in this order: what takes long must not be what the last of them is left with.
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


@pytest.fixture(scope="session")
def surrogate() -> Surrogate:
    """The published weights; loaded once, for nothing can change them."""
    return load_surrogate("brainlesion")


@pytest.fixture(scope="session")
def hardened() -> Surrogate:
    """The shipped default; loaded once, and not to be changed."""
    return load_surrogate()


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the published weights on a small field of view: fast; not to be changed."""
    path = tmp_path_factory.mktemp("checkpoints") / "small.safetensors"
    save_surrogate(small_surrogate(), path)
    return path


@pytest.fixture(scope="session")
def phantom() -> Exam:
    """Phantom 0, drawn once, and not to be changed."""
    return make_phantom(0)


@pytest.fixture(scope="session")
def exams() -> Path:
    """Folder of the real exams."""
    folder = os.environ.get("DQE_EXAMS")
    if not folder:
        pytest.skip("DQE_EXAMS names no folder of real exams")
    path = Path(folder).resolve()
    if not path.is_dir():
        pytest.fail(f"DQE_EXAMS={folder} is no folder")
    return path

"""A small study for the tests of collecting."""

import shutil

import pytest
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

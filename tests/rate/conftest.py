"""What the tests of ``dqe rate`` share."""

import pytest
from helpers import small_surrogate

from dqe_loss import save_surrogate


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """The published weights on a small field of view: fast."""
    path = tmp_path_factory.mktemp("checkpoints") / "small.safetensors"
    save_surrogate(small_surrogate(), path)
    return path

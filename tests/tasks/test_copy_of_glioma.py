"""A task that is glioma but for its name is treated as glioma: what counts are facts of the task."""

import json
from dataclasses import replace

import numpy as np
import pytest

from dqe_loss import GLIOMA
from dqe_loss.data.discovery.nnunet import channels_of
from dqe_loss.data.discovery.nnunet_labels import settle_scheme
from dqe_loss.data.exams import ExamError
from dqe_loss.harden.config import HardenConfig
from dqe_loss.harden.sources import find_taught
from dqe_loss.integrations.nnunet.labels import read_labels
from dqe_loss.viz.hanging import told_axes

COPY = replace(GLIOMA, name="glioma of our clinic")
TISSUES = {"background": 0, "edema": 1, "non-enhancing core": 2, "enhancing tumour": 3}
REGIONS = {"background": 0, "whole tumour": [1, 2, 3], "tumour core": [2, 3], "enhancing tumour": [3]}


@pytest.mark.parametrize("labels", [TISSUES, REGIONS])
def test_free_text_of_nnunet_is_understood(labels, tmp_path):
    assert read_labels({"labels": labels}, COPY) == read_labels({"labels": labels}, GLIOMA)
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": labels}))
    assert settle_scheme(tmp_path, None, COPY) == settle_scheme(tmp_path, None, GLIOMA) == "nnunet"


def test_a_sign_beside_a_word_means_another_scan():
    named = {"channel_names": {str(i): name for i, name in enumerate(("T1", "T1c", "T2", "FLAIR-"))}}
    for task in (GLIOMA, COPY):
        with pytest.raises(ExamError, match="FLAIR-"):
            channels_of(named, "dataset.json", "say it", task)


def test_headers_are_not_believed_and_references_are_named(tmp_path):
    for task in (GLIOMA, COPY):
        assert told_axes(np.diag((1.0, 1, 1, 1)), task) is None
        with pytest.raises(ValueError, match="--exams needs --reference"):
            find_taught(HardenConfig(out=tmp_path, exams=(tmp_path,)), task)

"""Errors made in a plane are as large in mm as those of volumes, along thick voxels, too."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_tasks import CT

from dqe_loss.harden import held_out, masks
from dqe_loss.harden.scenes import Scene
from dqe_loss.harden.taught_exams import TaughtExam
from dqe_loss.task import GLIOMA

THICK = replace(CT, error_size=1.0)
"""Voxels of 1 x 1 x 3 mm."""


@pytest.mark.parametrize(("view", "width"), [("axial", (26, 26)), ("coronal", (26, 22)), ("sagittal", (26, 22))])
def test_a_mask_grows_by_3_mm_along_both_axes(monkeypatch, view, width):
    monkeypatch.setattr(masks, "draw_errors", lambda rng: [("dilate", 3 / 8)])
    truth = torch.zeros(64, 64, dtype=torch.uint8)
    truth[20:40, 20:40] = 1
    exam = TaughtExam("a", Path("a"), False, THICK)
    scene = Scene(torch.ones(1, 64, 64), truth, exam, view, 0, torch.empty(0))
    found = masks._corrupted(scene, (), np.random.default_rng(0))
    assert (int(found[:, 30].sum()), int(found[30].sum())) == width


@pytest.mark.parametrize(("view", "moved"), [("axial", (11, -11)), ("coronal", (11, -4)), ("sagittal", (11, -4))])
def test_a_reference_is_moved_by_11_mm_along_both_axes(tmp_path, view, moved):
    reference = np.zeros((40, 40, 40), np.uint8)
    reference[12:16, 12:16, 12:16] = 1
    np.save(tmp_path / "reference.npy", reference)
    np.save(tmp_path / "stock.npy", reference[None])
    found = held_out._masks(TaughtExam("a", tmp_path, False, THICK), view, 14, np.random.default_rng(0))
    assert torch.equal(found[-2], torch.roll(found[0], moved, (0, 1)))


def test_the_built_in_task_is_itself_in_each_view():
    assert all(masks.task_of_plane(GLIOMA, view) is GLIOMA for view in GLIOMA.views)

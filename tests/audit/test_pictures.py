"""Pictures of an audit: which way they hang, and what is black and white."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from dqe_loss.audit.exploitation import SHIFT, shift_of
from dqe_loss.audit.page import picture_caption
from dqe_loss.audit.pictures import draw_panels
from dqe_loss.audit.stars_and_dice import Panel
from dqe_loss.task import BLOBS, GLIOMA


def shown(panel):
    return np.asarray(draw_panels([[panel]]).axes[0].images[0].get_array())


def test_files_that_run_to_the_right_and_front_are_turned():
    scan = np.arange(1, 31, dtype=np.float32).reshape(6, 5)
    mask = np.zeros((1, 6, 5), bool)
    straight = shown(Panel("", "", scan, mask, BLOBS, np.diag([-1.0, -1.0, 1.0, 1.0])))
    turned = shown(Panel("", "", scan[::-1, ::-1], mask, BLOBS, np.eye(4)))
    assert np.array_equal(straight, turned)
    assert np.array_equal(straight, shown(Panel("", "", scan, mask, BLOBS)))


def test_a_window_says_what_is_black_and_white():
    scan = np.array([[-1000.0, 0.0, 240.0, 3000.0]], np.float32).T
    panel = Panel("", "", scan, np.zeros((1, 4, 1), bool), replace(BLOBS, name="organ", window=(-160.0, 240.0)))
    assert shown(panel)[..., 0].ravel().tolist() == pytest.approx([0, 0.4, 1, 1])


def test_captions_say_how_far_the_masks_of_their_task_are_moved():
    assert (shift_of(GLIOMA), shift_of(BLOBS)) == (SHIFT, 5)
    assert "(shifted: by 5 voxels)" in picture_caption("exploitation", BLOBS)
    assert "(shifted: by 15 voxels)" in picture_caption("exploitation", GLIOMA)
    assert picture_caption("ladders", BLOBS) == ""

from itertools import pairwise

import numpy as np
import pytest
import torch
from helpers import make_labels, quick
from hypothesis import given
from hypothesis import strategies as st

from dqe_loss import regions_from_labels
from dqe_loss.data.corruption import CORRUPTIONS, corrupt, describe_steps
from dqe_loss.data.corruption import content as corruption_content
from dqe_loss.data.corruption import shapes as corruption_shapes
from dqe_loss.data.corruption.label_maps import Context
from dqe_loss.metrics.metric_stars import metric_stars
from dqe_loss.task import Task

SHAPE = (60, 56, 48)
LABELS = make_labels(SHAPE, (0.2, -0.1, 0.1))
BRAIN = sum(axis**2 for axis in np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij")) < 0.95
OTHER = make_labels(SHAPE, (-0.3, 0.2, 0.0))
NAMES = list(CORRUPTIONS)


def worsen(name, severity, seed=0, labels=LABELS, other=OTHER):
    return corrupt(labels, [(name, severity)], rng=np.random.default_rng(seed), brain=BRAIN, other=other)


def stars(labels):
    regions = [regions_from_labels(torch.from_numpy(x)[None, None], "brats23") for x in (labels, LABELS)]
    return metric_stars(*regions).item()


def test_all_errors_of_the_issue_are_there():
    expected = "shift mirror dilate erode smooth split blobs drop swap holes noise other whole_brain empty"
    assert sorted(CORRUPTIONS) == sorted(expected.split())


@pytest.mark.parametrize("name", NAMES)
def test_severity_0_is_the_identity(name):
    result = worsen(name, 0.0)
    assert np.array_equal(result, LABELS)
    assert result is not LABELS


@quick
@given(name=st.sampled_from(NAMES), severity=st.floats(0.01, 1), seed=st.integers(0, 99), empty=st.booleans())
def test_outputs_are_label_maps_and_inputs_are_kept(name, severity, seed, empty):
    labels = np.zeros_like(LABELS) if empty else LABELS
    before = labels.copy()
    result = worsen(name, severity, seed, labels)
    assert (result.dtype, result.shape) == (np.uint8, SHAPE)
    assert set(np.unique(result)) <= {0, 1, 2, 3}
    assert np.array_equal(labels, before)
    assert np.array_equal(result, worsen(name, severity, seed, labels))


@pytest.mark.parametrize("name", NAMES)
def test_severity_1_is_worse_than_a_half_and_that_than_a_tenth(name):
    mean = [np.mean([stars(worsen(name, s, seed)) for seed in range(2)]) for s in (0.1, 0.5, 1.0)]
    assert mean[0] < 6 or name in ("smooth", "blobs")  # both may leave a small tumor's mask as it is
    assert mean[0] > mean[1] > mean[2]


@pytest.mark.parametrize("name", ["shift", "dilate", "erode"])
def test_metric_stars_never_rise_with_severity(name):
    values = [stars(worsen(name, severity, seed=3)) for severity in np.linspace(0, 1, 11)]
    assert values[0] == 6
    assert all(later <= earlier for earlier, later in pairwise(values))
    assert values[-1] < values[0] - 1.5


@pytest.mark.parametrize("name", ["shift", "mirror", "noise", "blobs", "other"])
def test_seeds_differ(name):
    assert not np.array_equal(worsen(name, 0.5, 0), worsen(name, 0.5, 1))


@quick
@given(severity=st.floats(0.01, 1), seed=st.integers(0, 99))
def test_shift_moves_the_whole_tumor_as_far_as_said(severity, seed):
    labels = np.zeros((100, 100, 100), np.uint8)
    labels[48:52, 48:52, 48:52] = make_labels((4, 4, 4))
    labels[48, 48, 48] = 1
    brain = np.ones(labels.shape, bool)
    moved = corrupt(labels, [("shift", severity)], rng=np.random.default_rng(seed), brain=brain)
    offset = np.argwhere(moved)[0] - np.argwhere(labels)[0]
    assert np.array_equal(np.roll(labels, offset, (0, 1, 2)), moved)
    assert np.linalg.norm(offset) == pytest.approx(severity * corruption_shapes.MAX_SHIFT, abs=0.9)


def test_shift_turns_around_at_the_border():
    labels = np.zeros((50, 50, 50), np.uint8)
    labels[:3, :3, :3] = 1
    for seed in range(8):
        moved = corrupt(labels, [("shift", 1.0)], rng=np.random.default_rng(seed), brain=labels == 0)
        assert (moved > 0).sum() == 27
        assert np.linalg.norm(np.argwhere(moved)[0]) == pytest.approx(corruption_shapes.MAX_SHIFT, abs=0.9)


def test_mirror_at_1_is_the_mirror_image():
    assert np.array_equal(worsen("mirror", 1.0), np.flip(LABELS, 0))  # the brain lies in the middle


def test_mirror_and_other_take_shares():
    core = (LABELS > 0).sum()
    left = worsen("mirror", 0.3)
    assert ((LABELS > 0) & (left == LABELS)).sum() == pytest.approx(0.7 * core, rel=0.2)
    assert np.array_equal(worsen("other", 1.0), OTHER)


@pytest.mark.parametrize(("name", "radius"), [("dilate", corruption_shapes.MAX_DILATION), ("erode", 6.0)])
def test_growth_in_voxels(name, radius):
    """A cube of one tissue, 2 mm further on each face: 9 + 4 voxels wide, or 9 - 4."""
    labels = np.zeros((31, 31, 31), np.uint8)
    labels[11:20, 11:20, 11:20] = 2
    brain = np.ones(labels.shape, bool)
    result = corrupt(labels, [(name, 2 / radius)], rng=np.random.default_rng(0), brain=brain)
    along = np.flatnonzero(result[:, 15, 15])
    assert (along[0], along[-1]) == ((9, 21) if name == "dilate" else (13, 17))
    assert set(np.unique(result)) == {0, 2}


@pytest.mark.parametrize(("name", "width"), [("erode", 18), ("dilate", 22)])
def test_the_smallest_growth_is_of_a_voxel_whatever_its_size(name, width):
    """A cube of 20 voxels of a tenth of a mm, and errors of 0.06 and 0.08 mm."""
    task = Task("fine", ("a",), ("r",), ("r",), spacing=(0.1, 0.1, 0.1))
    labels = np.zeros((40, 40, 40), np.uint8)
    labels[10:30, 10:30, 10:30] = 1
    result = corrupt(labels, [(name, 0.01)], rng=np.random.default_rng(0), brain=labels == labels, task=task)
    assert (result[:, 20, 20] > 0).sum() == width


def test_dilation_stays_in_the_brain_and_regions_stay_nested():
    brain = LABELS > 0
    result = corrupt(LABELS, [("dilate", 1.0)], rng=np.random.default_rng(0), brain=brain)
    assert np.array_equal(result > 0, brain)
    assert (result == 3).sum() > (LABELS == 3).sum()


def test_smoothing_removes_specks_and_keeps_the_bulk():
    labels = LABELS.copy()
    labels[2, 2, 2] = 1
    result = worsen("smooth", 0.1, labels=labels)
    assert result[2, 2, 2] == 0
    assert ((result > 0) & (LABELS > 0)).sum() > 0.95 * (LABELS > 0).sum()


def test_a_single_plane_is_smoothed_within_itself():
    plane = LABELS[..., LABELS.shape[2] // 2, None].copy()
    result = corrupt(plane, [("smooth", 0.1)], rng=np.random.default_rng(0), brain=plane >= 0)
    assert ((result > 0) & (plane > 0)).sum() > 0.9 * (plane > 0).sum() > 0


def test_split_leaves_a_gap():
    result = worsen("split", 0.5)
    along = (result > 0).sum()
    assert along == pytest.approx((LABELS > 0).sum(), rel=0.05)
    assert ((result == 0) & (LABELS > 0)).sum() > 0.2 * along


def test_blobs_are_new_tumor_in_the_brain_alone():
    result = worsen("blobs", 1.0)
    assert np.array_equal(result[LABELS > 0], LABELS[LABELS > 0])
    assert (result > 0).sum() > (LABELS > 0).sum()
    assert not result[~BRAIN & (LABELS == 0)].any()


def test_holes_take_the_share_said():
    kept = (worsen("holes", 0.5) > 0).sum() / (LABELS > 0).sum()
    assert kept == pytest.approx(1 - 0.5 * corruption_content.MAX_HOLES, abs=0.01)


def test_drop_and_swap_change_tissues_not_places():
    for seed in range(6):
        dropped, swapped = worsen("drop", 1.0, seed), worsen("swap", 1.0, seed)
        gone = [tissue for tissue in (1, 2, 3) if not (dropped == tissue).any()]
        assert len(gone) == 1
        missed = np.unique(dropped[np.isin(LABELS, gone)])
        assert missed.tolist() == [{1: 0, 2: 0, 3: 2}[gone[0]]]
        assert np.array_equal(swapped > 0, LABELS > 0)
        assert sorted(np.bincount(swapped.ravel())) == sorted(np.bincount(LABELS.ravel()))
        assert (swapped != LABELS).any()


def test_whole_brain_and_empty_at_the_end():
    brain = worsen("whole_brain", 1.0)
    assert np.array_equal(brain > 0, BRAIN | (LABELS > 0))
    assert np.array_equal(brain[LABELS > 0], LABELS[LABELS > 0])
    assert not worsen("empty", 1.0).any()
    half = worsen("empty", 0.5)
    assert (half > 0).sum() == pytest.approx((LABELS > 0).sum() / 8, rel=0.15)


def test_edema_spreads_to_what_is_near_first():
    result = worsen("whole_brain", 0.3)
    grown = (result > 0) & (LABELS == 0)
    assert grown.sum() == pytest.approx(0.09 * (BRAIN & (LABELS == 0)).sum(), abs=1)
    near = corruption_shapes._within(LABELS > 0, 5.0, Context(LABELS > 0))
    assert near[grown].all()


def test_errors_are_chained_in_their_order():
    steps = [("shift", 0.2), ("drop", 0.7), ("erode", 0.1)]
    rng = np.random.default_rng(5)
    one_by_one = LABELS
    for step in steps:
        one_by_one = corrupt(one_by_one, [step], rng=rng, brain=BRAIN)
    assert np.array_equal(corrupt(LABELS, steps, rng=np.random.default_rng(5), brain=BRAIN), one_by_one)


def test_description():
    assert describe_steps([("shift", 0.5), ("dilate", 0.304)]) == "shift:0.50+dilate:0.30"
    assert describe_steps([]) == "none"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": LABELS.astype(int)}, r"expected a label map uint8 \(X, Y, Z\) .*, got int64"),
        ({"labels": LABELS + np.uint8(1)}, "0, 1, 2, 3 .*up to 4; map it to that scheme first"),
        ({"steps": [("shfit", 0.1)]}, "unknown corruption 'shfit'; expected one of shift, mirror"),
        ({"steps": [("shift", 1.1)]}, r"severity of 'shift' must be in \[0, 1\], got 1.1"),
        ({"steps": [("shift", float("nan"))]}, "severity of 'shift' must be in"),
        ({"brain": BRAIN[1:]}, "brain mask of type bool and an other label map, each of the label map's shape"),
        ({"brain": BRAIN.astype(np.uint8)}, "got uint8"),
        ({"brain": np.zeros_like(BRAIN)}, "brain mask with brain in it, got an empty one"),
        ({"other": OTHER[1:]}, "each of the label map's shape"),
        ({"steps": [("other", 0.5)]}, "'other' needs another exam's label map, got none"),
    ],
)
def test_bad_inputs(change, message):
    arguments = {"labels": LABELS, "steps": [("shift", 0.5)], "brain": BRAIN} | change
    with pytest.raises(ValueError, match=message):
        corrupt(rng=np.random.default_rng(0), **arguments)

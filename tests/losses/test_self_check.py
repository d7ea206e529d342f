"""Targets are rated during the warm-up: expert masks with few stars mean that something is mixed up."""

import warnings

import pytest
import torch
from helpers import make_case, make_loss, shrink, tiny_surrogate
from monai.losses import DiceLoss

from dqe_loss import load_surrogate, rate_segmentation, regions_from_labels
from dqe_loss.losses.self_check import FIRST_LOOK, LOW_SHARE, TargetStars


def looked_at(*batches):
    check = TargetStars()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for stars, rated in batches:
            check.add(torch.tensor(stars), torch.tensor(rated))
    return [str(warning.message) for warning in caught]


def test_a_low_mean_over_many_exams_is_told_once_and_one_low_exam_is_not():
    low, high = ([1.2, 1.4], [True, True]), ([4.0, 4.5], [True, True])
    assert looked_at(*[low] * (FIRST_LOOK // 2 - 1)) == []
    message = looked_at(*[low] * 64)
    assert len(message) == 1
    assert "the targets themselves get 1.3 stars on average over 16 exams" in message[0]
    assert "modalities in another order" in message[0]
    assert looked_at(low, *[high] * 64) == []
    assert len(looked_at(*[high] * 16, *[low] * 200)) == 1  # a later look sees what came later


def test_exams_that_were_not_rated_do_not_count():
    assert looked_at(*[([1.0, 4.0], [False, True])] * 40) == []
    assert looked_at(*[([1.0], [False])] * 40) == []
    assert 1 + 5 * LOW_SHARE < 3


@pytest.fixture(scope="module")
def exam():
    image, _, regions, logits = make_case()
    return logits, regions.float(), image


def test_the_log_of_a_warm_up_tells_the_targets_stars(exam):
    logits, target, image = exam
    criterion = DiceLoss(sigmoid=True) + 0.1 * make_loss(surrogate=tiny_surrogate(), warmup=5)
    criterion(logits, target, image=image)
    padded = rate_segmentation(tiny_surrogate(), image, target > 0.5).mean()
    assert criterion.log["stars_of_target"] == pytest.approx(float(padded), abs=1e-5)
    assert criterion.log["skipped"] == 0
    criterion.terms[1].on_small = "skip"
    criterion(logits, target, image=image)
    assert "stars_of_target" not in criterion.log  # crops below 96 voxels are no expert's planes
    assert criterion.log["skipped"] == 2
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dqe_loss.losses.dqe.DQELoss.smallest_crop", 16)
        target = torch.cat((target[:1], torch.zeros_like(target[1:])))
        criterion(logits, target, image=image)
        assert criterion.log["skipped"] == 1
        expected = rate_segmentation(tiny_surrogate(), image[:1], target[:1] > 0.5).mean()
        assert criterion.log["stars_of_target"] == pytest.approx(float(expected), abs=1e-5)


def test_padded_targets_are_noted_and_no_verdict_is_asked_of_them(exam):
    """Padding costs stars by itself, so that a low mean says nothing of what is mixed up."""
    _, target, image = exam
    surrogate = shrink(load_surrogate("hardened"), 64)
    empty = torch.zeros_like(target[1:])
    term = make_loss(surrogate=surrogate, warmup=5)
    term._target_stars.add = pytest.fail
    with torch.no_grad():
        term.check_target(torch.cat((target[:1], empty)), image)
        expected = rate_segmentation(surrogate, image[:1], target[:1] > 0.5).mean()
    assert float(term.notes["stars_of_target"]) == pytest.approx(float(expected), abs=1e-4)


@pytest.mark.slow
def test_a_flipped_target_is_told_by_the_default_checkpoint():
    """End to end: sixteen steps of a warm-up on phantoms whose label maps were flipped, and as they are."""
    from dqe_loss import DQELoss
    from dqe_loss.data.phantom import make_phantom

    exam = make_phantom(3)
    image = torch.from_numpy(exam.image).float()[None, :, 40:200, 40:200, 10:150]
    labels = torch.from_numpy(exam.segmentations["reference"])[None, None, 40:200, 40:200, 10:150]
    term = DQELoss(warmup=100, views=("axial",))
    for target, few in ((labels, False), (labels.flip(2), True)):
        criterion = DiceLoss(sigmoid=True) + 0.1 * DQELoss(term.surrogate, warmup=100, views=("axial",))
        regions = regions_from_labels(target).float()
        logits = (6 * regions - 3).requires_grad_()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for _ in range(FIRST_LOOK):
                criterion(logits, regions, image=image)
        messages = [str(one.message) for one in caught if "targets themselves" in str(one.message)]
        assert len(messages) == few


def test_class_indices_are_targets_too():
    image, labels, _, _ = make_case()
    logits = torch.zeros(2, 4, 32, 28, 24, requires_grad=True)
    criterion = torch.nn.CrossEntropyLoss() + 0.1 * make_loss(surrogate=tiny_surrogate(), warmup=5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dqe_loss.losses.dqe.DQELoss.smallest_crop", 16)
        criterion(logits, labels[:, 0].long(), image=image)
    expected = rate_segmentation(tiny_surrogate(), image, labels).mean()
    assert criterion.log["stars_of_target"] == pytest.approx(float(expected), abs=1e-5)

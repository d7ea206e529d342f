"""Planes by themselves, as 2D networks predict them: the same stars, guard, cap and checks as in a volume (C6)."""

import copy
import warnings

import pytest
import torch
from helpers import gradient_of, make_case, make_logits, make_loss, shrink, small_surrogate, tiny_surrogate
from monai.data import MetaTensor
from monai.losses import DiceLoss

from dqe_loss import VIEWS, extract_planes, hard_center_of_mass, load_surrogate, rate_segmentation, soft_center_of_mass
from dqe_loss.core.slicing import VIEW_AXIS


@pytest.fixture(scope="module")
def exam():
    return make_case()


@pytest.fixture(scope="module")
def planes(exam):
    """An axial plane of each of two exams: image, label map, regions, logits."""
    return tuple(x[..., 12].contiguous() for x in exam)


def cut(volume, center, view):
    return extract_planes(volume, center[:, VIEW_AXIS[view], None], view)[:, 0]


@pytest.mark.parametrize("checkpoint", ["published", "hardened"])
def test_a_plane_that_the_loss_cuts_has_the_same_stars_by_itself(exam, checkpoint):
    """Whole planes of logits, and planes between voxels, of probabilities: the loss interpolates these."""
    image, _, _, logits = exam
    surrogate = small_surrogate() if checkpoint == "published" else shrink(load_surrogate(), 64)
    probabilities = logits.sigmoid()
    whole, between = hard_center_of_mass(probabilities), soft_center_of_mass(probabilities)
    assert ((between - between.round()).abs() > 1e-3).any()
    hard = make_loss(surrogate=surrogate, slicing="hard")
    soft = make_loss(surrogate=surrogate, sigmoid=False, softmax=False)
    for loss, prediction, center in ((hard, logits, whole), (soft, probabilities, between)):
        stars = loss.rate(prediction, image=image)
        for i, view in enumerate(VIEWS):
            alone = loss.rate(cut(prediction, center, view), image=cut(image, center, view))
            torch.testing.assert_close(alone, stars[:, i : i + 1], rtol=0, atol=1e-6)
            regions = cut(logits, center, view).sigmoid() if loss is hard else cut(probabilities, center, view)
            rated = rate_segmentation(surrogate, cut(image, center, view), regions, slicing=loss.slicing)
            torch.testing.assert_close(rated, alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("guard", ["target", None])
def test_the_gradient_is_that_of_the_plane_in_its_volume(exam, guard):
    image, labels, _, logits = exam
    center = hard_center_of_mass(logits.sigmoid())
    options = {"guard": guard, "slicing": "hard", "reduction": "none", "views": ("axial",)}
    whole = cut(gradient_of(make_loss(**options), logits, labels, image=image), center, "axial")
    logits, labels, image = (cut(x, center, "axial") for x in (logits, labels, image))
    for target in (labels, labels[:, 0]):
        alone = gradient_of(make_loss(**options), logits, target, image=image)
        assert alone.abs().sum() > 0
        # The zeros that a soft mask is padded with get no gradient; hard planes repeat their rows' least value.
        torch.testing.assert_close(alone, whole, rtol=1e-4, atol=1e-7)


def test_the_guard_keeps_what_moves_toward_the_target(planes):
    image, _, regions, logits = planes
    honest, free = (gradient_of(make_loss(guard=g), logits, regions.float(), image=image) for g in ("target", None))
    wrong = (-free).sign() * (regions.float() - logits.sigmoid()).sign() < 0
    assert wrong.any()
    assert honest[wrong].eq(0).all()
    assert torch.equal(honest[~wrong], free[~wrong])


def test_gradient_of_the_whole_path():
    torch.manual_seed(0)
    loss = make_loss(surrogate=copy.deepcopy(tiny_surrogate()).double(), guard=None, reduction="none")
    image = torch.rand(1, 4, 4, 5, dtype=torch.float64)
    logits = torch.randn(1, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: loss(x, image=image), logits)


def test_heads_targets_and_names(planes):
    image, labels, regions, logits = planes
    expected = gradient_of(make_loss(), logits, labels, image=image)
    for target in (labels[:, 0], regions, regions.float(), MetaTensor(labels)):
        assert torch.equal(gradient_of(make_loss(), logits, target, image=MetaTensor(image)), expected)
    order = [1, 0, 2]
    nnunet = make_loss(region_order=("WT", "TC", "ET"))
    assert torch.equal(gradient_of(nnunet, logits[:, order], labels, image=image), expected[:, order])
    one_hot = torch.cat([labels == value for value in range(4)], 1).float()
    torch.testing.assert_close(
        make_loss().rate(40 * one_hot, image=image),
        rate_segmentation(small_surrogate(), image, regions, slicing="soft"), rtol=0, atol=1e-4,
    )  # fmt: skip
    tissues = make_logits(labels[..., None], 4)[..., 0]
    assert gradient_of(make_loss(), tissues, one_hot, image=image).abs().sum() > 0
    assert make_loss()([logits, logits[..., ::2]], [labels, labels[..., ::2]], image=image) > 0


def test_planes_without_tumor_are_skipped_and_no_part_of_the_mean(planes, monkeypatch):
    image, _, regions, logits = planes
    target = regions.float() * torch.tensor([1.0, 0]).view(2, 1, 1, 1)
    criterion = DiceLoss(sigmoid=True) + 0.1 * make_loss(on_small="skip", reduction="mean")
    monkeypatch.setattr("dqe_loss.losses.dqe.DQELoss.smallest_crop", 24)
    gradient_of(criterion, logits, target, image=image)
    each = make_loss(on_small="skip", reduction="none")(logits, target, image=image)
    assert (criterion.log["skipped"], each[1]) == (1, 0)
    assert criterion.log["DQELoss"] == pytest.approx(each[0].item())
    assert {"gradient_ratio", "guard_kept"} < set(criterion.log)
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"a plane of \(32, 28\) voxels is smaller than 96: let DQELoss"):
        make_loss(on_small="error")(logits, target, image=image)
    with pytest.warns(UserWarning, match=r"planes of \(32, 28\) voxels are smaller than 96 along an axis"):
        assert make_loss(on_small="skip")(logits, target, image=image) == 0


def test_planes_that_are_skipped_cost_no_time(planes, monkeypatch):
    image, _, regions, logits = planes
    monkeypatch.setattr("dqe_loss.losses.dqe.DQELoss.smallest_crop", 24)
    target = regions.float() * torch.tensor([0.0, 1]).view(2, 1, 1, 1)
    loss = make_loss(on_small="skip", reduction="none")
    expected = gradient_of(loss, logits[1:], target[1:], image=image[1:])
    seen = []
    monkeypatch.setattr(type(loss.surrogate), "refine", lambda _, planes: seen.append(len(planes)))
    gradient = gradient_of(loss, logits, target, image=image)
    assert seen == [1]
    assert gradient[0].eq(0).all()
    torch.testing.assert_close(gradient[1:], expected)


def test_thickness_is_no_size(exam):
    """96 voxels along both axes of a plane suffice."""
    torch.manual_seed(0)
    image, logits, target = torch.rand(1, 4, 96, 96), torch.randn(1, 3, 96, 96), torch.zeros(1, 3, 96, 96)
    target[..., 30:60, 30:60] = 1
    loss = make_loss(surrogate=shrink(small_surrogate(), 96), on_small="skip", max_gradient_ratio=None)
    assert loss(logits, target, image=image) > 0


def test_the_cap_holds_for_each_plane(planes):
    image, _, regions, logits = planes
    dice, target = DiceLoss(sigmoid=True), regions.float()
    alone = gradient_of(dice, logits, target)
    both = gradient_of(dice + 100 * make_loss(), logits, target, image=image)
    torch.testing.assert_close((both - alone).flatten(1).norm(dim=1), 0.3 * alone.flatten(1).norm(dim=1))


def test_a_warm_up_rates_the_targets(planes, monkeypatch):
    monkeypatch.setattr("dqe_loss.losses.dqe.DQELoss.smallest_crop", 24)
    image, labels, regions, logits = planes
    criterion = DiceLoss(sigmoid=True) + 0.1 * make_loss(warmup=2)
    criterion(logits, regions.float(), image=image)
    stars = rate_segmentation(small_surrogate(), image, labels)
    assert criterion.log["stars_of_target"] == pytest.approx(stars.mean().item(), abs=1e-4)
    assert "DQELoss" not in criterion.log


@pytest.mark.slow
def test_one_graph():
    torch.manual_seed(0)
    image, logits, target = torch.rand(2, 4, 32, 28), torch.randn(2, 3, 32, 28), torch.zeros(2, 3, 32, 28)
    target[..., 8:20, 8:20] = 1
    loss = make_loss(surrogate=tiny_surrogate(), max_gradient_ratio=None)
    expected = gradient_of(loss, logits, target, image=image)
    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(gradient_of(compiled, logits, target, image=image), expected)


def test_what_planes_cannot_be_given_is_named(exam, planes):
    image, labels, regions, logits = planes
    loss = make_loss()
    volume = exam[0]
    with pytest.raises(ValueError, match=r"both volumes.*both planes.*image of shape \(2, 4, 32, 28, 24\)"):
        loss(logits, labels, image=volume)
    with pytest.raises(ValueError, match=r"both planes.*segmentation of shape \(2, 3, 32, 28, 24\)"):
        loss(exam[3], exam[1], image=image)
    with pytest.raises(ValueError, match=r"prediction and target must .* one voxel thick\)$"):
        loss(logits[..., 1:], labels, image=image)
    with pytest.raises(ValueError, match=r"expected a prediction .*\(2, 2, 32, 28, 1\) \(planes count as volumes"):
        loss(logits[:, :2], labels, image=image)
    with pytest.raises(ValueError, match="expected an image of 4 channels"):
        loss(logits, labels, image=image[:, :3])
    with pytest.raises(ValueError, match=r"also holds \[9\]"):
        loss(logits, labels + 9 * (labels == 0), image=image)
    for criterion in (loss, DiceLoss(sigmoid=True) + loss):
        with pytest.raises(ValueError, match="origin= places patches in volumes"):
            criterion(logits, regions.float(), image=image, origin=(0, 0, 0))
    with pytest.raises(ValueError, match=r"jitter=1.0 move planes through a volume"):
        make_loss(jitter=1.0)(logits, labels, image=image)
    with pytest.raises(ValueError, match="thorough, planes and jitter need volumes"):
        rate_segmentation(small_surrogate(), image, regions, thorough=True)


def test_nothing_of_a_volume_is_asked_of_a_plane(planes):
    """Options that say where planes lie have no effect, and no warning."""
    image, labels, _, logits = planes
    expected = make_loss().rate(logits, image=image)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss = make_loss(center="target", center_grad=False, views=("sagittal", "axial"))
        assert torch.equal(loss.rate(logits, image=image, target=labels), expected)

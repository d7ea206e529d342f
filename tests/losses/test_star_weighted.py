"""Stars without a gradient: labels count by what they deserve, and nothing can learn to fool the stars."""

import copy
import pickle
import warnings

import pytest
import torch
from helpers import gradient_of, make_case, make_logits, make_loss, small_surrogate, tiny_surrogate
from monai.losses import DeepSupervisionLoss, DiceCELoss, DiceLoss
from small_tasks import FLAT, PARTS, as_tensors, make_surrogate
from torch import nn

import dqe_loss.losses.star_weighted as star_weighted
from dqe_loss import BLOBS, DQELoss, LossSum, StarWeighted, SurrogateConfig, rate_segmentation
from dqe_loss.data.phantom import make_blob
from dqe_loss.losses.label_weights import _tell_far, weight_of_quality, weights_of
from dqe_loss.surrogate.network import Surrogate

SMALL = r"ignore:labels of .* voxels are smaller than:UserWarning"
pytestmark = pytest.mark.filterwarnings(SMALL)


@pytest.fixture(scope="module")
def exam():
    return make_case()


def weigh(loss=None, **options):
    return StarWeighted(loss or DiceLoss(sigmoid=True), options.pop("surrogate", tiny_surrogate()), **options)


def ones(quality):
    return torch.ones_like(quality)


def test_golden_weights(exam):
    """q^2 of the share q of the scale, from half of it on; what lies outside of the scale is at its end."""
    _, _, regions, logits = exam
    logits, regions = logits[:1].expand(8, -1, -1, -1, -1), regions[:1].expand(8, -1, -1, -1, -1)
    criterion = weigh()
    criterion(logits, regions, stars=[1, 2, 3.49, 3.5, 4, 5, 6, 6.4])
    assert criterion.weights.tolist() == pytest.approx([0, 0, 0, 0.25, 0.36, 0.64, 1, 1])
    assert criterion.log["stars"] == pytest.approx([1, 2, 3.49, 3.5, 4, 5, 6, 6.4])


@pytest.mark.parametrize(
    "loss",
    [DiceLoss(sigmoid=True), DiceCELoss(sigmoid=True), nn.BCEWithLogitsLoss(), lambda x, y: (x - y).square().mean()],
)
def test_with_weights_of_one_it_is_the_plain_loss(exam, loss):
    image, _, regions, logits = exam
    regions = regions.float()
    criterion = weigh(loss, weight=ones)
    torch.testing.assert_close(criterion(logits, regions, image=image), loss(logits, regions))
    torch.testing.assert_close(
        gradient_of(criterion, logits, regions, image=image), gradient_of(loss, logits, regions), rtol=1e-4, atol=1e-9
    )


def test_each_exam_counts_by_its_own_label(exam):
    """The mean is over exams: of one exam alone, a weight would else cancel itself."""
    _, _, regions, logits = exam
    dice = DiceLoss(sigmoid=True)
    alone = [dice(logits[i : i + 1], regions[i : i + 1]) for i in range(2)]
    stars = torch.tensor([5.0, 4.0])
    for batch in (False, True):  # Dice that pools a batch sees one exam at a time
        loss = DiceLoss(sigmoid=True, batch=batch)
        each = weigh(loss, reduction="none")(logits, regions, stars=stars)
        torch.testing.assert_close(each, torch.stack([0.64 * alone[0], 0.36 * alone[1]]))
        torch.testing.assert_close(weigh(loss)(logits, regions, stars=stars), each.mean())
        torch.testing.assert_close(weigh(loss, reduction="sum")(logits, regions, stars=stars), each.sum())
    torch.testing.assert_close(weigh()(logits[:1], regions[:1], stars=[4.0]), 0.36 * alone[0])
    unreduced = weigh(DiceLoss(sigmoid=True, reduction="none"))
    torch.testing.assert_close(unreduced(logits, regions, stars=stars), each.mean())
    mine = weigh(weight=lambda quality: 3 * quality)
    torch.testing.assert_close(mine(logits, regions, stars=stars), (2.4 * alone[0] + 1.8 * alone[1]) / 2)
    gradient = gradient_of(weigh(), logits, regions, stars=[6, 2])
    torch.testing.assert_close(gradient[:1], gradient_of(dice, logits[:1], regions[:1]) / 2)
    assert gradient[1].eq(0).all()


def test_exams_that_count_nothing_are_not_computed(exam):
    """What is not finite there does not spread: 0 times NaN is NaN."""
    _, _, regions, logits = exam
    seen = []

    def loss(prediction, label):
        seen.append(len(prediction))
        return prediction.mean()

    broken = logits.detach().clone()
    broken[1] = torch.nan
    gradient = gradient_of(weigh(loss), broken, regions, stars=[6, 1])
    assert seen == [1]
    assert gradient.isfinite().all()


@pytest.mark.parametrize("form", ["labels", "indices", "regions", "one-hot", "soft", "reordered"])
def test_labels_are_rated_as_they_are_meant(exam, form):
    image, labels, regions, logits = exam
    expected = rate_segmentation(small_surrogate(), image, labels).mean(1)
    one_hot = torch.cat([labels == value for value in range(4)], 1).float()
    label, options = {
        "labels": (labels.float(), {}),
        "indices": (labels[:, 0].long(), {}),
        "regions": (regions, {}),
        "one-hot": (one_hot, {}),
        "soft": (0.6 * regions.float() + 0.2, {}),
        "reordered": (regions[:, [1, 0, 2]].float(), {"region_order": ("WT", "TC", "ET")}),
    }[form]
    criterion = weigh(lambda x, y: x.mean(), surrogate=small_surrogate(), **options)
    criterion(logits, label, image=image)
    torch.testing.assert_close(criterion.stars, expected, rtol=0, atol=1e-5)
    assert criterion.weights.tolist() == weight_of_quality((expected - 1) / 5).clamp(max=1).tolist()


@pytest.mark.parametrize("thorough", [True, False])
def test_thorough_as_the_command_if_there_is_a_refiner(monkeypatch, thorough):
    asked = []

    def rate(surrogate, *arguments, **options):
        asked.append(options["thorough"])
        return rate_segmentation(surrogate, *arguments, **options)

    monkeypatch.setattr(star_weighted, "rate_segmentation", rate)
    image, labels = as_tensors(PARTS)
    for refiner in (True, False):
        surrogate = make_surrogate(PARTS, refiner)
        criterion = weigh(lambda x, y: x.mean(), surrogate=surrogate, weight=ones, thorough=thorough)
        criterion(torch.randn(2, 3, *labels.shape[2:]), labels, image=image)
        expected = rate_segmentation(surrogate, image, labels, thorough=thorough and refiner).mean(1)
        torch.testing.assert_close(criterion.stars, expected)
    assert asked == [thorough, False]


def test_no_gradient_reaches_label_or_surrogate(exam, monkeypatch):
    image, _, regions, logits = exam
    label, image = regions.float().requires_grad_(), image.clone().requires_grad_()
    seen = []
    forward = Surrogate.forward

    def watched(self, planes, *arguments, **options):
        seen.append((torch.is_grad_enabled(), planes.requires_grad))
        return forward(self, planes, *arguments, **options)

    monkeypatch.setattr(Surrogate, "forward", watched)
    criterion = weigh(nn.BCEWithLogitsLoss(), weight=ones)
    prediction = logits.clone().requires_grad_()
    criterion(prediction, label, image=image).backward()
    assert seen == [(False, False)]
    assert label.grad is None
    assert image.grad is None
    assert prediction.grad.abs().sum() > 0
    assert not criterion.weights.requires_grad
    assert list(criterion.parameters()) == []
    assert criterion.state_dict() == {}


def test_gradient_in_double_precision():
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 3, 4, 2, dtype=torch.float64, requires_grad=True)
    label = (torch.rand(2, 3, 3, 4, 2) > 0.5).double()
    criterion = weigh()
    assert torch.autograd.gradcheck(lambda x: criterion(x, label, stars=[5.0, 4.2]), logits)
    assert criterion(logits, label, stars=[5.0, 4.2]).dtype == torch.float64


def test_planes(exam):
    image, labels, regions, logits = (x[..., 12].contiguous() for x in exam)
    criterion = weigh(surrogate=small_surrogate(), weight=lambda quality: quality)
    expected = rate_segmentation(small_surrogate(), image, regions)[:, 0]
    for label in (labels, regions.float()):
        weigh_any = weigh(lambda x, y: x.mean(), surrogate=small_surrogate())
        weigh_any(logits, label, image=image)
        torch.testing.assert_close(weigh_any.stars, expected, rtol=0, atol=1e-5)
    value = criterion(logits, regions, image=image)
    each = torch.stack([DiceLoss(sigmoid=True)(logits[i : i + 1], regions[i : i + 1]) for i in range(2)])
    torch.testing.assert_close(value, (((expected - 1) / 5).clamp(0, 1) * each).mean())
    indices = weigh(nn.CrossEntropyLoss(), surrogate=small_surrogate(), weight=ones)
    tissues = make_logits(labels[..., None], 4)[..., 0]
    torch.testing.assert_close(
        indices(tissues, labels[:, 0].long(), image=image), nn.functional.cross_entropy(tissues, labels[:, 0].long())
    )
    with pytest.raises(ValueError, match=r"both volumes, .* or both planes"):
        criterion(logits, regions[..., None], image=image)


def test_the_task_is_the_checkpoints():
    blobs = make_blob(0)
    image, label = torch.from_numpy(blobs.image)[None], torch.from_numpy(next(iter(blobs.segmentations.values())))
    torch.manual_seed(0)
    surrogate = Surrogate(SurrogateConfig(architecture="resnet18", task=BLOBS, modalities=BLOBS.modalities,
                                          field_of_view=BLOBS.field_of_view, stars=BLOBS.stars))  # fmt: skip
    criterion = weigh(DiceLoss(sigmoid=True), surrogate=surrogate, weight=ones)
    label = label[None, None]
    region = torch.stack([(label[:, 0] > 0)] * len(BLOBS.regions), 1).float()
    logits = torch.randn(region.shape, requires_grad=True)
    criterion(logits, region, image=image).backward()
    torch.testing.assert_close(criterion.stars, rate_segmentation(surrogate, image, region > 0.5).mean(1))


def test_the_scale_is_the_checkpoints():
    """Photographs are rated from 0 to 1: half of the scale is a half."""
    criterion = weigh(lambda x, y: x.mean(), surrogate=make_surrogate(FLAT, refiner=False))
    criterion(torch.ones(3, 1, 8, 8), torch.ones(3, 1, 8, 8), stars=[0.4, 0.5, 1])
    assert criterion.weights.tolist() == pytest.approx([0, 0.25, 1])


def test_known_stars_are_not_rated_again(exam, monkeypatch):
    image, _, regions, logits = exam
    monkeypatch.setattr(star_weighted, "rate_segmentation", None)
    weigh()(logits, regions, image=image, stars=torch.tensor([6, 5]))


def test_stars_that_are_no_number_count_nothing(exam):
    _, _, regions, logits = exam
    criterion = weigh()
    with pytest.warns(UserWarning, match="a label's stars are not a number, .* it counts nothing"):
        value = criterion(logits, regions, stars=[float("nan"), 6])
    torch.testing.assert_close(value, DiceLoss(sigmoid=True)(logits[1:], regions[1:]) / 2)
    assert criterion.weights.tolist() == [0, 1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        criterion(logits, regions, stars=[float("nan"), 6])  # told once


@pytest.mark.filterwarnings("default")
def test_stars_of_another_scale_are_told_once():
    _tell_far.cache_clear()
    scale = (1.0, 6.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        weights_of(torch.tensor([0.0, 6.4, torch.nan]), scale, weight_of_quality)
    with pytest.warns(UserWarning, match=r"far outside the surrogate's scale of 1 to 6, .* percent") as told:
        [weights_of(torch.tensor([stars, 5.0]), scale, weight_of_quality) for stars in (95.0, 0.0, 88.0)]
    assert len(told) == 1


def test_a_batch_that_counts_nothing(exam):
    _, _, regions, logits = exam
    regions = regions.float()
    criterion = weigh(DeepSupervisionLoss(DiceLoss(sigmoid=True)))
    outputs = [logits.clone().requires_grad_(), nn.functional.avg_pool3d(logits, 2).requires_grad_()]
    with pytest.warns(UserWarning, match=r"all labels of a batch count nothing, the best of them having 2\.0 stars"):
        value = criterion(outputs, regions, stars=[1, 2])
    value.backward()
    assert value == 0
    assert all(output.grad.eq(0).all() for output in outputs)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        criterion(outputs, regions, stars=[1, 2])


def test_deep_supervision(exam):
    _, _, regions, logits = exam
    regions = regions.float()
    loss = DeepSupervisionLoss(DiceLoss(sigmoid=True))
    outputs = [logits, nn.functional.avg_pool3d(logits, 2)]
    torch.testing.assert_close(weigh(loss)(outputs, regions, stars=[6, 6]), loss(outputs, regions))
    both = weigh(lambda x, y: x[1].mean() + y[1].mean(), weight=ones)
    coarse = [regions, nn.functional.avg_pool3d(regions, 2)]
    torch.testing.assert_close(both(outputs, coarse, stars=[6, 6]), outputs[1].mean() + coarse[1].mean())


def test_a_patch_of_a_label_has_the_stars_of_the_whole(exam):
    image, labels, regions, logits = exam
    origin, patch = (4, 6, 2), logits[..., 4:20, 6:22, 2:18]
    expected = DiceLoss(sigmoid=True)(patch, regions[..., 4:20, 6:22, 2:18])
    criterion = weigh(weight=ones)
    torch.testing.assert_close(criterion(patch, regions, image=image, origin=origin), expected)
    torch.testing.assert_close(criterion.stars, rate_segmentation(tiny_surrogate(), image, labels).mean(1))
    both = weigh(weight=ones) + 0.1 * make_loss(surrogate=tiny_surrogate())
    both(patch, regions, image=image, origin=origin)
    assert both.log["StarWeighted"] == pytest.approx(float(expected), abs=1e-6)


# In a sum


def test_in_a_sum_it_is_a_loss_like_others(exam):
    """It says what it takes, it is called with the image, and a DQELoss is capped by it, exam by exam."""
    image, _, regions, logits = exam
    criterion = 0.5 * weigh(DiceLoss()) + 100 * make_loss(surrogate=tiny_surrogate())
    probabilities = logits.sigmoid()
    total = gradient_of(criterion, probabilities, regions, image=image, stars=[6, 4])
    mine = gradient_of(weigh(DiceLoss()), probabilities, regions, stars=[6, 4]) / 2
    torch.testing.assert_close((total - mine).flatten(1).norm(dim=1), 0.3 * mine.flatten(1).norm(dim=1))
    assert criterion.log["stars_of_label"] == 5
    assert criterion.log["label_weight"] == pytest.approx(0.68)
    assert {"StarWeighted", "DQELoss", "gradient_ratio"} < set(criterion.log)
    rated = weigh(weight=ones) + nn.BCEWithLogitsLoss()
    value = rated(logits, regions.float(), image=image)
    torch.testing.assert_close(
        value, DiceLoss(sigmoid=True)(logits, regions) + nn.BCEWithLogitsLoss()(logits, regions.float())
    )
    each = weigh(reduction="none") + 0.1 * make_loss(surrogate=tiny_surrogate(), reduction="none")
    assert each(logits, regions, image=image, stars=[6, 5]).shape == (2,)
    nothing = weigh() + make_loss(surrogate=tiny_surrogate())
    assert gradient_of(nothing, logits, regions, image=image, stars=[6, 1])[1].eq(0).all()


def test_a_bound_sum_hands_the_stars_on(exam):
    image, _, regions, logits = exam
    criterion = (weigh() + 0.1 * make_loss(surrogate=tiny_surrogate())).bound()
    criterion.bind(image=image, stars=[6, 5])(logits, regions)
    assert criterion.loss.log["stars_of_label"] == 5.5
    alone = weigh().bound()
    torch.testing.assert_close(alone.bind(stars=[6, 6])(logits, regions), DiceLoss(sigmoid=True)(logits, regions))
    with pytest.raises(ValueError, match="hands over the image of the next call, got none"):
        alone.bind(origin=(0, 0, 0))


@pytest.mark.filterwarnings("default")
def test_a_networks_regions_may_lie_as_no_experts_do(exam):
    """A first pseudo-label in which the core lies in the enhancing tumor is told, not refused."""
    image, _, regions, logits = exam
    core, whole, enhancing = regions.unbind(1)
    label = torch.stack((enhancing, whole, core), 1)
    criterion = weigh()
    with pytest.warns(
        UserWarning, match=r"channels cannot be TC, WT, ET: .* they fit the order ET, WT, TC: reorder them"
    ):
        assert criterion(logits, label, image=image).isfinite()


@pytest.mark.parametrize("twin", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))], ids=["deepcopy", "pickle"])
def test_copies_give_the_same(exam, twin):
    image, _, regions, logits = exam
    criterion = weigh(surrogate=small_surrogate())
    assert twin(criterion)(logits, regions, image=image) == criterion(logits, regions, image=image)


@pytest.mark.slow
def test_compiled_it_gives_the_same(exam):
    image, _, regions, logits = exam
    torch._dynamo.reset()
    criterion = weigh(nn.BCEWithLogitsLoss(), weight=ones) + 0.1 * make_loss(surrogate=tiny_surrogate())
    compiled = torch.compile(criterion, backend="aot_eager")
    regions = regions.float()
    torch.testing.assert_close(compiled(logits, regions, image=image), criterion(logits, regions, image=image))


# Wrong uses


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (DiceLoss, r"wraps a loss such as DiceLoss\(sigmoid=True\), got <class"),
        (3, "wraps a loss such as .*, got 3"),
        (make_loss(surrogate=tiny_surrogate()), r"DQELoss takes the image, too: add it, as in StarWeighted\("),
        (LossSum(DiceLoss(sigmoid=True), make_loss(surrogate=tiny_surrogate())), "LossSum takes the image, too"),
    ],
)
def test_what_cannot_be_wrapped(loss, message):
    with pytest.raises(TypeError, match=message):
        StarWeighted(loss, tiny_surrogate())


def test_options_that_cannot_be():
    with pytest.raises(ValueError, match="reduction must be one of"):
        weigh(reduction="median")
    with pytest.raises(TypeError, match=r"weight must be a function of qualities \(B,\) in \[0, 1\], got float"):
        weigh(weight=0.5)
    with pytest.raises(ValueError, match="region"):
        weigh(region_order=("WT", "TC"))


@pytest.mark.parametrize("weight", [lambda q: q - 2, lambda q: q.mean(), lambda q: q / 0, lambda q: 1.0])
def test_weights_that_cannot_be(exam, weight):
    _, _, regions, logits = exam
    with pytest.raises(ValueError, match=r"weight must give a finite number >= 0 for each quality .*shape \(2,\); of"):
        weigh(weight=weight)(logits, regions, stars=[1, 5])


def test_calls_that_cannot_be(exam):
    image, labels, regions, logits = exam
    criterion = weigh()
    with pytest.raises(ValueError, match=r"call it as loss\(input, label, image=image\), or hand over .* stars=stars"):
        criterion(logits, regions)
    with pytest.raises(ValueError, match="weighs labels, got none"):
        criterion(logits, None, image=image)
    with pytest.raises(ValueError, match=r"expected stars \(2,\).* got \(2, 3\); say stars\.mean\(1\)"):
        criterion(logits, regions, stars=torch.ones(2, 3))
    with pytest.raises(ValueError, match="a label and an image for each of the 2 predictions"):
        criterion(logits, regions[:1], image=image)
    with pytest.raises(ValueError, match="a label map does"):
        criterion(logits, regions, image=labels.expand(-1, 4, -1, -1, -1))
    with pytest.raises(ValueError, match="label"):
        criterion(logits, labels + 7, image=image)
    with pytest.raises(TypeError, match="the wrapped loss must return a tensor, got float"):
        weigh(lambda x, y: 1.0)(logits, regions, stars=[6, 6])
    with pytest.raises(ValueError, match="stars= are for a StarWeighted, and none of the terms is one"):
        LossSum(DiceLoss(sigmoid=True))(logits, regions, stars=[6, 6])


@pytest.mark.filterwarnings("default")
def test_small_labels_are_told_once(exam):
    image, _, regions, logits = exam
    criterion = weigh()
    with pytest.warns(UserWarning, match=r"segmentations of \(32, 28, 24\) voxels are smaller than 96 .* with origin="):
        criterion(logits, regions, image=image)


def test_the_default_judge_is_the_shipped_one():
    assert StarWeighted(DiceLoss()).surrogate.config == DQELoss().surrogate.config

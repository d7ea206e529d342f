import pytest
import torch
from helpers import make_case, small_surrogate
from monai.data import MetaTensor, decollate_batch
from monai.metrics import CumulativeIterationMetric

from dqe_loss import DQEMetric, rate_segmentation


@pytest.fixture(scope="module")
def exam():
    return make_case()


@pytest.fixture
def metric():
    return DQEMetric(small_surrogate())


def test_it_is_what_the_published_path_rates(exam, metric):
    image, labels, regions, logits = exam
    assert isinstance(metric, CumulativeIterationMetric)
    one_hot = torch.cat([labels == value for value in range(4)], 1)
    expected = rate_segmentation(small_surrogate(), image, regions)
    for prediction in (labels, labels.float(), regions, regions.float(), one_hot.float(), 0.6 * one_hot + 0.1):
        torch.testing.assert_close(metric(prediction, image), expected)
    soft = logits.sigmoid()
    torch.testing.assert_close(metric(soft, image), rate_segmentation(small_surrogate(), image, soft > 0.5))


def test_a_boolean_one_hot_prediction_is_taken(exam, metric):
    image, labels, regions, _ = exam
    one_hot = torch.cat([labels == value for value in range(4)], 1)
    torch.testing.assert_close(metric(one_hot, image), rate_segmentation(small_surrogate(), image, regions))


def test_stars_are_collected_until_reset(exam, metric):
    image, _, regions, _ = exam
    first = metric(regions[:1], image[:1])
    second = metric(regions[1:], image[1:])
    stars = torch.cat((first, second))
    torch.testing.assert_close(metric.aggregate(), stars.mean())
    torch.testing.assert_close(metric.aggregate(per_view=True), stars.mean(0))
    assert metric.aggregate().shape == ()
    metric.reset()
    with pytest.raises(ValueError, match=r"no exam has been rated since the last reset\(\)"):
        metric.aggregate()
    metric(regions[1:], image[1:])
    torch.testing.assert_close(metric.aggregate(), second.mean())


def test_lists_of_decollated_exams_are_taken(exam, metric):
    image, _, regions, _ = exam
    expected = metric(regions, image)
    metric.reset()
    metric(list(regions), list(image))
    metric(decollate_batch(MetaTensor(regions.float())), decollate_batch(MetaTensor(image)))
    torch.testing.assert_close(metric.aggregate(per_view=True), expected.mean(0))
    assert metric.get_buffer().shape == (4, 3)


def test_options_reach_the_rating(exam):
    image, labels, regions, _ = exam
    expected = rate_segmentation(small_surrogate(), image, regions)
    msd = torch.tensor([0, 2, 1, 3])[labels.long()]
    metric = DQEMetric(
        small_surrogate(), label_scheme="msd", region_order=("WT", "TC", "ET"),
        modalities=("flair", "t1", "t1c", "t2"), views=("sagittal", "axial"),
    )  # fmt: skip
    for prediction in (msd, torch.cat([msd == value for value in range(4)], 1).float(), regions[:, [1, 0, 2]]):
        torch.testing.assert_close(metric(prediction, image[:, [3, 1, 0, 2]]), expected[:, [2, 0]], rtol=0, atol=1e-4)
    assert metric.aggregate(per_view=True).shape == (2,)


def test_it_takes_no_gradient(exam, metric):
    image, _, _, logits = exam
    assert not metric(logits.sigmoid().requires_grad_(), image).requires_grad


def test_wrong_calls_are_named(exam, metric):
    image, labels, regions, _ = exam
    with pytest.raises(ValueError, match=r"call metric\(prediction, image\)"):
        metric(regions)
    with pytest.raises(ValueError, match=r"also holds \[9\]"):
        metric(labels + 9 * (labels == 0), image)
    with pytest.raises(ValueError, match="image"):
        metric(regions, image[:, :3])


@pytest.mark.parametrize(
    "options", [{"label_scheme": "x"}, {"region_order": ("WT",)}, {"modalities": ("t1",)}, {"views": ()}]
)
def test_wrong_options_are_named_when_it_is_made(options):
    with pytest.raises(ValueError, match=r"unknown label scheme|must name each of|must be one or more of"):
        DQEMetric(small_surrogate(), **options)

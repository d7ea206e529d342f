import pytest
import torch
from helpers import make_case, make_logits, small_surrogate
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
    for per_view in (False, True):  # no error: an empty validation must not end a training
        with pytest.warns(UserWarning, match=r"no exam has been rated since the last reset\(\).*NaN"):
            empty = metric.aggregate(per_view=per_view)
        assert empty.shape == stars.mean(0 if per_view else (0, 1)).shape
        assert empty.isnan().all()
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
    with pytest.raises(
        TypeError, match=r"expected per_view, True or False, got 'mean': the mean is what aggregate\(\)"
    ):
        metric.aggregate("mean")
    metric(regions, image)
    assert metric.aggregate(True).shape == (3,)


def rate_in_monai(prediction, image, **options):
    return DQEMetric(small_surrogate(), **options)(prediction, image)


def rate_in_torchmetrics(prediction, image, **options):
    metric = pytest.importorskip("dqe_loss.metrics.torchmetrics").DeepQualityEstimation(small_surrogate(), **options)
    metric.update(prediction, image)


def test_planes_are_rated_as_they_are(exam):
    """Binarized, without a survey, as one column: of the views nothing is known, unless it is said."""
    torchmetric = pytest.importorskip("dqe_loss.metrics.torchmetrics").DeepQualityEstimation
    image, labels, regions, logits = (x[..., 12] for x in exam)
    stars = rate_segmentation(small_surrogate(), image, regions)
    soft = rate_segmentation(small_surrogate(), image, logits.sigmoid() > 0.5)
    metric = DQEMetric(small_surrogate())
    torch.testing.assert_close(metric(labels, image), stars)
    torch.testing.assert_close(metric(list(logits.sigmoid()), list(image)), soft)
    torch.testing.assert_close(metric.aggregate(), torch.cat((stars, soft)).mean())
    one_view = {"views": ("coronal",)}
    for mean, views in (({}, {"per_view": True}), (one_view, one_view | {"per_view": True})):
        torchmetrics = torchmetric(small_surrogate(), **mean)
        torch.testing.assert_close(torchmetrics(regions, image), stars.mean())
        named = torchmetric(small_surrogate(), **views)
        metric = DQEMetric(small_surrogate(), **mean)
        metric(regions, image)
        if mean:
            torch.testing.assert_close(metric.aggregate(per_view=True), stars.mean(0))
            assert named(regions, image)["coronal"] == torchmetrics.compute()
            continue
        for ask in (lambda named=named: named(regions, image), lambda metric=metric: metric.aggregate(per_view=True)):
            with pytest.raises(ValueError, match=r"nobody knows of which view.*views=\('axial',\)"):
                ask()


def spoiled(prediction):
    prediction = prediction.clone().float()
    prediction[0, 0, 3, 3, 3] = float("nan")
    return prediction


MISTAKES = {
    "logits of regions": (lambda e: e["logits"], r"taken as probabilities but has values from -.*sigmoid\(logits\)"),
    "logits of tissues": (lambda e: make_logits(e["labels"], 4).detach(), r"as probabilities.*softmax\(logits, 1\)"),
    "NaN": (lambda e: spoiled(e["regions"]), "the prediction holds NaN"),
    "NaN of tissues": (lambda e: spoiled(e["one_hot"]), "the prediction holds NaN"),
    "NaN of labels": (lambda e: spoiled(e["labels"]), r"also holds \[nan\]"),
    "two channels": (lambda e: e["regions"][:, :2], r"got 2 channels.*region_order.*label map"),
    "five channels": (lambda e: torch.cat((e["one_hot"], e["one_hot"][:, :1]), 1), "got 5 channels"),
    "planes": (lambda e: e["regions"][..., 0], r"both planes, .* segmentation of shape \(2, 3, 32, 28\)"),
    "four regions": (lambda e: torch.cat((e["regions"], e["regions"][:, :1]), 1), r"sum to [34].*region_order"),
    "four regions, sure": (lambda e: torch.cat((e["regions"], e["regions"][:, :1]), 1).float(), "region_order"),
}  # fmt: skip


@pytest.fixture(scope="module")
def forms(exam):
    image, labels, regions, logits = exam
    one_hot = torch.cat([labels == value for value in range(4)], 1).float()
    return {"image": image, "labels": labels, "regions": regions, "logits": logits, "one_hot": one_hot}


@pytest.mark.parametrize("rate", [rate_in_monai, rate_in_torchmetrics])
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_prediction_that_cannot_be_right_is_refused_with_the_cure(forms, rate, mistake):
    make, message = MISTAKES[mistake]
    with pytest.raises(ValueError, match=message):
        rate(make(forms), forms["image"])


def test_it_looks_at_every_prediction(forms, metric):
    metric(forms["regions"], forms["image"])
    with pytest.raises(ValueError, match="the prediction is taken as probabilities"):
        metric(forms["logits"], forms["image"])


@pytest.mark.parametrize("rate", [rate_in_monai, rate_in_torchmetrics])
@pytest.mark.parametrize("form", ["labels", "regions", "one_hot"])
def test_a_reference_in_place_of_the_image_is_refused_with_the_cure(forms, rate, form):
    with pytest.raises(ValueError, match=r"on its image, not against (its|a) reference"):
        rate(forms["regions"], forms[form])
    with pytest.raises(ValueError, match=r"on its image, not against (its|a) reference"):
        rate(forms["regions"], forms[form].bool())


def test_monais_pair_goes_with_the_image_by_name(forms, metric):
    image, regions, labels = (forms[key] for key in ("image", "regions", "labels"))
    expected = metric(regions, image)
    torch.testing.assert_close(metric(y_pred=regions, y=labels, image=image), expected)
    torch.testing.assert_close(metric(regions, image=image), expected)
    torch.testing.assert_close(metric(list(regions), list(labels), image=list(image)), expected)
    assert metric.get_buffer().shape == (8, 3)


def test_as_many_images_as_predictions_are_wanted(forms, metric):
    """MONAI pairs lists up to the end of the shorter."""
    with pytest.raises(ValueError, match="2 predictions but 1 images"):
        metric(list(forms["regions"]), list(forms["image"][:1]))


@pytest.mark.parametrize("rate", [rate_in_monai, rate_in_torchmetrics])
def test_half_precision_and_class_indices_in_floats_are_taken(forms, rate):
    for prediction in (forms["logits"].sigmoid().half(), forms["one_hot"].bfloat16(), forms["labels"].half()):
        rate(prediction, forms["image"].half())
    rate(make_logits(forms["labels"], 4).detach().bfloat16().softmax(1), forms["image"])


def test_more_regions_than_are_rated(forms):
    cavity = forms["labels"] == 1
    with_cavity = torch.cat((forms["regions"][:, [1, 0, 2]], cavity), 1)
    metric = DQEMetric(small_surrogate(), region_order=("WT", "TC", "ET", "RC"))
    expected = rate_segmentation(small_surrogate(), forms["image"], forms["regions"])
    torch.testing.assert_close(metric(with_cavity, forms["image"]), expected)
    with pytest.raises(ValueError, match=r"4 \(WT, TC, ET, RC\).*got 3 channels"):
        metric(forms["regions"], forms["image"])


@pytest.mark.parametrize("rate", ["monai", "torchmetrics"])
def test_a_missing_or_doubled_modality_is_told_once(forms, rate, recwarn):
    image = forms["image"].clone()
    image[1, 1] = image[1, 0]
    image[1, 3] = 0
    if rate == "monai":
        update = DQEMetric(small_surrogate())
    else:
        update = pytest.importorskip("dqe_loss.metrics.torchmetrics").DeepQualityEstimation(small_surrogate()).update
    for _ in range(2):
        update(forms["regions"], image)
    told = [str(w.message) for w in recwarn if "a missing modality" in str(w.message) or "same image" in str(w.message)]
    assert len(told) == 2
    assert "flair of exam 1 in the batch is empty or constant" in told[0]
    assert "t1c and t1 of exam 1 in the batch are the same image" in told[1]


@pytest.mark.parametrize("collated", [False, True])
def test_voxels_of_another_size_are_told(forms, metric, recwarn, collated):
    affine = torch.diag(torch.tensor([-2.0, 2.0, 1.0, 1.0], dtype=torch.float64))
    image = forms["image"]
    affine = torch.stack([affine, torch.eye(4)]) if collated else affine
    metric(forms["regions"], MetaTensor(image, affine=torch.eye(4)))
    assert not [w for w in recwarn if "mm" in str(w.message)]
    with pytest.warns(UserWarning, match=r"voxels of the image are 2 x 2 x 1 mm: .*1 mm"):
        DQEMetric(small_surrogate())(forms["regions"], MetaTensor(image, affine=affine))


@pytest.mark.parametrize(
    "options", [{"label_scheme": "x"}, {"region_order": ("WT",)}, {"modalities": ("t1",)}, {"views": ()}]
)
def test_wrong_options_are_named_when_it_is_made(options):
    with pytest.raises(ValueError, match=r"unknown label scheme|must name each of|must be one or more of"):
        DQEMetric(small_surrogate(), **options)

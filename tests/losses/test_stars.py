"""The stars that a loss keeps of its last call, so that nobody has to rate a training batch twice."""

import copy
import math
import pickle

import pytest
import torch
from helpers import make_case, make_loss, tiny_surrogate
from monai.losses import DiceLoss
from torch import nn

from dqe_loss import DQEMetric


@pytest.fixture(scope="module")
def exam():
    image, _, regions, logits = make_case()
    return logits, regions.float(), image


@pytest.fixture
def half(exam, monkeypatch):
    """An exam with a tumor, and one without, which is not rated."""
    monkeypatch.setattr("dqe_loss.losses.dqe.DQELoss.smallest_crop", 16)
    logits, regions, image = exam
    return logits, torch.cat((regions[:1], torch.zeros_like(regions[1:]))), image


def make_term(**options):
    return make_loss(surrogate=tiny_surrogate(), **options)


@pytest.mark.parametrize(
    "options", [{}, {"guard": None}, {"reduction": "none"}, {"slicing": "hard"}, {"planes": 2, "jitter": 1.0}]
)
def test_they_are_what_the_same_path_rates_without_a_second_pass(exam, options):
    logits, regions, image = exam
    term = make_term(**options)
    assert term.stars is None
    criterion = DiceLoss(sigmoid=True, reduction=options.get("reduction", "mean")) + 0.1 * term
    criterion(logits.clone().requires_grad_(), regions, image=image).sum().backward()
    assert not term.stars.requires_grad
    torch.testing.assert_close(term.stars, make_term(**options).rate(logits, image=image))
    assert criterion.log["stars"] == pytest.approx(float(term.stars.mean()))
    assert not criterion.state_dict()


def test_validation_keeps_its_own_and_leaves_the_log_alone(exam):
    logits, regions, image = exam
    criterion = DiceLoss(sigmoid=True) + 0.1 * make_term()
    criterion(logits, regions, image=image)
    trained, told = criterion.terms[1].stars, criterion.log["stars"]
    with torch.no_grad():
        criterion(-logits, regions, image=image)
    assert not torch.equal(criterion.terms[1].stars, trained)
    assert criterion.log["stars"] == told


def test_of_an_exam_that_is_not_rated_they_are_not_numbers_nor_in_the_mean(half):
    logits, regions, image = half
    criterion = DiceLoss(sigmoid=True) + 0.1 * make_term(on_small="skip")
    criterion(logits, regions, image=image)
    stars = criterion.terms[1].stars
    torch.testing.assert_close(stars[:1], make_term().rate(logits[:1], image=image[:1]))
    assert stars[1].isnan().all()
    assert criterion.log["stars"] == pytest.approx(float(stars[0].mean()))
    criterion(logits, torch.zeros_like(regions), image=image)
    assert criterion.terms[1].stars.shape == (2, 3)
    assert criterion.terms[1].stars.isnan().all()
    assert math.isnan(criterion.log["stars"])


def test_a_prediction_that_is_no_number_has_none(exam):
    logits, regions, image = exam
    term = make_term()
    term(logits, regions, image=image)  # values are looked at in the first call
    broken = logits.clone()
    broken[1, 0, 0, 0, 0] = torch.nan
    term(broken, regions, image=image)
    assert term.stars.isnan().all(1).tolist() == [False, True]


@pytest.mark.parametrize("flat", [False, True])
def test_a_step_without_the_term_has_none(exam, flat):
    """In the warm-up the targets are rated, and in a step that rests nothing is: no stars of an earlier step remain."""
    given, columns = ([x[..., 12] for x in exam], 1) if flat else (exam, 3)
    logits, regions, image = given
    criterion = DiceLoss(sigmoid=True) + 0.1 * make_term(warmup=1, every=2)
    rated = []
    for _ in range(4):
        criterion(logits.clone().requires_grad_(), regions, image=image).backward()
        rated.append(not criterion.terms[1].stars.isnan().any())
        assert ("stars" in criterion.log) == rated[-1]
        assert criterion.terms[1].stars.shape == (2, columns)
        assert rated[-1] or criterion.terms[1].stars.isnan().all()
        criterion.steps_done += 1
    assert rated == [False, True, False, True]


def test_copies_and_files_hold_numbers_alone(exam):
    logits, regions, image = exam
    term = make_term()
    term(logits.clone().requires_grad_() + 0, regions, image=image)  # a graph hangs on it
    for other in (copy.deepcopy(term), pickle.loads(pickle.dumps(term))):
        torch.testing.assert_close(other.stars, term.stars)
        assert not other.state_dict()


def test_means_of_others_take_them(half):
    """Over batches: what was not rated is left out."""
    torchmetrics = pytest.importorskip("torchmetrics")
    logits, regions, image = half
    term = make_term(on_small="skip")
    mean, metric = torchmetrics.MeanMetric(nan_strategy="ignore"), DQEMetric(tiny_surrogate())
    seen = []
    for sign in (1, -1):
        term(sign * logits, regions, image=image)
        mean.update(term.stars.mean(1))
        metric.extend(term.stars[~term.stars.isnan().any(1)])
        seen.append(term.stars[0])
    torch.testing.assert_close(mean.compute(), torch.stack(seen).mean())
    torch.testing.assert_close(metric.aggregate(per_view=True), torch.stack(seen).mean(0))


@pytest.mark.slow
def test_a_compiled_sum_has_them_and_is_compiled_once(exam):
    logits, regions, image = exam
    torch._dynamo.reset()
    criterion = nn.BCEWithLogitsLoss() + make_term(every=2, center="target")
    compiled = torch.compile(criterion, backend="aot_eager", fullgraph=True)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for sign in (1, -1, 1):
            compiled((sign * logits).requires_grad_(), regions, image=image).backward()
            expected = make_term(center="target").rate(sign * logits, image=image, target=regions)
            torch.testing.assert_close(criterion.terms[1].stars, expected, rtol=1e-4, atol=1e-5)
            assert criterion.log["stars"] == pytest.approx(float(expected.mean()), rel=1e-4)
            criterion.steps_done += 1  # those that rest are rated, too

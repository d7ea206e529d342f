"""Sums of losses (contract C9) and the balance between their terms (contract C13)."""

import copy
import inspect
import pickle
import warnings

import monai.losses
import numpy as np
import pytest
import torch
from helpers import gradient_of, make_exam, make_logits, make_loss, tiny_surrogate
from monai.losses import DeepSupervisionLoss, DiceCELoss, DiceLoss, FocalLoss, MaskedDiceLoss, TverskyLoss
from torch import nn

from dqe_loss import DQELoss, LossSum, regions_from_labels

SHAPE = (20, 18, 16)
SIGMOID = {"sigmoid": True}

# Every loss of MONAI that is called as loss(prediction, target): constructor, and the form of prediction and target.
REGION_LOSSES = {
    "AsymmetricUnifiedFocalLoss": {"num_classes": 3},
    "BoundaryLoss": SIGMOID,
    "DeepSupervisionLoss": {"loss": DiceLoss(sigmoid=True)},
    "DiceCELoss": SIGMOID,
    "DiceFocalLoss": SIGMOID,
    "DiceLoss": SIGMOID,
    "FocalLoss": {},
    "GeneralizedDiceFocalLoss": SIGMOID,
    "GeneralizedDiceLoss": SIGMOID,
    "GlobalMutualInformationLoss": {},
    "HausdorffDTLoss": {"include_background": True, **SIGMOID},
    "JukeboxLoss": {"spatial_dims": 3},
    "LocalNormalizedCrossCorrelationLoss": {},
    "LogHausdorffDTLoss": {"include_background": True, **SIGMOID},
    "MCCLoss": SIGMOID,
    "MaskedDiceLoss": SIGMOID,
    "MaskedLoss": {"loss": DiceLoss, **SIGMOID},
    "MultiScaleLoss": {"loss": DiceLoss(sigmoid=True)},
    "SSIMLoss": {"spatial_dims": 3, "win_size": 5},
    "SoftDiceclDiceLoss": SIGMOID,
    "SoftclDiceLoss": SIGMOID,
    "TverskyLoss": SIGMOID,
}
TISSUE_LOSSES = {
    "GeneralizedWassersteinDiceLoss": {"dist_matrix": 1 - np.eye(4)},  # target (B, 1, X, Y, Z)
    "NACLLoss": {"classes": 4, "dim": 3},  # target (B, X, Y, Z)
}
LEFT_OUT = {
    "AUCMLoss": "takes one channel",
    "BarlowTwinsLoss": "takes embeddings (N, D)",
    "BendingEnergyLoss": "takes a displacement field and no target",
    "BoxGIoULoss": "takes boxes",
    "ContrastiveLoss": "takes embeddings (N, D)",
    "DiffusionLoss": "takes a displacement field and no target",
    "PatchAdversarialLoss": "takes a discriminator's output and a flag",
    "PerceptualLoss": "downloads its network",
    "SURELoss": "takes an operator and no prediction",
}
ALIASES = {"Dice", "dice_ce", "dice_focal", "generalized_dice", "generalized_dice_focal",
           "generalized_wasserstein_dice", "giou"}  # fmt: skip


@pytest.fixture(scope="module")
def exam():
    """Image, label map, float regions, region logits of two exams."""
    image, labels = make_exam(SHAPE, seeds=(0, 1))
    return image, labels, regions_from_labels(labels).float(), make_logits(labels).detach()


def make_term(**options) -> DQELoss:
    return make_loss(**{"surrogate": tiny_surrogate(), **options})


def quiet(loss):
    """Build or call a loss without the warnings that some of MONAI's give."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return loss()


def test_no_loss_of_monai_is_forgotten():
    classes = {name for name, kind in vars(monai.losses).items() if inspect.isclass(kind)}
    assert classes == {*REGION_LOSSES, *TISSUE_LOSSES, *LEFT_OUT, *ALIASES}
    for alias in ALIASES:
        assert vars(monai.losses)[alias].__name__ in {*REGION_LOSSES, *TISSUE_LOSSES, *LEFT_OUT}


def check_sum(other, name, prediction, target, image):
    """Value and log of other + 0.1 * DQELoss are those of the two alone, and a gradient comes back."""
    term = make_term(center="target")
    criterion = other + 0.1 * make_term(center="target")
    assert isinstance(criterion, LossSum)
    prediction = prediction.clone().requires_grad_()
    value = quiet(lambda: criterion(prediction, target, image=image))
    alone = quiet(lambda: other(prediction.detach(), target)), term(prediction.detach(), target, image=image)
    torch.testing.assert_close(value, alone[0] + 0.1 * alone[1], rtol=1e-4, atol=1e-5)
    values = {name: pytest.approx(float(alone[0]), abs=1e-5), "DQELoss": pytest.approx(float(alone[1]))}
    values |= {"skipped": 0, "stars": pytest.approx(float(term.stars.mean()), abs=1e-4)}
    assert criterion.log == values
    quiet(value.backward)
    assert prediction.grad.isfinite().all()
    assert {"gradient_ratio", "guard_kept"} <= set(criterion.log)
    assert criterion.log["gradient_ratio"] > 0


@pytest.mark.parametrize("name", REGION_LOSSES)
def test_every_region_loss_of_monai_adds_up(exam, name):
    image, _, regions, logits = exam
    check_sum(quiet(lambda: getattr(monai.losses, name)(**REGION_LOSSES[name])), name, logits, regions, image)


@pytest.mark.parametrize("name", TISSUE_LOSSES)
def test_every_tissue_loss_of_monai_adds_up(exam, name):
    image, labels, _, _ = exam
    target = labels[:, 0].long() if name == "NACLLoss" else labels.float()
    other = getattr(monai.losses, name)(**TISSUE_LOSSES[name])
    check_sum(other, name, make_logits(labels, 4).detach(), target, image)


def test_losses_of_torch_add_up(exam):
    image, labels, regions, logits = exam
    check_sum(nn.BCEWithLogitsLoss(), "BCEWithLogitsLoss", logits, regions, image)
    one_hot = torch.cat([labels == value for value in range(4)], 1).float()
    check_sum(nn.CrossEntropyLoss(), "CrossEntropyLoss", make_logits(labels, 4).detach(), one_hot, image)


def test_cross_entropy_with_class_indices_adds_up(exam):
    """torch's own form of a target: (B, X, Y, Z)."""
    image, labels, _, _ = exam
    check_sum(nn.CrossEntropyLoss(), "CrossEntropyLoss", make_logits(labels, 4).detach(), labels[:, 0].long(), image)


# Arithmetic


def values_of(criterion, exam):
    image, _, regions, logits = exam
    return float(criterion(logits, regions, image=image))


def test_three_losses_in_every_notation(exam):
    dice, bce, term = DiceLoss(sigmoid=True), nn.BCEWithLogitsLoss(), make_term()
    image, _, regions, logits = exam
    expected = float(dice(logits, regions) + bce(logits, regions) + 0.1 * term(logits, regions, image=image))
    notations = {
        "right": dice + (0.1 * term + bce),
        "left": (dice + term * 0.1) + bce,
        "sum": sum([0.1 * term, dice, bce]),
        "sum with start": sum([dice, bce, 0.1 * term], start=LossSum()),
        "constructor": LossSum(dice, bce, 0.1 * term),
        "nested": LossSum(LossSum(dice, bce), 0.1 * LossSum(term)),
    }
    for name, criterion in notations.items():
        assert values_of(criterion, exam) == pytest.approx(expected, abs=1e-6), name
        assert set(criterion.log) == {"DiceLoss", "BCEWithLogitsLoss", "DQELoss", "skipped", "stars"}, name


def test_weights_multiply(exam):
    criterion = 2 * (DiceLoss(sigmoid=True) + 0.5 * make_term())
    assert criterion.weights == [2, 1]
    plain = criterion.log, values_of(criterion, exam), criterion.log
    assert plain[0] == {}
    assert plain[1] == pytest.approx(2 * plain[2]["DiceLoss"] + plain[2]["DQELoss"])
    assert (0 * make_term()).weights == [0]
    assert (make_term() * 3).weights == [3]
    for weight in (np.float32(0.5), np.float64(0.5), np.int64(2)):
        assert (weight * make_term()).weights == [float(weight)]


@pytest.mark.parametrize("weight", [-0.1, float("nan"), float("inf"), -1])
def test_a_weight_that_is_negative_or_not_finite_is_refused(weight):
    for loss in (make_term(), LossSum(DiceLoss())):
        with pytest.raises(ValueError, match=r"weight of a loss must be a finite number >= 0, got"):
            weight * loss


def test_what_is_no_loss_is_refused():
    for wrong in (3, "DiceLoss", None, torch.nn.functional.mse_loss):
        with pytest.raises(TypeError, match="unsupported operand"):
            make_term() + wrong
        with pytest.raises(TypeError, match=r"the terms of a LossSum are torch modules, or pairs of .* got"):
            LossSum(make_term(), wrong)
    for wrong in ("0.1", True, None):
        with pytest.raises(TypeError):
            wrong * make_term()
    with pytest.raises(TypeError, match="the weight of a loss must be a number, got str"):
        LossSum(("0.1", make_term()))


def test_a_tensor_of_one_number_is_a_weight():
    for weight in (torch.tensor(0.5), torch.tensor([0.5], dtype=torch.float64), np.array(0.5)[()]):
        assert (weight * make_term()).weights == (make_term() * weight).weights == [0.5]
    with pytest.raises(ValueError, match=r"not learned .* got a tensor of shape \(\) that requires gradient"):
        make_term() * torch.tensor(0.5, requires_grad=True)
    with pytest.raises(ValueError, match=r"one number .* got a tensor of shape \(2,\)"):
        make_term() * torch.ones(2)


def test_pairs_weigh_losses_that_cannot_be_multiplied(exam):
    """``0.5 * DiceLoss()`` is an error of Python's own: MONAI's losses have no ``*``."""
    image, _, regions, logits = exam
    dice, term = DiceLoss(sigmoid=True), make_term()
    criterion = LossSum((0.5, dice), (0.1, term))
    expected = 0.5 * dice(logits, regions) + 0.1 * term(logits, regions, image=image)
    assert values_of(criterion, exam) == pytest.approx(float(expected), abs=1e-6)
    assert LossSum((2, LossSum((0.5, dice), term))).weights == [1, 2]


def test_missing_image_and_missing_terms_are_named(exam):
    _, _, regions, logits = exam
    with pytest.raises(ValueError, match=r"on its image: call .*image=image"):
        (DiceLoss(sigmoid=True) + make_term())(logits, regions)
    with pytest.raises(ValueError, match="an empty LossSum has no value"):
        LossSum()(logits, regions)
    LossSum(DiceLoss(sigmoid=True))(logits, regions)  # nothing here needs one


def test_two_ratings_in_one_sum_are_told_apart(exam):
    image, _, regions, logits = exam
    criterion = DiceLoss(sigmoid=True) + make_term() + 0.1 * make_term(views=("axial",))
    assert gradient_of(criterion, logits, regions, image=image).isfinite().all()
    assert set(criterion.log) == {
        "DiceLoss", "DQELoss_1", "DQELoss_2", "gradient_ratio_DQELoss_1", "gradient_ratio_DQELoss_2",
        "guard_kept_DQELoss_1", "guard_kept_DQELoss_2", "skipped_DQELoss_1", "skipped_DQELoss_2",
        "stars_DQELoss_1", "stars_DQELoss_2",
    }  # fmt: skip


NONE = {"reduction": "none"}
UNREDUCED = [DiceLoss(sigmoid=True, **NONE), FocalLoss(**NONE), nn.BCEWithLogitsLoss(**NONE)]


@pytest.mark.parametrize("other", UNREDUCED, ids=lambda loss: type(loss).__name__)
def test_unreduced_losses_of_monai_and_torch_count_by_their_mean_in_an_exam(exam, other):
    image, _, regions, logits = exam
    term = make_term(reduction="none")
    value = (other + 0.1 * term)(logits, regions, image=image)
    expected = other(logits, regions).flatten(1).mean(1) + 0.1 * term(logits, regions, image=image)
    assert value.shape == (2,)
    torch.testing.assert_close(value, expected)
    with pytest.raises(ValueError, match=r"do not add up: .* give all of them the same reduction"):
        (other + 0.1 * make_term())(logits, regions, image=image)


def test_values_per_exam_add_up(exam):
    image, _, regions, logits = exam
    term = make_term(reduction="none")
    criterion = 2 * term + 3 * make_term(reduction="none")
    value = criterion(logits, regions, image=image)
    torch.testing.assert_close(value, 5 * term(logits, regions, image=image))
    assert value.shape == (2,)
    assert criterion.log["DQELoss_0"] == pytest.approx(float(value.mean() / 5))


def test_a_sum_is_a_module_without_weights():
    criterion = DiceLoss(sigmoid=True) + make_term()
    assert isinstance(criterion, nn.Module)
    assert list(criterion.parameters()) == []
    assert not any("surrogate" in name or "network" in name for name in criterion.state_dict())


@pytest.mark.parametrize("twin", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))], ids=["deepcopy", "pickle"])
def test_copies_give_the_same_value(exam, twin):
    criterion = DiceLoss(sigmoid=True) + 0.1 * make_term()
    image, _, regions, logits = exam
    gradient_of(criterion, logits, regions, image=image)
    assert values_of(twin(criterion), exam) == values_of(criterion, exam)


# Probabilities or logits


@pytest.mark.parametrize("other", [DiceLoss(), TverskyLoss(), DeepSupervisionLoss(DiceLoss()), nn.BCELoss()],
                         ids=lambda loss: type(loss).__name__)  # fmt: skip
def test_where_the_others_take_probabilities_so_does_the_rating(exam, other):
    image, _, regions, logits = exam
    criterion = other + make_term()
    quiet(lambda: criterion(logits.sigmoid(), regions, image=image))
    expected = float(make_term()(logits, regions, image=image))
    assert criterion.log["DQELoss"] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    "other",
    [DiceLoss(**SIGMOID), MaskedDiceLoss(**SIGMOID), DiceCELoss(**SIGMOID), FocalLoss(), nn.BCEWithLogitsLoss()],
    ids=lambda loss: type(loss).__name__,
)
def test_where_the_others_take_logits_so_does_the_rating(exam, other):
    image, _, regions, logits = exam
    criterion = other + make_term()
    quiet(lambda: criterion(logits, regions, image=image))
    assert criterion.log["DQELoss"] == pytest.approx(float(make_term()(logits, regions, image=image)), abs=1e-6)


def test_an_activation_named_for_the_rating_wins(exam):
    image, _, regions, logits = exam
    with pytest.warns(UserWarning, match="is logits of regions, but the losses beside it take probabilities: one of"):
        criterion = DiceLoss() + make_term(sigmoid=True)
    criterion(logits, regions, image=image)
    assert criterion.log["DQELoss"] == pytest.approx(float(make_term()(logits, regions, image=image)), abs=1e-6)


def test_an_activation_that_cannot_be_known_must_be_named(exam):
    image, _, regions, logits = exam
    with pytest.raises(ValueError, match=r"DiceLoss activates the prediction by other_act.*DQELoss\(sigmoid=True\)"):
        (DiceLoss(other_act=torch.sigmoid) + make_term())(logits, regions, image=image)
    criterion = DiceLoss(other_act=torch.sigmoid) + make_term(sigmoid=True)
    assert values_of(criterion, exam) == pytest.approx(values_of(DiceLoss(sigmoid=True) + make_term(), exam))


# Balance


@pytest.mark.parametrize("weight", [1e-4, 0.1, 100.0])
@pytest.mark.parametrize("ratio", [0.3, 0.01, None])
def test_the_gradient_is_capped_for_each_exam(exam, weight, ratio):
    image, _, regions, logits = exam
    dice, term = DiceLoss(sigmoid=True), make_term()
    criterion = dice + weight * make_term(max_gradient_ratio=ratio)
    total = gradient_of(criterion, logits, regions, image=image)
    others = gradient_of(dice, logits, regions)
    rated = weight * gradient_of(term, logits, regions, image=image)
    norms = [g.flatten(1).norm(dim=1) for g in (others, rated)]
    scale = torch.ones(2) if ratio is None else (ratio * norms[0] / norms[1]).clamp(max=1)
    torch.testing.assert_close(total, others + scale.view(-1, 1, 1, 1, 1) * rated, rtol=1e-3, atol=1e-8)
    assert criterion.log["gradient_ratio"] == pytest.approx(float((norms[1] / norms[0]).mean()), rel=1e-3)
    assert 0 < criterion.log["guard_kept"] < 1


def test_alone_it_is_not_capped(exam):
    image, _, regions, logits = exam
    term = make_term(max_gradient_ratio=1e-6)
    torch.testing.assert_close(
        gradient_of(2 * term, logits, regions, image=image), 2 * gradient_of(term, logits, regions, image=image)
    )


def test_two_calls_before_one_backward(exam):
    image, _, regions, logits = exam
    criterion = DiceLoss(sigmoid=True) + 100 * make_term()
    prediction = logits.clone().requires_grad_()
    first = criterion(prediction[:1], regions[:1], image=image[:1])
    (first + criterion(prediction[1:], regions[1:], image=image[1:])).backward()
    alone = [gradient_of(criterion, logits[i : i + 1], regions[i : i + 1], image=image[i : i + 1]) for i in range(2)]
    torch.testing.assert_close(prediction.grad, torch.cat(alone), rtol=1e-3, atol=1e-7)


def test_deep_supervision_rates_the_full_resolution(exam):
    image, _, regions, logits = exam
    coarse = nn.functional.avg_pool3d(logits, 2)
    supervised = DeepSupervisionLoss(DiceLoss(sigmoid=True))
    criterion = supervised + 0.1 * make_term()
    outputs = [x.clone().requires_grad_() for x in (logits, coarse)]
    value = criterion(outputs, regions, image=image)
    expected = supervised([logits, coarse], regions) + 0.1 * make_term()(logits, regions, image=image)
    torch.testing.assert_close(value, expected)
    value.backward()
    alone = [x.clone().requires_grad_() for x in (logits, coarse)]
    supervised(alone, regions).backward()
    torch.testing.assert_close(outputs[1].grad, alone[1].grad)
    assert not torch.allclose(outputs[0].grad, alone[0].grad)


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "other", "fullgraph"), [
    ("aot_eager", nn.BCEWithLogitsLoss(), True),
    ("inductor", nn.BCEWithLogitsLoss(), True),
    ("aot_eager", DiceLoss(sigmoid=True), False),  # MONAI's Dice breaks the graph by itself
])  # fmt: skip
def test_a_compiled_sum_equals_eager(exam, backend, other, fullgraph):
    image, _, regions, logits = exam
    torch._dynamo.reset()
    criterion, twin = (other + 100 * make_term(center="target") for _ in range(2))
    compiled = torch.compile(twin, fullgraph=fullgraph, backend=backend)
    torch.testing.assert_close(
        gradient_of(compiled, logits, regions, image=image), gradient_of(criterion, logits, regions, image=image),
        rtol=1e-3, atol=1e-7,
    )  # fmt: skip
    assert compiled.log["DQELoss"] == pytest.approx(criterion.log["DQELoss"], rel=1e-4)

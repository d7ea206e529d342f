"""Wrong uses that passed without a word, and what is said of them now (contract C15)."""

import warnings

import pytest
import torch
from helpers import gradient_of, make_case, make_exam, make_logits, make_loss, small_surrogate, tiny_surrogate
from monai.data import MetaTensor
from monai.losses import DiceCELoss, DiceFocalLoss, DiceLoss, FocalLoss, GeneralizedDiceLoss
from torch import nn

from dqe_loss import DQELoss, LossSum, StarWeighted, regions_from_labels
from dqe_loss.core.layout import settle_layout
from dqe_loss.losses.activation import activation_of, common_activation
from dqe_loss.losses.target import read_target
from dqe_loss.task import Task


@pytest.fixture(scope="module")
def exam():
    return make_case()


def make_term(**options):
    return make_loss(surrogate=tiny_surrogate(), **options)


def told(work):
    """The warnings of this package that a piece of work gives."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        work()
    return [str(one.message) for one in caught if issubclass(one.category, UserWarning)]


# Activation


def test_probabilities_for_logits_are_refused(exam):
    image, labels, regions, logits = exam
    message = r"the prediction is taken as logits, but all of its values lie in \[0, 1\].*sigmoid=False, softmax=False"
    for wrong in (logits.sigmoid(), regions.float()):
        for criterion in (make_term(), DiceLoss(sigmoid=True) + 0.1 * make_term(warmup=9)):
            with pytest.raises(ValueError, match=message):
                criterion(wrong, labels if criterion is make_term else regions.float(), image=image)
    loss = make_term()
    loss(logits, labels, image=image)
    with pytest.raises(ValueError, match="there is rate_segmentation"):
        loss.rate(regions.float(), image=image)  # in each call, for it is no part of a training


@pytest.mark.parametrize("other", [DiceLoss(), DiceCELoss(), nn.BCELoss()], ids=lambda loss: type(loss).__name__)
def test_logits_for_probabilities_are_refused(exam, other):
    image, _, regions, logits = exam
    with pytest.raises(ValueError, match=r"taken as probabilities but has values from -.*DiceLoss\(sigmoid=True\)"):
        (0.1 * make_term() + other)(logits, regions.float(), image=image)


def test_values_are_looked_at_in_the_first_call_alone(exam):
    """Each look waits for an accelerator."""
    image, labels, _, logits = exam
    loss = make_term()
    loss(logits, labels, image=image)
    loss(logits.sigmoid(), labels, image=image)
    constant = torch.zeros_like(logits)  # a last layer that starts at 0 is a network, too
    make_term()(constant, labels, image=image)


class FromSmp(nn.Module):
    def __init__(self, from_logits, mode="multilabel"):
        super().__init__()
        self.from_logits, self.mode = from_logits, mode


class FromNnunet(nn.Module):
    def __init__(self, apply_nonlin):
        super().__init__()
        self.dc = nn.Module()
        self.dc.apply_nonlin = apply_nonlin


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (DiceLoss(sigmoid=True), "sigmoid"),
        (DiceLoss(softmax=True), "softmax"),
        (DiceLoss(), "none"),
        (DiceCELoss(softmax=True), "softmax"),
        (DiceFocalLoss(sigmoid=True), "sigmoid"),
        (FocalLoss(), "sigmoid"),
        (FocalLoss(use_softmax=True), "softmax"),
        (GeneralizedDiceLoss(sigmoid=True), "sigmoid"),
        (nn.CrossEntropyLoss(), "softmax"),
        (nn.BCEWithLogitsLoss(), "sigmoid"),
        (nn.BCELoss(), "none"),
        (nn.L1Loss(), None),
        (FromSmp(True), "sigmoid"),
        (FromSmp(True, "multiclass"), "softmax"),
        (FromSmp(False), "none"),
        (FromNnunet(torch.sigmoid), "sigmoid"),
        (FromNnunet(torch.softmax), "softmax"),
        (FromNnunet(None), "none"),
        (FromNnunet(lambda x: x), None),
    ],
)
def test_what_losses_say_they_take(loss, expected):
    assert activation_of(loss) == expected


def test_losses_that_contradict_each_other_are_refused():
    with pytest.raises(
        ValueError, match="DiceLoss takes logits of regions but CrossEntropyLoss takes logits of tissues"
    ):
        common_activation([DiceLoss(sigmoid=True), nn.CrossEntropyLoss()])
    with pytest.raises(ValueError, match=r"cannot tell what the prediction is.*DQELoss\(sigmoid=True\)"):
        DiceLoss(sigmoid=True) + (make_term() + nn.BCELoss())
    DiceLoss(sigmoid=True) + (make_term(sigmoid=True) + nn.BCELoss())  # it was told
    assert common_activation([nn.L1Loss(), DiceLoss(softmax=True)]) == "softmax"


def test_four_sigmoid_heads_are_not_read_as_tissues(exam):
    image, labels, regions, _ = exam
    cavity = torch.zeros_like(regions[:, :1])
    four = torch.cat((regions[:, [1, 0, 2]], cavity), 1)
    logits = 6 * four.float() - 3 + torch.linspace(0, 1, 32)[:, None, None]
    with pytest.raises(ValueError, match=r"sigmoid=True does not go with 4 channels.*\('TC', 'WT', 'ET', 'other'\)"):
        (DiceLoss(sigmoid=True) + 0.1 * make_term())(logits, four.float(), image=image)
    order = ("WT", "TC", "ET", "RC")
    criterion = DiceLoss(sigmoid=True) + 0.1 * make_term(region_order=order)
    expected = DiceLoss(sigmoid=True)(logits, four.float()) + 0.1 * make_term()(
        logits[:, [1, 0, 2]], labels, image=image
    )
    torch.testing.assert_close(criterion(logits, four.float(), image=image), expected)
    gradient = gradient_of(make_term(region_order=order), logits, four.float(), image=image)
    assert gradient[:, 3].eq(0).all()
    reference = gradient_of(make_term(), logits[:, [1, 0, 2]], labels, image=image)
    torch.testing.assert_close(gradient[:, [1, 0, 2]], reference)


def test_a_prediction_that_holds_nan_is_refused_first_and_never_hidden_later(exam):
    image, labels, _, logits = exam
    broken = logits.clone()
    broken[1, 1, 0, 0, 0] = float("nan")  # in no plane that is rated
    with pytest.raises(ValueError, match="the prediction holds NaN: the network has diverged"):
        make_term()(broken, labels, image=image)
    loss = make_term(reduction="none")
    loss(logits, labels, image=image)
    values = loss(broken, labels, image=image)
    assert values.isnan().tolist() == [False, True]


# Channels and targets


def test_regions_in_another_order_than_said_are_refused(exam):
    image, _, regions, logits = exam
    with pytest.raises(ValueError, match=r"cannot be TC, WT, ET.*region_order=\('WT', 'TC', 'ET'\)"):
        make_term()(logits, regions[:, [1, 0, 2]].float(), image=image)
    make_term(region_order=("WT", "TC", "ET"))(logits, regions[:, [1, 0, 2]].float(), image=image)


def test_of_many_regions_in_another_order_it_is_told_at_once_that_they_do_not_fit():
    tissues = tuple(f"t{i}" for i in range(10))
    parts = {f"r{i}": tissues[i:] for i in range(10)}  # each within the one before
    layout = settle_layout(Task("many", ("scan",), tuple(parts), tissues, parts=parts))
    target = torch.zeros(1, 10, 12, 4, 4)
    for i in range(10):
        target[:, i, i:] = 1
    with pytest.warns(UserWarning, match="channels cannot be r0, r1, .* but not in these$"):
        read_target(target.flip(1), layout, hard=True, check=True)
    read_target(target, layout, hard=True, check=True)


def test_a_channel_of_voxels_to_ignore_is_not_a_tissue(exam):
    image, _, regions, logits = exam
    ignored = torch.cat((regions, torch.zeros_like(regions[:, :1])), 1).float()
    with pytest.raises(ValueError, match=r"4 channels that add up to neither 0 nor 1.*ignore.*target\[:, :-1\]"):
        make_term()(logits, ignored, image=image)


def test_a_target_that_is_no_mask_is_refused(exam):
    image, _, regions, logits = exam
    with pytest.raises(ValueError, match="the target is taken as probabilities but has values from 0 to 255"):
        make_term()(logits, 255 * regions.float(), image=image)


# Images


def test_a_label_map_is_no_image(exam):
    _, labels, _, logits = exam
    with pytest.raises(ValueError, match="whole numbers from 0 to 3, as a label map does"):
        make_term()(logits, labels, image=labels.expand(-1, 4, -1, -1, -1))


def test_modalities_that_are_empty_or_twice_the_same_are_told_once(exam):
    image, labels, _, logits = exam
    empty, twice = image.clone(), image.clone()
    empty[1, 2] = 0
    twice[:, 1] = twice[:, 0]

    def told_twice(wrong):
        loss = make_term(max_gradient_ratio=None)
        return [told(lambda: loss(logits, labels, image=wrong)) for _ in range(2)]

    for wrong, message in ((empty, "t2 of exam 1 in the batch is empty or constant"), (twice, "t1c and t1")):
        first, second = told_twice(wrong)
        assert any(message in one for one in first)
        assert second == []


def test_voxels_of_another_size_are_told(exam):
    image, labels, _, logits = exam
    wide = MetaTensor(image, affine=torch.diag(torch.tensor([2.0, 2.0, 2.0, 1.0])))
    (message,) = told(lambda: make_term(max_gradient_ratio=None)(logits, labels, image=wide))
    assert "voxels of the image are 2 x 2 x 2 mm" in message


def test_an_origin_that_affines_contradict_is_told():
    image, labels = make_exam((32, 32, 32))
    affine = torch.diag(torch.tensor([-1.0, -1.0, 1.0, 1.0]))
    full = MetaTensor(image, affine=affine)
    patch = MetaTensor(make_logits(labels[..., 4:28, 4:28, 4:28]).detach(), affine=affine.clone())
    patch.affine[:3, 3] = affine[:3, :3] @ torch.tensor([4.0, 4.0, 4.0])

    def tell(origin):
        return told(lambda: make_term()(patch, labels, image=full, origin=origin))

    assert tell((4, 4, 4)) == []
    (message,) = tell((4, 4, 5))
    assert "origin=[[4, 4, 5]], but it starts at [[4, 4, 4]]" in message
    patch.affine[0] *= -1  # flipped after it was cut out
    (message,) = tell((4, 4, 4))
    assert "flipped, rotated or resampled" in message


# The sum circumvented


def test_a_loss_outside_of_a_sum_is_told_once(exam):
    image, labels, _, logits = exam

    def train(loss):
        return told(lambda: gradient_of(loss, logits, labels, image=image))

    for loss in (make_term(), 0.1 * make_term()):
        first, second = train(loss), train(loss)
        assert len(first) == 1
        assert "outside a sum" in first[0]
        assert "DiceLoss(sigmoid=True) + 0.1 * DQELoss()" in first[0]
        assert second == []
    assert train(make_term(max_gradient_ratio=None)) == []  # it is meant
    assert told(lambda: make_term()(logits, labels, image=image)) == []  # nothing is trained
    assert told(lambda: make_term().eval()(logits.requires_grad_(), labels, image=image)) == []


def test_crops_too_small_to_be_rated_are_told_once(exam):
    image, _, regions, logits = exam
    criterion = DiceLoss(sigmoid=True) + 0.1 * DQELoss(small_surrogate())
    first, second = (told(lambda: criterion(logits, regions.float(), image=image)) for _ in range(2))
    assert len(first) == 1
    assert "crops of (32, 28, 24) voxels are smaller than 96 along an axis: DQELoss skips every one" in first[0]
    assert second == []


def test_skipped_exams_are_no_progress(exam, monkeypatch):
    """A mean over all exams falls with the share of empty patches."""
    monkeypatch.setattr("dqe_loss.losses.dqe.DQELoss.smallest_crop", 16)
    image, labels, _, logits = exam
    half = labels.clone()
    half[1] = 0
    loss = make_loss(on_small="skip")
    expected = loss(logits[:1], labels[:1], image=image[:1])
    torch.testing.assert_close(loss(logits, half, image=image), expected)
    assert int(loss.notes["skipped"]) == 1
    assert loss(logits, torch.zeros_like(labels), image=image) == 0
    total = make_loss(on_small="skip", reduction="sum")(logits, half, image=image)
    torch.testing.assert_close(total, expected)


def test_a_list_of_predictions_is_rated_at_full_resolution(exam):
    image, labels, _, logits = exam
    value = make_term()([logits, logits[..., ::2]], labels, image=image)
    torch.testing.assert_close(value, make_term()(logits, labels, image=image))


def test_making_a_loss_leaves_the_random_state_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    make_term(planes=2, jitter=3.0)
    assert torch.equal(torch.get_rng_state(), before)


def test_one_hot_targets_in_half_precision_are_no_misuse(exam):
    image, labels, _, _ = exam
    one_hot = torch.cat([labels == value for value in range(4)], 1).half()
    make_term()(make_logits(labels, 4).detach(), one_hot, image=image)
    assert torch.equal(regions_from_labels(labels).any(1), one_hot[:, 1:].any(1))


# What is no misuse, and what must not spend the first look


def test_an_empty_crop_or_a_head_that_starts_at_zero_is_no_misuse_and_tells_nothing(exam):
    """The bias of a head alone may lie in [0, 1]; the look is kept for a batch that can tell."""
    image, labels, regions, logits = exam
    biases = torch.tensor([0.1, 0.3, 0.2])[:, None, None, None].expand_as(logits)
    for first in (
        {"input": biases, "target": labels, "image": image},
        {"input": logits, "target": 0 * labels, "image": image},
        {"input": logits, "target": labels, "image": 0 * image},
    ):
        loss = make_term()
        loss(first["input"], first["target"], image=first["image"])
        with pytest.raises(ValueError, match="taken as logits"):
            loss(logits.sigmoid(), labels, image=image)
        with pytest.raises(ValueError, match="cannot be TC, WT, ET"):
            loss(logits, regions[:, [1, 0, 2]].float(), image=image)


def test_validation_is_looked_at_too(exam):
    """Some networks apply their sigmoid in evaluation alone."""
    image, labels, _, logits = exam
    loss = make_term()
    loss(logits, labels, image=image)
    loss.eval()
    with pytest.raises(ValueError, match="taken as logits"):
        loss(logits.sigmoid(), labels, image=image)


def test_one_hot_targets_that_a_transform_filled_up_with_zeros_are_background(exam):
    image, labels, _, _ = exam
    one_hot = torch.cat([labels == value for value in range(4)], 1).float()
    one_hot[:, 0, :2] = 0
    logits = make_logits(labels, 4).detach()
    torch.testing.assert_close(
        make_term()(logits, one_hot, image=image), make_term()(logits, labels, image=image), rtol=1e-4, atol=1e-5
    )


def test_a_few_voxels_of_a_fused_mask_may_lie_outside(exam):
    image, labels, regions, logits = exam
    fused = regions.float()
    fused[0, 2, 0, 0, 0] = 1
    make_term()(logits, fused, image=image)
    apart = torch.zeros_like(fused)
    for channel in range(3):
        apart[:, channel, 5 * channel : 5 * channel + 5] = 1
    assert any("in no order" in message for message in told(lambda: make_term()(logits, apart, image=image)))
    assert labels.any()


def test_probabilities_of_four_regions_are_no_tissues(exam):
    image, labels, _, _ = exam
    heads = make_logits(labels, 4).detach().sigmoid()
    with pytest.raises(ValueError, match=r"but they sum to .*name each of them in region_order="):
        make_term(sigmoid=False, softmax=False)(heads, labels, image=image)


def test_labels_to_ignore_are_not_advised_another_scheme_without_a_word(exam):
    image, labels, _, logits = exam
    ignored = labels.clone()
    ignored[:, :, 0] = 4
    with pytest.raises(ValueError, match=r"fit, with other tissues than in nnunet, brats24 .*voxels to ignore.* to 0"):
        make_term(label_scheme="nnunet")(logits, ignored, image=image)


def test_images_of_unsigned_integers_are_taken(exam):
    image, labels, _, logits = exam
    value = make_term()(logits, labels, image=image.to(torch.uint16))
    torch.testing.assert_close(value, make_term()(logits, labels, image=image.to(torch.int32)))


def test_a_modality_of_nan_or_of_one_value_is_told(exam):
    image, labels, _, logits = exam
    for value in (float("nan"), 7.0):
        wrong = image.clone()
        wrong[0, 1] = value
        messages = told(lambda wrong=wrong: make_term()(logits, labels, image=wrong))
        assert any("t1 of exam 0 in the batch is empty or constant" in message for message in messages)


def test_lists_of_deep_supervision_on_both_sides(exam):
    image, labels, _, logits = exam
    expected = make_term()(logits, labels, image=image)
    coarse = logits[..., ::2], labels[..., ::2]
    assert make_term()([logits, coarse[0]], [labels, coarse[1]], image=image) == expected
    assert make_term().rate([logits, coarse[0]], image=image).shape == (2, 3)


def test_a_bound_loss_is_no_term():
    with pytest.raises(TypeError, match="bind the sum, not its terms"):
        LossSum(DiceLoss(sigmoid=True), make_term().bound())


def test_warnings_point_at_the_call(exam):
    image, labels, _, logits = exam
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        gradient_of(make_term(), logits, labels, image=image)
    assert [warning.filename.rpartition("/")[2] for warning in caught] == ["helpers.py"]


@pytest.mark.slow
def test_what_needs_no_values_is_told_while_compiling(exam):
    image, _, regions, logits = exam
    torch._dynamo.reset()
    compiled = torch.compile(DQELoss(tiny_surrogate()), fullgraph=True, backend="aot_eager")
    messages = told(lambda: [gradient_of(compiled, logits, regions.float(), image=image) for _ in range(2)])
    assert [sum(words in one for one in messages) for words in ("outside a sum", "smaller than 96")] == [1, 1]


# Sums


def test_beside_losses_of_weight_0_the_term_keeps_its_gradient(exam):
    image, _, regions, logits = exam
    criterion = DiceLoss(sigmoid=True) + make_term()
    criterion.weights[0] = 0.0
    message = "all losses beside DQELoss have the weight 0, so that nothing caps its gradient"
    assert any(message in one for one in told(lambda: gradient_of(criterion, logits, regions.float(), image=image)))
    alone = gradient_of(make_term(), logits, regions.float(), image=image)
    with pytest.warns(UserWarning, match=message):
        torch.testing.assert_close(gradient_of(criterion, logits, regions.float(), image=image), alone)


def test_a_weight_that_is_set_later_is_checked_too(exam):
    image, _, regions, logits = exam
    criterion = DiceLoss(sigmoid=True) + make_term()
    criterion.weights[1] = -1.0
    with pytest.raises(ValueError, match=r"weight of a loss must be a finite number >= 0, got -1"):
        criterion(logits, regions.float(), image=image)


def test_a_forgotten_target_is_named(exam):
    image, _, _, logits = exam
    with pytest.raises(ValueError, match=r"DiceLoss needs a target, got none: .* DQELoss\(guard=None\) alone"):
        (DiceLoss(sigmoid=True) + make_term(guard=None))(logits, image=image)
    with pytest.raises(ValueError, match="StarWeighted weighs labels, got none"):
        (StarWeighted(DiceLoss(sigmoid=True), tiny_surrogate()) + make_term(guard=None))(logits, image=image)


def test_a_dictionary_of_predictions_is_refused(exam):
    image, labels, _, logits = exam
    with pytest.raises(TypeError, match="expected a tensor or a list of them, got a mapping: pass one of out, aux"):
        make_term()({"out": logits, "aux": logits}, labels, image=image)

"""The loss by itself; its guard is tested in test_balance, its frozen surrogate in test_surrogate."""

import numpy as np
import pytest
import torch
from helpers import gradient_of, make_case, make_logits, make_loss, shrink, small_surrogate, tiny_surrogate
from monai.data import MetaTensor

from dqe_loss import DQELoss, dqe_loss, hard_center_of_mass, rate_segmentation, soft_center_of_mass


@pytest.fixture(scope="module")
def exam():
    return make_case()


@pytest.fixture
def rates_small_crops(monkeypatch):
    monkeypatch.setattr("dqe_loss.losses.dqe.DQELoss.smallest_crop", 16)


# The value


def test_the_value_is_what_the_ratings_lack_to_six(exam):
    image, labels, _, logits = exam
    ratings = make_loss().rate(logits, image=image)
    assert ratings.shape == (2, 3)
    torch.testing.assert_close(
        ratings, rate_segmentation(small_surrogate(), image, logits.sigmoid(), slicing="soft"), rtol=0, atol=1e-5
    )
    missing = (6 - ratings.mean(1)).relu()
    assert missing.min() > 0.1
    torch.testing.assert_close(missing, dqe_loss(small_surrogate(), image, logits.sigmoid()))
    for reduction, expected in (("none", missing), ("mean", missing.mean()), ("sum", missing.sum())):
        torch.testing.assert_close(make_loss(reduction=reduction)(logits, labels, image=image), expected)


def test_six_stars_and_more_cost_nothing(exam):
    """The published network rates these references above 6."""
    image, labels, regions, _ = exam
    loss = make_loss(views=("axial",))
    logits = 20 * (regions.float() - 0.5)
    assert loss.rate(logits, image=image).min() > 6
    assert loss(logits, labels, image=image) == 0
    assert gradient_of(loss, logits, labels, image=image).eq(0).all()


@pytest.mark.parametrize("guard", ["target", None])
def test_the_guard_does_not_change_the_value(exam, guard):
    image, labels, _, logits = exam
    expected = dqe_loss(small_surrogate(), image, logits.sigmoid()).mean()
    torch.testing.assert_close(make_loss(guard=guard)(logits, labels, image=image), expected)


@pytest.mark.parametrize("scheme", ["brats23", "brats21", "brats", "msd", "nnunet", "brats24", "brats-peds"])
def test_targets_in_every_form_give_the_same_value_and_gradient(exam, scheme):
    image, labels, regions, logits = exam
    others = {"brats21": [0, 1, 2, 4], "msd": [0, 2, 1, 3], "nnunet": [0, 2, 1, 3], "brats-peds": [0, 2, 4, 1]}
    renamed = torch.tensor(others.get(scheme, [0, 1, 2, 3]))
    label_map = renamed[labels.long()]
    one_hot = torch.cat([label_map == value for value in sorted(renamed.tolist())], 1)
    loss = make_loss(label_scheme=scheme, center="target")
    expected = gradient_of(make_loss(center="target"), logits, regions, image=image)
    assert expected.abs().sum() > 0
    for target in (label_map, label_map.float(), regions, regions.float(), one_hot, one_hot.float()):
        assert torch.equal(gradient_of(loss, logits, target, image=image), expected), target.shape


@pytest.mark.parametrize("scheme", ["brats23", "msd"])
def test_four_tissue_channels_are_read_by_the_scheme(exam, scheme):
    image, labels, regions, _ = exam
    label_map = torch.tensor([0, 2, 1, 3] if scheme == "msd" else [0, 1, 2, 3])[labels.long()]
    one_hot = torch.cat([label_map == value for value in range(4)], 1).float()
    expected = rate_segmentation(small_surrogate(), image, regions, slicing="soft")
    for loss, prediction in (
        (make_loss(label_scheme=scheme), 40 * one_hot),
        (make_loss(label_scheme=scheme, softmax=True), 40 * one_hot),
        (make_loss(label_scheme=scheme, sigmoid=False, softmax=False), one_hot),
    ):
        torch.testing.assert_close(loss.rate(prediction, image=image), expected, rtol=0, atol=1e-4)


def test_region_heads_of_nnunet(exam):
    image, _, regions, logits = exam
    order = [1, 0, 2]  # WT, TC, ET
    nnunet = make_loss(region_order=("WT", "TC", "ET"))
    expected = gradient_of(make_loss(), logits, regions, image=image)
    assert torch.equal(gradient_of(nnunet, logits[:, order], regions[:, order], image=image), expected[:, order])


@pytest.mark.parametrize(("options", "channels"), [({"sigmoid": True}, 4), ({"softmax": True}, 3)])
def test_an_activation_that_does_not_fit_the_channels_is_named(exam, options, channels):
    image, labels, _, _ = exam
    with pytest.raises(ValueError, match=rf"{next(iter(options))}=True does not go with {channels} channels"):
        make_loss(**options)(make_logits(labels, channels), labels, image=image)


def test_probabilities_are_taken_as_they_are(exam):
    image, labels, _, logits = exam
    loss = make_loss(sigmoid=False, softmax=False)
    torch.testing.assert_close(
        loss(logits.sigmoid(), labels, image=image), make_loss()(logits, labels, image=image), rtol=0, atol=1e-5
    )


def test_modalities_and_views_reach_the_rating(exam):
    image, labels, _, logits = exam
    all_views = make_loss().rate(logits, image=image)
    some = make_loss(views=("sagittal", "axial"), modalities=("flair", "t1", "t1c", "t2"))
    torch.testing.assert_close(some.rate(logits, image=image[:, [3, 1, 0, 2]]), all_views[:, [2, 0]], rtol=0, atol=1e-4)
    torch.testing.assert_close(
        some(logits, labels, image=image[:, [3, 1, 0, 2]]), (6 - all_views[:, [2, 0]].mean(1)).relu().mean()
    )


def test_tensors_of_monai_are_taken(exam):
    image, labels, _, logits = exam
    expected = make_loss()(logits, labels, image=image)
    value = make_loss()(MetaTensor(logits), MetaTensor(labels), image=MetaTensor(image))
    torch.testing.assert_close(value, expected)
    assert type(value) is torch.Tensor


# Where it looks


def test_planes_through_the_center_of_the_target(exam):
    image, labels, regions, logits = exam
    elsewhere = logits.roll(6, 2)
    ratings = make_loss(center="target").rate(elsewhere, image=image, target=labels)
    expected = rate_segmentation(
        small_surrogate(), image, elsewhere.sigmoid(), slicing="soft", center=soft_center_of_mass(regions)
    )
    torch.testing.assert_close(ratings, expected, rtol=0, atol=1e-5)
    assert (ratings - make_loss().rate(elsewhere, image=image)).abs().max() > 0.01


def test_hard_slicing_takes_whole_planes(exam):
    image, labels, _, logits = exam
    loss = make_loss(slicing="hard", guard=None)
    probabilities = logits.sigmoid()
    center = hard_center_of_mass(probabilities)
    expected = rate_segmentation(small_surrogate(), image, probabilities, center=center)
    torch.testing.assert_close(loss.rate(logits, image=image), expected, rtol=0, atol=1e-5)
    gradient = gradient_of(loss, logits, labels, image=image)
    off_plane = torch.ones_like(gradient, dtype=torch.bool)
    for i, (x, y, z) in enumerate(center.tolist()):
        for plane in (off_plane[i, :, x], off_plane[i, :, :, y], off_plane[i, ..., z]):
            plane.fill_(False)
    assert gradient[off_plane].eq(0).all()
    assert gradient[~off_plane].abs().sum() > 0


def test_gradient_through_the_position_can_be_switched_off(exam):
    image, _, _, logits = exam

    def by_hand(prediction, detach):
        center = soft_center_of_mass(prediction.sigmoid())
        center = center.detach() if detach else center
        return dqe_loss(small_surrogate(), image, prediction.sigmoid(), center=center)

    with_position, without = (
        gradient_of(make_loss(guard=None, reduction="none", center_grad=on), logits, None, image=image)
        for on in (True, False)
    )
    torch.testing.assert_close(with_position, gradient_of(lambda p: by_hand(p, False), logits), rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(without, gradient_of(lambda p: by_hand(p, True), logits), rtol=1e-4, atol=1e-7)
    # without it, the gradient stays in the two planes beside each of the three positions
    assert without.ne(0).sum() < 0.35 * without.numel() < 2 * with_position.ne(0).sum()


def test_jitter_is_seeded_and_moves_on(exam):
    image, labels, _, logits = exam

    def three_steps(**options):
        loss = make_loss(jitter=2.0, **options)
        return [float(loss(logits, labels, image=image)) for _ in range(3)]

    assert three_steps(seed=1) == three_steps(seed=1)
    assert three_steps(seed=1) != three_steps(seed=2)
    assert len(set(three_steps(planes=2))) == 3


def test_checkpointing_gives_the_same_gradient(exam):
    image, labels, _, logits = exam
    torch.testing.assert_close(
        gradient_of(make_loss(checkpointing=True, planes=2, jitter=1.0), logits, labels, image=image),
        gradient_of(make_loss(planes=2, jitter=1.0), logits, labels, image=image), rtol=1e-3, atol=1e-7,
    )  # fmt: skip


# Numerics


def predictions(kind: str, labels) -> torch.Tensor:
    logits = torch.full((labels.shape[0], 3, *labels.shape[2:]), -8.0)
    if kind == "full":
        return -logits
    if kind == "one voxel":
        logits[..., 3, 4, 5] = 8
    elif kind == "saturated":
        return (make_logits(labels).detach() > 0) * 2e4 - 1e4
    elif kind == "exactly half":
        return torch.zeros_like(logits)
    return logits


@pytest.mark.parametrize("guard", ["target", None])
@pytest.mark.parametrize("picture", ["whole", "no brain", "NaN", "infinite"])
@pytest.mark.parametrize("kind", ["empty", "full", "one voxel", "saturated", "exactly half", "mediocre"])
def test_value_and_gradient_are_finite(exam, kind, picture, guard):
    image, labels, _, logits = exam
    logits = logits if kind == "mediocre" else predictions(kind, labels)
    if picture == "no brain":
        image = torch.zeros_like(image)
    elif picture != "whole":
        image = image.clone()
        image[:, 1, 8:20, 6:18, 5:16] = float("nan") if picture == "NaN" else float("inf")
    loss = make_loss(guard=guard)
    value = loss(logits, labels, image=image)
    gradient = gradient_of(loss, logits, labels, image=image)
    assert value.isfinite()
    assert gradient.isfinite().all()
    if kind == "mediocre" and picture == "NaN":
        # NaN counts as 0: it must not silence the rest of the gradient
        torch.testing.assert_close(
            gradient, gradient_of(loss, logits, labels, image=image.nan_to_num(0)), rtol=1e-2, atol=1e-6
        )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_agrees_with_float32(exam, dtype):
    """A tenth of a star, and the gradient's direction: what 8 or 11 bits leave of 121 layers."""
    image, labels, _, logits = (x[:1] for x in exam)
    loss = make_loss(center="target", guard=None)
    expected = gradient_of(loss, logits, labels, image=image)
    half = logits.to(dtype)
    with torch.autocast("cpu", dtype):
        value = loss(half, labels, image=image)
        gradient = gradient_of(loss, half, labels, image=image)
    assert value.dtype == torch.float32
    assert float(value) == pytest.approx(float(loss(logits, labels, image=image)), abs=0.1)
    assert torch.cosine_similarity(gradient.float().flatten(), expected.flatten(), dim=0) > 0.95


def test_the_center_is_exact_under_autocast():
    """Sums of coordinates pass float16's 65504 in any real tumor (contract C10)."""
    logits = torch.full((1, 3, 64, 64, 64), -10.0, dtype=torch.float16)
    logits[..., 10:60, 20:50, 30:61] = 10
    image = torch.rand(1, 4, 64, 64, 64)
    loss = make_loss(surrogate=shrink(small_surrogate(), 64), guard=None)
    expected = loss.rate(logits.float(), image=image)
    with torch.autocast("cpu", torch.float16):
        torch.testing.assert_close(loss.rate(logits, image=image).float(), expected, rtol=0, atol=0.05)


def test_float64_agrees_with_float32(exam):
    image, labels, _, logits = exam
    loss = make_loss(surrogate=shrink(small_surrogate())).double()
    value = loss(logits.double(), labels, image=image)
    assert value.dtype == torch.float64
    assert float(value) == pytest.approx(float(make_loss()(logits, labels, image=image)), abs=1e-4)


def test_two_calls_before_one_backward(exam):
    image, labels, _, logits = exam
    loss = make_loss(reduction="sum")
    prediction = logits.clone().requires_grad_()
    (loss(prediction[:1], labels[:1], image=image[:1]) + loss(prediction[1:], labels[1:], image=image[1:])).backward()
    torch.testing.assert_close(prediction.grad, gradient_of(loss, logits, labels, image=image), rtol=1e-3, atol=1e-6)


def test_inputs_are_left_alone(exam):
    image, labels, regions, logits = exam
    kept = [x.clone() for x in (image, labels, regions, logits)]
    gradient_of(make_loss(center="target"), logits, labels, image=image)
    gradient_of(make_loss(), logits, regions, image=image)
    for x, before in zip((image, labels, regions, logits), kept, strict=True):
        assert torch.equal(x, before)


def assert_compiles(loss, logits, target, image):
    torch._dynamo.reset()  # it counts what earlier tests compiled
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    results = []
    for criterion in (compiled, loss):
        prediction = logits.clone().requires_grad_()
        value = criterion(prediction, target, image=image)
        value.backward()
        results.append((value.detach(), prediction.grad))
    torch.testing.assert_close(results[0], results[1], rtol=1e-3, atol=1e-6)
    assert results[1][1].abs().max() > 1e-5


@pytest.mark.slow
def test_compiled_without_graph_breaks_it_equals_eager(exam):
    image, labels, _, logits = exam
    assert_compiles(make_loss(), logits, labels, image)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [{"center": "target", "slicing": "hard"}, {"on_small": "skip", "views": ("axial",)},
     {"guard": None, "checkpointing": True, "reduction": "sum"}, {"sigmoid": False, "softmax": False}],
    ids=["hard", "skip", "checkpointing", "probabilities"],
)  # fmt: skip
@pytest.mark.usefixtures("rates_small_crops")
def test_options_compile_too(exam, options):
    """On a tiny network, for the time it takes to trace 121 layers."""
    image, _, regions, logits = exam
    logits = logits.sigmoid() if options.get("sigmoid") is False else logits
    assert_compiles(make_loss(surrogate=tiny_surrogate(), **options), logits, regions, image)


# Small crops


@pytest.mark.usefixtures("rates_small_crops")
def test_an_exam_without_tumor_is_skipped_and_the_others_are_not(exam):
    image, labels, _, logits = exam
    target = labels.clone()
    target[1] = 0
    skip, pad = (make_loss(on_small=choice, reduction="none") for choice in ("skip", "pad"))
    values = skip(logits, target, image=image)
    assert values[1] == 0
    assert pad(logits, target, image=image)[1] > 0
    torch.testing.assert_close(values[0], pad(logits, target, image=image)[0])
    gradient = gradient_of(skip, logits, target, image=image)
    assert gradient[1].eq(0).all()
    assert gradient[0].abs().sum() > 0
    with pytest.raises(ValueError, match=r"a crop of \(32, 28, 24\) voxels holds no tumor in its target.*origin="):
        make_loss(on_small="error")(logits, target, image=image)
    make_loss(on_small="error")(logits, labels, image=image)


def test_a_crop_below_the_minimum_is_skipped_padded_or_an_error(exam):
    image, labels, _, logits = exam
    skip = DQELoss(small_surrogate())
    assert skip(logits, labels, image=image) == 0
    assert gradient_of(skip, logits, labels, image=image).eq(0).all()
    assert DQELoss(small_surrogate(), reduction="none")(logits, labels, image=image).tolist() == [0, 0]
    assert make_loss()(logits, labels, image=image) > 0
    with pytest.raises(ValueError, match=r"a crop of \(32, 28, 24\) voxels is smaller than 96.*'skip' or 'pad'"):
        DQELoss(small_surrogate(), on_small="error")(logits, labels, image=image)
    assert DQELoss(small_surrogate(), on_small="error").rate(logits, image=image).shape == (2, 3)


def test_a_skipped_step_can_still_be_trained(exam):
    """Backward must not fail because there is nothing to do, in half precision neither."""
    image, labels, _, logits = exam
    for dtype in (torch.float32, torch.float16, torch.float64):
        assert gradient_of(DQELoss(small_surrogate()), logits.to(dtype), labels, image=image).eq(0).all()


def test_the_hardened_weights_are_the_default_and_the_published_ones_one_argument_away(surrogate):
    loss, published = DQELoss(), DQELoss("brainlesion")
    assert "DenseNet121, hybrid ratings, guard='target'" in repr(loss)
    assert "DenseNet121, human ratings, guard='target'" in repr(published)
    assert published.surrogate.config == surrogate.config
    # The shipped file is in half precision; the published judgment is in it as it was.
    for a, b in zip(loss.surrogate.network.state_dict().values(), surrogate.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-6)


# Errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"slicing": "linear"}, r"slicing must be one of \('soft', 'hard'\), got 'linear'"),
        ({"center": "reference"}, "center must be one of"),
        ({"guard": True}, r"guard must be one of \('target', None\), got True"),
        ({"on_small": "ignore"}, "on_small must be one of"),
        ({"reduction": "batchmean"}, "reduction must be one of"),
        ({"sigmoid": True, "softmax": True}, "exclude each other"),
        ({"max_gradient_ratio": 0}, r"max_gradient_ratio \(None: no cap\) must be a finite number > 0, got 0"),
        ({"max_gradient_ratio": float("nan")}, r"max_gradient_ratio .* > 0, got nan"),
        ({"max_gradient_ratio": "0.3"}, r"max_gradient_ratio .* > 0, got '0\.3', a str"),
        ({"warmup": -1}, "warmup must be a whole number >= 0, got -1"),
        ({"warmup": 0.9}, r"warmup must be a whole number >= 0, got 0\.9"),
        ({"warmup": "100"}, "warmup must be a whole number >= 0, got '100', a str"),
        ({"every": 1.5}, r"every must be a whole number >= 1, got 1\.5"),
        ({"every": True}, "every must be a whole number >= 1, got True"),
        ({"seed": None}, "seed must be a whole number, got None, a NoneType"),
        ({"planes": 2.0, "jitter": 1}, r"planes must be a whole number >= 1, got 2\.0"),
        ({"jitter": float("nan")}, "jitter must be a finite number >= 0, got nan"),
        ({"label_scheme": "brats2020"}, "unknown label scheme"),
        ({"modalities": ("t1", "t1c")}, "modalities must name each of"),
        ({"views": ("axial", "top")}, "views must be one or more of"),
        ({"region_order": ("WT", "TC")}, "region_order must name each of"),
        ({"planes": 3}, "jitter > 0 with planes > 1"),
        ({"jitter": -0.5}, r"jitter must be a finite number >= 0, got -0\.5"),
    ],
)
def test_wrong_options_are_named_when_the_loss_is_made(options, message):
    with pytest.raises(ValueError, match=message):
        make_loss(**options)


def test_numbers_of_numpy_are_numbers():
    loss = make_loss(surrogate=tiny_surrogate(), every=np.int64(2), jitter=np.float32(0.5), max_gradient_ratio=1)
    assert (loss.every, loss.sampling.jitter) == (2, 0.5)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_surrogate_that_others_cast_to_half_precision_is_held_in_float32(when):
    surrogate = shrink(small_surrogate())
    if when == "before":
        surrogate.half()
    loss = make_loss(surrogate=surrogate)
    surrogate.half()
    assert (loss.surrogate.dtype, surrogate.dtype) == (torch.float32, torch.float16)
    assert loss.surrogate is loss.surrogate
    assert make_loss(surrogate=shrink(surrogate).double()).surrogate.dtype == torch.float64


def test_a_print_out_tells_the_options_that_differ_from_their_defaults():
    surrogate = tiny_surrogate()
    assert repr(make_loss(surrogate=surrogate, on_small="skip")).endswith("planes=1, jitter=0.0)")
    options = {"label_scheme": "msd", "region_order": ("WT", "TC", "ET"), "warmup": 5, "refiner_guard": False}
    assert repr(make_loss(surrogate=surrogate, sigmoid=True, **options)).endswith(
        "jitter=0.0, activation='sigmoid', label_scheme='msd', region_order=('WT', 'TC', 'ET'), warmup=5, "
        "on_small='pad', refiner_guard=False)"
    )


def test_a_missing_checkpoint_is_named_when_the_loss_is_made(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no checkpoint at .*absent.safetensors"):
        DQELoss(tmp_path / "absent.safetensors")


def test_wrong_shapes_are_named(exam):
    image, labels, regions, logits = exam
    loss = make_loss()
    with pytest.raises(ValueError, match=r"expected a prediction .*got \(2, 2, 32, 28, 24\)"):
        loss(logits[:, :2], labels, image=image)
    with pytest.raises(ValueError, match=r"got \(3, 32, 28, 24\); if the batch axis is missing, say logits\[None\]"):
        loss(logits[0], regions[0], image=image[0])
    with pytest.raises(
        ValueError, match=r"or take criterion\.bound\(\) for loops that call loss\(prediction, target\)"
    ):
        loss(logits, labels, image=None)
    with pytest.raises(ValueError, match=r"expected a target of shape .*got \(2, 2, 32, 28, 24\)"):
        loss(logits, regions[:, :2], image=image)
    with pytest.raises(ValueError, match=r"prediction and target must have the same batch and voxels.*origin="):
        loss(logits[..., :-1], labels, image=image)
    with pytest.raises(ValueError, match="prediction and target must have the same batch"):
        loss(logits, labels[:1], image=image)
    with pytest.raises(ValueError, match=r"expected an image of 4 channels, got shape \(2, 1, 32, 28, 24\)"):
        loss(logits, labels, image=image[:, :1])
    with pytest.raises(ValueError, match="image and segmentation must have the same batch and voxels"):
        loss(logits, labels, image=image[..., :-1])
    with pytest.raises(TypeError, match="image"):
        loss(logits, labels)


def test_unknown_labels_in_the_target_are_named(exam):
    image, labels, _, logits = exam
    wrong = labels.clone()
    wrong[0, 0, 0, 0, 0] = 7
    with pytest.raises(ValueError, match=r"also holds \[7\]"):
        make_loss()(logits, wrong, image=image)
    with pytest.raises(ValueError, match=r"label scheme 'brats21'.*fit.*brats23"):
        make_loss(label_scheme="brats21")(logits, labels, image=image)


def test_numpy_arrays_are_refused_clearly(exam):
    image, labels, _, logits = exam
    with pytest.raises((TypeError, ValueError, AttributeError), match=r"Tensor|tensor|numpy"):
        make_loss()(logits, labels, image=np.asarray(image))


def test_a_loss_left_on_another_device_says_how_to_move_it(exam):
    image, labels, _, logits = exam
    with pytest.raises(ValueError, match=r"prediction is on meta, the surrogate on cpu; move the loss with criterion"):
        make_loss()(logits.to("meta"), labels, image=image)
    with pytest.raises(ValueError, match="the image is on meta"):
        make_loss().rate(logits, image=image.to("meta"))

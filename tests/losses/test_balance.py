"""Guard (contract C7) and cap (contract C13); test_composition has the cap at work."""

import pytest
import torch
from helpers import gradient_of, make_case, make_exam, make_logits, make_loss, quick, tiny_surrogate
from hypothesis import example, given
from hypothesis import strategies as st

from dqe_loss import regions_from_labels
from dqe_loss.losses.gradients import GradientLog, fork, guard


def passed(regions, target, gradient, log=None):
    """What the guard lets through of a gradient."""
    regions = regions.clone().requires_grad_()
    out = guard(regions, target.to(regions.dtype) - regions.detach().clamp(0, 1), log)
    assert torch.equal(out, regions)
    out.backward(gradient)
    return regions.grad


def test_what_moves_toward_the_target_is_kept():
    regions = torch.tensor([0.2, 0.2, 0.8, 0.8, 1.0, 0.0, 0.5, 0.5])
    target = torch.tensor([1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.5, 1.0])
    # descent goes against the gradient: a negative one raises the region
    gradient = torch.tensor([-1.0, -2.0, 3.0, 4.0, -5.0, 6.0, 7.0, 0.0])
    log = GradientLog()
    assert passed(regions, target, gradient, log).tolist() == [-1, 0, 0, 4, 0, 0, 0, 0]
    assert log.read() == {"guard_kept": pytest.approx(5 / 28)}


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float16, torch.float32])
def test_targets_of_any_dtype_guard_alike(dtype):
    kept = passed(torch.tensor([0.3, 0.3, 0.7, 0.7]), torch.tensor([1, 0, 1, 0]).to(dtype), torch.tensor([-1.0] * 4))
    assert kept.tolist() == [-1, 0, -1, 0]


def test_what_is_not_finite_passes_so_that_a_gradient_scaler_notices():
    regions, target = torch.tensor([0.2, 0.2, 0.2, 0.8]), torch.tensor([0.0, 0.0, 0.0, 1.0])
    kept = passed(regions, target, torch.tensor([float("nan"), float("inf"), -1.0, float("-inf")]))
    assert kept.isnan().tolist() == [True, False, False, False]
    assert kept[1:].tolist() == [float("inf"), 0, float("-inf")]


def test_small_half_precision_gradients_keep_their_direction():
    """Their product with the distance to the target is below the smallest number of float16."""
    regions = torch.full((2,), 0.5, dtype=torch.float16)
    target = regions + torch.tensor([1e-3, -1e-3], dtype=torch.float16)
    gradient = torch.tensor([-1e-6, 1e-6], dtype=torch.float16)
    assert torch.equal(passed(regions, target, gradient), gradient)


def test_a_loss_may_change_its_input_in_place():
    prediction = torch.tensor([[0.5, -2.0, 3.0]], requires_grad=True)
    first, second = fork(prediction, [None], [GradientLog()])
    value = first.clamp_(-1, 1).sum() + second.square().sum()
    assert second.tolist() == [[0.5, -2.0, 3.0]]
    value.backward()
    assert prediction.grad.tolist() == [[2.0, -4.0, 6.0]]


shares = st.floats(0, 1, width=32)
values = st.lists(st.tuples(shares, shares, st.floats(-10, 10, width=32)), min_size=1)


@quick
@given(values)
@example([(1.0, 1.0, -1.0), (0.0, 0.0, 1.0)])
def test_no_voxel_moves_away_from_the_target_and_nothing_honest_is_lost(voxels):
    regions, target, gradient = torch.tensor(voxels).unbind(1)
    kept = passed(regions, target, gradient)
    honest = gradient.sign() * (target - regions).sign() < 0
    assert torch.equal(kept, torch.where(honest, gradient, torch.zeros(())))
    step = -kept.sign() * 1e-3
    assert ((target - regions) * step >= 0).all()


def test_rounding_above_one_does_not_turn_the_direction():
    """A sum of softmax channels can be 1 + 1e-7: where the target is 1, nothing may pass."""
    regions = torch.tensor([1.0000001, -1e-9])
    assert passed(regions, torch.tensor([1.0, 0.0]), torch.tensor([1.0, -1.0])).eq(0).all()


def test_the_share_of_no_gradient_is_zero():
    log = GradientLog()
    passed(torch.tensor([0.5]), torch.tensor([1.0]), torch.tensor([0.0]), log)
    assert log.read() == {"guard_kept": 0.0}
    assert GradientLog().read() == {}


def merged(others, rated, ratio, log=None, dtype=torch.float32):
    """Gradient that arrives at a prediction whose two branches get these gradients."""
    prediction = torch.zeros_like(rated, dtype=dtype).requires_grad_()
    first, second = fork(prediction, [ratio], [log or GradientLog()])
    branches = [(first, others), (second, rated)]
    tensors = [branch for branch, gradient in branches if gradient is not None]
    torch.autograd.backward(tensors, [gradient.to(dtype) for _, gradient in branches if gradient is not None])
    return prediction.grad


def gradients(*rows):
    return torch.tensor(rows)[:, None, None, None]


def test_the_cap_is_exact_for_each_exam():
    # norms of the others 5, 5, 1; of the rated 10, 1, 4
    others = gradients([3.0, 4.0], [3.0, 4.0], [1.0, 0.0])
    rated = gradients([6.0, 8.0], [0.0, 1.0], [0.0, 4.0])
    log = GradientLog()
    total = merged(others, rated, 0.3, log)
    expected = gradients([3 + 0.9, 4 + 1.2], [3.0, 5.0], [1.0, 0.3])  # 10 -> 1.5, 1 stays below 1.5, 4 -> 0.3
    torch.testing.assert_close(total, expected)
    assert log.read() == {"gradient_ratio": pytest.approx((10 / 5 + 1 / 5 + 4 / 1) / 3)}


def test_without_a_ratio_nothing_is_capped_but_the_log_tells():
    others, rated = gradients([3.0, 4.0]), gradients([60.0, 80.0])
    log = GradientLog()
    torch.testing.assert_close(merged(others, rated, None, log), others + rated)
    assert log.read() == {"gradient_ratio": pytest.approx(20)}


@quick
@given(st.integers(0, 1000), st.floats(0.01, 2), st.floats(1e-6, 1e6))
def test_the_cap_holds_for_any_gradients(seed, ratio, size):
    generator = torch.Generator().manual_seed(seed)
    others = torch.randn(3, 2, 4, generator=generator)
    rated = torch.randn(3, 2, 4, generator=generator) * size
    added = merged(others, rated, ratio).double() - others.double()
    norm, limit = (x.flatten(1).norm(dim=1) for x in (added, ratio * others.double()))
    assert (norm <= limit * 1.001 + 1e-5).all()
    if (rated.flatten(1).norm(dim=1) <= limit).all():
        torch.testing.assert_close(added, rated.double(), rtol=1e-4, atol=1e-5)


def test_an_exam_without_gradient_on_either_side():
    """Where the others have none the rating has none; where the rating has none the others pass; never NaN."""
    others = gradients([0.0, 0.0], [3.0, 4.0], [0.0, 0.0])
    rated = gradients([1.0, 1.0], [0.0, 0.0], [0.0, 0.0])
    log = GradientLog()
    torch.testing.assert_close(merged(others, rated, 0.3, log), others)
    assert log.read() == {"gradient_ratio": 0.0}


def test_a_branch_that_gets_no_gradient():
    gradient = gradients([3.0, 4.0])
    torch.testing.assert_close(merged(None, gradient, 0.3), gradient)
    prediction = torch.zeros(1, 2, requires_grad=True)
    first, _ = fork(prediction, [0.3], [GradientLog()])
    first.sum().backward()
    assert prediction.grad.tolist() == [[1, 1]]


def test_half_precision_gradients_keep_their_norm():
    """Squares of 1e-5 vanish in float16, and sums of squares of 100 overflow it."""
    for small in (1e-5, 100.0):
        others = torch.full((1, 1, 64, 64, 64), small)
        log = GradientLog()
        total = merged(others, 10 * others, 0.3, log, torch.float16)
        assert total.dtype == torch.float16
        torch.testing.assert_close(total.float(), 1.3 * others, rtol=0.02, atol=1e-7)
        assert log.read()["gradient_ratio"] == pytest.approx(10, rel=0.02)


def test_several_losses_are_capped_each():
    prediction = torch.zeros(1, 2, requires_grad=True)
    logs = [GradientLog(), GradientLog()]
    branches = fork(prediction, [0.5, None], logs)
    torch.autograd.backward(branches, [torch.tensor([g]) for g in ([3.0, 4.0], [6.0, 8.0], [0.0, 20.0])])
    torch.testing.assert_close(prediction.grad, torch.tensor([[3 + 1.5, 4 + 2 + 20.0]]))
    assert [log.read()["gradient_ratio"] for log in logs] == pytest.approx([2, 4])


# The guard at work


@pytest.fixture(scope="module")
def exam():
    return make_case()


def test_the_guard_takes_away_what_leads_away_from_the_target(exam):
    """Exactly that, where a voxel's gradient comes through one plane; the log counts it at the logits."""
    image, labels, regions, logits = exam
    options = {"center": "target", "views": ("axial",)}
    raw = gradient_of(make_loss(guard=None, **options), logits, labels, image=image)
    toward = regions.float() - logits.sigmoid()
    loss = make_loss(**options)
    guarded = gradient_of(loss, logits, labels, image=image)
    torch.testing.assert_close(guarded, torch.where(raw * toward < 0, raw, torch.zeros(())), rtol=1e-3, atol=1e-8)
    assert 0 < guarded.ne(0).sum() < raw.ne(0).sum()
    kept = guarded.abs().sum() / raw.abs().sum()
    assert loss.gradient_log.read()["guard_kept"] == pytest.approx(float(kept), rel=1e-3)


@pytest.mark.parametrize(
    "options", [{}, {"center": "target"}, {"slicing": "hard"}, {"planes": 3, "jitter": 2.0}, {"center_grad": False}],
    ids=["default", "target", "hard", "planes", "detached"],
)  # fmt: skip
def test_no_region_of_a_guarded_step_moves_away_from_the_target(exam, options):
    image, labels, regions, logits = exam
    step = -gradient_of(make_loss(**options), logits, labels, image=image)
    assert step.ne(0).any()
    assert (step[regions] >= 0).all()
    assert (step[~regions] <= 0).all()
    unguarded = -gradient_of(make_loss(guard=None, **options), logits, labels, image=image)
    assert (unguarded[regions] < 0).any()


@quick
@given(st.integers(0, 10_000), st.sampled_from(["label map", "regions", "one-hot"]))
def test_a_guarded_step_on_tissue_logits_does_not_hurt_the_true_tissue(seed, form):
    """Contract C7 for softmax heads: descent never lowers a voxel's probability of its own tissue."""
    loss = make_loss(surrogate=tiny_surrogate(), views=("axial",))
    image, labels = make_exam((10, 9, 8), seeds=(seed % 5,))
    one_hot = torch.cat([labels == value for value in range(4)], 1)
    target = {"label map": labels, "regions": regions_from_labels(labels), "one-hot": one_hot.float()}[form]
    logits = make_logits(labels, 4, seed).detach().double()
    step = -gradient_of(loss, logits, target, image=image)
    size = 1e-3 / step.abs().max().clamp(min=1e-12)
    before, after = ((x.softmax(1) * one_hot).sum(1) for x in (logits, logits + size * step))
    assert step.abs().sum() > 0
    assert (after - before).min() > -1e-9


def test_the_guard_needs_a_target_and_says_how_to_go_without(exam):
    image, _, _, logits = exam
    with pytest.raises(ValueError, match=r"needs a target.*DQELoss\(guard=None\)"):
        make_loss()(logits, image=image)
    assert make_loss(guard=None)(logits, image=image) > 0
    with pytest.raises(ValueError, match="pass target="):
        make_loss(guard=None, center="target")(logits, image=image)


def test_the_share_that_is_kept_does_not_overflow_in_half_precision():
    """Under a gradient scaler, sums of magnitudes pass 65504."""
    regions, log = torch.full((4, 64, 64), 0.5, dtype=torch.float16), GradientLog()
    gradient = torch.full_like(regions, -1000)
    gradient[:1] = 1000
    passed(regions, torch.ones_like(regions), gradient, log)
    assert log.read() == {"guard_kept": pytest.approx(0.75)}

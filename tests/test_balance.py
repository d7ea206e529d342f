"""Guard (contract C7) and cap (contract C13) by themselves; test_loss and test_composition have them at work."""

import pytest
import torch
from helpers import quick
from hypothesis import example, given
from hypothesis import strategies as st

from dqe_loss.balance import GradientLog, fork, guard


def passed(regions, target, gradient, log=None):
    """What the guard lets through of a gradient."""
    regions = regions.clone().requires_grad_()
    out = guard(regions, target, log)
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


values = st.lists(st.tuples(st.floats(0, 1, width=32), st.floats(0, 1, width=32), st.floats(-10, 10, width=32)), min_size=1)


@quick
@given(values)
@example([(1.0, 1.0, -1.0), (0.0, 0.0, 1.0)])
def test_no_voxel_moves_away_from_the_target_and_nothing_honest_is_lost(voxels):
    regions, target, gradient = torch.tensor(voxels).unbind(1)
    kept = passed(regions, target, gradient)
    honest = gradient * (target - regions) < 0
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

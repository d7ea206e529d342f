"""A term that takes part in each n-th step: when, with what gradient, and what it logs."""

import pytest
import torch
from helpers import gradient_of, make_case, make_loss, tiny_surrogate
from monai.losses import DiceLoss
from torch import nn

from dqe_loss import DQELoss

DICE = DiceLoss(sigmoid=True)


@pytest.fixture(scope="module")
def exam():
    image, _, regions, logits = make_case()
    return logits, regions.float(), image


def make_sum(**options):
    return DiceLoss(sigmoid=True) + 0.1 * make_loss(surrogate=tiny_surrogate(), **options)


def step(criterion, exam):
    """Gradient of a step, and what is logged of it."""
    logits, regions, image = exam
    gradient = gradient_of(criterion, logits, regions, image=image)
    log = criterion.log
    criterion.steps_done += 1
    return gradient, log


@pytest.mark.parametrize("cap", [0.3, None])
def test_two_steps_push_as_much_as_two_of_every_step(exam, cap):
    logits, regions, _ = exam
    alone = gradient_of(DICE, logits, regions)
    often, _ = step(make_sum(max_gradient_ratio=cap), exam)
    seldom = make_sum(every=2, max_gradient_ratio=cap)
    (first, told), (second, resting) = step(seldom, exam), step(seldom, exam)
    assert torch.equal(second, alone)
    assert not torch.allclose(often, alone)
    torch.testing.assert_close(first + second, 2 * often, rtol=1e-4, atol=1e-9)
    assert {"DQELoss", "gradient_ratio", "guard_kept", "skipped"} < set(told)
    assert set(resting) == {"DiceLoss"}
    third, _ = step(seldom, exam)
    torch.testing.assert_close(third, first)


def test_it_counts_from_the_end_of_the_warm_up(exam):
    criterion = make_sum(every=3, warmup=2)
    rated = ["DQELoss" in step(criterion, exam)[1] for _ in range(8)]
    assert rated == [False, False, True, False, False, True, False, False]


def test_accumulated_calls_share_their_step(exam):
    logits, regions, image = exam
    criterion = make_sum(every=2)
    values = [criterion(logits.requires_grad_(), regions, image=image).item() for _ in range(3)]
    assert len(set(values)) == 1


def test_validation_is_always_the_whole_sum(exam):
    logits, regions, image = exam
    criterion = make_sum(every=2)
    criterion.steps_done = 1
    with torch.no_grad():
        assert criterion(logits, regions, image=image) == make_sum()(logits, regions, image=image)


@pytest.mark.slow
def test_a_compiled_sum_rests_in_one_graph(exam):
    logits, regions, image = exam
    torch._dynamo.reset()
    criterion, twin = (
        nn.BCEWithLogitsLoss() + make_loss(surrogate=tiny_surrogate(), every=2, center="target") for _ in range(2)
    )
    compiled = torch.compile(twin, backend="aot_eager", fullgraph=True)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for _ in range(3):
            expected, _ = step(criterion, exam)
            gradient = gradient_of(compiled, logits, regions, image=image)
            torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-7)
            twin.steps_done += 1


def test_outside_a_sum_nobody_counts(exam):
    logits, regions, image = exam
    loss = make_loss(surrogate=tiny_surrogate(), every=2)
    with pytest.raises(ValueError, match=r"DQELoss\(every=2\) leaves out steps beside other losses"):
        gradient_of(loss, logits, regions, image=image)
    with torch.no_grad():
        assert loss(logits, regions, image=image) > 0
    with pytest.raises(ValueError, match="every must be a whole number >= 1, got 0"):
        DQELoss(tiny_surrogate(), every=0)

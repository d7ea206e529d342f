"""The ordinal head: values by hand, bounds, gradients, and a surrogate that has one."""

import math
from dataclasses import replace

import pytest
import torch
from helpers import quick, small_surrogate
from hypothesis import given
from hypothesis import strategies as st

from dqe_loss import DQELoss, Surrogate, load_surrogate, save_surrogate
from dqe_loss.surrogate.ordinal import CumulativeLink, distribution_of_logits, ordinal_loss, stars_of_logits


def test_thresholds_begin_between_the_stars():
    logits = CumulativeLink(5)(torch.tensor([[3.5], [1.0]]))
    torch.testing.assert_close(logits[0], torch.tensor([2.0, 1.0, 0.0, -1.0, -2.0]))
    assert stars_of_logits(logits)[0].item() == pytest.approx(3.5)  # symmetric around the middle threshold


@quick
@given(st.floats(-1e4, 1e4), st.lists(st.floats(-50, 50), min_size=4, max_size=4), st.floats(-50, 50))
def test_distribution_whatever_the_parameters(score, gaps, first):
    link = CumulativeLink(5).double()
    with torch.no_grad():
        link.first.fill_(first)
        link.gaps.copy_(torch.tensor(gaps))
    logits = link(torch.tensor([[score]], dtype=torch.float64))
    shares = distribution_of_logits(logits)
    assert shares.shape == (1, 6)
    assert (shares >= 0).all()
    assert shares.sum().item() == pytest.approx(1)
    stars = stars_of_logits(logits)
    assert 1 <= stars.item() <= 6
    assert stars.item() == pytest.approx((shares * torch.arange(1, 7)).sum().item())


def test_loss_by_hand():
    logits = torch.tensor([[1.0, -1.0]])
    sigmoid = 1 / (1 + math.exp(-1))
    # 2 stars of 1 to 3: more than 1, not more than 2.
    assert ordinal_loss(logits, torch.tensor([2.0])).item() == pytest.approx(-math.log(sigmoid), abs=1e-6)
    # 2.25 stars: a quarter of the raters would say more than 2.
    expected = (-math.log(sigmoid) - 0.25 * math.log(1 - sigmoid) - 0.75 * math.log(sigmoid)) / 2
    assert ordinal_loss(logits, torch.tensor([2.25])).item() == pytest.approx(expected, abs=1e-6)


def test_loss_gradient():
    logits = torch.randn(3, 5, dtype=torch.float64, requires_grad=True, generator=torch.Generator().manual_seed(0))
    stars = torch.tensor([1.0, 3.4, 6.0], dtype=torch.float64)
    assert torch.autograd.gradcheck(ordinal_loss, (logits, stars))


def ordinal_surrogate():
    surrogate = Surrogate(replace(small_surrogate().config, head="ordinal"))
    surrogate.network.get_submodule("backbone").load_state_dict(small_surrogate().network.state_dict())
    return surrogate


def test_surrogate_with_an_ordinal_head_stays_on_the_scale_and_near_its_start(tmp_path):
    surrogate = ordinal_surrogate()
    planes = torch.rand(2, 7, 32, 32, generator=torch.Generator().manual_seed(0))
    stars, before = surrogate(planes), small_surrogate()(planes)
    assert stars.shape == (2,)
    assert ((stars >= 1) & (stars <= 6)).all()
    assert (stars - before).abs().max() < 0.5
    shares = surrogate.distribution(planes)
    torch.testing.assert_close((shares * torch.arange(1, 7)).sum(1), stars)
    save_surrogate(surrogate, tmp_path / "ordinal.safetensors")
    torch.testing.assert_close(load_surrogate(tmp_path / "ordinal.safetensors")(planes), stars, rtol=0, atol=0)


def test_ordinal_surrogate_as_a_loss():
    loss = DQELoss(ordinal_surrogate(), guard=None, on_small="pad")
    logits = torch.zeros(1, 3, 32, 28, 24, requires_grad=True)
    value = loss(logits, image=torch.rand(1, 4, 32, 28, 24))
    value.backward()
    assert 0 <= value.item() <= 5
    assert logits.grad.isfinite().all()


def test_regression_has_no_distribution():
    with pytest.raises(ValueError, match="gives stars and no distribution; train one with --head ordinal"):
        small_surrogate().distribution(torch.zeros(1, 7, 32, 32))

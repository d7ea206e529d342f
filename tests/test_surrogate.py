"""Frozen means frozen (contract C8), for the network itself; test_loss has the same for the loss that holds it."""

import copy
import pickle
from dataclasses import replace

import pytest
import torch
from helpers import shrink, small_surrogate

from dqe_loss import SurrogateConfig
from dqe_loss.surrogate import encode_mask


def test_nothing_of_it_can_be_trained():
    surrogate = small_surrogate()
    assert not any(p.requires_grad for p in surrogate.parameters())
    assert not surrogate.training
    assert surrogate.train() is surrogate
    assert not any(m.training for m in surrogate.train(True).modules())


def test_a_backward_pass_reaches_the_planes_and_leaves_the_network_alone():
    surrogate = shrink(small_surrogate()).train()
    before = {name: value.clone() for name, value in surrogate.state_dict().items()}
    planes = torch.rand(3, 7, 32, 32, requires_grad=True)
    stars = surrogate(planes)
    assert stars.shape == (3,)
    stars.sum().backward()
    assert planes.grad.isfinite().all()
    assert planes.grad.abs().amax((1, 2, 3)).gt(0).all()
    assert all(p.grad is None for p in surrogate.parameters())
    for name, value in surrogate.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_planes_are_rated_independently():
    planes = torch.rand(3, 7, 32, 32)
    surrogate = small_surrogate()
    torch.testing.assert_close(surrogate(planes), torch.cat([surrogate(plane[None]) for plane in planes]))


@pytest.mark.parametrize("twin", [copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))], ids=["deepcopy", "pickle"])
def test_copies_rate_alike_and_stay_frozen(twin):
    surrogate = small_surrogate()
    copied = twin(surrogate)
    planes = torch.rand(1, 7, 32, 32)
    assert torch.equal(copied(planes), surrogate(planes))
    assert copied.config == surrogate.config
    assert not copied.train().training
    assert not any(p.requires_grad for p in copied.parameters())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoding": "onehot"}, "encoding must be one of.*'onehot'"),
        ({"normalization": "zscore"}, "normalization must be one of.*'zscore'"),
        ({"kind_of_ratings": "dice"}, "kind_of_ratings must be one of.*'dice'"),
        ({"modalities": ("t1", "t2")}, r"modalities must name each of.*\('t1', 't2'\)"),
        ({"architecture": "DenseNet122"}, "monai.networks.nets has no 'DenseNet122'"),
    ],
)
def test_a_configuration_checks_its_choices(change, message):
    with pytest.raises(ValueError, match=message):
        SurrogateConfig(**change)


def test_a_configuration_survives_its_dictionary():
    config = replace(SurrogateConfig(), seed=3, versions={"torch": "2"}, percentiles=(1.0, 99.0))
    assert SurrogateConfig.from_dict(config.to_dict()) == config
    with pytest.raises(ValueError, match=r"unknown fields \['colour'\].*upgrade"):
        SurrogateConfig.from_dict({**config.to_dict(), "colour": 1})


def test_encodings_of_the_mask():
    # columns: background, necrosis, edema, enhancing
    regions = torch.tensor([[0.0, 1, 0, 1], [0, 1, 1, 1], [0, 0, 0, 1]])[:, None]
    assert encode_mask(regions, "regions") is regions
    assert encode_mask(regions, "tissue").tolist() == [[[0.0, 1.0, 2.0, 3.0]]]
    soft = torch.rand(2, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: encode_mask(x, "tissue"), soft)

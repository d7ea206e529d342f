"""Frozen means frozen (contract C8): the network itself, and inside a loss that a model holds."""

import contextlib
import copy
import pickle
from dataclasses import replace

import pytest
import torch
from helpers import SHAPE, gradient_of, make_case, make_image, make_labels, make_loss, shrink, small_surrogate
from torch import nn

from dqe_loss import DQELoss, DQEMetric, SurrogateConfig
from dqe_loss.core.planes import encode_mask
from dqe_loss.data.exams import Exam
from dqe_loss.rate.rate_exam import rate_exam
from dqe_loss.surrogate.network import surrogate_on


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


# Inside the loss


@pytest.fixture(scope="module")
def exam():
    return make_case()


def test_nothing_of_the_surrogate_is_registered():
    loss = make_loss()
    assert list(loss.parameters()) == []
    assert list(loss.buffers()) == []
    assert loss.state_dict() == {}
    assert list(loss.modules()) == [loss]
    parent = nn.Module()
    parent.net, parent.criterion = nn.Conv3d(4, 3, 1), loss
    assert set(parent.state_dict()) == {"net.weight", "net.bias"}
    parent.load_state_dict(parent.state_dict(), strict=True)


def test_training_a_parent_changes_nothing_of_it(exam):
    image, labels, _, _ = exam
    surrogate = shrink(small_surrogate())
    parent = nn.Module()
    parent.net, parent.criterion = nn.Conv3d(4, 3, 3, padding=1), make_loss(surrogate=surrogate)
    before = {name: value.clone() for name, value in surrogate.state_dict().items()}
    parent.train()
    parent.requires_grad_(True)
    parent.apply(lambda m: [nn.init.zeros_(p) for p in m.parameters(recurse=False)])
    optimizer = torch.optim.SGD(parent.parameters(), lr=1.0, weight_decay=0.1)
    for _ in range(2):
        parent.criterion(parent.net(image / 1000), labels, image=image).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert parent.net.bias.abs().sum() > 0
    assert not any(m.training for m in surrogate.modules())
    assert all(p.grad is None and not p.requires_grad for p in surrogate.parameters())
    for name, value in surrogate.state_dict().items():  # batch statistics among them
        assert torch.equal(value, before[name]), name


def test_it_follows_its_parent_to_double_but_not_to_half():
    parent = nn.Sequential(nn.Conv3d(1, 1, 1), make_loss(surrogate=shrink(small_surrogate())))

    def dtypes():
        return {value.dtype for value in parent[1].surrogate.state_dict().values() if value.is_floating_point()}

    for cast, expected in (
        (parent.double, torch.float64),
        (parent.float, torch.float32),
        (parent.half, torch.float32),
        (parent.bfloat16, torch.float32),
        (lambda: parent.to(torch.float64), torch.float64),
        (lambda: parent.to("cpu"), torch.float64),
        (lambda: parent.to("cpu", torch.float16), torch.float32),
    ):
        assert cast() is parent
        assert dtypes() == {expected}
    assert parent[0].weight.dtype == torch.float16


@pytest.mark.parametrize("twin", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))], ids=["deepcopy", "pickle"])
def test_copies_are_alike_and_independent(exam, twin):
    image, labels, _, logits = exam
    loss = make_loss(jitter=2.0, seed=3, surrogate=shrink(small_surrogate()))
    gradient_of(loss, logits, labels, image=image)  # the log holds tensors, the generator has moved on
    copied = twin(loss)
    assert torch.equal(copied(logits, labels, image=image), loss(logits, labels, image=image))
    assert copied.surrogate is not loss.surrogate
    assert copied.state_dict() == {}


def test_one_surrogate_can_be_shared():
    surrogate = small_surrogate()
    assert DQELoss(surrogate).surrogate is DQELoss(surrogate).surrogate is surrogate


# Sharing: a surrogate that several hold is never moved or cast under the others


def exam_of_phantom():
    return Exam("tiny", make_image(), {"reference": make_labels()}, None)


def to_other_precision(surrogate):
    DQELoss(surrogate).double()


def to_other_device(surrogate):
    DQELoss(surrogate).to("meta")


def in_a_torchmetric(surrogate):
    torchmetric = pytest.importorskip("dqe_loss.metrics.torchmetrics")
    nn.ModuleList([torchmetric.DeepQualityEstimation(surrogate)]).to("meta")


def in_a_metric(surrogate):
    metric = DQEMetric(surrogate)
    with contextlib.suppress(RuntimeError):  # values cannot be looked at there
        metric(torch.zeros(1, 3, *SHAPE, device="meta"), torch.zeros(1, 4, *SHAPE, device="meta"))
    assert metric.surrogate.device.type == "meta"


def in_a_rating(surrogate):
    with pytest.raises(RuntimeError, match="meta"):
        rate_exam(exam_of_phantom(), surrogate_on(surrogate, "meta"))


@pytest.mark.parametrize("move", [to_other_precision, to_other_device, in_a_torchmetric, in_a_metric, in_a_rating])
def test_a_shared_surrogate_stays_where_it_is(move):
    surrogate = shrink(small_surrogate())
    holder = DQELoss(surrogate)
    move(surrogate)
    assert (surrogate.device.type, surrogate.dtype) == ("cpu", torch.float32)
    assert holder.surrogate is surrogate


def test_it_is_copied_only_where_it_must_move():
    surrogate = small_surrogate()
    assert surrogate_on(surrogate, surrogate.device) is surrogate
    assert DQELoss(surrogate).to("cpu").float().half().surrogate is surrogate
    copy = surrogate_on(surrogate, torch.device("cpu"), torch.float64)
    assert copy is not surrogate
    assert copy.dtype == torch.float64
    assert not any(parameter.requires_grad for parameter in copy.parameters())
    assert not any(module.training for module in copy.modules())
    assert surrogate_on(surrogate, "meta").device.type == "meta"

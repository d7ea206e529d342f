"""The network by hand: the stars and gradients of MONAI's, whatever its weights are, and only where that is safe."""

import copy
import pickle
import random
from dataclasses import replace

import pytest
import torch
from helpers import make_exam, shrink, small_surrogate
from monai.networks.nets import DenseNet, DenseNet121
from torch.utils.checkpoint import checkpoint

from dqe_loss import DQELoss, load_surrogate, regions_from_labels
from dqe_loss.surrogate import network as surrogate_network
from dqe_loss.surrogate import rating
from dqe_loss.surrogate.frozen import FrozenDenseNet, FrozenTwin, may_run_by_hand


def make_network(seed=0, channels=7, outputs=1, blocks=(2, 3, 2)):
    """A small DenseNet whose normalizations do something: scales of both signs, and one of 0."""
    torch.manual_seed(seed)
    network = DenseNet(2, channels, outputs, init_features=8, growth_rate=4, block_config=blocks).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.weight)
            torch.nn.init.normal_(module.bias, std=0.3)
            torch.nn.init.normal_(module.running_mean, std=0.3)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
            module.weight.data[0] = 0
    return network.requires_grad_(False)


def both(network, planes):
    """Value and gradient by MONAI's network and by hand."""
    results = []
    for run in (network, FrozenDenseNet(network)):
        given = planes.clone().requires_grad_()
        output = run(given)
        weights = torch.linspace(-1, 2, output.numel()).to(output).view_as(output)
        results.append((output.detach(), *torch.autograd.grad((output * weights).sum(), given)))
    return results


@pytest.mark.parametrize("size", [(64, 64), (70, 54), (61, 75)])
@pytest.mark.parametrize("options", [{}, {"outputs": 5}, {"channels": 5, "blocks": (1, 2)}])
def test_value_and_gradient_are_those_of_the_network(size, options):
    """In float64, where rounding does not hide a mistake; also of sides that do not halve."""
    network = make_network(**options).double()
    planes = torch.rand(3, options.get("channels", 7), *size, dtype=torch.float64)
    (value, gradient), (by_hand, gradient_by_hand) = both(network, planes)
    assert gradient.abs().sum() > 0
    torch.testing.assert_close(by_hand, value, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(gradient_by_hand, gradient, rtol=1e-8, atol=1e-12)


def padded(box, size, seed=0, dtype=torch.float64):
    """A plane ``(1, 7, *size)`` that is not empty in a box."""
    torch.manual_seed(seed)
    plane = torch.zeros(1, 7, *size, dtype=dtype)
    plane[:, :, box[0], box[1]] = torch.rand(plane[:, :, box[0], box[1]].shape, dtype=dtype)
    return plane


BOXES = {
    "middle": (slice(72, 168), slice(80, 150)),
    "corner": (slice(0, 40), slice(190, 240)),
    "pixel": (slice(101, 102), slice(66, 67)),
    "columns": (slice(0, 240), slice(100, 131)),
    "whole": (slice(0, 240), slice(0, 240)),
}


@pytest.mark.parametrize("inside", BOXES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_around_a_box_nothing_changes(inside, dtype):
    """Planes of which each is not empty somewhere else, one nowhere; the gradient is asked for in a box of its own."""
    by_hand = FrozenDenseNet(make_network(blocks=(6, 3, 2)).to(dtype))
    planes = torch.cat([padded(box, (240, 240), dtype=dtype) for box in BOXES.values()])
    planes = torch.cat((planes, torch.zeros_like(planes[:1])))
    rows, columns = BOXES[inside]
    results = []
    for asked in (None, (rows, columns)):
        given = planes.clone().requires_grad_()
        output = by_hand(given, asked)
        results.append((output.detach(), *torch.autograd.grad(output.square().sum(), given)))
    (value, gradient), (same, part) = results
    close = {"rtol": 0, "atol": 1e-6 if dtype == torch.float32 else 1e-10}
    torch.testing.assert_close(same, value, **close)
    torch.testing.assert_close(by_hand(planes), value, **close)
    assert (gradient[-1, :, rows, columns] != 0).any()  # of an empty plane, too
    torch.testing.assert_close(
        part[..., rows, columns] / gradient.abs().max(), gradient[..., rows, columns] / gradient.abs().max(), **close
    )
    outside = torch.ones_like(part)
    outside[..., rows, columns] = 0
    assert not (part * outside).any()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("size", [(61, 75), (96, 70)])
def test_boxes_at_random_places(seed, size):
    """Of planes with sides that do not halve, too."""
    by_hand = FrozenDenseNet(make_network(seed).double())
    draw = random.Random(seed)
    box = tuple(slice(start := draw.randrange(side - 1), draw.randrange(start + 1, side + 1)) for side in size)
    given = padded(box, size, seed).requires_grad_()
    (expected,) = torch.autograd.grad((value := by_hand(given)).sum(), given)
    (found,) = torch.autograd.grad((same := by_hand(given, box)).sum(), given)
    torch.testing.assert_close(same, value, rtol=0, atol=1e-10)
    torch.testing.assert_close(found[..., box[0], box[1]], expected[..., box[0], box[1]], rtol=0, atol=1e-10)


@pytest.mark.parametrize("slicing", ["soft", "hard"])
@pytest.mark.parametrize("center_gradient", [True, False])
@pytest.mark.parametrize("noise", [0.0, 0.4])
def test_the_loss_asks_for_all_that_its_gradient_needs(monkeypatch, slicing, center_gradient, noise):
    """Where the mask is 0, too, and where a crop has no air, so that its darkest voxels are what it is padded with."""
    surrogate = shrink(small_surrogate(), 160)
    surrogate.config = replace(surrogate.config, center_gradient=center_gradient)
    image, labels = make_exam((40, 36, 44))
    image = image + noise * image.amax() * torch.rand(image.shape)
    mask = regions_from_labels(labels).float().requires_grad_()
    loss = DQELoss(surrogate, sigmoid=False, guard=None, slicing=slicing)
    (found,) = torch.autograd.grad(loss.rate(mask, image=image).sum(), mask)
    monkeypatch.setattr(rating, "voxels_with_gradient", lambda *_: None)
    (expected,) = torch.autograd.grad(loss.rate(mask, image=image).sum(), mask)
    assert (expected[mask == 0] != 0).any()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * expected.abs().max().item())


def test_the_published_network(surrogate):
    torch.manual_seed(0)
    planes = torch.rand(2, 7, 96, 96)
    (value, gradient), (by_hand, gradient_by_hand) = both(surrogate.network, planes)
    torch.testing.assert_close(by_hand, value, rtol=1e-6, atol=2e-6)
    assert (gradient - gradient_by_hand).norm() < 1e-3 * gradient.norm()


def test_it_is_taken_where_it_may_be(monkeypatch):
    surrogate = copy.deepcopy(small_surrogate())
    planes = torch.rand(1, 7, 32, 32)
    taken = []
    original = FrozenDenseNet.forward
    monkeypatch.setattr(FrozenDenseNet, "forward", lambda *a: taken.append(1) or original(*a))
    stars = surrogate(planes)
    assert taken == [1]
    with torch.autocast("cpu", torch.bfloat16):
        surrogate(planes)
    torch.jit.trace(surrogate, planes, check_trace=False)
    copy.deepcopy(surrogate).double()(planes)
    with monkeypatch.context() as compiling:
        compiling.setattr(torch.compiler, "is_compiling", lambda: True)
        surrogate(planes)
    assert taken == [1]
    with torch.inference_mode():
        assert torch.equal(surrogate(planes), stars)
    assert taken == [1, 1]
    monkeypatch.setattr(surrogate_network, "may_run_by_hand", lambda _: False)
    torch.testing.assert_close(surrogate(planes), stars, rtol=1e-6, atol=2e-6)


def test_changed_weights_are_seen_and_copies_make_their_own():
    surrogate = copy.deepcopy(small_surrogate())
    planes = torch.rand(1, 7, 32, 32)
    before = surrogate(planes)
    twin = pickle.loads(pickle.dumps(surrogate))
    assert twin._twin._made is None
    with torch.no_grad():
        surrogate.network.class_layers.out.bias += 1
    torch.testing.assert_close(surrogate(planes), before + 1)
    assert torch.equal(twin(planes), before)
    assert torch.equal(copy.deepcopy(surrogate)(planes), surrogate(planes))


def test_what_is_no_densenet_is_left_alone():
    assert FrozenTwin().of(torch.nn.Conv2d(7, 1, 3)) is None
    with torch.inference_mode():
        made = DenseNet121(2, 7, 1)
    assert FrozenTwin().of(made) is None
    assert not may_run_by_hand(torch.zeros(1, 7, 8, 8, dtype=torch.float64))


def test_recomputed_activations_give_the_same_gradient():
    surrogate = small_surrogate()
    planes = torch.rand(2, 7, 32, 32, requires_grad=True)
    (expected,) = torch.autograd.grad(surrogate(planes).sum(), planes)
    (again,) = torch.autograd.grad(checkpoint(surrogate, planes, use_reentrant=False).sum(), planes)
    assert torch.equal(again, expected)


def test_there_is_no_gradient_of_a_gradient():
    """Of a refiner's gate there is one, and what the network would add to it must not be missing without a word."""
    planes = torch.rand(1, 7, 32, 32, requires_grad=True)
    (gradient,) = torch.autograd.grad(small_surrogate()(planes).sum(), planes, create_graph=True)
    assert not gradient.requires_grad
    planes = torch.rand(1, 7, 64, 64, requires_grad=True)
    stars = shrink(load_surrogate(), 64)(planes)
    (gradient,) = torch.autograd.grad(stars.sum(), planes, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()

"""The refiner: what a mask is worth, what its gradient may do, and how it travels."""

from dataclasses import replace

import pytest
import torch
from helpers import TinyRater, gradient_of, make_exam, make_logits, shrink, small_surrogate
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from dqe_loss import DQELoss, Surrogate, SurrogateConfig, load_surrogate, save_surrogate
from dqe_loss.losses.guards import GuardedSurrogate
from dqe_loss.surrogate.agreement import SMOOTHING, agreement, gate_of
from dqe_loss.surrogate.checkpoint import fingerprint, weights_of
from dqe_loss.surrogate.config import KINDS_OF_RATINGS
from dqe_loss.surrogate.describe import describe_ratings, unit_of_kind
from dqe_loss.surrogate.refiner import SMALLEST_PLANE, Refiner, RefinerConfig, refine_mask

SIDE = SMALLEST_PLANE
FEATURES = (4, 4, 4, 4, 4, 4)


def gate(config, regions, refined):
    """What share of its stars a mask keeps beside a refined mask."""
    return gate_of(agreement(regions, refined), config.full_marks, config.exponent)


class Known(nn.Module):
    """A refiner whose refined mask is given."""

    def __init__(self, probabilities):
        super().__init__()
        self.logits = torch.logit(probabilities)

    def forward(self, scans, regions):
        self.followed = torch.is_grad_enabled() or regions.requires_grad
        return self.logits.expand_as(regions)


class Constant(nn.Module):
    """A network that puts out the same stars for every plane."""

    def __init__(self, stars):
        super().__init__()
        self.stars = nn.Parameter(torch.tensor([stars]), requires_grad=False)

    def forward(self, planes):
        return self.stars.expand(len(planes), 1)


def guarded_surrogate(**refiner):
    base = shrink(small_surrogate(), SIDE)
    config = replace(
        base.config, refiner=RefinerConfig(FEATURES, **refiner), center_gradient=False, kind_of_ratings="hybrid"
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        surrogate = Surrogate(config, Refiner(config.refiner))
    surrogate.network.load_state_dict(base.network.state_dict())
    return surrogate


def square(size=10, offset=4):
    mask = torch.zeros(1, 3, SIDE, SIDE)
    mask[..., offset : offset + size, offset : offset + size] = 1
    return mask


def test_agreement_by_hand():
    mask, refined = torch.zeros(1, 3, SIDE, SIDE), torch.zeros(1, 3, SIDE, SIDE)
    mask[0, 1, :4, :10] = 1  # 40 voxels
    refined[0, 1, 2:6, :10] = 1  # 40, of which 20 are shared: Dice 1/2
    refined[0, 0, 20:22, :5] = 1  # 10 that the mask has not: Dice 0, of 5 voxels on average
    weights = 40 / (40 + SMOOTHING), 5 / (5 + SMOOTHING)
    assert agreement(mask, refined).item() == pytest.approx(0.5 * weights[0] / sum(weights))


def test_a_region_that_neither_has_does_not_flatter_a_wrong_one():
    mask, refined = torch.zeros(1, 3, SIDE, SIDE), torch.zeros(1, 3, SIDE, SIDE)
    mask[0, 1], refined[0, 1, :2, :10] = 1, 1
    assert agreement(mask, refined).item() == pytest.approx(2 * 20 / (SIDE**2 + 20))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.0, 1.0))
def test_agreement_lies_in_the_unit_interval_and_is_symmetric_for_binary_masks(seed, share):
    generator = torch.Generator().manual_seed(seed)
    first, second = ((torch.rand(2, 3, 8, 8, generator=generator) < share).float() for _ in range(2))
    value = agreement(first, second)
    assert ((value >= 0) & (value <= 1 + 1e-6)).all()
    torch.testing.assert_close(value, agreement(second, first))
    torch.testing.assert_close(agreement(first, first), torch.ones(2))


def test_background_probability_is_no_tumor():
    leaked = square() * 0.9 + 0.05
    assert agreement(leaked, square()).item() > 0.99


@pytest.mark.parametrize("dtype", [torch.float64])
def test_gradient_of_agreement(dtype):
    generator = torch.Generator().manual_seed(1)
    mask = (0.1 + 0.8 * torch.rand(1, 3, 4, 4, generator=generator, dtype=dtype)).requires_grad_()
    refined = (torch.rand(1, 3, 4, 4, generator=generator) > 0.5).to(dtype)
    # How much a region counts is left out of the gradient on purpose; with equal counts it is exact.
    analytic = torch.autograd.grad(agreement(mask, refined).sum(), mask)[0]
    step = 1e-3 * analytic / analytic.norm()
    assert agreement(mask + step, refined) > agreement(mask, refined)


def test_a_mask_gains_nothing_by_letting_a_region_count_less():
    """The gradient is that of the regions' Dice, each with a fixed weight: else a wrong region would shrink away."""
    generator = torch.Generator().manual_seed(1)
    mask = torch.rand(1, 3, 8, 8, generator=generator, dtype=torch.float64).requires_grad_()
    refined = (torch.rand(1, 3, 8, 8, generator=generator) > torch.tensor([0.2, 0.5, 0.9])[:, None, None]).double()
    weight = mask.square() * (3 - 2 * mask)
    total = (weight.square() + refined).sum((2, 3))
    dice = 2 * (weight * refined).sum((2, 3)) / total
    fixed = (total / (total + 2 * SMOOTHING)).detach()
    expected = (fixed / fixed.sum() * dice).sum()
    torch.testing.assert_close(agreement(mask, refined).sum(), expected)
    (gradient,) = torch.autograd.grad(agreement(mask, refined).sum(), mask)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, mask)[0])


def divided_mask():
    """Probabilities of which the refiner is sure in the first and last rows, but not between."""
    probabilities = torch.full((1, 3, SIDE, SIDE), 0.5)
    probabilities[..., :8, :] = 0.95  # surely tumor
    probabilities[..., 8:16, :] = 0.7  # probably
    probabilities[..., 16:24, :] = 0.3
    probabilities[..., 24:, :] = 0.05  # surely none
    return probabilities


def surrogate_of_known_mask(dtype=torch.float32):
    surrogate = guarded_surrogate(confidence=0.8).to(dtype)
    surrogate.refiner = Known(divided_mask().to(dtype))
    return surrogate


def faint_planes(dtype=torch.float32):
    planes = torch.rand(1, 7, SIDE, SIDE, generator=torch.Generator().manual_seed(0)).to(dtype)
    planes[:, 4:] = 0.4 + 0.1 * planes[:, 4:]
    return planes


def test_a_guarded_gradient_moves_a_voxel_only_to_where_the_refiner_is_sure():
    surrogate, planes = surrogate_of_known_mask(), faint_planes().requires_grad_()
    stars = GuardedSurrogate(surrogate)(planes)
    torch.testing.assert_close(stars, surrogate(planes), rtol=0, atol=0)
    (gradient,) = torch.autograd.grad(-stars.sum(), planes)
    wanted, unwanted = gradient[:, 4:, :8], gradient[:, 4:, 24:]
    assert (wanted <= 0).all()
    assert (wanted < 0).any()
    assert (unwanted >= 0).all()
    assert (unwanted > 0).any()
    assert (gradient[:, 4:, 8:24] == 0).all()


def test_a_surrogates_gradient_is_that_of_its_stars():
    """Contract C14: finite differences agree in float64, voxel by voxel, with the refined mask held fixed."""
    surrogate, planes = surrogate_of_known_mask(torch.float64), faint_planes(torch.float64).requires_grad_()
    (gradient,) = torch.autograd.grad(surrogate(planes).sum(), planes)
    with torch.no_grad():
        refined = surrogate.refine(planes)
        for row, column in ((4, 9), (12, 40), (20, 3), (50, 50)):  # sure and unsure rows alike
            step = torch.zeros_like(planes)
            step[0, 5, row, column] = 1e-4
            rise = (surrogate(planes + step, refined) - surrogate(planes - step, refined)).item() / 2e-4
            # The size by which a region counts is left out of the gradient on purpose: a few per cent.
            assert gradient[0, 5, row, column].item() == pytest.approx(rise, rel=0.05, abs=1e-6)


def test_the_refiners_own_gradient_is_not_followed():
    """A refined mask, optimized, is as easily fooled as a rating; and its graph would cost time and memory."""
    surrogate, planes = surrogate_of_known_mask(), faint_planes().requires_grad_()
    for rater in (surrogate, GuardedSurrogate(surrogate)):
        assert rater(planes).requires_grad
        assert surrogate.refiner.followed is False
    refined = guarded_surrogate().refine(planes)
    assert not refined.regions.requires_grad
    assert set(refined.regions.unique().tolist()) <= {0, 1}


def test_raising_stars_and_lowering_what_is_missing_are_the_same():
    """The guard of a loss assumes descent; in the surrogate it turned the ascent of stars into its opposite."""
    image, labels = make_exam((48, 48, 48))
    logits = make_logits(labels).detach()
    loss = DQELoss(surrogate_of_known_mask(), guard=None, on_small="pad")

    def gradient(objective):
        prediction = logits.clone().requires_grad_()
        return torch.autograd.grad(objective(loss.rate(prediction, image=image)), prediction)[0]

    ascent, descent = gradient(lambda stars: stars.mean()), gradient(lambda stars: (6 - stars).mean())
    assert torch.equal(ascent, -descent)
    assert ascent.ne(0).any()


def test_the_loss_by_default_moves_nothing_of_which_the_refiner_is_not_sure():
    image, labels = make_exam((48, 48, 48))
    surrogate = guarded_surrogate()
    for parameter in surrogate.refiner.corrections.parameters():
        parameter.zero_()  # what is left is the given mask itself, and how sure the refiner is of it
    for trust, moved in ((0.5, False), (1.3, False), (20.0, True)):
        surrogate.refiner.trust.fill_(trust)
        for options in ({}, {"guard": None}):
            loss = DQELoss(surrogate, on_small="pad", **options)
            gradient = gradient_of(loss, make_logits(labels), labels, image=image)
            assert bool(gradient.abs().sum() > 0) is moved
            free = DQELoss(surrogate, on_small="pad", refiner_guard=False, **options)
            assert gradient_of(free, make_logits(labels), labels, image=image).abs().sum() > 0


@pytest.mark.parametrize(("full_marks", "expected"), [(1.0, 0.64**3), (0.8, 0.8**3), (0.6, 1.0)])
def test_the_gate_is_agreement_up_to_full_marks_to_a_power(full_marks, expected):
    refined, mask = square(), square(offset=6)  # 64 of 100 voxels are shared
    config = RefinerConfig(full_marks=full_marks, exponent=3)
    formed = refine_mask(Known(refined * 0.98 + 0.01), config, torch.zeros(1, 4, SIDE, SIDE), mask)
    assert torch.equal(formed.regions, refined)
    assert gate(config, mask, formed.regions).item() == pytest.approx(expected, rel=1e-5)


def test_stars_are_the_networks_times_gate_and_within_the_scale():
    surrogate = surrogate_of_known_mask()
    planes = torch.rand(2, 7, *surrogate.config.field_of_view)
    planes[:, 4:] = planes[:, 4:].round()
    share = gate(surrogate.config.refiner, planes[:, 4:], surrogate.refine(planes).regions)
    assert (share < 1).all()
    expected = 1 + (small_surrogate()(planes).clamp(1, 6) - 1) * share
    torch.testing.assert_close(surrogate(planes), expected)
    assert ((surrogate(100 * planes) >= 1) & (surrogate(100 * planes) <= 6)).all()


@pytest.mark.parametrize(("published", "counted"), [(8.0, 6.0), (4.0, 4.0), (-2.0, 1.0)])
def test_stars_beyond_the_scale_count_as_its_ends_before_the_gate(published, counted):
    """Eight stars times a gate of a half would be more than a mask can have that is half right."""
    surrogate = surrogate_of_known_mask()
    surrogate.network = Constant(published)
    planes = faint_planes()
    share = gate(surrogate.config.refiner, planes[:, 4:], surrogate.refine(planes).regions)
    assert 0.01 < share.item() < 0.9
    assert surrogate(planes).item() == pytest.approx(1 + (counted - 1) * share.item(), rel=1e-5)


def test_a_refiner_is_frozen():
    surrogate = guarded_surrogate().train()
    assert not surrogate.refiner.training
    assert not any(parameter.requires_grad for parameter in surrogate.parameters())
    loss = DQELoss(surrogate, guard=None, on_small="pad")
    assert list(loss.parameters()) == []
    assert loss.state_dict() == {}


def test_no_gradient_reaches_the_position_of_the_planes():
    image = torch.rand(1, 4, 24, 24, 24)
    logits = torch.full((1, 3, 24, 24, 24), -4.0)
    logits[..., 8:16, 8:16, 8:16] = 4
    for surrogate, everywhere in ((guarded_surrogate(), False), (small_surrogate(), True)):
        mask = logits.clone().requires_grad_()
        DQELoss(surrogate, guard=None, on_small="pad")(mask, image=image).backward()
        # Voxels of the core that lie in none of the three rated planes (and their neighbors).
        corner = mask.grad[0, 0, 8:10, 8:10, 8:10]
        assert bool(corner.abs().sum() > 0) is everywhere


@pytest.mark.slow
def test_it_travels_with_its_checkpoint(tmp_path):
    surrogate = guarded_surrogate(confidence=0.7)
    path = tmp_path / "guarded.safetensors"
    save_surrogate(surrogate, path)
    loaded = load_surrogate(path)
    assert loaded.config == surrogate.config
    assert fingerprint(loaded) == fingerprint(surrogate)
    assert fingerprint(loaded) != fingerprint(small_surrogate())
    assert fingerprint(guarded_surrogate(confidence=0.8)) != fingerprint(surrogate)  # of the same weights
    planes = torch.rand(1, 7, *surrogate.config.field_of_view)
    torch.testing.assert_close(loaded(planes), surrogate(planes))
    size = path.stat().st_size
    save_surrogate(surrogate, path, half=True)
    assert path.stat().st_size < 0.6 * size
    halved = load_surrogate(path)
    assert halved.dtype == torch.float32
    assert all(torch.equal(w, weights_of(halved)[n]) for n, w in weights_of(load_surrogate(path)).items())


def test_weights_beyond_half_precision_are_refused(tmp_path):
    surrogate = shrink(small_surrogate())
    next(iter(surrogate.network.parameters())).fill_(1e6)
    with pytest.raises(ValueError, match="does not fit float16; save the surrogate with half=False"):
        save_surrogate(surrogate, tmp_path / "large.safetensors", half=True)
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_without_its_refiner_is_refused(tmp_path):
    surrogate = guarded_surrogate()
    path = tmp_path / "headless.safetensors"
    broken = shrink(small_surrogate())
    broken.config = surrogate.config
    save_surrogate(broken, path)
    with pytest.raises(ValueError, match=r"headless.safetensors does not fit DenseNet121: .*Missing key"):
        load_surrogate(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"features": (8, 8)}, r"features must be six numbers of channels, got \(8, 8\)"),
        ({"confidence": 0.4}, r"expected confidence in \[0.5, 1\), .* got 0.4, 0.94 and 3.0"),
        ({"exponent": 0.5}, r"and exponent >= 1, got 0.8, 0.94 and 0.5"),
    ],
)
def test_what_a_refiner_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        RefinerConfig(**options)


@pytest.mark.parametrize("options", [{"encoding": "tissue"}, {"field_of_view": (65, 64)}, {"field_of_view": (64, 62)}])
def test_planes_that_a_refiner_cannot_take(options):
    with pytest.raises(ValueError, match="an even number of voxels, 64 or more a side, in the encoding 'regions', got"):
        SurrogateConfig(refiner=RefinerConfig(), **options)


def test_an_untrained_refiner_trusts_the_mask():
    refiner = Refiner(RefinerConfig(FEATURES)).eval()
    with torch.no_grad():
        for parameter in refiner.corrections.parameters():
            parameter.zero_()
        logits = refiner(torch.rand(1, 4, SIDE, SIDE), square())
    torch.testing.assert_close(logits, 2 * (2 * square() - 1))


@pytest.mark.slow
def test_compiles_without_graph_breaks():
    surrogate = guarded_surrogate()
    surrogate.network = TinyRater().eval()  # tracing the other one takes half a minute
    planes = torch.rand(1, 7, *surrogate.config.field_of_view, requires_grad=True)
    compiled = torch.compile(surrogate, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(planes), surrogate(planes))


@pytest.mark.parametrize("kind", KINDS_OF_RATINGS)
def test_every_kind_of_ratings_has_its_words_wherever_stars_are_told(kind):
    from dqe_loss.audit import page
    from dqe_loss.viz.html import SURROGATE_TEXT

    assert describe_ratings(SurrogateConfig(kind_of_ratings=kind), "x").endswith(tuple("abcdefghijklmnopqrstuvwxyz"))
    assert (unit_of_kind(kind) == "stars") is (kind == "human")
    assert page.SURROGATE_TEXT[kind]
    assert SURROGATE_TEXT[kind]

"""What stars mean in Dice: the map, its fit, its bound on groups that it has not seen, and the checkpoint's copy."""

import importlib
import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import quick, shrink, small_surrogate
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open

from dqe_loss import SurrogateConfig, load_surrogate, save_surrogate
from dqe_loss.evaluate import dice_calibration as module
from dqe_loss.evaluate.dice_calibration import conformal_quantile, fit_dice_map
from dqe_loss.harden.config import HardenConfig
from dqe_loss.harden.start import hardened_surrogate
from dqe_loss.surrogate.checkpoint import add_dice_map, fingerprint
from dqe_loss.surrogate.dice_map import DiceMap
from dqe_loss.train.config import TrainConfig
from dqe_loss.train.network_and_planes import start_network

MAP = DiceMap((1.0, 3.0, 5.0), (0.1, 0.6, 0.9), 0.2, learned_from="12 masks", coverage={"A": 0.93, "B": 0.88})


def draw(rng, groups, masks, shift=0.05):
    """Stars, Dice and groups in which Dice follows stars, with noise and a shift of each group's own."""
    names = np.repeat([f"group {g}" for g in range(groups)], masks)
    stars = rng.uniform(1, 6, len(names))
    noise = rng.normal(0, 0.08, len(names)) + np.repeat(rng.normal(0, shift, groups), masks)
    return stars, np.clip(1 - np.exp((1 - stars) / 1.5) + noise, 0, 1), names


@st.composite
def masks(draw_one):
    """Any stars and Dice at all, of three or four groups of nine masks or more."""
    counts = draw_one(st.lists(st.integers(9, 14), min_size=3, max_size=4))
    size = sum(counts)
    stars = draw_one(st.lists(st.floats(-2, 9), min_size=size, max_size=size))
    dice = draw_one(st.lists(st.floats(0, 1), min_size=size, max_size=size))
    return stars, dice, np.repeat(list("abcd")[: len(counts)], counts)


@quick
@given(masks())
def test_whatever_it_learns_from_it_is_monotone_and_a_dice(given_masks):
    fitted = fit_dice_map(*given_masks)
    stars = np.linspace(-3, 10, 400)
    estimate, low = fitted.estimate(stars), fitted.lower_bound(stars)
    assert (np.diff(estimate) >= 0).all()
    assert (np.diff(low) >= 0).all()
    assert estimate.min() >= 0
    assert estimate.max() <= 1
    assert low == pytest.approx(np.maximum(estimate - fitted.width, 0))
    assert set(fitted.coverage) == set(given_masks[2])
    assert SurrogateConfig.from_dict(json.loads(json.dumps(SurrogateConfig(dice_map=fitted).to_dict()))) == (
        SurrogateConfig(dice_map=fitted)
    )


@quick
@given(st.lists(st.floats(-1, 1), min_size=1, max_size=60), st.floats(0.05, 0.95))
def test_a_conformal_quantile_has_enough_scores_below_it(scores, level):
    quantile = conformal_quantile(scores, level)
    below = (np.asarray(scores) <= quantile).sum()
    if np.isfinite(quantile):
        assert below >= (len(scores) + 1) * level - 1e-6
        assert quantile in scores
    else:
        assert len(scores) < (len(scores) + 1) * level


def test_the_bound_holds_on_further_masks_of_groups_it_saw():
    """Of masks that are exchangeable 90 % reach it; that it is not one that all reach shows in the other half."""
    reached = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        stars, dice, groups = draw(rng, 4, 100, shift=0)
        seen = np.arange(len(stars)) % 2 == 0
        fitted = fit_dice_map(stars[seen], dice[seen], groups[seen])
        reached.append((dice[~seen] >= fitted.lower_bound(stars[~seen])).mean())
    assert 0.9 <= np.mean(reached) <= 0.97


def test_the_bound_holds_on_most_groups_it_has_not_seen():
    """Of exchangeable groups a sixth at most may have a larger quantile than the five that made the bound."""
    told, found = [], []
    for seed in range(60):
        stars, dice, groups = draw(np.random.default_rng(seed), 6, 40)
        new = groups == "group 5"
        fitted = fit_dice_map(stars[~new], dice[~new], groups[~new])
        found.append((dice[new] >= fitted.lower_bound(stars[new])).mean())
        told += fitted.coverage.values()
    assert np.mean(np.asarray(found) >= 0.87) >= 5 / 6 - 0.05
    assert np.mean(found) >= 0.9
    # What the map tells is what happens: with a group less, it is a little lower.
    assert np.mean(found) - 0.04 <= np.mean(told) <= np.mean(found) + 0.02


def test_each_group_is_covered_and_one_that_is_unlike_the_others_shows():
    stars, dice, groups = draw(np.random.default_rng(1), 5, 60, shift=0)
    odd = groups == "group 2"
    dice[odd] = np.clip(dice[odd] - 0.4, 0, 1)
    fitted = fit_dice_map(stars, dice, groups)
    reached = {name: (dice[groups == name] >= fitted.lower_bound(stars[groups == name])).mean() for name in set(groups)}
    assert min(reached.values()) >= 0.9
    assert fitted.coverage["group 2"] < 0.5
    assert min(share for name, share in fitted.coverage.items() if name != "group 2") >= 0.9
    assert fitted.width > fit_dice_map(stars[~odd], dice[~odd], groups[~odd]).width + 0.2


def test_a_group_of_many_masks_weighs_as_much_as_another():
    stars, dice, groups = draw(np.random.default_rng(2), 3, 30, shift=0.2)
    times = np.where(groups == "group 1", 20, 1)
    one, many = (
        fit_dice_map(*parts)
        for parts in ((stars, dice, groups), (stars.repeat(times), dice.repeat(times), groups.repeat(times)))
    )
    assert many.stars == pytest.approx(one.stars)
    assert many.dice == pytest.approx(one.dice)
    assert many.width == pytest.approx(one.width, abs=0.03)


def test_knots_are_few_and_lie_where_dice_does():
    rng = np.random.default_rng(3)
    stars, _, groups = draw(rng, 3, 400)
    fitted = fit_dice_map(stars, (stars - 1) / 5, groups, learned_from="lines", center="mask flair")
    assert fitted.stars == pytest.approx((1, 6), abs=0.05)
    assert fitted.dice == pytest.approx((0, 1), abs=0.01)
    assert fitted.width < 0.01
    assert (fitted.learned_from, fitted.center, fitted.level) == ("lines", "mask flair", 0.9)
    assert len(fit_dice_map(*draw(rng, 3, 400)).stars) <= 15


def test_a_map_stored_when_center_was_called_look():
    config = SurrogateConfig(dice_map=DiceMap((1, 6), (0, 1), 0.1, center="mask survey"))
    stored = config.to_dict()
    stored["dice_map"]["look"] = stored["dice_map"].pop("center")
    assert SurrogateConfig.from_dict(stored) == config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stars": [1.0] * 29}, r"of N masks, got the shapes \(29,\), \(30,\), \(30,\)"),
        ({"stars": [[1.0] * 30]}, r"of N masks, got the shapes \(1, 30\)"),
        ({"stars": [*[1.0] * 29, np.nan]}, r"expected finite stars .* got stars nan and Dice 0.5 for mask 29 \(1 such"),
        ({"dice": [*[0.5] * 28, 1.2, np.nan]}, r"a Dice in \[0, 1\].* Dice 1.2 for mask 28 \(2 such .*leave out"),
        ({"groups": ["a", "b"] * 15}, r"expected masks of 3 groups or more, got 2 \(a, b\): .*smaller groups"),
        ({"groups": [*"ab" * 11, *"c" * 8]}, r"at 90% needs 9 masks or more of each group; too few: c \(8\). Join"),
        ({"level": 0.95}, r"at 95% needs 19 .* too few: a \(10\), b \(10\), c \(10\)"),
        ({"level": 1.0}, "between 0 and 1, such as 0.9, got 1.0"),
    ],
)
def test_what_cannot_be_fitted_is_told(change, message):
    with pytest.raises(ValueError, match=message):
        fit_dice_map(**{"stars": [1.0] * 30, "dice": [0.5] * 30, "groups": ["a", "b", "c"] * 10, **change})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stars": (1.0, 3.0)}, "as many stars as Dice, one or more, got 2 and 3"),
        ({"stars": (), "dice": ()}, "got 0 and 0"),
        ({"stars": (1.0, 1.0, 5.0)}, "finite and rise"),
        ({"dice": (0.1, 0.6, 0.5)}, "never fall"),
        ({"dice": (0.1, 0.6, float("nan"))}, r"in \[0, 1\]"),
        ({"width": float("nan")}, "width and coverage must be"),
        ({"coverage": {"A": 93.0}}, "width and coverage must be"),
        ({"level": 90}, "the level must be between 0 and 1, such as 0.9, got 90"),
    ],
)
def test_a_map_checks_itself(change, message):
    with pytest.raises(ValueError, match=message):
        replace(MAP, **change)


def test_what_a_map_says():
    assert MAP.estimate([0, 1, 2, 4, 7]) == pytest.approx([0.1, 0.1, 0.35, 0.75, 0.9])
    assert MAP.lower_bound([0, 1, 2, 4, 7]) == pytest.approx([0, 0, 0.15, 0.55, 0.7])
    assert np.isnan(MAP.lower_bound(np.nan))
    assert {name: float(value) for name, value in MAP.tell(4).items()} == pytest.approx(
        {"dice": 0.75, "dice_low": 0.55}
    )
    assert "learned from references (12 masks), not from humans, and valid for masks of the kinds" in MAP.describe()
    assert "what the Dice of 90% of masks reaches" in MAP.describe()
    assert "0.20 below the estimate" in MAP.card()
    assert "A 93%, B 88%." in MAP.card()


def test_without_scikit_learn_it_says_which_extra_brings_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.isotonic", None)
    with pytest.raises(ImportError, match=r'needs sklearn, which is missing; run: pip install "dqe_loss\[train\]"'):
        importlib.reload(module)


# In a checkpoint


def test_a_map_is_added_to_a_file_whose_stars_stay(tmp_path):
    path, planes = tmp_path / "a.safetensors", torch.rand(2, 7, 32, 32)
    save_surrogate(small_surrogate(), path, card="# mine\n\nA card.\n", half=True)
    before = load_surrogate(path)
    size = path.stat().st_size
    assert before.config.dice_map is None
    add_dice_map(path, replace(MAP, learned_from="older"))
    add_dice_map(path, MAP)
    after = load_surrogate(path)
    assert after.config == replace(before.config, dice_map=MAP)
    assert torch.equal(after(planes), before(planes))
    assert fingerprint(after) == fingerprint(before)
    assert path.stat().st_size == pytest.approx(size, abs=4000)  # still in half precision
    with safe_open(path, framework="pt") as file:
        assert file.metadata()["model_card"] == f"# mine\n\nA card.\n\n{MAP.card()}"


def test_a_card_that_was_not_there_is_begun(tmp_path):
    path = tmp_path / "a.safetensors"
    save_surrogate(small_surrogate(), path)
    add_dice_map(path, MAP)
    with safe_open(path, framework="pt") as file:
        assert file.metadata()["model_card"] == MAP.card()
    with pytest.raises(ValueError, match="damaged or no safetensors file"):
        add_dice_map(tmp_path / "none.safetensors", MAP)


def test_a_configuration_of_before_has_none_and_decides_the_same():
    former = SurrogateConfig().to_dict()
    del former["dice_map"]
    assert SurrogateConfig.from_dict(former) == SurrogateConfig()


def test_other_weights_do_not_inherit_it(tmp_path):
    path = tmp_path / "a.safetensors"
    start = shrink(small_surrogate(), 64)
    save_surrogate(start, path)
    add_dice_map(path, MAP)
    trained, _, _ = start_network(TrainConfig(ratings=tmp_path / "r.csv", out=tmp_path, pretrained=str(path)))
    assert trained.dice_map is None
    assert hardened_surrogate(load_surrogate(path), HardenConfig(out=tmp_path), "exams").config.dice_map is None

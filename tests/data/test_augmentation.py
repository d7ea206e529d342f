"""Augmentation: deterministic, silent, harmless to the mask and to global state, and no transform is dead."""

import random
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK
import torch
import torchio as tio
import tyro
from helpers import quick
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from torch.utils.data import DataLoader

from dqe_loss.data.augmentation.artifacts import bias_field
from dqe_loss.data.augmentation.augment import TRANSFORMS, AugmentationConfig, augment
from dqe_loss.data.augmentation.contrast_and_noise import add_noise

SIDE = 64
GEOMETRY = ("flip", "affine", "elastic")
INTENSITY = tuple(name for name in TRANSFORMS if name not in GEOMETRY)
STRIKING = ("motion", "ghosting", "spike", "low_resolution")
DEFAULT = AugmentationConfig()
EVERY = DEFAULT.only(*TRANSFORMS)


def make_plane(side=SIDE, seed=0):
    """A disc of textured brain off the middle with a nested tumor, 0 outside; scans of unlike brightness."""
    y, x = np.mgrid[:side, :side] / side
    noise = np.random.default_rng(seed).normal(size=(4, side, side))
    texture = ndimage.gaussian_filter(noise, (0, 2, 2))
    brain = np.hypot(x - 0.48, (y - 0.53) * 1.2) < 0.36
    scans = (0.5 + 0.1 * texture / texture.std()) * np.array([0.9, 0.6, 0.4, 1.0])[:, None, None]
    distance = np.hypot(x - 0.38, y - 0.45)
    regions = np.stack([distance < 0.13, distance < 0.2, distance < 0.07])  # TC, WT, ET
    scans[0][regions[2]] += 0.4
    scans = scans.clip(0.05, 1) * brain
    return torch.from_numpy(scans).float(), torch.from_numpy(regions)


PLANE = make_plane()


def same(first, second):
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def is_sound(scans, regions, shape=(4, SIDE, SIDE)):
    core, whole, enhancing = regions
    assert (scans.shape, scans.dtype) == (shape, torch.float32)
    assert (regions.shape, regions.dtype) == ((3, *shape[1:]), torch.bool)
    assert type(scans) is torch.Tensor
    assert type(regions) is torch.Tensor
    assert 0 <= scans.min() <= scans.max() <= 1
    assert not (enhancing & ~core).any()
    assert not (core & ~whole).any()
    return True


@pytest.mark.parametrize("seed", [7, (0, 3, 12), np.int64(5)])
def test_a_seed_gives_the_same_bits_and_another_one_others(seed):
    first = augment(*PLANE, EVERY, seed)
    assert same(first, augment(*PLANE, EVERY, seed))
    assert not torch.equal(first[0], augment(*PLANE, EVERY, 99)[0])


class Planes(torch.utils.data.Dataset):
    def __len__(self):
        return 6

    def __getitem__(self, index):
        return augment(*make_plane(seed=index), EVERY, (1, index))


def test_workers_threads_and_order_change_nothing():
    wanted = [Planes()[index] for index in range(6)]
    workers = list(DataLoader(Planes(), batch_size=None, num_workers=2))
    with ThreadPoolExecutor(3) as pool:
        threads = list(pool.map(Planes().__getitem__, reversed(range(6))))[::-1]
    for index in range(6):
        assert same(wanted[index], workers[index])
        assert same(wanted[index], threads[index])


@pytest.mark.slow
def test_number_of_torch_threads_changes_nothing():
    plane = make_plane(240)
    one = [augment(*plane, EVERY, seed) for seed in range(3)]
    torch.set_num_threads(2)
    try:
        two = [augment(*plane, EVERY, seed) for seed in range(3)]
    finally:
        torch.set_num_threads(1)
    assert all(map(same, one, two))


def test_global_states_stay_as_they_were():
    def states():
        return str(np.random.get_state()), random.getstate(), torch.get_rng_state().tolist()

    threads = SimpleITK.ProcessObject.GetGlobalDefaultNumberOfThreads()
    before = states()
    augment(*PLANE, EVERY, 0)
    assert states() == before
    assert SimpleITK.ProcessObject.GetGlobalDefaultNumberOfThreads() == threads


def test_global_states_have_no_influence():
    wanted = augment(*PLANE, EVERY, 0)
    np.random.seed(1)
    random.seed(2)
    torch.manual_seed(3)
    assert same(wanted, augment(*PLANE, EVERY, 0))


@quick
@given(st.integers(0, 2**40), st.sampled_from([DEFAULT, EVERY]))
def test_result_is_a_plane_with_nested_regions_without_warning(seed, config):
    before = [tensor.clone() for tensor in PLANE]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert is_sound(*augment(*PLANE, config, seed))
    assert same(before, PLANE)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_no_transform_is_dead(name):
    for seed in range(4):
        scans, regions = augment(*PLANE, DEFAULT.only(name), seed)
        assert (scans - PLANE[0]).abs().amax() > 1e-3
        assert torch.equal(regions, PLANE[1]) == (name in INTENSITY)


@pytest.mark.parametrize("name", INTENSITY)
def test_intensity_leaves_mask_and_background(name):
    config = replace(DEFAULT.only(name), scan_probability=1.0)
    scans, regions = augment(*PLANE, config, 3)
    brain = (PLANE[0] > 0).any(0)
    assert torch.equal(regions, PLANE[1])
    assert (scans[:, ~brain] == 0).all()
    for before, after in zip(PLANE[0], scans, strict=True):
        assert np.corrcoef(before[brain], after[brain])[0, 1] > 0.5  # the same picture still


@pytest.mark.parametrize("name", GEOMETRY)
def test_geometry_moves_image_and_mask_alike(name):
    square = torch.zeros(SIDE, SIDE)
    square[20:36, 26:40] = 1
    config = replace(DEFAULT, rotation=(20.0, 30.0), elastic_spacing=16).only(name)
    for seed in range(6):
        scans, regions = augment(square.expand(4, -1, -1), square.expand(3, -1, -1) > 0.5, config, seed)
        moved, mask = scans[0] > 0.5, regions[0]
        assert not torch.equal(mask, square > 0.5)
        assert 2 * (moved & mask).sum() / (moved.sum() + mask.sum()) > 0.97
        assert 0.7 * square.sum() < mask.sum() < 1.3 * square.sum()


def test_flips_are_exact_and_all_four_orientations_are_alike_likely():
    def orientations(config, seeds):
        flips = [(), (1,), (2,), (1, 2)]
        planes = [torch.flip(PLANE[0], axes) for axes in flips]
        found = [augment(*PLANE, config, seed)[0] for seed in range(seeds)]
        return [sum(torch.equal(scans, plane) for scans in found) for plane in planes]

    counts = orientations(replace(DEFAULT.only(), flip_probability=0.75), 400)
    assert sum(counts) == 400
    assert all(70 < count < 130 for count in counts)
    assert orientations(replace(DEFAULT.only("flip"), flip_axes=(0,)), 5) == [0, 5, 0, 0]


def test_without_magnitude_nothing_moves():
    config = replace(
        DEFAULT.only("affine", "elastic"),
        rotation=(0.0, 0.0),
        scaling=(1.0, 1.0),
        shear=(0.0, 0.0),
        translation=(0.0, 0.0),
        elastic_magnitude=(0.0, 0.0),
    )
    scans, regions = augment(*PLANE, config, 0)
    torch.testing.assert_close(scans, PLANE[0], rtol=0, atol=1e-4)
    assert torch.equal(regions, PLANE[1])


def test_scaling_is_a_factor_of_size():
    still = {"rotation": (0.0, 0.0), "shear": (0.0, 0.0), "translation": (0.0, 0.0)}
    config = replace(DEFAULT.only("affine"), scaling=(1.2, 1.2), **still)
    _, regions = augment(*PLANE, config, 0)
    assert regions[1].sum() / PLANE[1][1].sum() == pytest.approx(1.44, rel=0.05)


def test_motion_blurs_a_head_that_stays_in_place():
    # TorchIO's motion of a (C, H, W, 1) plane is a mere turn and shift, away from the mask.
    config = replace(DEFAULT.only("motion"), scan_probability=1.0, motion_translation=(5.0, 5.0))
    scan = PLANE[0][0].numpy()
    for seed in range(5):
        moved = augment(*PLANE, config, seed)[0][0].numpy()
        product = np.fft.ifft2(np.fft.fft2(scan) * np.fft.fft2(moved).conj()).real
        shift = np.array(np.unravel_index(product.argmax(), product.shape))
        assert np.minimum(shift, SIDE - shift).max() <= 1


def test_bias_field_is_that_of_torchio():
    class Fixed:
        def uniform(self, low, high, count):
            return np.linspace(low, high, count)

    field = bias_field((70, 90), DEFAULT, Fixed())
    coefficients = np.linspace(*DEFAULT.bias_field_coefficients, 20)
    wanted = tio.BiasField.generate_bias_field(torch.empty(1, 70, 90, 1), 3, coefficients)[..., 0]
    np.testing.assert_allclose(field, wanted, rtol=5e-3)


@pytest.mark.parametrize("name", STRIKING)
def test_artifacts_strike_some_scans_and_at_least_one(name):
    def struck(probability, seed):
        config = replace(DEFAULT.only(name), scan_probability=probability)
        scans, _ = augment(*PLANE, config, seed)
        # The others keep their ratio to each other: only the plane's common scale may change.
        brain = (PLANE[0] > 0).all(0)
        ratio = scans[:, brain] / PLANE[0][:, brain]
        return int((ratio.std(1) > 1e-3).sum())

    assert [struck(0.0, seed) for seed in range(4)] == [1, 1, 1, 1]
    assert struck(1.0, 0) == 4


def test_brightest_voxels_stay_where_the_scaling_put_them():
    config = replace(DEFAULT.only("brightness"), brightness=(3.0, 3.0))
    scans, _ = augment(*PLANE, config, 0)
    torch.testing.assert_close(scans, PLANE[0], rtol=1e-4, atol=1e-5)


def test_noise_is_measured_in_means_of_the_scan():
    values = np.ones((4, 20_000), np.float32)
    config = replace(DEFAULT, noise_deviation=(0.1, 0.1), rician_deviation=(0.2, 0.2))
    for name, deviation in (("noise", 0.1), ("rician", 0.2)):
        noisy = add_noise(values, config, {name: np.random.default_rng(0)})
        assert noisy.dtype == np.float32
        assert noisy.std(1) == pytest.approx([deviation] * 4, rel=0.05)
    dim = PLANE[0] / 10
    relative = [augment(scans, PLANE[1], config.only("noise"), 0)[0] / scans.max() for scans in (PLANE[0], dim)]
    torch.testing.assert_close(*relative, rtol=1e-3, atol=1e-5)


def test_each_transform_has_a_stream_of_its_own():
    alone = augment(*PLANE, DEFAULT.only("affine"), 5)
    weak = replace(DEFAULT, noise_deviation=(0.0, 0.0)).only("affine", "noise")
    torch.testing.assert_close(augment(*PLANE, weak, 5)[0], alone[0])
    assert torch.equal(augment(*PLANE, EVERY, 5)[1], augment(*PLANE, DEFAULT.only(*GEOMETRY), 5)[1])


def test_probabilities_are_those_of_a_plane():
    config = replace(DEFAULT.only(), brightness_probability=0.3)
    changed = sum(not torch.equal(augment(*PLANE, config, seed)[0], PLANE[0]) for seed in range(300))
    assert 60 < changed < 120


@pytest.mark.parametrize("config", [replace(EVERY, enabled=False), DEFAULT.only()])
def test_switched_off_is_the_identity_on_new_tensors(config):
    result = augment(*PLANE, config, 0)
    assert same(result, PLANE)
    assert result[0].data_ptr() != PLANE[0].data_ptr()


def test_plane_without_brain_and_scan_without_signal():
    scans, regions = augment(torch.zeros_like(PLANE[0]), PLANE[1], EVERY, 0)
    assert (scans == 0).all()
    assert regions.any()
    missing = PLANE[0].clone()
    missing[2] = 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scans, _ = augment(missing, PLANE[1], EVERY, 0)
    assert (scans[2] == 0).all()
    assert scans.isfinite().all()


def test_planes_of_odd_and_unequal_sides():
    scans, regions = (tensor[:, :51, :37] for tensor in PLANE)
    assert is_sound(*augment(scans, regions, EVERY, 0), shape=(4, 51, 37))


@pytest.mark.parametrize(
    ("scans", "regions", "message"),
    [
        (PLANE[0].double(), PLANE[1], r"expected a plane's scans .*torch.float64"),
        (PLANE[0], PLANE[1].float(), r"regions \(3, H, W\) bool, got .*\(3, 64, 64\) torch.float32"),
        (PLANE[0][None], PLANE[1], r"got \(1, 4, 64, 64\)"),
        (PLANE[0], PLANE[1][:, :9], r"must have the same voxels, got \(4, 64, 64\) and \(3, 9, 64\)"),
        (PLANE[0] * 900, PLANE[1], r"expected scans in \[0, 1\] without NaN, got 0 to .*scale the plane first"),
        (PLANE[0] / 0, PLANE[1], r"without NaN, got nan to nan"),
    ],
)
def test_wrong_planes(scans, regions, message):
    with pytest.raises(ValueError, match=message):
        augment(scans, regions, DEFAULT, 0)


@pytest.mark.parametrize("seed", [-1, (1, -2), (), 1.5, True])
def test_wrong_seeds(seed):
    with pytest.raises(ValueError, match="seed: expected a whole number of 0 or above, or several, got"):
        augment(*PLANE, DEFAULT, seed)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gamma_probability": 1.2}, "gamma_probability: expected a number from 0 to 1, got 1.2"),
        ({"scan_probability": float("nan")}, "scan_probability: expected a number from 0 to 1, got nan"),
        ({"rotation": (5.0, -5.0)}, r"rotation: expected a pair \(lowest, highest\) of numbers from -180 to 180"),
        ({"translation": (0.0, float("inf"))}, r"translation: expected a pair \(lowest, highest\) of numbers, got"),
        ({"scaling": 1.1}, r"scaling: expected a pair .* got 1.1"),
        ({"scaling": (0.0, 1.0)}, "scaling: expected a pair .* from 0.1 to 10"),
        ({"noise_deviation": (-0.1, 0.1)}, "noise_deviation: expected a pair .* from 0, got"),
        ({"low_resolution_zoom": (0.5, 2.0)}, "low_resolution_zoom: .* from 0.05 to 1, got"),
        ({"ghosting_count": (1.5, 4)}, "ghosting_count: expected a pair .* of whole numbers from 1, got"),
        ({"motion_movements": 0}, "motion_movements: expected a whole number from 1 to 100, got 0"),
        ({"elastic_spacing": "wide"}, "elastic_spacing: expected a whole number from 2, got 'wide'"),
        ({"flip_axes": (0, 2)}, r"flip_axes: expected 0, 1 or both, each once, got \(0, 2\)"),
        ({"enabled": "yes"}, "enabled: expected true or false, got 'yes'"),
    ],
)
def test_wrong_configurations(options, message):
    with pytest.raises(ValueError, match=message):
        AugmentationConfig(**options)


def test_unknown_transform():
    with pytest.raises(ValueError, match="no transform is called blur; there are flip, affine"):
        DEFAULT.only("blur")


def test_configuration_from_lists_and_from_a_command_line():
    assert AugmentationConfig(gamma=[0.5, 2], flip_axes=[1]) == replace(DEFAULT, gamma=(0.5, 2.0), flip_axes=(1,))
    arguments = ["--gamma", "0.5", "2", "--no-enabled", "--motion-movements", "3"]
    assert tyro.cli(AugmentationConfig, args=arguments) == replace(
        DEFAULT, gamma=(0.5, 2.0), enabled=False, motion_movements=3
    )

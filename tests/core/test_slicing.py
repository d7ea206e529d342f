from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import make_labels, quick
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from dqe_loss import VIEWS, extract_planes, hard_center_of_mass, pad_planes, regions_from_labels, soft_center_of_mass
from dqe_loss.task import BLOBS, GLIOMA

SHAPE = (14, 12, 10)
MIDDLE = torch.tensor([[6.5, 5.5, 4.5]])


def blob(seed: int, radius: float = 2.5) -> torch.Tensor:
    """A random lump of tumor core (X, Y, Z), anywhere in the volume, at least one voxel."""
    rng = np.random.default_rng(seed)
    center = rng.uniform(0, np.array(SHAPE) - 1)
    distance = np.sqrt(sum((a - c) ** 2 for a, c in zip(np.indices(SHAPE), center, strict=True)))
    lump = distance < radius + ndimage.gaussian_filter(rng.normal(size=SHAPE), 1)
    lump[tuple(center.round().astype(int))] = True
    return torch.from_numpy(lump)


def regions_of(core, whole=None, dtype=torch.float32) -> torch.Tensor:
    whole = core if whole is None else whole
    return torch.stack((core.to(dtype), whole.to(dtype), torch.zeros(SHAPE, dtype=dtype)))[None]


@quick
@given(st.integers(0, 10_000))
def test_centers_are_those_of_scipy(seed):
    core = blob(seed)
    expected = ndimage.center_of_mass(core.numpy())
    assert hard_center_of_mass(regions_of(core, dtype=torch.bool))[0].tolist() == [int(c) for c in expected]
    assert hard_center_of_mass(regions_of(core))[0].tolist() == [int(c) for c in expected]
    torch.testing.assert_close(soft_center_of_mass(regions_of(core))[0], torch.tensor(expected).float())


@quick
@given(st.integers(0, 10_000), st.floats(0, 0.1), st.booleans())
def test_background_probability_does_not_move_the_center(seed, leak, noisy):
    """Contract C5: up to 0.1 everywhere, a real core's center stays within one voxel."""
    core = blob(seed)
    background = torch.full(SHAPE, leak)
    if noisy:
        background = background * torch.rand(SHAPE, generator=torch.Generator().manual_seed(seed))
    leaking = soft_center_of_mass(regions_of(torch.maximum(core.float(), background)))
    assert (leaking - soft_center_of_mass(regions_of(core))).abs().max() <= 1


def test_the_center_of_a_large_volume_is_exact():
    """Moments of a full-size volume pass 2**24, where float32 stops to count."""
    core = torch.zeros(240, 240, 155, dtype=torch.bool)
    core[10:200, 30:231, 5:150] = True
    regions = core.expand(1, 3, -1, -1, -1)
    assert hard_center_of_mass(regions).tolist() == [[104, 130, 77]]
    center = soft_center_of_mass(regions)
    torch.testing.assert_close(center, torch.tensor([[104.5, 130.0, 77.0]]), rtol=0, atol=1e-3)


@pytest.mark.parametrize("find", [hard_center_of_mass, soft_center_of_mass])
def test_without_core_the_whole_tumor_counts_and_without_tumor_the_volume(find):
    core, whole, nothing = blob(1), blob(2), torch.zeros(SHAPE)
    batch = torch.cat([regions_of(core, whole), regions_of(nothing, whole), regions_of(nothing)])
    found = find(batch).float()
    middle = MIDDLE.floor() if find is hard_center_of_mass else MIDDLE
    torch.testing.assert_close(found, torch.cat([find(regions_of(core)), find(regions_of(whole)), middle]).float())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_half_precision_masks_are_summed_in_float32(dtype):
    regions = torch.zeros(1, 3, 64, 64, 64, dtype=dtype)
    regions[:, :, 10:60, 20:50, 30:61] = 1
    center = soft_center_of_mass(regions)
    assert center.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    torch.testing.assert_close(center.float(), torch.tensor([[34.5, 34.5, 45.0]]), rtol=0, atol=1e-4)
    assert hard_center_of_mass(regions).tolist() == [[34, 34, 45]]


def test_gradient_of_the_center():
    torch.manual_seed(0)
    # away from 0.5, where the weight has its kink
    regions = (torch.rand(2, 3, 4, 3, 3, dtype=torch.float64) * 0.4 + 0.55).requires_grad_()
    assert torch.autograd.gradcheck(soft_center_of_mass, regions)


@pytest.mark.parametrize("kind", ["empty", "full", "one voxel", "all 0.5", "nearly empty"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_center_and_gradient_are_finite(kind, dtype):
    regions = torch.zeros(1, 3, *SHAPE, dtype=dtype)
    if kind == "full":
        regions += 1
    elif kind == "one voxel":
        regions[..., 3, 2, 1] = 1
    elif kind == "all 0.5":
        regions += 0.5
    elif kind == "nearly empty":
        regions[..., 3, 2, 1] = 0.501
    regions.requires_grad_()
    center = soft_center_of_mass(regions)
    center.sum().backward()
    assert ((center >= 0) & (center <= torch.tensor(SHAPE) - 1)).all()
    assert regions.grad.isfinite().all()
    if kind == "one voxel":
        torch.testing.assert_close(center, torch.tensor([[3.0, 2.0, 1.0]]))


@pytest.mark.parametrize(("view", "axis"), [("axial", 2), ("coronal", 1), ("sagittal", 0)])
def test_planes_of_a_view(view, axis):
    volume = torch.rand(2, 4, *SHAPE)
    index = torch.tensor([[1, 3], [4, 0]])
    planes = extract_planes(volume, index, view)
    for b in range(2):
        for p in range(2):
            torch.testing.assert_close(planes[b, p], volume[b].select(1 + axis, int(index[b, p])), rtol=0, atol=0)
    torch.testing.assert_close(extract_planes(volume, index.double(), view), planes.double(), rtol=0, atol=0)
    between = extract_planes(volume, torch.tensor([[1.25], [4.25]]), view)
    lower, upper = (extract_planes(volume, torch.tensor([[i], [i + 3]]), view) for i in (1, 2))
    torch.testing.assert_close(between[0], 0.75 * lower[0] + 0.25 * upper[0])
    assert between.shape == (2, 1, 4, *[n for i, n in enumerate(SHAPE) if i != axis])


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int16, torch.float16])
def test_whole_planes_keep_their_dtype(dtype):
    volume = torch.ones(1, 1, *SHAPE, dtype=dtype)
    assert extract_planes(volume, torch.tensor([[2]]), "axial").dtype == dtype
    assert extract_planes(volume, torch.tensor([[2.5]]), "axial").eq(1).all()


@pytest.mark.parametrize("view", VIEWS)
def test_positions_outside_are_clamped(view):
    volume = torch.rand(1, 1, 5, 5, 5)
    for positions, inside in (([[-3, 9]], [[0, 4]]), ([[-0.5, 4.5]], [[0.0, 4.0]])):
        torch.testing.assert_close(
            extract_planes(volume, torch.tensor(positions), view), extract_planes(volume, torch.tensor(inside), view)
        )
    one = torch.rand(1, 1, 1, 1, 1)
    torch.testing.assert_close(extract_planes(one, torch.tensor([[0.0]]), view).flatten(), one.flatten())


def test_gradient_of_planes_for_voxels_and_position():
    torch.manual_seed(0)
    volume = torch.rand(1, 2, 4, 3, 5, dtype=torch.float64, requires_grad=True)
    positions = torch.tensor([[0.4, 1.7]], dtype=torch.float64, requires_grad=True)
    for view in VIEWS:
        assert torch.autograd.gradcheck(lambda v, p, view=view: extract_planes(v, p, view), (volume, positions))


def test_an_unknown_view_is_named():
    with pytest.raises(ValueError, match=r"views must be one or more of.*'transversal'"):
        extract_planes(torch.rand(1, 1, 4, 4, 4), torch.tensor([[1]]), "transversal")


@quick
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 100))
def test_padding_is_that_of_numpy(height, width, seed):
    planes = np.random.default_rng(seed).normal(size=(2, 3, height, width))
    sides = [((12 - n) // 2, (12 - n + 1) // 2) for n in (height, width)]
    expected = np.pad(planes, ((0, 0), (0, 0), *sides), mode="minimum")
    np.testing.assert_array_equal(pad_planes(torch.from_numpy(planes), (12, 12)).numpy(), expected)
    expected = np.pad(planes, ((0, 0), (0, 0), *sides), constant_values=0.5)
    np.testing.assert_array_equal(pad_planes(torch.from_numpy(planes), (12, 12), 0.5).numpy(), expected)


def test_a_plane_larger_than_the_field_of_view_is_refused():
    with pytest.raises(ValueError, match=r"a plane of 241x155 voxels exceeds .*240x240; crop or resample"):
        pad_planes(torch.zeros(1, 241, 155))


def test_hard_and_soft_centers_agree_on_a_label_map():
    regions = regions_from_labels(torch.from_numpy(make_labels())[None, None])
    assert soft_center_of_mass(regions).floor().long().tolist() == hard_center_of_mass(regions).tolist()


def test_too_large_a_plane_is_told_with_the_grid_of_its_task():
    plane = torch.zeros(1, 300, 300)
    for task, told in (
        (GLIOMA, r" \(BraTS: 240x240x155 at 1 mm\)$"),
        (BLOBS, r" \(this package: 48x48x48 at 1 mm\)$"),
        (replace(BLOBS, name="x", grid=None), "trained on$"),
    ):
        with pytest.raises(ValueError, match=told):
            pad_planes(plane, task=task)

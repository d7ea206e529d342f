"""Units do not matter (contract C2): neither gains of modalities nor z-scores change planes and stars."""

import pytest
import torch
from helpers import make_image, quick, shrink, z_scored
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dqe_loss import rate_segmentation, regions_from_labels, scale_planes
from dqe_loss.core.intensity import MEAN_OF_HEAD, has_offset, without_offset

GAINS = st.lists(st.floats(1e-4, 1e4), min_size=4, max_size=4)
PLANES = torch.from_numpy(make_image())[..., 8:17:4].movedim(-1, 0)
"""Three raw planes of four modalities, (3, 4, 32, 28)."""


@quick
@given(GAINS)
def test_any_gains_leave_planes_as_they_are(gains):
    changed = scale_planes(PLANES * torch.tensor(gains).view(4, 1, 1), "head_mean")
    torch.testing.assert_close(changed, scale_planes(PLANES, "head_mean"), rtol=0, atol=1e-5)


def test_the_mean_over_the_head_is_what_it_says():
    scaled = scale_planes(PLANES, "head_mean")
    means = [plane[plane > 0].mean() for plane in scaled.flatten(0, 1)]
    assert torch.stack(means) == pytest.approx(MEAN_OF_HEAD, abs=1e-3)
    assert (scaled == 0).equal(PLANES == 0)


@pytest.mark.parametrize("whole", [False, True])
def test_z_scores_are_recognized_by_modality_and_brought_back(whole):
    scored = z_scored(PLANES, whole)
    mixed = torch.cat((scored[:, :1], PLANES[:, 1:]), 1)
    assert has_offset(mixed).flatten(1).equal(torch.tensor([[True, False, False, False]]).expand(3, -1))
    back = without_offset(scored)
    assert (back >= 0).all()
    # What is brought back is the raw plane but for a gain, and where the air was not shifted, for its darkest voxel.
    for raw, found in zip(PLANES.flatten(0, 1), back.flatten(0, 1), strict=True):
        head = raw > 0
        expected = raw[head] - (0 if whole else raw[head].min())
        torch.testing.assert_close(found[head] / found.max(), expected / expected.max(), rtol=0, atol=1e-4)
        assert not found[~head].any()


def test_a_few_negative_voxels_are_no_z_scores():
    raw = PLANES.clone()
    raw[:, :, 16, 14] = -20
    assert not has_offset(raw).any()
    torch.testing.assert_close(scale_planes(raw)[:, :, :8], scale_planes(PLANES)[:, :, :8], rtol=0, atol=1e-2)


def test_air_is_not_the_darkest_where_resampling_left_darker_voxels():
    raw = PLANES.clone()
    raw[:, :, 14:17, 13:15] = -40.0
    # Raw, its few negative voxels count as air; shifted as a whole, the air tells by how much, not those voxels.
    found, expected = scale_planes(raw - 500, "head_mean"), scale_planes(raw, "head_mean")
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("whole", [False, True])
def test_z_scores_beside_raw_modalities_are_scaled_by_their_own_means(whole):
    """The published scaling takes all modalities together, which z-scores have no common unit for."""
    mixed = torch.cat((z_scored(PLANES, whole)[:, :1], PLANES[:, 1:]), 1)
    by_percentiles, by_means = (scale_planes(mixed, name) for name in ("percentile", "head_mean"))
    torch.testing.assert_close(by_percentiles, by_means, rtol=0, atol=0)
    assert not torch.equal(scale_planes(PLANES), scale_planes(PLANES, "head_mean"))


@pytest.fixture(scope="module")
def rated(phantom):
    image = torch.from_numpy(phantom.image)[None].float()
    return image, regions_from_labels(torch.from_numpy(phantom.segmentations["reference"])[None, None], "brats23")


@pytest.fixture(scope="module")
def rated_small(hardened, rated):
    """The default on a field of view of 96 pixels, about the tumor of a phantom: a sixth of the time, to ask often."""
    (image, mask), side = rated, 96
    small = shrink(hardened, side)
    middle = [int(spot) for spot in mask[0].any(0).nonzero().float().mean(0)]
    crop = (..., *(slice(spot - side // 2, spot + side // 2) for spot in middle))
    image, mask = image[crop], mask[crop]
    return small, image, mask, rate_segmentation(small, image, mask)


@settings(quick, max_examples=6)
@example([4, 1, 1, 1])
@example([1, 1, 100, 0.01])
@example([1e-4, 1e4, 1, 50])
@given(GAINS)
def test_no_gains_move_the_default_stars_of_a_phantom(rated_small, gains):
    small, image, mask, expected = rated_small
    changed = rate_segmentation(small, image * torch.tensor(gains).view(1, 4, 1, 1, 1), mask)
    assert changed == pytest.approx(expected, abs=0.05)


def test_the_default_surrogate_does_not_see_units(hardened, rated):
    image, mask = rated
    changed = rate_segmentation(hardened, image * torch.tensor([0.3, 7, 2, 50]).view(1, 4, 1, 1, 1), mask)
    assert changed == pytest.approx(rate_segmentation(hardened, image, mask), abs=0.05)


@pytest.mark.parametrize("which", ["hardened", "surrogate"])
def test_a_negative_background_moves_stars_little(request, rated, which):
    rater, (image, mask) = request.getfixturevalue(which), rated
    moved = rate_segmentation(rater, image - 400, mask) - rate_segmentation(rater, image, mask)
    assert moved.abs().max() <= (0.01 if which == "hardened" else 0.15)


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("which", ["hardened", "surrogate"])
def test_z_scores_move_stars_little(request, rated, which, whole):
    rater, (image, mask) = request.getfixturevalue(which), rated
    moved = rate_segmentation(rater, z_scored(image, whole), mask).mean() - rate_segmentation(rater, image, mask).mean()
    assert abs(moved) <= (0.3 if which == "hardened" else 0.15)

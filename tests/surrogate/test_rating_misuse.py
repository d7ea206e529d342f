"""Wrong uses of ratings that gave wrong stars without a word (contract C15)."""

import numpy as np
import pytest
import torch
from helpers import make_exam, tiny_surrogate
from monai.data import MetaTensor

from dqe_loss import (
    DQEMetric,
    best_of,
    hard_center_of_mass,
    rate_segmentation,
    regions_from_labels,
    soft_center_of_mass,
)


@pytest.fixture(scope="module")
def exam():
    image, labels = make_exam()
    return image, labels, regions_from_labels(labels)


def rate(image, segmentation, **options):
    return rate_segmentation(tiny_surrogate(), image, segmentation, **options)


def test_regions_in_another_order_are_told(exam):
    image, _, regions = exam
    swapped = regions[:, [1, 0, 2]]
    told = r"the segmentation's channels cannot be TC, WT, ET: .* they fit the order WT, TC, ET: reorder them"
    with pytest.warns(UserWarning, match=told):
        rate(image, swapped)
    with pytest.warns(UserWarning, match=told):
        DQEMetric(tiny_surrogate())(swapped, image)
    with pytest.warns(UserWarning, match=told):
        best_of({"mine": swapped[0]}, image[0], tiny_surrogate())


def test_what_is_no_image_is_refused_or_told(exam):
    image, labels, regions = exam
    with pytest.raises(ValueError, match="the image holds nothing but the whole numbers from 0 to 3"):
        rate(labels.expand(-1, 4, -1, -1, -1), regions)
    with pytest.warns(UserWarning, match="the image of exam 0 in the batch is empty or constant, or not finite"):
        rate(torch.full_like(image.float(), torch.nan), regions)
    empty = image.clone()
    empty[:, 0] = 0
    with pytest.warns(UserWarning, match="t1c of exam 0 in the batch is empty"):
        rate(empty, regions)
    stretched = MetaTensor(image, affine=torch.diag(torch.tensor([1.0, 1, 3, 1])))
    with pytest.warns(UserWarning, match="voxels of the image are 1 x 1 x 3 mm"):
        assert type(rate(stretched, regions)) is torch.Tensor


def test_an_image_whose_middle_plane_is_empty_is_one(exam, recwarn):
    image, _, regions = exam
    hollow = image.float() + 1
    hollow[..., image.shape[-1] // 2] = 0
    rate(hollow, regions)
    assert not [one for one in recwarn if "empty" in str(one.message)]


def test_a_single_slice_is_told(exam):
    image, _, regions = exam
    with pytest.warns(UserWarning, match=r"segmentations of \(32, 28, 1\) voxels .* without an axis of 1"):
        rate(image[..., 10:11], regions[..., 10:11])


@pytest.mark.parametrize(
    ("center", "message"),
    [
        ([48, 48, 48], r"expected centers \(1, 3\), voxel coordinates inside \(32, 28, 24\), got shape \(3,\)"),
        ([[480, 4, 4]], r"voxel coordinates inside \(32, 28, 24\), got \[\[480, 4, 4\]\]"),
    ],
)
def test_centers_lie_in_the_volume(exam, center, message):
    image, _, regions = exam
    with pytest.raises(ValueError, match=message):
        rate(image, regions, center=torch.tensor(center))


@pytest.mark.parametrize("center", [hard_center_of_mass, soft_center_of_mass])
def test_centers_are_those_of_regions(exam, center):
    _, labels, regions = exam
    with pytest.raises(ValueError, match=r"expected regions \(B, 3, X, Y, Z\) of TC, WT, ET, got shape \(1, 1, "):
        center(labels)
    with pytest.raises(ValueError, match=r"the regions is taken as probabilities but has values from -10"):
        center(20 * regions.float() - 10)


def test_autocast_moves_no_stars_of_a_metric(exam):
    image, _, regions = exam
    metric = DQEMetric(tiny_surrogate())
    expected = metric(regions, image)
    with torch.autocast("cpu", torch.bfloat16):
        np.testing.assert_array_equal(metric(regions, image).numpy(), expected.numpy())

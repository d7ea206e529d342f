"""Where else to look: centers that come from the image, and stars through several of them."""

import pytest
import torch
from helpers import tiny_surrogate
from small_tasks import CT

from dqe_loss import rate_segmentation
from dqe_loss.core.centers import brain_center, bright_center, image_centers
from dqe_loss.data.phantom import make_phantom

SHAPE = (32, 32, 30)


def make_image():
    image = torch.zeros(1, 4, *SHAPE)
    image[:, :, 4:28, 4:28, 4:26] = 100
    image[:, 3, 6:16, 16:28, 8:20] = 300  # a bright lesion in FLAIR alone
    return image


def test_the_bright_center_lies_in_the_lesion_whatever_the_order_of_channels():
    image = make_image()
    x, y, z = bright_center(image)[0].tolist()
    assert 6 <= x < 16
    assert 16 <= y < 28
    assert 8 <= z < 20
    turned = image[:, [3, 1, 0, 2]]
    assert bright_center(turned, ("flair", "t1", "t1c", "t2"))[0].tolist() == [x, y, z]


def test_the_brain_center_is_its_center_of_mass():
    assert brain_center(make_image())[0].tolist() == [15, 15, 14]
    assert brain_center(torch.zeros(1, 4, *SHAPE))[0].tolist() == [(n - 1) // 2 for n in SHAPE]


def test_air_of_ct_is_no_body():
    image = torch.full((1, 1, *SHAPE), -1000.0)
    image[:, :, 4:13, 20:29, 2:9] = 40
    assert image_centers(image, ("brain",), task=CT)["brain"][0].tolist() == [8, 24, 5]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 4])
def test_the_bright_center_of_a_phantom_lies_in_its_tumor(seed):
    exam = make_phantom(seed)
    center = bright_center(torch.from_numpy(exam.image)[None])[0].tolist()
    assert exam.segmentations["reference"][tuple(center)] > 0


@pytest.mark.parametrize("slicing", ["hard", "soft"])
def test_the_lowest_stars_of_each_view_count(slicing):
    image, labels = make_image(), torch.zeros(1, 1, *SHAPE, dtype=torch.uint8)
    labels[..., 20:26, 6:12, 20:26] = 3
    stars = {
        centers: rate_segmentation(tiny_surrogate(), image, labels, slicing=slicing, center=centers)
        for centers in (("mask",), ("flair",), ("brain",), ("mask", "flair", "brain"))
    }
    single = torch.stack([stars[(name,)] for name in ("mask", "flair", "brain")])
    assert len({tuple(row[0].tolist()) for row in single}) == 3
    torch.testing.assert_close(stars[("mask", "flair", "brain")], single.amin(0))
    torch.testing.assert_close(rate_segmentation(tiny_surrogate(), image, labels, slicing=slicing), stars[("mask",)])


@pytest.mark.parametrize("centers", [(), ("mask", "mask"), ("nose",)])
def test_unknown_places_are_refused(centers):
    with pytest.raises(ValueError, match=r"center must be one or more of \('mask', 'flair', 'brain'\), each once, got"):
        rate_segmentation(tiny_surrogate(), make_image(), torch.zeros(1, 1, *SHAPE), center=centers)


def test_a_center_in_flair_needs_the_modalities_by_name():
    with pytest.raises(ValueError, match=r"modalities must name each of \('t1c', 't1', 't2', 'flair'\) once, got"):
        rate_segmentation(
            tiny_surrogate(),
            make_image(),
            torch.zeros(1, 1, *SHAPE),
            center=("flair",),
            modalities=("t1c", "t1", "t2", "T2F"),
        )

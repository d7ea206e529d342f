"""Which of several masks of an exam has the most stars."""

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import make_exam, small_surrogate

import dqe_loss.metrics.best_of as module
from dqe_loss import VIEWS, best_of, load_surrogate, rate_segmentation, regions_from_labels
from dqe_loss.metrics.best_of import choose


@pytest.fixture(scope="module")
def exam():
    """An image, and masks of it that are moved or emptied."""
    image, labels = (x[0] for x in make_exam())
    masks = {"moved": torch.roll(labels[0], 6, 0), "own": labels[0], "none": torch.zeros_like(labels[0])}
    return image, masks


def expected(image, masks, surrogate, **options):
    rated = {
        name: rate_segmentation(surrogate, image[None], mask[None, None], **options) for name, mask in masks.items()
    }
    return {name: stars[0] for name, stars in rated.items()}


def test_the_most_mean_stars_and_the_most_of_each_view(exam):
    image, masks = exam
    chosen = best_of(masks, image, small_surrogate())
    stars = expected(image, masks, small_surrogate())
    assert list(chosen.stars) == list(masks)
    for name, values in stars.items():
        assert [chosen.stars[name][view] for view in VIEWS] == pytest.approx(values.tolist(), abs=1e-5)
        assert chosen.stars[name]["mean"] == pytest.approx(float(values.mean()), abs=1e-5)
    assert chosen.best == max(stars, key=lambda name: float(stars[name].mean()))
    for i, view in enumerate(VIEWS):
        assert chosen.best_in[view] == max(stars, key=lambda name, i=i: float(stars[name][i]))


def test_a_sequence_is_chosen_from_by_place(exam):
    image, masks = exam
    named = best_of(masks, image, small_surrogate())
    placed = best_of(list(masks.values()), image, small_surrogate())
    assert placed.best == list(masks).index(named.best)
    assert list(placed.stars.values()) == list(named.stars.values())


def test_label_maps_regions_and_arrays_are_one(exam):
    image, masks = exam
    own = masks["own"]
    regions = regions_from_labels(own[None, None])[0]
    forms = [own, own[None], own.float(), regions, 0.6 * regions.float(), own.numpy()]
    stars = best_of(forms, image.numpy(), small_surrogate()).stars
    assert all(one == stars[0] for one in stars.values())


def test_arrays_of_the_other_byte_order_are_the_same(exam):
    """As NIfTI files may hold them."""
    image, masks = exam
    own, swapped = ({"own": masks["own"].numpy().astype(kind)} for kind in ("<i2", ">i2"))
    expected = best_of(own, image, small_surrogate())
    assert best_of(swapped, image.numpy().astype(">f4"), small_surrogate()) == expected


def test_planes_are_of_no_known_view(exam):
    image, masks = exam
    planes = {name: mask[..., 12] for name, mask in masks.items()}
    chosen = best_of(planes, image[..., 12], small_surrogate())
    assert chosen.best_in == {}
    rated = rate_segmentation(small_surrogate(), image[None, ..., 12], planes["own"][None, None])
    assert chosen.stars["own"] == {"mean": pytest.approx(rated.item(), abs=1e-5)}


def test_the_first_of_equal_ones(exam):
    image, masks = exam
    own = masks["own"]
    chosen = best_of({"b": own, "a": own.clone()}, image, small_surrogate())
    assert (chosen.best, chosen.best_in) == ("b", dict.fromkeys(VIEWS, "b"))
    assert choose({"x": {"axial": 2.0, "mean": 3.0}, "y": {"axial": 4.0, "mean": 3.0}}).best == "x"


def test_one_candidate_is_rated_and_taken(exam):
    image, masks = exam
    chosen = best_of({"own": masks["own"]}, image, small_surrogate())
    assert chosen.best == "own"
    assert set(chosen.stars["own"]) == {*VIEWS, "mean"}


def test_with_the_default_it_finds_the_reference(phantom):
    """Thorough, as the command: a mask that is moved is told from one that fits."""
    image, labels = torch.from_numpy(phantom.image), torch.from_numpy(phantom.segmentations["reference"])
    masks = {"moved": torch.roll(labels, (12, 12), (0, 1)), "reference": labels}
    chosen = best_of(masks, image)
    assert chosen.best == "reference"
    stars = expected(image, masks, load_surrogate(), thorough=True)
    assert chosen.stars["moved"]["mean"] == pytest.approx(float(stars["moved"].mean()), abs=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda mask: mask[1:], r"segmentation 'b': expected a mask on the image's grid, \(32, 28, 24\).*resample"),
        (lambda mask: mask + 7, r"segmentation 'b': .*label"),
        (lambda mask: torch.stack([8.0 * mask - 4] * 3), r"segmentation 'b': .*torch\.sigmoid"),
        (lambda mask: torch.stack([mask.float() / 0] * 3), r"segmentation 'b': .*holds NaN"),
        (lambda mask: mask[None, None], r"segmentation 'b': expected a mask on the image's grid"),
    ],
)
def test_a_mask_that_cannot_be_rated_is_named(exam, change, message):
    image, masks = exam
    with pytest.raises(ValueError, match=message):
        best_of({"a": masks["own"], "b": change(masks["own"])}, image, small_surrogate())


def test_stars_that_are_no_numbers_are_told(exam, monkeypatch):
    image, masks = exam
    monkeypatch.setattr(module.PredictionRater, "__call__", lambda *given: torch.full((1, 3), np.nan))
    with pytest.raises(ValueError, match="segmentation 'own': cannot be rated, the surrogate gives"):
        best_of({"own": masks["own"]}, image, small_surrogate())


def test_calls_that_cannot_be(exam):
    image, masks = exam
    for one in (masks["own"], masks["own"].numpy()):
        with pytest.raises(
            TypeError, match=r"a mapping or a list of segmentations, got a .* \(32, 28, 24\); put one in"
        ):
            best_of(one, image, small_surrogate())
    for path in ("unet.nii.gz", Path("unet.nii.gz")):
        with pytest.raises(
            TypeError, match=r"segmentation 'unet': expected a tensor or an array, got a path; .*--best"
        ):
            best_of({"unet": path}, image, small_surrogate())
        with pytest.raises(TypeError, match="the image: expected a tensor or an array, got a path"):
            best_of(masks, path, small_surrogate())
    with pytest.raises(ValueError, match="expected segmentations to choose among, got none"):
        best_of({}, image, small_surrogate())
    with pytest.raises(ValueError, match=r"the image of one exam, .* got shape \(1, 4, 32, 28, 24\); say image\[0\]"):
        best_of(masks, image[None], small_surrogate())

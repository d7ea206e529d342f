"""The phantom is an exam like others: laid out as BraTS exams are, reproducible, its reference rated high."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from dqe_loss import MODALITIES, Surrogate, rate_segmentation
from dqe_loss.data.exams import Exam
from dqe_loss.data.phantom import make_phantom

NECROSIS, EDEMA, ENHANCING = 1, 2, 3


@pytest.fixture(scope="module")
def labels(phantom: Exam) -> np.ndarray:
    return phantom.segmentations["reference"]


@pytest.fixture(scope="module")
def white_matter(phantom: Exam, labels: np.ndarray) -> np.ndarray:
    """Far from the tumor, the brightest third of the brain on T1 without the vessels, bright on T1c."""
    t1c, t1 = phantom.image[0], phantom.image[1]
    healthy = (t1 > 0) & ~ndimage.binary_dilation(labels > 0, iterations=10)
    bright = t1 > np.percentile(t1[healthy], 67)
    return healthy & bright & (t1c < np.percentile(t1c[healthy], 95))


def median(phantom: Exam, modality: str, where: np.ndarray) -> float:
    return float(np.median(phantom.image[MODALITIES.index(modality)][where]))


def test_layout(phantom: Exam, labels: np.ndarray) -> None:
    assert phantom.name == "phantom-0"
    assert phantom.image.shape == (4, 240, 240, 155)
    assert phantom.image.dtype == np.int16
    assert labels.shape == (240, 240, 155)
    assert labels.dtype == np.uint8
    assert np.unique(labels).tolist() == [0, NECROSIS, EDEMA, ENHANCING]
    assert phantom.affine.tolist() == [[-1, 0, 0, 0], [0, -1, 0, 239], [0, 0, 1, 0], [0, 0, 0, 1]]


@pytest.mark.slow
def test_same_seed_same_exam(phantom: Exam, labels: np.ndarray) -> None:
    again = make_phantom(0)
    assert np.array_equal(again.image, phantom.image)
    assert np.array_equal(again.segmentations["reference"], labels)


@pytest.mark.slow
def test_other_seed_other_exam(phantom: Exam, labels: np.ndarray) -> None:
    other = make_phantom(1)
    assert not np.array_equal(other.segmentations["reference"], labels)
    assert not np.array_equal(other.image > 0, phantom.image > 0)


def test_negative_seed() -> None:
    with pytest.raises(ValueError, match="expected a seed of 0 or above, got -1"):
        make_phantom(-1)


def test_background_is_zero_and_tumor_in_brain(phantom: Exam, labels: np.ndarray) -> None:
    brain = phantom.image[0] > 0
    assert phantom.image.min() == 0
    # One brain in all modalities, connected, of a believable size, with air on all sides but the neck's.
    assert all(np.array_equal(modality > 0, brain) for modality in phantom.image)
    parts, _ = ndimage.label(brain)
    assert np.bincount(parts.reshape(-1))[1:].max() > 0.999 * brain.sum()
    assert 1.2e6 < brain.sum() < 2.0e6
    assert not brain[[0, -1]].any()
    assert not brain[:, [0, -1]].any()
    assert not brain[:, :, -1].any()
    assert brain[labels > 0].all()


def test_contrast_of_tumor(phantom: Exam, labels: np.ndarray, white_matter: np.ndarray) -> None:
    necrosis, edema, enhancing = (labels == label for label in (NECROSIS, EDEMA, ENHANCING))
    assert median(phantom, "flair", edema) > 1.4 * median(phantom, "flair", white_matter)
    assert median(phantom, "t2", edema) > 1.3 * median(phantom, "t2", white_matter)
    assert median(phantom, "t1c", enhancing) > 1.5 * median(phantom, "t1c", necrosis)
    assert median(phantom, "t1c", enhancing) > 1.15 * median(phantom, "t1c", white_matter)
    assert median(phantom, "t1c", necrosis) < median(phantom, "t1c", edema)
    assert median(phantom, "t1", enhancing) < 1.1 * median(phantom, "t1", white_matter)


def test_rim_encloses_necrosis_and_edema_the_core(labels: np.ndarray) -> None:
    necrosis, core = labels == NECROSIS, (labels == NECROSIS) | (labels == ENHANCING)
    around_necrosis = ndimage.binary_dilation(necrosis) & ~necrosis
    assert (labels[around_necrosis] == ENHANCING).mean() > 0.95
    whole = labels > 0
    for region in (core, whole):
        parts, _ = ndimage.label(region)
        assert np.bincount(parts.reshape(-1))[1:].max() > 0.9 * region.sum()
    around_core = ndimage.binary_dilation(core) & ~core
    assert (labels[around_core] == EDEMA).mean() > 0.3


def test_rated_well_and_lower_without_enhancing_tumor(phantom: Exam, labels: np.ndarray, surrogate: Surrogate) -> None:
    image = torch.from_numpy(phantom.image)[None]

    def rate(segmentation: np.ndarray) -> float:
        return rate_segmentation(surrogate, image, torch.from_numpy(segmentation)[None, None]).mean().item()

    reference = rate(labels)
    assert reference >= 4.5
    assert rate(np.where(labels == ENHANCING, 0, labels).astype(np.uint8)) < reference - 0.5

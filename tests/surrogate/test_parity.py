"""Hard slicing against the published package, run beside it (contract C4)."""

import itertools
import os
import sys

import nibabel as nib
import numpy as np
import pytest
import torch
from helpers import make_image, make_labels
from torch.utils.data import DataLoader

from dqe_loss import DQEMetric, rate_segmentation
from dqe_loss.data.exam_files import ExamPaths, find_exam
from dqe_loss.data.exams import read_exam

EXAM = "BraTS-GLI-00001-000"
GOLDEN = [5.45254, 5.13865, 5.35569]  # axial, coronal, sagittal of seg-BraTS23_1
MASKS = ["seg-BraTS23_1", "seg-BraTS23_1_mapped", "seg-SPARK2023_KIFARU_nnunet300", "seg-bratstoolkit_isen"]


@pytest.fixture(scope="module")
def upstream():
    """Function from four modalities and a label map (files or arrays) to upstream's stars: axial, coronal, sagittal."""
    pytest.importorskip("deep_quality_estimation")
    from deep_quality_estimation import DQE, data_handler
    from loguru import logger

    logger.disable("deep_quality_estimation")
    with pytest.MonkeyPatch.context() as patch:
        # its constructor overwrites this: the context puts it back
        patch.setenv("CUDA_VISIBLE_DEVICES", os.environ.get("CUDA_VISIBLE_DEVICES", ""))
        # its eight workers change nothing but the time
        patch.setattr(data_handler, "DataLoader", lambda **options: DataLoader(**{**options, "num_workers": 0}))
        model = DQE(device=torch.device("cpu"))

        def predict(t1c, t1, t2, flair, segmentation):
            _, stars = model.predict(t1c, t1, t2, flair, segmentation)
            return [stars[view] for view in ("AXIAL", "CORONAL", "SAGITTAL")]

        yield predict


def assert_parity(surrogate, upstream, image, labels):
    ratings = rate_segmentation(surrogate, torch.from_numpy(image)[None], torch.from_numpy(labels)[None, None])
    # upstream takes no integer arrays: from files it reads float64
    np.testing.assert_allclose(ratings[0].tolist(), upstream(*image.astype(np.float64), labels), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "case",
    [
        *("plain", "no core", "one voxel", "NaN"),
        *(
            pytest.param(case, marks=pytest.mark.slow)
            for case in ("enhancing is 4", "at the border", "int16", "float64", "a few negative")
        ),
    ],
)
def test_synthetic_exams_rate_as_upstream(surrogate, upstream, case):
    shape = (48, 40, 36)
    image, labels = make_image(shape), make_labels(shape)
    if case == "no core":
        labels[labels != 2] = 0
    elif case == "enhancing is 4":
        labels[labels == 3] = 4
    elif case == "at the border":  # the minimum that pads a row of tumor is not 0
        labels = make_labels(shape, (0.7, -0.8, 0.9))
        labels[:, 18:22], labels[22:25, 10:30] = 2, 1
        image += 50
    elif case == "one voxel":
        labels[:] = 0
        labels[20, 19, 18] = 1
    elif case == "NaN":
        image[1, 20:30, 10:20, 15:25] = np.nan
    elif case == "a few negative":  # as resampling leaves them; more are z-scores, see test_units
        image[1:, 20:23, 18:24, 15:21] = -40
    elif case != "plain":
        image = (image * 3).astype(case)
    assert_parity(surrogate, upstream, image, labels)


@pytest.fixture(scope="module")
def exam(exams):
    with pytest.warns(UserWarning, match=r"its affine differs"):  # two of the masks carry a wrong header
        return read_exam(exams / EXAM)


@pytest.fixture(scope="module")
def published(exams, upstream):
    """Upstream's stars of each mask, from its own files."""
    paths = find_exam(exams / EXAM)
    files = tuple(paths.images.values())
    return {p.name.removesuffix(".nii.gz"): upstream(*files, p) for p in paths.segmentations}


@pytest.mark.exams
def test_the_published_numbers_come_out(surrogate, exam):
    labels = torch.from_numpy(exam.segmentations["seg-BraTS23_1"])[None, None]
    ratings = rate_segmentation(surrogate, torch.from_numpy(exam.image)[None], labels)
    assert ratings[0].tolist() == pytest.approx(GOLDEN, abs=1e-4)
    soft = rate_segmentation(surrogate, torch.from_numpy(exam.image)[None], labels, slicing="soft")
    assert soft.mean().item() == pytest.approx(5.333, abs=0.01)


@pytest.mark.slow
@pytest.mark.exams
def test_each_view_of_each_mask_rates_as_upstream(surrogate, exam, published):
    """One by one, and as a batch of four."""
    assert sorted(published) == sorted(exam.segmentations) == sorted(MASKS)
    image = torch.from_numpy(exam.image)[None]
    labels = torch.stack([torch.from_numpy(exam.segmentations[name])[None] for name in MASKS])
    expected = np.array([published[name] for name in MASKS])
    batch = rate_segmentation(surrogate, image.expand(4, -1, -1, -1, -1), labels)
    np.testing.assert_allclose(batch.numpy(), expected, rtol=0, atol=1e-4)
    alone = [rate_segmentation(surrogate, image, labels[i : i + 1])[0].tolist() for i in range(4)]
    np.testing.assert_allclose(alone, expected, rtol=0, atol=1e-4)


@pytest.mark.slow
@pytest.mark.exams
@pytest.mark.filterwarnings("ignore:one exam of a batch holds 3")  # one of the masks is that of BraTS 2023 as in 2021
def test_the_metric_rates_a_batch_of_masks_as_upstream(surrogate, exam, published):
    """The masks of one exam name enhancing tumor 3 and 4 by turns."""
    image = torch.from_numpy(exam.image)[None].expand(4, -1, -1, -1, -1)
    labels = torch.stack([torch.from_numpy(exam.segmentations[name])[None] for name in MASKS])
    metric = DQEMetric(surrogate)
    np.testing.assert_allclose(metric(labels, image).numpy(), [published[name] for name in MASKS], rtol=0, atol=1e-4)


@pytest.mark.slow
@pytest.mark.exams
def test_uncompressed_files_rate_alike(surrogate, exam, exams, published, tmp_path):
    paths = find_exam(exams / EXAM)
    plain = {}
    for name in ("t1c", "t1", "t2", "flair"):
        plain[name] = tmp_path / f"{name}.nii"
        nib.load(paths.images[name]).to_filename(plain[name])
    mask = tmp_path / "seg-BraTS23_1.nii"
    nib.load(next(p for p in paths.segmentations if p.name == "seg-BraTS23_1.nii.gz")).to_filename(mask)
    read = read_exam(ExamPaths(plain, (mask,)))
    np.testing.assert_array_equal(read.image, exam.image)
    ratings = rate_segmentation(
        surrogate, torch.from_numpy(read.image)[None], torch.from_numpy(read.segmentations["seg-BraTS23_1"])[None, None]
    )
    np.testing.assert_allclose(ratings[0].tolist(), published["seg-BraTS23_1"], rtol=0, atol=1e-4)


@pytest.mark.slow
@pytest.mark.exams
def test_every_label_scheme_of_a_real_mask_rates_alike(surrogate, exam):
    image = torch.from_numpy(exam.image)[None]
    labels = torch.from_numpy(exam.segmentations["seg-BraTS23_1"]).long()[None, None]
    names = {"brats23": [0, 1, 2, 3], "brats21": [0, 1, 2, 4], "brats": [0, 1, 2, 4], "msd": [0, 2, 1, 3],
             "nnunet": [0, 2, 1, 3], "brats24": [0, 1, 2, 3], "brats-peds": [0, 2, 4, 1]}  # fmt: skip
    ratings = [
        rate_segmentation(surrogate, image, torch.tensor(values)[labels], label_scheme=scheme)
        for scheme, values in names.items()
    ]
    assert all(torch.equal(a, b) for a, b in itertools.pairwise(ratings))
    assert ratings[0][0].tolist() == pytest.approx(GOLDEN, abs=1e-4)


def test_upstream_is_only_a_reference():
    """Nothing of the library imports it; this module does, in a fixture."""
    assert not any(
        "deep_quality_estimation" in vars(module) for name, module in sys.modules.items() if name.startswith("dqe_loss")
    )

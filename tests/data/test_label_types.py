"""Label maps of every type a file or a tensor may have: the same stars, and no value that wraps around unseen."""

import nibabel as nib
import numpy as np
import pytest
import torch
from cohort import LPS, write, write_exam
from helpers import make_exam, make_labels, make_logits, make_loss, small_surrogate

from dqe_loss import DQEMetric, check_labels, rate_segmentation, regions_from_labels
from dqe_loss.audit.audited_exam import ExamSource, _read_reference
from dqe_loss.core.boxes import tensor_box
from dqe_loss.data.exam_files import find_exam
from dqe_loss.data.exams import ExamError, read_exam
from dqe_loss.evaluate.predictions import read_volumes
from dqe_loss.rate.rate_exam import rate_exam
from dqe_loss.simulate.simulate_exam import _find_other
from dqe_loss.task import GLIOMA

STORED = ("uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64")
INTEGERS = tuple(getattr(torch, name) for name in STORED[:8])
TYPES = (*INTEGERS, torch.float16, torch.bfloat16, torch.float32, torch.float64)


def save(path, array, order="<"):
    nib.Nifti1Image(array, LPS, nib.Nifti1Header(endianness=order), dtype=array.dtype).to_filename(path)


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_tensors_of_every_type_give_the_same_stars(dtype):
    image, labels = make_exam()
    other = labels.to(dtype)
    surrogate, logits = small_surrogate(), make_logits(labels).detach()
    check_labels(other, "brats23")
    assert torch.equal(regions_from_labels(other), regions_from_labels(labels))
    regions = regions_from_labels(labels)
    for slicing in ("hard", "soft"):
        stars = [rate_segmentation(surrogate, image, x, slicing=slicing) for x in (other, labels)]
        assert torch.equal(*stars)
        stars = [rate_segmentation(surrogate, image, x, slicing=slicing) for x in (regions.to(dtype), regions)]
        torch.testing.assert_close(*stars)
    assert torch.equal(*(make_loss()(logits, x, image=image) for x in (other, labels)))
    assert torch.equal(*(DQEMetric(surrogate)(x, image) for x in (other, labels)))
    with pytest.raises(ValueError, match=r"'brats21' has the labels 0, 1, 2, 4, but the label map also holds \[3"):
        check_labels(other, "brats21")
    with pytest.raises(ValueError, match=r"but the label map also holds \[5"):
        check_labels(torch.where(labels == 3, 5, labels.int()).to(dtype), "brats23")


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_the_box_of_every_integer_type(dtype):
    _, labels = make_exam()
    assert tensor_box(labels.to(dtype), leading=2) == tensor_box(labels, leading=2)


@pytest.mark.parametrize("dtype", [torch.uint16, torch.uint32], ids=str)
def test_images_of_large_unsigned_types(dtype):
    image, labels = make_exam()
    image = image.clamp(min=0).round()
    centers = ("mask", "flair", "brain")
    stars = [rate_segmentation(small_surrogate(), x, labels, center=centers) for x in (image.to(dtype), image)]
    assert torch.equal(*stars)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_exam(tmp_path_factory.mktemp("types") / "exam", masks=("seg-a",))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("name", STORED)
def test_files_of_every_type_give_the_same_stars(folder, name, order):
    path = folder / "seg-a.nii.gz"
    write(path, make_labels())
    expected = rate_exam(folder, small_surrogate())
    save(path, make_labels().astype(name), order)
    exam = read_exam(folder)
    assert exam.segmentations["seg-a"].dtype == np.uint8
    np.testing.assert_array_equal(exam.segmentations["seg-a"], make_labels())
    assert rate_exam(folder, small_surrogate()) == expected
    shape = make_labels().shape
    np.testing.assert_array_equal(_read_reference(ExamSource("", find_exam(folder)), shape), make_labels())
    np.testing.assert_array_equal(_find_other([path], shape, GLIOMA.scheme("brats23")), make_labels())
    volumes = [np.isin(make_labels(), values).sum() / 1000 for values in ((1, 3), (1, 2, 3), 3)]
    assert read_volumes(path).tolist() == pytest.approx(volumes)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("int16", 257),
        ("int16", -255),
        ("uint16", 256),
        ("int32", 65537),
        ("uint32", 2**32 - 255),
        ("int64", 2**33 + 1),
        ("uint64", 2**63 + 1),
        ("float32", 1.25),
        ("float64", 2.0**40),
    ],
)
def test_values_that_would_wrap_around_or_be_cut_are_refused(folder, name, value):
    array = make_labels().astype(name)
    array[array == 3] = value
    path = folder / "seg-a.nii.gz"
    save(path, array)
    readers = [
        lambda: read_exam(folder),
        lambda: _read_reference(ExamSource("", find_exam(folder)), array.shape),
        lambda: _find_other([path], array.shape, GLIOMA.scheme("brats23")),
        lambda: read_volumes(path),
    ]
    for read in readers:
        with pytest.raises(ExamError, match=r"seg-a.nii.gz: .*(holds \[|integer labels)"):
            read()

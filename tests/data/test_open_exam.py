"""Exams of which planes are taken as they lie in their files: the same values, stars and errors as of whole arrays."""

import builtins
import gzip
import importlib
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import nibabel as nib
import numpy as np
import pytest
import torch
from helpers import make_image, make_labels, quick, small_surrogate
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dqe_loss import LABEL_SCHEMES, MODALITIES, VIEWS, rate_segmentation
from dqe_loss.core.boxes import tensor_box
from dqe_loss.core.center_of_mass import mass_profiles
from dqe_loss.core.mask import LabelMask
from dqe_loss.core.slicing import take_planes
from dqe_loss.data import nifti
from dqe_loss.data.exam_files import find_exam
from dqe_loss.data.exams import open_exam, read_exam
from dqe_loss.data.nifti import ExamError
from dqe_loss.rate.rate_exam import prepare_planes, rate_exam, rate_prepared_planes

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def save(path, array, endianness="<", scale=None, order="F"):
    """Write a NIfTI file; what `scale` says is undone, so that the values are the array's up to rounding."""
    image = nib.Nifti1Image(np.asarray(array, order=order), LPS, nib.Nifti1Header(endianness=endianness))
    image.header.set_data_dtype(array.dtype)
    if scale:
        image.header.set_slope_inter(*scale)
    image.to_filename(path)


def make_folder(path, ending=".nii.gz", dtype=np.int16, **options):
    path.mkdir()
    for modality, channel in zip(MODALITIES, make_image(), strict=True):
        save(path / f"{modality}{ending}", channel.astype(dtype), **options)
    options.pop("scale", None)
    save(path / f"seg-first{ending}", make_labels(), **options)
    save(path / f"seg-second{ending}", np.flip(make_labels(), 0).astype(np.int16), **options)
    return path


STORED = {
    "gz": {},
    "plain": {"ending": ".nii"},
    "C order": {"ending": ".nii", "order": "C"},
    "big-endian": {"ending": ".nii", "endianness": ">"},
    "big-endian gz": {"endianness": ">"},
    "scaled": {"ending": ".nii", "scale": (0.37, -11.5)},
    "scaled big-endian": {"ending": ".nii", "endianness": ">", "scale": (-2.5, 3)},
    "float64": {"ending": ".nii", "dtype": np.float64},
    "uint16": {"ending": ".nii", "dtype": np.uint16},
    "uint8 gz": {"dtype": np.uint8},
}


@pytest.mark.parametrize("case", STORED)
def test_planes_and_stars_are_those_of_whole_arrays(tmp_path, case):
    folder = make_folder(tmp_path / "exam", **STORED[case])
    opened, whole = open_exam(folder), read_exam(folder)
    image = torch.from_numpy(whole.image)[None]
    assert opened.image.shape == image.shape
    for view, size in zip(VIEWS, (24, 28, 32), strict=True):
        index = torch.tensor([[0, size // 2, size - 1]])
        planes = take_planes(opened.image, index, view)
        assert planes.dtype == image.dtype
        assert torch.equal(planes, take_planes(image, index, view))
    for name, labels in whole.segmentations.items():
        np.testing.assert_array_equal(opened.segmentations[name], labels)
    assert rate_exam(folder, small_surrogate()) == rate_exam(whole, small_surrogate())


def test_a_mixed_type_is_that_of_the_whole_array(tmp_path):
    folder = make_folder(tmp_path / "exam", ending=".nii")
    save(folder / "t2.nii", make_image()[2].astype(np.float32))
    save(folder / "t1.nii", make_image()[1].astype(np.uint32))
    opened, whole = open_exam(folder), read_exam(folder)
    assert opened.image.dtype == whole.image.dtype == np.float32
    planes = opened.image.take(torch.tensor([[7]]), "coronal")
    assert torch.equal(planes[0, 0], torch.from_numpy(whole.image[:, :, 7]))


def test_stars_are_those_of_the_one_path(tmp_path):
    folder = make_folder(tmp_path / "exam", ending=".nii")
    exam = read_exam(folder)
    ratings = rate_exam(find_exam(folder), small_surrogate())
    for name, labels in exam.segmentations.items():
        image, mask = torch.from_numpy(exam.image)[None], torch.from_numpy(labels)[None, None]
        stars = rate_segmentation(small_surrogate(), image, mask)[0]
        assert [ratings[name][view] for view in VIEWS] == stars.tolist()


def test_plain_files_are_mapped_and_not_copied(tmp_path):
    folder = make_folder(tmp_path / "exam", ending=".nii")
    exam = open_exam(folder)
    assert not any(volume.stored.flags.writeable or volume.stored.flags.owndata for volume in exam.image.volumes)
    assert all(labels.flags.writeable for labels in exam.segmentations.values())  # what torch wants
    before = (folder / "t1c.nii").read_bytes()
    read_exam(folder).image[:] = 0
    read_exam(folder).segmentations["seg-first"][:] = 0
    assert (folder / "t1c.nii").read_bytes() == before


def test_planes_outlive_their_exam_and_threads_give_the_same(tmp_path):
    folders = [make_folder(tmp_path / f"exam{i}", ending) for i, ending in enumerate((".nii", ".nii.gz") * 3)]
    alone = [rate_exam(folder, small_surrogate()) for folder in folders]
    with ThreadPoolExecutor(3) as pool:
        planes = list(pool.map(lambda folder: prepare_planes(open_exam(folder), small_surrogate()), folders))
    assert [rate_prepared_planes(exam, small_surrogate()) for exam in planes] == alone


def damaged(folder, damage):
    path = next(folder.glob("t2.nii*"))
    damage(path)
    found = []
    for read in (read_exam, open_exam):
        with pytest.raises(ExamError) as caught:
            read(folder)
        found.append(str(caught.value))
    assert found[0] == found[1]
    return found[0]


def with_value(value):
    def damage(path):
        array = make_image()[2]
        array[1, 2, 3] = value  # far from the planes that are rated
        save(path, array)

    return damage


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (with_value(np.nan), "expected finite intensities, found NaN, Inf"),
        (with_value(np.inf), "expected finite intensities, found NaN, Inf"),
        (lambda path: save(path, np.zeros((32, 28, 24), np.int16)), "expected an image, found nothing but 0"),
        (lambda path: save(path, np.full((32, 28, 24), 3, np.int16), scale=(2, 1)), "found nothing but 7"),
        (lambda path: save(path, make_image()[2][:-1]), "shape (31, 28, 24), expected (32, 28, 24) as in"),
        (lambda path: path.write_bytes(path.read_bytes()[:-900]), "damaged or cut short"),
        (lambda path: path.write_bytes(b""), "found an empty one (0 bytes)"),
    ],
)
def test_every_check_holds_without_reading_all(tmp_path, ending, damage, message):
    folder = make_folder(tmp_path / "exam", ending)
    assert message in damaged(folder, damage)


def test_other_affine_warns_at_the_caller(tmp_path):
    folder = make_folder(tmp_path / "exam", ending=".nii")
    nib.Nifti1Image(make_labels(), np.eye(4)).to_filename(folder / "seg-first.nii")
    with pytest.warns(UserWarning, match=r"seg-first.nii: its affine differs from that of .*t1c.nii") as caught:
        exam = open_exam(folder)
    assert caught[0].filename == __file__
    assert list(exam.misaligned) == [folder / "seg-first.nii"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert open_exam(folder, warn=False).misaligned == exam.misaligned


def flipped(content, at):
    return content[:at] + bytes([content[at] ^ 0x55]) + content[at + 1 :]


GZIP = {
    "sound": lambda c: gzip.compress(c),
    "stored": lambda c: gzip.compress(c, 0),
    "two members": lambda c: gzip.compress(c[:5000]) + gzip.compress(c[5000:]),
    "zeros behind": lambda c: gzip.compress(c) + bytes(7),
    "garbage behind": lambda c: gzip.compress(c) + b"garbage",
    "cut": lambda c: gzip.compress(c)[:-300],
    "cut in the trailer": lambda c: gzip.compress(c)[:-5],
    "header alone": lambda c: gzip.compress(c)[:10],
    "wrong checksum": lambda c: flipped(gzip.compress(c), -8 + len(gzip.compress(c))),
    "wrong length": lambda c: flipped(gzip.compress(c), -4 + len(gzip.compress(c))),
    "boasts of 4 GiB": lambda c: gzip.compress(c)[:-4] + b"\xff" * 4,
    "flipped": lambda c: flipped(gzip.compress(c), 2000),
}


def outcome(path):
    try:
        array, affine = nifti.read_volume(path)
    except ExamError as error:
        return str(error)
    return array.tolist(), array.dtype, array.flags.writeable, affine.tolist()


@pytest.mark.parametrize("case", GZIP)
def test_isal_and_zlib_read_the_same_and_say_the_same(tmp_path, monkeypatch, case):
    pytest.importorskip("isal")
    save(tmp_path / "whole.nii", make_image()[0].astype(np.int16))
    path = tmp_path / "t1.nii.gz"
    path.write_bytes(GZIP[case]((tmp_path / "whole.nii").read_bytes()))
    fast = outcome(path)
    monkeypatch.setattr(nifti, "igzip", None)
    assert fast == outcome(path)
    assert isinstance(fast, str) == (case not in ("sound", "stored", "two members", "zeros behind"))


def test_sound_files_are_inflated_by_isal(tmp_path, monkeypatch):
    pytest.importorskip("isal")
    save(tmp_path / "t1.nii.gz", make_image()[0])
    monkeypatch.setattr(gzip, "decompress", lambda _: pytest.fail("zlib was asked"))
    np.testing.assert_array_equal(nifti.read_volume(tmp_path / "t1.nii.gz")[0], make_image()[0])


def test_works_without_isal(tmp_path, monkeypatch):
    save(tmp_path / "t1.nii.gz", make_image()[0])
    real = builtins.__import__

    def refuse(name, *arguments, **options):
        if name.startswith("isal"):
            raise ImportError(name)
        return real(name, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(builtins, "__import__", refuse)
        spec = importlib.util.spec_from_file_location("nifti_without_isal", nifti.__file__)
        module = importlib.util.module_from_spec(spec)
        patch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
    assert module.igzip is None
    array, _ = module.read_volume(tmp_path / "t1.nii.gz")
    np.testing.assert_array_equal(array, make_image()[0])
    array[:] = 0  # its own


def test_a_file_system_that_maps_nothing_is_read(tmp_path, monkeypatch):
    save(tmp_path / "t1.nii", make_image()[0])

    def refuse(*_, **__):
        raise OSError(19, "No such device")

    monkeypatch.setattr(nifti.mmap, "mmap", refuse)
    np.testing.assert_array_equal(nifti.read_volume(tmp_path / "t1.nii")[0], make_image()[0])


@pytest.mark.parametrize("region", ["TC", "WT", "ET"])
@pytest.mark.parametrize("scheme", LABEL_SCHEMES)
@quick
@given(
    labels=arrays(np.uint8, (2, 1, 4, 5, 6), elements=st.sampled_from([0, 0, 0, 0, 0, 1, 2, 3, 4])),
    order=st.permutations([2, 3, 4]),
)
def test_profiles_of_the_box_are_those_of_the_volume(scheme, region, labels, order):
    labels = torch.from_numpy(labels).permute(0, 1, *order)  # any order of memory
    mask = LabelMask(labels, scheme)
    for profile, expected in zip(mask.profiles(region), mass_profiles(mask.volume(region)), strict=True):
        assert torch.equal(profile, expected)
    inside = torch.zeros_like(labels)
    box = tensor_box(labels, leading=2)
    inside[box] = labels[box]
    assert torch.equal(inside, labels)


@pytest.mark.slow
def test_memory_is_flat_over_many_exams(tmp_path):
    """In a process of its own, whose memory nothing else moves."""
    make_folder(tmp_path / "gz")
    make_folder(tmp_path / "plain", ending=".nii")
    code = f"""
from pathlib import Path
from dqe_loss.data.exams import (open_exam)
from dqe_loss.rate.rate_exam import prepare_planes
from dqe_loss import Surrogate
rater = Surrogate()
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
def prepare(n):
    for _ in range(n):
        for folder in ("gz", "plain"):
            prepare_planes(open_exam(f"{tmp_path}/{{folder}}"), rater)
    return resident()
first = prepare(4)
print(prepare(16) - first)
"""
    if sys.platform != "linux":
        pytest.skip("reads /proc")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 30e6  # keeping the planes of these 32 exams alone would take 300 MB


@pytest.mark.slow
@pytest.mark.exams
@pytest.mark.filterwarnings("ignore:.*its affine differs")
def test_real_exam_gz_and_plain(exams, tmp_path, surrogate):
    source = exams / "BraTS-GLI-00001-000"
    for file in source.glob("*.nii.gz"):
        (tmp_path / file.stem).write_bytes(gzip.decompress(file.read_bytes()))
    planes = [prepare_planes(open_exam(folder), surrogate) for folder in (source, tmp_path)]
    assert list(planes[0]) == list(planes[1])
    assert len(planes[0]) == 4
    assert all(torch.equal(*map(torch.stack, (planes[0][name].rated, planes[1][name].rated))) for name in planes[0])
    whole = read_exam(source)
    opened = open_exam(tmp_path).image.read()
    np.testing.assert_array_equal(whole.image, opened)

"""Reading exams: names of all BraTS years, types, one pass, and one clear error for each thing that can be wrong."""

import gzip
import shutil
import tracemalloc
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from dqe_loss.data.exam_files import ExamPaths, find_exam
from dqe_loss.data.exams import read_exam
from dqe_loss.data.nifti import ExamError, read_volume
from dqe_loss.task import MODALITIES

SHAPE = (5, 6, 7)
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
FILES = {"t1c": "t1c.nii.gz", "t1": "t1n.nii.gz", "t2": "t2w.nii.gz", "flair": "t2f.nii.gz"}


def write(path, array, affine=LPS, kind=nib.Nifti1Image, endianness="<"):
    kind(array, affine, kind.header_class(endianness=endianness), dtype=array.dtype).to_filename(path)
    return path


def intensities(seed=0, dtype=np.int16, shape=SHAPE):
    return np.random.default_rng(seed).integers(1, 200, shape).astype(dtype)


def labels(dtype=np.uint8, values=(0, 1, 2, 3)):
    return np.resize(np.array(values), SHAPE).astype(dtype)


@pytest.fixture
def folder(tmp_path):
    """A sound exam, each modality with its own numbers."""
    path = tmp_path / "exam-7"
    path.mkdir()
    for i, name in enumerate(FILES.values()):
        write(path / name, intensities(i))
    write(path / "seg-expert.nii.gz", labels())
    return path


def test_reads_what_was_written(folder):
    exam = read_exam(folder)
    assert exam.name == "exam-7"
    assert exam.image.shape == (4, *SHAPE)
    for i in range(4):
        np.testing.assert_array_equal(exam.image[i], intensities(i))
    assert list(exam.segmentations) == ["seg-expert"]
    np.testing.assert_array_equal(exam.segmentations["seg-expert"], labels())
    np.testing.assert_array_equal(exam.affine, LPS)


def test_reads_from_paths(folder, tmp_path):
    for name in FILES.values():
        shutil.move(folder / name, tmp_path / f"any name {name}")
    paths = ExamPaths({m: tmp_path / f"any name {FILES[m]}" for m in MODALITIES}, (folder / "seg-expert.nii.gz",), "A")
    exam = read_exam(paths)
    assert exam.name == "A"
    np.testing.assert_array_equal(exam.image[3], intensities(3))
    assert read_exam(ExamPaths(paths.images)).name == tmp_path.name


@pytest.mark.parametrize(
    ("pattern", "names", "segmentation"),
    [
        ("Brats17_TCIA_117_1_{}.nii.gz", ("t1ce", "t1", "t2", "flair"), "Brats17_TCIA_117_1_seg.nii.gz"),
        ("Brats18_CBICA_AAM_1_{}.nii", ("t1ce", "t1", "t2", "flair"), "Brats18_CBICA_AAM_1_seg.nii"),
        ("BraTS19_2013_0_1_{}.nii.gz", ("t1ce", "t1", "t2", "flair"), "BraTS19_2013_0_1_seg.nii.gz"),
        ("BraTS20_Training_001_{}.nii", ("t1ce", "t1", "t2", "flair"), "BraTS20_Training_001_Seg.nii"),
        ("BraTS2021_00000_{}.nii.gz", ("t1ce", "t1", "t2", "flair"), "BraTS2021_00000_seg.nii.gz"),
        ("UPENN-GBM-00001_11_{}.nii.gz", ("T1GD", "T1", "T2", "FLAIR"), "UPENN-GBM-00001_11_segm.nii.gz"),
        ("BraTS-GLI-00000-000-{}.nii.gz", ("t1c", "t1n", "t2w", "t2f"), "BraTS-GLI-00000-000-seg.nii.gz"),
        ("{}.nii.gz", ("t1c", "t1n", "t2w", "t2f"), "seg-nnunet_v2.t1c.nii.gz"),
        ("{}.NII.GZ", ("T1C", "T1N", "T2W", "T2F"), "SEG-EXPERT.NII.GZ"),
        ("P1_{}.nii.gz", ("t1c", "t1", "t2", "fla"), "P1_segmentation2.nii.gz"),
    ],
)
def test_knows_the_names_of_all_years(tmp_path, pattern, names, segmentation):
    for name in (*(pattern.format(n) for n in names), segmentation, "segment_t3.nii.gz", "._t1c.nii.gz", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "failed").mkdir()
    (tmp_path / "failed" / "seg-old.nii.gz").touch()
    found = find_exam(tmp_path)
    assert [found.images[m].name for m in MODALITIES] == [pattern.format(n) for n in names]
    assert [p.name for p in found.segmentations] == [segmentation]


def test_segmentations_of_one_name_get_different_ones(folder, tmp_path):
    other = tmp_path / "other" / "exam-7"
    other.mkdir(parents=True)
    shutil.copy(folder / "seg-expert.nii.gz", other)
    shutil.copy(folder / "seg-expert.nii.gz", tmp_path)
    paths = find_exam(folder)
    same = (folder / "seg-expert.nii.gz", tmp_path / "seg-expert.nii.gz", other / "seg-expert.nii.gz")
    exam = read_exam(ExamPaths(paths.images, same))
    assert list(exam.segmentations) == [str(same[0]), f"{tmp_path.name}/seg-expert", str(same[2])]


@pytest.mark.parametrize(
    ("stored", "read"),
    [
        ((np.int16,) * 4, np.int16),
        ((np.uint8,) * 4, np.uint8),
        ((np.uint8, np.int16, np.int16, np.int16), np.int16),
        ((np.uint16,) * 4, np.int32),
        ((np.uint32,) * 4, np.float32),
        ((np.int32, np.float32, np.float32, np.float32), np.float32),
        ((np.float64,) * 4, np.float32),
    ],
)
def test_common_type_is_the_stored_one_and_never_float64(folder, stored, read):
    for i, (name, dtype) in enumerate(zip(FILES.values(), stored, strict=True)):
        write(folder / name, intensities(i, dtype))
    exam = read_exam(folder)
    assert exam.image.dtype == read
    np.testing.assert_array_equal(exam.image[2], intensities(2))
    torch.from_numpy(exam.image)[0].float()


def test_modalities_lie_in_the_order_of_the_file(folder):
    image = read_exam(folder).image
    assert all(channel.flags.f_contiguous for channel in image)
    assert image.transpose(0, 3, 2, 1).flags.c_contiguous


def test_volume_is_read_in_one_pass(tmp_path):
    array = intensities(shape=(64, 64, 64))
    path = write(tmp_path / "t1.nii", array)
    read_volume(path)
    tracemalloc.start()
    read_volume(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2.2 * array.nbytes  # the file and the array; a float64 copy alone would be 4


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("endianness", ["<", ">"])
@pytest.mark.parametrize("name", ["t1.nii", "t1.nii.gz"])
def test_plain_gz_and_both_byte_orders_are_equal(tmp_path, kind, endianness, name):
    array, affine = read_volume(write(tmp_path / name, intensities(), LPS, kind, endianness))
    assert array.dtype == np.int16
    assert array.dtype.isnative
    np.testing.assert_array_equal(array, intensities())
    np.testing.assert_array_equal(affine, LPS)
    torch.from_numpy(array).add_(1)


def test_content_counts_and_not_the_ending(tmp_path):
    shutil.copy(write(tmp_path / "t1.nii", intensities()), tmp_path / "t2.nii.gz")
    np.testing.assert_array_equal(read_volume(tmp_path / "t2.nii.gz")[0], intensities())


def test_trailing_singletons_are_squeezed(folder):
    write(folder / FILES["t1"], intensities(1)[..., None])
    write(folder / "seg-expert.nii.gz", labels()[..., None, None])
    exam = read_exam(folder)
    assert exam.image.shape == (4, *SHAPE)
    assert exam.segmentations["seg-expert"].shape == SHAPE


def test_scaled_values_come_as_float32(tmp_path):
    image = nib.Nifti1Image(intensities(), LPS)
    image.header.set_slope_inter(0.5, 10)
    image.to_filename(tmp_path / "t1.nii.gz")
    array, _ = read_volume(tmp_path / "t1.nii.gz")
    assert array.dtype == np.float32
    np.testing.assert_allclose(array, nib.load(tmp_path / "t1.nii.gz").get_fdata(), rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64])
def test_labels_come_as_uint8(folder, dtype):
    write(folder / "seg-expert.nii.gz", labels(dtype))
    read = read_exam(folder).segmentations["seg-expert"]
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, labels())


def test_labels_that_scaling_moved_off_the_integers_are_rounded(folder):
    image = nib.Nifti1Image(3 * labels(), LPS)
    image.header.set_slope_inter(0.33334, 0)
    image.to_filename(folder / "seg-expert.nii.gz")
    assert not np.isin(read_volume(folder / "seg-expert.nii.gz")[0], range(4)).all()
    np.testing.assert_array_equal(read_exam(folder).segmentations["seg-expert"], labels())


def test_an_empty_segmentation_is_fine(folder):
    write(folder / "seg-expert.nii.gz", labels(values=(0,)))
    assert not read_exam(folder).segmentations["seg-expert"].any()


def test_other_affine_warns_and_nothing_turns(folder):
    write(folder / "seg-expert.nii.gz", labels(), np.eye(4))
    with pytest.warns(UserWarning, match=r"seg-expert.nii.gz: its affine differs from that of .*t1c.nii.gz") as caught:
        exam = read_exam(folder)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    np.testing.assert_array_equal(exam.segmentations["seg-expert"], labels())


def test_affines_equal_up_to_rounding_do_not_warn(folder):
    write(folder / "seg-expert.nii.gz", labels(), LPS + 1e-5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_exam(folder)


def with_value(array, value):
    array = array.copy()
    array[1, 2, 3] = value
    return array


def truncated(path, share=0.6):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def as_colors(folder):
    rgb = np.zeros(SHAPE, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.Nifti1Image(rgb, LPS).to_filename(folder / FILES["t2"])


def as_directory(path):
    path.unlink()
    path.mkdir()


def as_header_alone(folder):
    nib.Nifti1Pair(intensities(), LPS).to_filename(folder / "pair.img")
    shutil.move(folder / "pair.hdr", folder / FILES["t2"])


def corrupt(path):
    content = bytearray(path.read_bytes())
    content[20:40] = bytes(20)
    path.write_bytes(bytes(content))


T2, SEG = FILES["t2"], "seg-expert.nii.gz"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (shutil.rmtree, r"exam-7: expected an exam's folder, found nothing there; check the path"),
        (lambda f: (f / T2).unlink(), r"exam-7: no t2 file, expected a name that ends in t2 or t2w, found "
         r"seg-expert.nii.gz, t1c.nii.gz, t1n.nii.gz, t2f.nii.gz; rename the file or give the paths one by one"),
        (lambda f: [p.unlink() for p in f.iterdir()], r"no t1c file, .* found no .nii or .nii.gz file"),
        (lambda f: shutil.copy(f / T2, f / "x_t2.nii"),
         r"expected one t2 file, found t2w.nii.gz, x_t2.nii; move the others away"),
        (lambda f: (f / T2).write_bytes(b""), r"t2w.nii.gz: expected a NIfTI file, found an empty one \(0 bytes\)"),
        (lambda f: truncated(f / T2), r"t2w.nii.gz: expected a whole gzip file, found one .* cut short \(Compressed"),
        (lambda f: corrupt(f / T2), r"t2w.nii.gz: expected a whole gzip file, found one that is damaged"),
        (lambda f: (f / T2).write_bytes(gzip.compress(b"no volume " * 99)),
         r"t2w.nii.gz: expected a NIfTI file, found something else; convert it to .nii"),
        (lambda f: (f / T2).write_bytes(b"DICM" * 200), r"t2w.nii.gz: expected a NIfTI file, found something else"),
        (as_header_alone, r"t2w.nii.gz: expected a NIfTI file, found something else; convert it to .nii"),
        (lambda f: write(f / T2, intensities(shape=(*SHAPE, 4))),
         r"t2w.nii.gz: expected a 3D volume, found shape \(5, 6, 7, 4\); save each modality as its own file"),
        (lambda f: write(f / T2, intensities(shape=SHAPE[:2])), r"t2w.nii.gz: expected a 3D volume, found .*\(5, 6"),
        (as_colors, r"t2w.nii.gz: expected real numbers, found type .*; save it as integers"),
        (lambda f: write(f / T2, with_value(intensities(dtype=np.float32), np.nan)),
         r"t2w.nii.gz: expected finite intensities, found NaN, Inf"),
        (lambda f: write(f / T2, with_value(intensities(dtype=np.float64), -np.inf)), r"t2w.nii.gz: expected finite"),
        (lambda f: write(f / T2, with_value(intensities(dtype=np.float64), 1e300)), r"values beyond float32; replace"),
        (lambda f: write(f / T2, np.zeros(SHAPE, np.int16)),
         r"t2w.nii.gz: expected an image, found nothing but 0; export the modality again"),
        (lambda f: write(f / T2, intensities(shape=(5, 6, 8))),
         r"t2w.nii.gz: shape \(5, 6, 8\), expected \(5, 6, 7\) as in .*t1c.nii.gz; .* one voxel grid"),
        (lambda f: write(f / SEG, labels()[:4]), r"seg-expert.nii.gz: shape \(4, 6, 7\), expected \(5, 6, 7\) as in"),
        (lambda f: write(f / SEG, labels(values=(0, 1, 2, 5))), r"seg-expert.nii.gz: .*\[5\]; they fit no scheme"),
        (lambda f: write(f / SEG, labels(np.int16, (0, 1, 2, 1000))), r"seg-expert.nii.gz: .*\[1000\]"),
        (lambda f: write(f / SEG, labels(np.float32, (0, 1, -1))), r"seg-expert.nii.gz: .*\[-1\]"),
        (lambda f: write(f / SEG, labels(values=(1, 2, 3, 4))), r"seg-expert.nii.gz: .* both 3 and 4"),
        (lambda f: write(f / SEG, with_value(labels(np.float32), 1.5)),
         r"seg-expert.nii.gz: expected integer labels, found 1.5; resample label maps with nearest neighbor"),
        (lambda f: write(f / SEG, np.linspace(0, 1, 210, dtype=np.float32).reshape(SHAPE)), r"and more; resample"),
        (lambda f: write(f / SEG, with_value(labels(np.float32), np.nan)), r"seg-expert.nii.gz: .*, found NaN or Inf"),
    ],
)  # fmt: skip
def test_each_error_names_the_file_and_the_cure(folder, damage, message):
    damage(folder)
    with pytest.raises(ExamError, match=message) as caught:
        read_exam(folder)
    assert "\n" not in str(caught.value)


def test_label_scheme_is_checked_and_a_fitting_one_named(folder):
    write(folder / SEG, labels(values=(0, 1, 2, 4)))
    with pytest.raises(ExamError, match=r"seg-expert.nii.gz: .*'brats23'.*\[4\]; the values fit brats \(.*brats21 \("):
        read_exam(folder, label_scheme="brats23")
    assert 4 in read_exam(folder, label_scheme="brats21").segmentations["seg-expert"]
    with pytest.raises(ValueError, match=r"unknown label scheme 'brats25'; expected one of brats, brats23"):
        read_exam(folder, label_scheme="brats25")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (Path.unlink, r"t1.nii: expected a NIfTI file, found nothing there; check the path"),
        (as_directory, r"t1.nii: expected a NIfTI file, found a folder; check the path"),
        (truncated, r"t1.nii: expected a whole NIfTI file, found one that is damaged or cut short"),
        (lambda p: truncated(p, 0.1), r"t1.nii: expected a NIfTI file, found something else"),
    ],
)
def test_errors_of_a_single_file(tmp_path, damage, message):
    path = write(tmp_path / "t1.nii", intensities())
    damage(path)
    with pytest.raises(ExamError, match=message):
        read_volume(path)


def test_a_file_is_no_folder(folder):
    with pytest.raises(ExamError, match=r"t2w.nii.gz: expected an exam's folder, found a file"):
        find_exam(folder / T2)


@pytest.mark.exams
@pytest.mark.filterwarnings("ignore:.*its affine differs")
def test_real_exams(exams):
    exam = read_exam(exams / "BraTS-GLI-00001-000")
    assert exam.image.shape == (4, 240, 240, 155)
    assert exam.image.dtype == np.int16
    assert {name: a.dtype for name, a in exam.segmentations.items()} == dict.fromkeys(
        ("seg-BraTS23_1", "seg-BraTS23_1_mapped", "seg-SPARK2023_KIFARU_nnunet300", "seg-bratstoolkit_isen"),
        np.dtype(np.uint8),
    )
    first, mapped = exam.segmentations["seg-BraTS23_1"], exam.segmentations["seg-BraTS23_1_mapped"]
    np.testing.assert_array_equal(np.where(first == 3, 4, first), mapped)  # an RAS header, and yet aligned
    stored = np.asanyarray(nib.load(exams / "BraTS-GLI-00001-000" / "t2f.nii.gz").dataobj)
    np.testing.assert_array_equal(exam.image[MODALITIES.index("flair")], stored)
    assert exam.name == "BraTS-GLI-00001-000"


def save_scaled(path, array, dtype):
    """As nibabel saves floats under a header of integers: scaled to use the type's whole range."""
    image = nib.Nifti1Image(array.astype(np.float32), LPS)
    image.set_data_dtype(dtype)
    image.to_filename(path)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.uint16, np.int32])
@pytest.mark.parametrize("values", [(0, 1, 2, 3), (0, 1, 2, 4), (0, 2), (0, 1, 4)])
def test_float_labels_under_an_integer_header_are_read_to_the_next_step(folder, dtype, values):
    """1 comes back as 1.0039: half a step of the header's scale is as near as the file could save it."""
    save_scaled(folder / SEG, labels(values=values), dtype)
    np.testing.assert_array_equal(read_exam(folder).segmentations["seg-expert"], labels(values=values))


def scaled(path, stored, slope, inter=0.0, dtype=np.uint8):
    image = nib.Nifti1Image(stored.astype(dtype), LPS)
    image.header.set_slope_inter(slope, inter)
    image.to_filename(path)


@pytest.mark.parametrize(
    ("stored", "slope", "inter", "found"),
    [
        (labels(), 1 / 255, 0, r"0.00392157, 0.00784314, 0.0117647"),  # labels under another file's header
        (labels(), 1e-4, 0, r"0.0001, 0.0002, 0.0003"),  # not an empty map
        (labels(), 1.0, 0.5, r"0.5, 1.5, 2.5, 3.5"),
        (labels(), 0.5, 0, r"0.5, 1.5"),
        (np.linspace(0, 255, 210).reshape(SHAPE), 1 / 255, 0, r"and more"),  # probabilities
        (np.linspace(0, 255, 210).reshape(SHAPE), 3 / 255, 0, r"and more"),  # interpolated labels
    ],
)  # fmt: skip
def test_labels_that_scaling_makes_odd_are_told_with_the_header(folder, stored, slope, inter, found):
    scaled(folder / SEG, stored, slope, inter)
    message = (
        rf"seg-expert.nii.gz: expected integer labels, found .*{found}.*header scales .*slope {slope:g}.*save .*without"
    )
    with pytest.raises(ExamError, match=message):
        read_exam(folder)

"""What can be wrong with an exam: each fault is recorded with its reason, and none stops the others."""

import gzip
import os
import struct

import nibabel as nib
import numpy as np
import pytest
from cohort import LPS, write, write_exam
from helpers import SHAPE, make_image, make_labels, small_surrogate

from dqe_loss.data.exams import read_exam
from dqe_loss.data.tables.rated import read_rated
from dqe_loss.rate.plan import RatePlan
from dqe_loss.rate.rate_data_set import rate_data_set
from dqe_loss.rate.rate_exam import rate_exam

IMAGE = make_image()[0].astype(np.int16)
LABELS = make_labels()


def modality(name):
    return lambda folder: folder / f"{folder.name}_{name}.nii.gz"


def mask(folder):
    return folder / "seg-a.nii.gz"


def stored(array, affine=LPS, image=nib.Nifti1Image):
    """Put an array in a file's place."""
    return lambda path: image(array, affine).to_filename(path)


def content(change):
    """Change the compressed bytes."""
    return lambda path: path.write_bytes(change(bytearray(path.read_bytes())))


def header(offset, form, *values):
    """Change the header's bytes (NIfTI-1, little-endian)."""

    def damage(path):
        data = bytearray(gzip.decompress(path.read_bytes()))
        struct.pack_into(f"<{form}", data, offset, *values)
        path.write_bytes(gzip.compress(bytes(data)))

    return damage


def quaternion(*values):
    """Put a quaternion in the header, and let it count."""

    def damage(path):
        header(252, "2h3f", 1, 0, *values)(path)

    return damage


def flipped(place):
    def change(data):
        data[place] ^= 0xFF
        return bytes(data)

    return change


def changed(array, value, dtype=None):
    array = array.astype(dtype or array.dtype)
    array[16, 14, 12] = value
    return array


def as_folder(path):
    path.unlink()
    path.mkdir()


def as_dangling_link(path):
    path.unlink()
    path.symlink_to(path.with_name("gone.nii.gz"))


def unreadable(path):
    path.chmod(0)


def as_copy_of_t1c(path):
    path.write_bytes(modality("t1c")(path.parent).read_bytes())


def as_pair(path):
    """A .hdr beside an .img that somebody renamed."""
    pair = path.with_name("pair.img")
    nib.Nifti1Pair(IMAGE, LPS).to_filename(pair)
    path.write_bytes(pair.with_suffix(".hdr").read_bytes())


def second_t1c(path):
    path.with_name("other_t1ce.nii.gz").write_bytes(path.read_bytes())


def all_larger(path):
    """A whole exam that exceeds the field of view (here 32 x 32)."""
    larger = (40, *SHAPE[1:])
    for file in path.parent.iterdir():
        write(file, make_labels(larger) if "seg" in file.name else make_image(larger)[0].astype(np.int16))


T1C, T1, T2, FLAIR = map(modality, ("t1c", "t1", "t2", "flair"))
REAL = "expected real numbers, found type"
CUT = "that is damaged or cut short"
ERRORS = {
    "truncated gz": (T1C, content(lambda data: data[: len(data) // 2]), CUT),
    "truncated gz of the mask": (mask, content(lambda data: data[:-20]), CUT),
    "bad checksum": (T1, content(flipped(-6)), "that is damaged or cut short (CRC check failed"),
    "bad byte in the stream": (T2, content(flipped(4000)), CUT),
    "zero bytes": (FLAIR, content(lambda _: b""), "expected a NIfTI file, found an empty one (0 bytes)"),
    "missing file": (FLAIR, os.unlink, "no flair file, expected a name that ends in flair or t2f or fla"),
    "dangling link": (T2, as_dangling_link, "no t2 file"),
    "dangling link of the mask": (mask, as_dangling_link, "expected a NIfTI file, found nothing there"),
    "folder in place of a file": (T1, as_folder, "no t1 file"),
    "folder in place of the mask": (mask, as_folder, "expected a NIfTI file, found a folder"),
    "two files of a modality": (T1C, second_t1c, "expected one t1c file, found"),
    "wrong shape": (T1, stored(IMAGE[:-1]), "shape (31, 28, 24), expected (32, 28, 24) as in"),
    "wrong shape of the mask": (mask, stored(LABELS[:, 1:]), "shape (32, 27, 24), expected (32, 28, 24) as in"),
    "larger than the field of view": (T1C, all_larger, "exceeds the surrogate's field of view of 32x32"),
    "NaN": (T1C, stored(changed(IMAGE, np.nan, np.float32)), "expected finite intensities, found NaN, Inf or"),
    "infinity": (T2, stored(changed(IMAGE, np.inf, np.float32)), "expected finite intensities"),
    "beyond float32": (T2, stored(changed(IMAGE, 1e300, np.float64)), "expected finite intensities"),
    "4D": (T1C, stored(np.stack([IMAGE, IMAGE], -1)), "expected a 3D volume, found shape (32, 28, 24, 2)"),
    "2D": (T1C, stored(IMAGE[..., 12]), "expected a 3D volume, found shape (32, 28)"),
    "no voxels": (T1C, header(40, "8h", 3, 32, 0, 24, 1, 1, 1, 1), "expected a 3D volume, found shape (32, 0, 24)"),
    "complex numbers": (T1C, stored(IMAGE.astype(np.complex64)), f"{REAL} complex64"),
    "colors": (T1C, stored(np.zeros(SHAPE, [("R", "u1"), ("G", "u1"), ("B", "u1")])), f"{REAL} [('R'"),
    "bits": (T1C, header(70, "2h", 1, 1), "data code 1 not supported"),
    "unknown type": (T1C, header(70, "2h", 9999, 16), "data code 9999 not recognized"),
    "header says more voxels": (T1C, header(40, "8h", 3, 32, 28, 99, 1, 1, 1, 1), CUT),
    "header says fewer voxels": (T1C, header(40, "8h", 3, 32, 28, 12, 1, 1, 1, 1), "shape (32, 28, 24), expected (32"),
    "voxels beyond the file": (T1C, header(108, "f", 9e6), CUT),
    "no NIfTI": (T1C, content(lambda _: b"a diary, no image" * 99), "found something else; convert it to .nii"),
    "no NIfTI in gz": (T1C, content(lambda _: gzip.compress(b"a diary" * 99)), "found something else"),
    "header of a pair": (T1C, as_pair, "found something else"),
    "nothing but 0": (T1, stored(0 * IMAGE), "expected an image, found nothing but 0"),
    "constant image": (T1, stored(0 * IMAGE + 7), "expected an image, found nothing but 7"),
    "label 7": (mask, stored(changed(LABELS, 7)), "label scheme 'brats' has the labels 0, 1, 2, 3, 4, but"),
    "negative label": (mask, stored(changed(LABELS, -1, np.int16)), "label map also holds [-1]"),
    "fractional labels": (mask, stored(changed(LABELS, 1.5, np.float32)), "expected integer labels, found 1.5"),
    "NaN in the mask": (mask, stored(changed(LABELS, np.nan, np.float32)), "expected integer labels, found NaN or Inf"),
    "labels 3 and 4": (mask, stored(changed(LABELS, 4)), "holds both 3 and 4"),
    "no mask": (mask, lambda path: [os.unlink(path), os.unlink(path.with_name("seg-b.nii.gz"))], "found none"),
}  # fmt: skip
if hasattr(os, "geteuid") and os.geteuid() != 0:  # root may read anything
    ERRORS["no permission"] = (T1C, unreadable, "cannot be read (Permission denied)")

WARNINGS = {
    "empty mask": (mask, stored(0 * LABELS), "empty region TC, WT, ET [empty-region]"),
    "edema alone": (mask, stored(2 * (LABELS > 0).astype(np.uint8)), "empty region TC, ET"),
    "tumor at the border": (mask, stored(np.roll(LABELS, -10, 0)), "tumor touches the border of the volume [border]"),
    "all of the head": (mask, stored(2 * (IMAGE > 0).astype(np.uint8)), "tumor as large as 100% of the head [large]"),
    "affine of the mask": (
        mask,
        stored(LABELS, np.eye(4)),
        "affine of the segmentation differs from that of t1c (as the arrays lie 100.0% of its voxels",
    ),
    "affine of modalities": (FLAIR, stored(make_image()[3].astype(np.int16), np.eye(4)), "affine of flair differs"),
    "thick voxels": (T1C, stored(IMAGE, LPS * 2), "voxels of 2 x 2 x 2 mm, expected 1 mm [spacing]"),
    "affine of NaN": (
        T1C,
        header(280, "12f", *[np.nan] * 12),
        "t1c: its header's affine has NaN or Inf and is not used [header]",
    ),
    "flat affine": (
        T1,
        header(280, "4f", 0, 0, 0, 0),
        "t1: its header's affine has an axis of length 0 and is not used [header]",
    ),
    "bad quaternion": (
        mask,
        quaternion(1, 1, 0),
        "segmentation: its header's affine has a quaternion that is no rotation",
    ),
    "NaN in the quaternion": (
        T2,
        quaternion(np.nan, 0, 0),
        "t2: its header's affine has NaN or Inf and is not used [header]",
    ),
    "intercept of NaN": (FLAIR, header(112, "2f", 1, np.nan), "flair: scl_inter is nan in its header and taken as 0"),
    "intercept of Inf": (
        mask,
        header(112, "2f", 1, np.inf),
        "segmentation: scl_inter is inf in its header and taken as 0",
    ),
    "a modality twice": (T1, as_copy_of_t1c, "t1c and t1 are the same image [same-image]"),
}
HARMLESS = {
    "slope 0": (T1C, header(112, "2f", 0, 0)),
    "NIfTI-2": (T1C, stored(IMAGE, image=nib.Nifti2Image)),
    "floats": (T1C, stored(IMAGE.astype(np.float64))),
    "labels scaled on disk": (mask, stored(LABELS.astype(np.float32) * (1 - 1e-7))),
}
OF_THE_MASK = (mask, all_larger)
SIZE = "32 x 28 x 24 voxels, expected 240 x 240 x 155 as in BraTS [grid]"


def slug(case):
    return case.replace(" ", "_")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """One run over one exam for each fault, with a sound exam at both ends."""
    root = tmp_path_factory.mktemp("damaged")
    for name in ("0_sound", "z_sound"):
        write_exam(root / "data" / name)
    for case, (file, damage, *_) in {**ERRORS, **WARNINGS, **HARMLESS}.items():
        folder = write_exam(root / "data" / slug(case))
        damage(file(folder))
    outcome = rate_data_set(RatePlan(root / "data", root / "stars.csv", "small"), small_surrogate())
    assert (outcome.left, outcome.rated) == (0, 2 + len(ERRORS) + len(WARNINGS) + len(HARMLESS))
    return read_rated(root / "stars.csv").set_index(["exam", "segmentation"])


@pytest.fixture(scope="module")
def sound(table):
    """Rows of the sound exams, which must be as if there were no others."""
    folder = table.loc[("0_sound", "seg-a"), "mask"].rpartition("/")[0]
    expected = rate_exam(read_exam(folder), small_surrogate())
    rows = table.loc["0_sound"]
    for name, stars in expected.items():
        assert rows.loc[name, "error"] == ""
        assert rows.loc[name, list(stars)].tolist() == pytest.approx(list(stars.values()), abs=1e-5)
    stars = ["axial", "coronal", "sagittal", "mean", "spread", "tc_ml", "wt_ml", "et_ml"]
    assert table.loc["z_sound"][stars].equals(rows[stars])
    return rows


def test_there_are_thirty_kinds_at_least():
    assert len(ERRORS) >= 30


@pytest.mark.parametrize("case", ERRORS)
def test_fault_is_recorded_with_its_reason_and_stops_nothing(table, sound, case):
    file, _, reason = ERRORS[case]
    rows = table.loc[slug(case)]
    row = rows.iloc[0]
    assert reason in row["error"]
    assert "\n" not in row["error"]
    assert np.isnan(row["mean"])
    if case == "no mask":
        assert list(rows.index) == [""]
        return
    assert list(rows.index) == ["seg-a", "seg-b"]
    other = rows.loc["seg-b"]
    if file is mask:  # the other mask of the exam is rated all the same
        assert other["error"] == ""
        assert other["mean"] == sound.loc["seg-b", "mean"]
    else:
        assert reason in other["error"]


@pytest.mark.parametrize("case", WARNINGS)
def test_what_is_odd_is_told_beside_the_stars(table, case):
    file, _, reason = WARNINGS[case]
    rows = table.loc[slug(case)]
    assert (rows["error"] == "").all()
    assert reason in rows.loc["seg-a", "warnings"]
    assert (reason in rows.loc["seg-b", "warnings"]) == (file is not mask)
    assert rows["mean"].notna().all()


@pytest.mark.parametrize("case", HARMLESS)
def test_what_is_unusual_but_sound_changes_nothing(table, sound, case):
    row, expected = table.loc[(slug(case), "seg-a")], sound.loc["seg-a"]
    assert (row["error"], row["warnings"]) == ("", SIZE)
    assert row["mean"] == pytest.approx(expected["mean"], abs=1e-5)


def test_a_bad_header_changes_neither_stars_nor_volumes(table, sound):
    for case in ("affine of NaN", "flat affine", "bad quaternion", "NaN in the quaternion", "intercept of NaN"):
        row = table.loc[(slug(case), "seg-a")]
        assert row["wt_ml"] == sound.loc["seg-a", "wt_ml"], case
        assert row["mean"] == sound.loc["seg-a", "mean"], case
    assert table.loc[("thick_voxels", "seg-a"), "wt_ml"] == pytest.approx(8 * sound.loc["seg-a", "wt_ml"])


def test_swapped_modalities_are_not_seen(tmp_path):
    """Nothing in the voxels of two modalities says which is which: this is what we do not promise."""
    folder = write_exam(tmp_path / "data" / "swapped")
    first, second = (modality(name)(folder) for name in ("t1", "t2"))
    keep = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(keep)
    outcome = rate_data_set(RatePlan(tmp_path / "data", tmp_path / "stars.csv", "small"), small_surrogate())
    assert outcome.table["warnings"].tolist() == [SIZE, SIZE]
    assert outcome.table["error"].tolist() == ["", ""]

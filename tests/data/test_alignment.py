"""A mask that is mirrored and one whose header alone is wrong: both overlaps with the head, and which is likelier."""

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from cohort import LPS, write_exam
from small_tasks import CT, PARTS, SHAPES, make_exam

from dqe_loss import MODALITIES
from dqe_loss.data.alignment import misalignment
from dqe_loss.data.exam_files import ExamPaths, find_exam
from dqe_loss.data.exams import open_exam, read_exam
from dqe_loss.data.findings import mask_findings, region_volumes

RAS = np.eye(4)
THICK = LPS @ np.diag([1, 1, 2, 1])
MIRRORED = np.diag([1.0, -1, 1, 1])  # left and right alone
HEAD = np.zeros((8, 8, 8), bool)
HEAD[:6, 2:, 1:7] = True
MASK = np.zeros_like(HEAD)
MASK[1:5, 6:8, 2:6] = True  # at the back: flipped along Y it leaves the head
EMPTY = np.zeros_like(HEAD)
TWO_THIRDS = replace(CT, largest_share=2 / 3)


@pytest.mark.parametrize(
    ("mask", "affine", "stored", "reoriented", "kind", "words"),
    [
        (MASK, RAS, 1, 0, "header", "as the arrays lie 100.0% of its voxels lie in the head, reoriented by its affine "
         "0.0%: likelier the arrays agree, and a header is wrong"),
        (MASK[::-1, ::-1], RAS, 0, 1, "affine", "100.0%: likelier it is mirrored or turned; reorient it to the image"),
        (HEAD, MIRRORED, 1, 2 / 3, "header", "reoriented by its affine 66.7%: likelier the arrays agree"),
        (MASK[1:4], MIRRORED, 1, 1, "affine", "100.0%: that does not tell which is right; look at the two together"),
        (MASK, THICK, 1, None, "header", "100.0% of its voxels lie in the head: likelier the arrays agree"),
        (np.roll(MASK, -5, 1), THICK, 0.5, None, "affine", "50.0% of its voxels lie in the head: that does not tell"),
        (EMPTY, RAS, 1, None, "header", "likelier the arrays agree"),
    ],
    ids=["header", "mirrored", "modality", "symmetric", "thick", "moved", "empty"],
)  # fmt: skip
def test_both_overlaps_and_what_is_likelier(mask, affine, stored, reoriented, kind, words):
    found = misalignment(mask, affine, HEAD[1:4] if len(mask) == 3 else HEAD, LPS)
    assert found.stored == pytest.approx(stored)
    assert found.reoriented == (None if reoriented is None else pytest.approx(reoriented))
    assert found.kind == kind
    assert words in str(found)


def test_axes_in_another_order_are_turned():
    swapped = LPS[:, [2, 1, 0, 3]]
    assert misalignment(MASK.transpose(2, 1, 0), swapped, HEAD, LPS).reoriented == 1
    flat = MASK[:, :, 2:]  # turned, it would have another shape
    assert misalignment(flat, swapped, HEAD[:, :, 2:], LPS).reoriented is None


def test_an_exam_tells_a_mirrored_mask_from_a_wrong_header(tmp_path):
    folder = write_exam(tmp_path / "exam", masks=("seg-a", "seg-b", "seg-c"))
    paths = find_exam(folder)
    for path in (paths.images[modality] for modality in MODALITIES):
        array = np.array(nib.load(path).dataobj)
        array[:, 20:] = 0  # a brain that is not symmetric from front to back
        nib.Nifti1Image(array, LPS).to_filename(path)
    edge = np.zeros(array.shape, np.uint8)
    edge[16, 2:6, 12] = 2
    for name, array, affine in (("seg-a", edge, RAS), ("seg-b", edge[::-1, ::-1], RAS), ("seg-c", edge, LPS)):
        nib.Nifti1Image(array, affine).to_filename(folder / f"{name}.nii.gz")
    for read in (open_exam, read_exam):
        with pytest.warns(
            UserWarning, match=r"its affine differs from that of .*_t1c.nii.gz; as the arrays lie"
        ) as told:
            exam = read(paths)
        assert len(told) == 2
        assert [file.name for file in exam.misaligned] == ["seg-a.nii.gz", "seg-b.nii.gz"]
        assert paths.segmentations[0] in exam.misaligned
        assert [found.kind for found in exam.misaligned.values()] == ["header", "affine"]
        np.testing.assert_array_equal(exam.segmentations["seg-b"], edge[::-1, ::-1])  # nothing is reoriented


def write_with_another_origin(folder, task, image, mask):
    """An exam of one scan, and a mask whose header has its origin 40 mm away."""
    affine = np.diag([*task.spacing, 1.0])
    files = {name: folder / f"{name}.nii.gz" for name in ("scan", "seg")}
    nib.Nifti1Image(image.astype(np.int16), affine).to_filename(files["scan"])
    nib.Nifti1Image(mask.astype(np.uint8), affine + 40 * np.eye(4, k=3)).to_filename(files["seg"])
    return ExamPaths({task.modalities[0]: files["scan"]}, (files["seg"],), "a")


def test_air_of_ct_is_no_head(tmp_path):
    """Its -1000 are not 0: labels in air lay in the head, and no organ was large."""
    (image,), labels = make_exam(CT)
    body = image > CT.window[0]
    for name, mask, kind in (("organ", 7 * labels, "header"), ("air", 7 * ~body, "affine")):
        (folder := tmp_path / name).mkdir()
        paths = write_with_another_origin(folder, CT, image, mask)
        exam = open_exam(paths, task=CT, warn=False)
        assert [found.kind for found in exam.misaligned.values()] == [kind]
    volumes = region_volumes(7 * body, CT.scheme())
    found = mask_findings(exam, 7 * body.astype(np.uint8), paths.segmentations[0], volumes, CT.scheme(), TWO_THIRDS)
    assert "segmentation as large as 100% of the head" in [one.text for one in found]


def test_a_head_that_fills_the_volume_tells_nothing(tmp_path):
    """As in a crop: wherever a mask lies, it lies in it."""
    image, mask = np.full(SHAPES["parts"], 100), np.zeros(SHAPES["parts"])
    image[:2, :2], mask[4:9, 4:9, 4:9] = 90, 1
    with pytest.warns(UserWarning, match="lie in the head, which fills the volume: that does not tell which is right"):
        exam = read_exam(write_with_another_origin(tmp_path, PARTS, image, mask), task=PARTS)
    assert [found.kind for found in exam.misaligned.values()] == ["affine"]


@pytest.mark.exams
def test_the_real_exam_with_two_headers_that_differ(exams):
    """One mask says RAS where its array lies as the LPS image does; another lacks the image's origin."""
    exam = open_exam(exams / "BraTS-GLI-00001-000", warn=False)
    found = {file.name.partition(".")[0]: one for file, one in exam.misaligned.items()}
    assert {name: one.kind for name, one in found.items()} == {
        "seg-BraTS23_1_mapped": "header",
        "seg-SPARK2023_KIFARU_nnunet300": "header",
    }
    mapped = found["seg-BraTS23_1_mapped"]
    assert (mapped.stored, mapped.reoriented) == pytest.approx((1, 0.9682), abs=1e-4)

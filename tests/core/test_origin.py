"""`crop_origin`: where MONAI's crops come from, and which of them cannot be rated in their place."""

import pytest
import torch
from helpers import SHAPE, make_case, small_surrogate
from monai.data import DataLoader, Dataset, MetaTensor, decollate_batch
from monai.transforms import (
    Compose,
    CopyItemsd,
    Flipd,
    RandCropByPosNegLabeld,
    RandFlipd,
    RandRotate90d,
    RandSpatialCropd,
    Zoomd,
)

from dqe_loss import DQELoss, crop_origin, rate_segmentation, regions_from_labels
from dqe_loss.core.origin import check_origin
from dqe_loss.core.patch import crop

SIZE = (14, 12, 10)


@pytest.fixture(scope="module")
def exam():
    return make_case()


AFFINE = torch.tensor([[-1.0, 0, 0, 90], [0, -1.0, 0, 126], [0, 0, 1.0, -72], [0, 0, 0, 1]], dtype=torch.float64)


def data(image, labels, count=1):
    """Exams as MONAI's transforms take them, with the full-size volumes kept beside what is cropped."""
    regions = regions_from_labels(labels).float()
    exams = [{"image": image[i % 2], "label": regions[i % 2]} for i in range(count)]
    exams = [{key: MetaTensor(value, affine=AFFINE) for key, value in exam.items()} for exam in exams]
    return CopyItemsd(["image", "label"], names=["full_image", "full_label"]), exams


def compose(*transforms):
    composed = Compose(transforms)
    composed.set_random_state(3)
    return composed


CROP = RandSpatialCropd(["image", "label"], SIZE, random_size=False)


def test_the_origin_of_a_random_crop_is_found(exam):
    image, labels, _, _ = exam
    copy, exams = data(image, labels)
    cropped = compose(copy, CROP)(exams[0])
    origin = crop_origin(cropped["label"], cropped["full_label"])
    assert origin.dtype == torch.int64
    assert origin.shape == (3,)
    x, y, z = origin.tolist()
    full = cropped["full_label"].as_tensor()
    assert torch.equal(full[:, x : x + SIZE[0], y : y + SIZE[1], z : z + SIZE[2]], cropped["label"].as_tensor())
    # affines alone do as well, as tensors or arrays
    assert torch.equal(crop_origin(cropped["label"].affine, AFFINE.float()), origin)
    assert torch.equal(crop_origin(cropped["label"].affine.numpy(), AFFINE.numpy()), origin)


def test_the_origins_of_a_collated_batch_rate_what_was_cropped(exam):
    """Two crops of each of two exams: loaded, collated, put into the loss; and taken apart again."""
    image, labels, _, _ = exam
    copy, exams = data(image, labels, 2)
    crops = RandCropByPosNegLabeld(["image", "label"], "label", SIZE, num_samples=2)
    batch = next(iter(DataLoader(Dataset(exams, compose(copy, crops)), batch_size=2)))
    origin = crop_origin(batch["label"], batch["full_label"])
    assert origin.shape == (4, 3)
    assert len(set(map(tuple, origin.tolist()))) > 1
    assert torch.equal(crop(batch["full_label"].as_tensor(), origin, SIZE), batch["label"].as_tensor())
    apart = [decollate_batch(batch[key]) for key in ("label", "full_label")]
    assert torch.equal(crop_origin(*apart), origin)
    # the reference as prediction, in its place, is the whole reference
    loss = DQELoss(small_surrogate(), sigmoid=False, softmax=False)
    stars = loss.rate(batch["label"], image=batch["full_image"], target=batch["full_label"], origin=origin)
    expected = rate_segmentation(
        small_surrogate(), batch["full_image"].as_tensor(), batch["full_label"].as_tensor(), slicing="soft"
    )
    torch.testing.assert_close(stars, expected, rtol=0, atol=1e-4)


def test_one_full_volume_may_serve_several_crops(exam):
    image, labels, _, _ = exam
    _, exams = data(image, labels)
    crops = compose(RandCropByPosNegLabeld(["label"], "label", SIZE, num_samples=3))(exams[0])
    crops = [each["label"] for each in crops]
    one_by_one = torch.stack([crop_origin(each, exams[0]["label"]) for each in crops])
    assert torch.equal(crop_origin(crops, exams[0]["label"]), one_by_one)
    assert torch.equal(crop_origin(crops, exams[0]["label"].affine), one_by_one)


@pytest.mark.parametrize(
    "change",
    [RandFlipd(["image", "label"], prob=1, spatial_axis=0), RandRotate90d(["image", "label"], prob=1),
     Zoomd(["image", "label"], zoom=1.25, keep_size=False)],
    ids=["flipped", "rotated", "resampled"],
)  # fmt: skip
def test_a_crop_that_was_changed_is_refused_with_the_cure(exam, change):
    image, labels, _, _ = exam
    copy, exams = data(image, labels)
    cropped = compose(copy, CROP, change)(exams[0])
    with pytest.raises(ValueError, match=r"flipped, rotated or resampled after.*before the crop.*without origin="):
        crop_origin(cropped["label"], cropped["full_label"])
    # the cure: full-size volumes that were changed alike
    cropped = compose(change, copy, CROP)(exams[0])
    origin = crop_origin(cropped["label"], cropped["full_label"])
    assert torch.equal(
        crop(cropped["full_label"].as_tensor()[None], origin[None], SIZE)[0], cropped["label"].as_tensor()
    )


def moved(by):
    affine = AFFINE.clone()
    affine[:3, 3] += AFFINE[:3, :3] @ torch.tensor(by, dtype=torch.float64)
    return affine


@pytest.mark.parametrize(
    ("by", "message"),
    [
        ((3.5, 4.0, 5.0), r"between voxels.*\[3.5, 4.0, 5.0\]"),
        ((-2.0, 4.0, 5.0), r"does not lie inside.*\[-2, 4, 5\].*pad before"),
        ((20.0, 4.0, 5.0), r"does not lie inside.*\[20, 4, 5\]"),
        ((float("nan"), 4.0, 5.0), "between voxels"),
    ],
)
def test_a_crop_that_is_none_of_the_volume_is_refused(exam, by, message):
    full = MetaTensor(torch.zeros(1, *SHAPE), affine=AFFINE)
    crop_origin(MetaTensor(torch.zeros(1, *SIZE), affine=moved((3.0, 4.0, 5.0))), full)
    with pytest.raises(ValueError, match=message):
        crop_origin(MetaTensor(torch.zeros(1, *SIZE), affine=moved(by)), full)


def test_what_has_no_affine_is_named():
    full = MetaTensor(torch.zeros(2, 1, *SHAPE), affine=torch.stack([AFFINE] * 2))
    with pytest.raises(ValueError, match=r"crop.*MetaTensor.*affine \(4, 4\).*got Tensor of shape \(1, 14, 12, 10\)"):
        crop_origin(torch.zeros(1, *SIZE), full)
    with pytest.raises(ValueError, match="3 crops but 2 full-size volumes"):
        crop_origin([moved((1.0, 2.0, 3.0))] * 3, full)


def test_an_origin_that_the_affines_contradict_is_told(exam, recwarn):
    image, labels, _, _ = exam
    copy, exams = data(image, labels)
    cropped = compose(copy, CROP)(exams[0])
    patch, full = cropped["label"][None], cropped["full_image"][None]
    origin = crop_origin(patch, full)
    for right in (origin, tuple(origin.tolist()), origin[None]):
        check_origin(right, patch, full)
    check_origin(origin + 1, patch.as_tensor(), full)  # nothing is known of its place
    assert not [w for w in recwarn if "origin=" in str(w.message)]
    with pytest.warns(UserWarning, match=r"origin=.*by their affines.*\[\[" + ", ".join(map(str, origin.tolist()))):
        check_origin(origin + 1, patch, full)
    flipped = Flipd("label", 0)(dict(cropped))["label"][None]
    with pytest.warns(UserWarning, match=r"origin=.*by their affines.*flipped"):
        check_origin(origin, flipped, full)

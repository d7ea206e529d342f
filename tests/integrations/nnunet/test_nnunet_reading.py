"""What is read of an nnU-Net data set: channels, labels, axes, and whether a configuration fits."""

from types import SimpleNamespace

import pytest
import torch

from dqe_loss.integrations.nnunet.fit import fit
from dqe_loss.integrations.nnunet.labels import check_class_order, read_labels
from dqe_loss.integrations.nnunet.orientation import orientation_of

BRATS = {"background": 0, "whole tumor": [1, 2, 3], "tumor core": [2, 3], "enhancing tumor": [3]}
BRATS24 = {"background": 0, "NETC": 1, "SNFH": 2, "ET": 3, "RC": 4}
PEDS = {"background": 0, "ET": 1, "NonEnh": 2, "Cystic": 3, "Edema": 4}
CHANNELS = {"0": "T1", "1": "T1ce", "2": "T2", "3": "Flair"}
DATA = {"channel_names": CHANNELS, "labels": BRATS}


def plans(reader="SimpleITKIO", forward=(0, 1, 2)):
    return SimpleNamespace(plans={"image_reader_writer": reader}, transpose_forward=list(forward))


def configuration(patch=(128, 128, 128), spacing=None, previous=None, following=None):
    spacing = spacing or [1.0] * len(patch)
    return SimpleNamespace(
        patch_size=list(patch),
        spacing=list(spacing),
        previous_stage_name=previous,
        next_stage_names=following,
        use_mask_for_norm=[True] * 4,
    )


@pytest.mark.parametrize("forward", [(0, 1, 2), (2, 0, 1), (1, 2, 0), (0, 2, 1)])
@pytest.mark.parametrize(("reader", "against"), [("SimpleITKIO", ()), ("NibabelIOWithReorient", (2, 3))])
def test_volumes_come_back_to_the_axes_of_their_files(forward, reader, against):
    on_disk = torch.rand(1, 2, 5, 6, 7)  # (B, C, X, Y, Z)
    read = on_disk.flip(against).permute(0, 1, 4, 3, 2)  # as the reader gives it: (Z, Y, X)
    batch = read.permute(0, 1, *(2 + axis for axis in forward))  # as the plans order it
    assert torch.equal(orientation_of(reader, forward, 3).to_file(batch), on_disk)


@pytest.mark.parametrize(
    ("forward", "view", "axis"), [((0, 1, 2), "axial", 4), ((2, 0, 1), "sagittal", 2), ((1, 0, 2), "coronal", 3)]
)
def test_planes_come_back_to_the_axes_of_their_files(forward, view, axis):
    on_disk = torch.rand(1, 2, 5, 6, 7)
    batch = on_disk.permute(0, 1, 4, 3, 2).permute(0, 1, *(2 + axis for axis in forward))[:, :, 3]
    orientation = orientation_of("SimpleITKIO", forward, 2)
    assert orientation.view == view
    assert torch.equal(orientation.to_file(batch), on_disk.select(axis, 3))


def test_a_reader_of_unknown_axes_is_refused():
    with pytest.raises(ValueError, match="NaturalImage2DIO, whose axes are not known here"):
        orientation_of("NaturalImage2DIO", (0, 1, 2), 2)


def test_regions_are_read_by_name_in_the_order_of_the_channels():
    assert read_labels({"labels": BRATS}).regions == ("WT", "TC", "ET")
    turned = {"background": 0, "ET": [3], "resection cavity": [4], "WT": [1, 2, 3], "tumor_core": [2, 3]}
    assert read_labels({"labels": turned}).regions == ("ET", "RC", "WT", "TC")
    assert (
        read_labels(
            {"labels": {"background": 0, "a": [1, 2, 3], "b": [2, 3], "c": 3}}, regions=("WT", "TC", "ET")
        ).regions[0]
        == "WT"
    )


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (
            {"background": 0, "a": [1, 2, 3], "b": [2, 3], "c": 3},
            "regions a, b, c are not understood as WT, TC, ET of the task 'glioma'",
        ),
        (
            {"background": 0, "WT": [1, 2], "TC": [2, 3], "ET": 3},
            r"within each other as in the task, found WT of the labels \[1, 2\]",
        ),
        (
            {"background": 0, "a": 1, "b": 2, "c": 3},
            "do not tell which is necrosis, edema or enhancing tumor of the task",
        ),
        ({**BRATS, "ignore": 4}, "has a label to ignore"),
        ({}, "expected labels with their names and numbers"),
    ],
)
def test_what_is_not_understood_is_refused(labels, told):
    with pytest.raises(ValueError, match=told):
        read_labels({"labels": labels})


@pytest.mark.parametrize(
    ("labels", "order", "told"),
    [
        (BRATS, [1, 2, 3], ""),
        (BRATS, [3, 2, 1], r"regions_class_order \[3, 2, 1\] .* wrong labels, .*; set it to \[1, 2, 3\]"),
        (BRATS, None, r"a label for each of the 3 regions in regions_class_order, found 0; set it to \[1, 2, 3\]"),
        (
            {"background": 0, "ET": [3], "TC": [2, 3], "WT": [1, 2, 3]},
            [3, 2, 1],
            "list each region before those inside it",
        ),
        ({"background": 0, "WT": [1, 2, 3, 4], "ET": 1, "RC": [5]}, [4, 1, 5], ""),  # 2, 3 and 4 are of one kind
        (BRATS24, None, ""),  # labels, no regions
    ],
)
def test_the_order_in_which_regions_become_labels_again(labels, order, told):
    content = {"labels": labels, **({"regions_class_order": order} if order else {})}
    if not told:
        check_class_order(content)
    else:
        with pytest.raises(ValueError, match=told):
            check_class_order(content)


@pytest.mark.parametrize(
    ("labels", "scheme", "tissues"),
    [
        ({"background": 0, "edema": 1, "necrosis": 2, "enhancing tumour": 3}, "nnunet", ((0,), (1,), (2,), (3,))),
        (BRATS24, "brats24", ((0, 4), (1,), (2,), (3,))),
        (PEDS, "brats-peds", ((0,), (1,), (2, 3), (4,))),
    ],
)  # fmt: skip
def test_tissues_that_are_several_channels_or_none_are_merged_exactly(labels, scheme, tissues):
    found = read_labels({"labels": labels})
    assert (found.scheme, found.tissues) == (scheme, tissues)
    output = torch.randn(2, len(labels), 3, 4, 5)
    merged = found.logits_of(output).softmax(1)
    expected = torch.stack([output.softmax(1)[:, list(group)].sum(1) for group in tissues], 1)
    torch.testing.assert_close(merged, expected)
    if len(labels) == 4:
        assert found.logits_of(output) is output


def test_what_fits_is_told_in_words():
    found = fit(DATA, plans(), configuration())
    assert found.modalities == ("t1", "t1c", "t2", "flair")
    assert str(found) == "patches of 128 x 128 x 128 voxels (Z, Y, X)"
    assert str(fit(DATA, plans(), configuration((192, 160)))) == "axial planes of 192 x 160 voxels (Y, X)"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            {"spacing": (1.6, 1.6, 1.6)},
            r"voxels are 1.6 x 1.6 x 1.6 mm \(Z, Y, X\), .* -overwrite_target_spacing 1 1 1",
        ),
        ({"spacing": (2, 2, 2), "following": ["3d_cascade"]}, "first stage of a cascade: take 3d_fullres or 2d"),
        ({"patch": (64, 128, 128)}, "64 x 128 x 128 voxels are smaller than 96 along an axis, so none of them"),
        ({"patch": (96, 256, 128)}, "larger than the 240 x 240"),
        ({"previous": "3d_lowres"}, r"second stage of a cascade, whose first \(3d_lowres\)"),
    ],
)
def test_what_cannot_be_rated_is_refused(given, told):
    with pytest.raises(ValueError, match=told):
        fit(DATA, plans(), configuration(**given))


def test_small_patches_can_be_asked_for_and_channels_can_be_told():
    assert fit(DATA, plans(), configuration((64, 128, 128)), pad=True).patch == (64, 128, 128)
    nameless = {**DATA, "channel_names": {str(number): f"scan {number}" for number in range(4)}}
    with pytest.raises(ValueError, match=r"each of t1c, t1, t2, flair once, found scan 0, .*dqe_modalities = "):
        fit(nameless, plans(), configuration())
    order = ("flair", "t1", "t1c", "t2")
    assert fit(nameless, plans(), configuration(), modalities=order).modalities == order

import warnings

import numpy as np
import pytest
import torch
from helpers import make_labels, quick
from hypothesis import example, given
from hypothesis import strategies as st
from monai.transforms import ConvertToMultiChannelBasedOnBratsClasses

from dqe_loss import LABEL_SCHEMES, REGIONS, check_labels, regions_from_labels, regions_from_tissues
from dqe_loss.core.label_schemes import describe_schemes
from dqe_loss.core.labels import check_region_order, reorder_regions, tissues_from_regions
from dqe_loss.core.mask import LabelMask
from dqe_loss.data.corruption import as_canonical
from dqe_loss.data.findings import region_volumes

# scheme, labels of necrosis, edema, enhancing tumor
TISSUES = [
    ("brats23", 1, 2, 3),
    ("brats21", 1, 2, 4),
    ("brats", 1, 2, 3),
    ("brats", 1, 2, 4),
    ("msd", 2, 1, 3),
    ("nnunet", 2, 1, 3),
    ("brats24", 1, 2, 3),
    ("brats-peds", 2, 4, 1),
    ("brats-peds", 3, 4, 1),
]
DTYPES = [torch.uint8, torch.int16, torch.int32, torch.int64, torch.float16, torch.float32, torch.float64]


@pytest.mark.parametrize(("scheme", "necrosis", "edema", "enhancing"), TISSUES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_each_tissue_is_in_its_regions(scheme, necrosis, edema, enhancing, dtype):
    labels = torch.tensor([0, necrosis, edema, enhancing]).to(dtype).view(1, 1, 4, 1, 1)
    regions = regions_from_labels(labels, scheme)
    assert regions.dtype == torch.bool
    assert regions[0, :, :, 0, 0].tolist() == [
        [False, True, False, True],  # TC
        [False, True, True, True],  # WT
        [False, False, False, True],  # ET
    ]


def test_regions_are_those_of_monai():
    labels = torch.from_numpy(make_labels())
    labels[labels == 3] = 4
    expected = ConvertToMultiChannelBasedOnBratsClasses()(labels[None])
    torch.testing.assert_close(regions_from_labels(labels[None, None], "brats21")[0], torch.as_tensor(expected).bool())


@pytest.mark.parametrize(("scheme", "necrosis", "edema", "enhancing"), TISSUES)
def test_one_hot_tissues_give_the_regions_of_the_label_map(scheme, necrosis, edema, enhancing):
    brats = torch.from_numpy(make_labels())[None, None]
    labels = torch.tensor([0, necrosis, edema, enhancing])[brats.long()]
    order = sorted({0, necrosis, edema, enhancing})
    one_hot = torch.cat([labels == value for value in order], 1).float()
    regions = regions_from_labels(labels, scheme).float()
    torch.testing.assert_close(regions_from_tissues(one_hot, scheme), regions, rtol=0, atol=0)
    torch.testing.assert_close(tissues_from_regions(regions, scheme), one_hot, rtol=0, atol=0)


# scheme, and what each of its labels 0, 1, 2, 3, 4 is in brats23
MEANINGS = [("brats24", [0, 1, 2, 3, 0]), ("brats-peds", [0, 3, 1, 1, 2])]


@pytest.mark.parametrize(("scheme", "meaning"), MEANINGS)
def test_a_cavity_is_in_no_region_and_a_tissue_may_have_two_labels(scheme, meaning):
    """Whatever reads label maps reads them the same way: regions, planes, profiles, volumes, corruptions."""
    labels = torch.from_numpy(np.random.default_rng(0).integers(0, 5, (1, 1, 6, 5, 4), np.uint8))
    same = torch.tensor(meaning, dtype=torch.uint8)[labels.long()]
    expected = regions_from_labels(same, "brats23")
    torch.testing.assert_close(regions_from_labels(labels, scheme), expected)
    mask = LabelMask(labels, scheme)
    for channel, region in enumerate(REGIONS):
        torch.testing.assert_close(mask.volume(region), expected[:, channel])
        for one, other in zip(mask.profiles(region), LabelMask(same, "brats23").profiles(region), strict=True):
            torch.testing.assert_close(one, other)
    index = torch.tensor([[1, 2]])
    torch.testing.assert_close(mask.take(index, "axial"), LabelMask(same, "brats23").take(index, "axial"))
    assert region_volumes(labels.numpy(), scheme).tolist() == region_volumes(same.numpy(), "brats23").tolist()
    np.testing.assert_array_equal(as_canonical(labels.numpy(), scheme), same.numpy())
    check_labels(labels, scheme)


def test_tissue_probabilities_add_up_to_regions():
    logits = torch.randn(2, 4, 2, 2, 2, dtype=torch.float64, requires_grad=True)
    background, necrosis, edema, enhancing = logits.softmax(1).unbind(1)
    regions = regions_from_tissues(logits.softmax(1), "brats23")
    torch.testing.assert_close(regions, torch.stack((necrosis + enhancing, 1 - background, enhancing), 1))
    torch.testing.assert_close(regions[:, 1], necrosis + edema + enhancing)
    assert torch.autograd.gradcheck(lambda x: regions_from_tissues(x.softmax(1), "msd"), logits)


@st.composite
def label_maps(draw):
    scheme = draw(st.sampled_from(sorted(LABEL_SCHEMES)))
    dtype = draw(st.sampled_from(DTYPES))
    lowest = 0 if dtype == torch.uint8 else -2
    values = draw(st.lists(st.integers(lowest, 7), min_size=1, max_size=8))
    return scheme, torch.tensor(values).to(dtype)


@quick
@given(label_maps())
@example(("brats21", torch.tensor([0, 1, 2, 3])))
@example(("brats", torch.tensor([3.0, 4.0])))
@example(("brats23", torch.tensor([0])))
def test_valid_labels_pass_and_no_others(drawn):
    scheme, labels = drawn
    present = set(labels.tolist())
    if present <= set(LABEL_SCHEMES[scheme].values) and not (scheme == "brats" and {3, 4} <= present):
        check_labels(labels, scheme)
    else:
        with pytest.raises(ValueError, match="label"):
            check_labels(labels, scheme)


@pytest.mark.parametrize("scheme", LABEL_SCHEMES)
@pytest.mark.parametrize("value", [0.5, 2.75, -0.25, float("nan"), float("inf"), -float("inf")])
def test_a_value_that_is_no_integer_is_named(scheme, value):
    with pytest.raises(ValueError, match=rf"label scheme '{scheme}'.*also holds \[{value:.3g}"):
        check_labels(torch.tensor([0.0, 1.0, 2.0, value]), scheme)


def test_the_message_names_the_values_and_the_schemes_that_fit():
    with pytest.raises(
        ValueError, match=r"'brats23' has the labels 0, 1, 2, 3, .*\[4\]; the values fit brats \("
    ) as caught:
        check_labels(torch.tensor([0, 1, 2, 4]), "brats23")
    for name in ("brats", "brats21", "brats24", "brats-peds"):
        assert f"{name} ({LABEL_SCHEMES[name]})" in str(caught.value)
    assert "msd" not in str(caught.value)
    with pytest.raises(ValueError, match=r"unknown label scheme 'BraTS'.*brats23.*brats-peds"):
        check_labels(torch.tensor([0]), "BraTS")


def test_what_fits_no_scheme_is_told_what_each_takes():
    with pytest.raises(ValueError, match=r"\[9\]; they fit no scheme") as caught:
        check_labels(torch.tensor([0, 1, 2, 9]), "brats23")
    assert describe_schemes() in str(caught.value)
    assert "brats: 1 necrosis, 2 edema, 3 or 4 enhancing; " in describe_schemes()
    assert "brats24: 1 necrosis, 2 edema, 3 enhancing, 4 cavity (in no region); " in describe_schemes()
    assert "brats-peds: 2 and 3 necrosis, 4 edema, 1 enhancing; " in describe_schemes()


@pytest.mark.parametrize("scheme", ["brats", "brats21", "brats23", "msd"])
def test_four_labels_are_advised_the_schemes_that_have_four(scheme):
    """Not the very scheme that refuses them, nor a year that has one of the two."""
    with pytest.raises(ValueError, match="label") as caught:
        check_labels(torch.tensor([0, 1, 2, 3, 4]), scheme)
    advice = str(caught.value).partition("; ")[2]
    assert "brats24" in advice
    assert "brats-peds" in advice
    for name in ("brats21 (", "brats23 (", "brats ("):
        assert name not in advice


def test_boolean_and_empty_background_maps_pass():
    check_labels(torch.zeros(1, 1, 2, 2, 2, dtype=torch.bool))
    check_labels(torch.zeros(1, 1, 2, 2, 2))


@pytest.mark.parametrize("scheme", ["brats", "brats24", "brats-peds"])
def test_a_batch_that_mixes_3_and_4_is_told_and_passes(scheme):
    """A map must not hold both labels of enhancing tumor; exams of two years may share a batch, or 4 is a cavity."""
    mixed = torch.tensor([[0, 1, 2, 3], [0, 1, 2, 4]]).view(2, 1, 4, 1, 1)
    if scheme == "brats":
        with pytest.warns(UserWarning, match=r"one exam of a batch holds 3, another 4.*brats24.*brats-peds"):
            check_labels(mixed, scheme)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_labels(mixed[:1], scheme)
        check_labels(mixed[1:], scheme)
        check_labels(mixed[:1].repeat(2, 1, 1, 1, 1), scheme)
        if scheme != "brats":
            check_labels(mixed, scheme)


@pytest.mark.parametrize(
    ("function", "shape"),
    [(regions_from_labels, (1, 2, 4, 4, 4)), (regions_from_labels, (4, 4, 4)),
     (regions_from_tissues, (1, 3, 4, 4, 4)), (regions_from_tissues, (4, 4, 4))],
)  # fmt: skip
def test_a_wrong_shape_is_named(function, shape):
    with pytest.raises(ValueError, match=r"expected .*\(B, [14], X, Y, Z\).*" + str(shape).strip("()")):
        function(torch.zeros(shape))


def test_regions_are_reordered_by_name():
    regions = torch.arange(3.0).view(1, 3, 1, 1, 1)
    assert reorder_regions(regions, REGIONS) is regions
    # nnU-Net: channel 0 is WT, 1 is TC, 2 is ET
    assert reorder_regions(regions, ("WT", "TC", "ET")).flatten().tolist() == [1, 0, 2]
    assert reorder_regions(regions, ("ET", "TC", "WT")).flatten().tolist() == [1, 2, 0]
    for order in (("TC", "WT"), ("TC", "WT", "WT"), ("tc", "wt", "et")):
        with pytest.raises(ValueError, match="region_order must name each of"):
            reorder_regions(regions, order)


def test_an_order_may_name_more_regions_than_are_rated():
    """BraTS 2024 after treatment: a fourth head for the resection cavity, which no star depends on."""
    regions = torch.arange(4.0).view(1, 4, 1, 1, 1)
    assert reorder_regions(regions, ("WT", "TC", "ET", "RC")).flatten().tolist() == [1, 0, 2]
    assert reorder_regions(regions, ("TC", "WT", "ET", "RC")).flatten().tolist() == [0, 1, 2]
    assert reorder_regions(regions, ["RC", "ET", "WT", "TC"]).flatten().tolist() == [3, 2, 1]
    for order in (("WT", "TC", "RC", "CC"), ("WT", "TC", "ET", "ET"), ("TC", "WT", "ET", "RC", "RC")):
        with pytest.raises(ValueError, match="region_order must name each of"):
            check_region_order(order)


@pytest.mark.parametrize(("channels", "order"), [(4, REGIONS), (3, ("WT", "TC", "ET", "RC")), (2, REGIONS)])
def test_another_number_of_channels_than_the_order_names_is_refused(channels, order):
    with pytest.raises(ValueError, match=rf"region_order names {len(order)} .*got {channels} channels"):
        reorder_regions(torch.zeros(1, channels, 1, 1, 1), order)

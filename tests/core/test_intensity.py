import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import torch
from helpers import make_image, quick
from hypothesis import given
from hypothesis import strategies as st
from monai.transforms import ScaleIntensity, ScaleIntensityRangePercentiles

from dqe_loss import MODALITIES, scale_planes
from dqe_loss.core.intensity import modality_index, percentiles


@quick
@given(
    hnp.arrays(np.float64, st.tuples(st.integers(1, 3), st.integers(1, 300)), elements=st.floats(-1e4, 1e4, width=32)),
    st.floats(0, 49.9),
    st.floats(50.1, 100),
)
def test_percentiles_are_those_of_numpy(values, lower, upper):
    low, high = percentiles(torch.from_numpy(values), lower, upper)
    expected = np.percentile(values, [lower, upper], axis=-1)
    np.testing.assert_allclose(torch.cat((low, high), -1).T.numpy(), expected, rtol=1e-9, atol=1e-7)


@pytest.fixture(scope="module")
def planes() -> torch.Tensor:
    """Three planes of four modalities, (3, 4, 32, 28)."""
    return torch.from_numpy(make_image())[..., 8:17:4].movedim(-1, 0)


def test_percentile_scaling_is_that_of_monai(planes):
    reference = ScaleIntensityRangePercentiles(lower=0.5, upper=99.5, b_min=0, b_max=1, clip=True, channel_wise=False)
    expected = torch.stack([torch.as_tensor(reference(plane)) for plane in planes])
    torch.testing.assert_close(scale_planes(planes), expected, rtol=0, atol=1e-5)


def test_minmax_scaling_is_that_of_monai_for_each_modality(planes):
    reference = ScaleIntensity(minv=0, maxv=1, channel_wise=True)
    expected = torch.stack([torch.as_tensor(reference(plane)) for plane in planes])
    torch.testing.assert_close(scale_planes(planes, "minmax"), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("normalization", ["percentile", "minmax"])
def test_each_plane_is_scaled_by_itself(planes, normalization):
    together = scale_planes(planes.expand(2, -1, -1, -1, -1) * torch.tensor([1.0, 7.0]).view(2, 1, 1, 1, 1),
                            normalization)  # fmt: skip
    alone = torch.stack([scale_planes(plane, normalization) for plane in planes])
    torch.testing.assert_close(together, alone.expand(2, -1, -1, -1, -1), rtol=0, atol=1e-6)


@pytest.mark.parametrize("normalization", ["percentile", "minmax"])
@pytest.mark.parametrize("value", [0.0, -3.0, 1e30, float("nan"), float("inf"), -float("inf")])
def test_a_plane_without_range_becomes_zero(normalization, value):
    assert scale_planes(torch.full((4, 8, 8), value), normalization).eq(0).all()


@pytest.mark.parametrize("normalization", ["percentile", "minmax"])
def test_values_that_are_not_finite_stay_in_range(planes, normalization):
    planes = planes.clone()
    planes[:, :, :8] = float("inf")
    planes[:, :, 8:16] = -float("inf")
    planes[:, :, 16:24] = float("nan")
    scaled = scale_planes(planes, normalization)
    assert scaled.isfinite().all()
    assert scaled.min() >= 0
    assert scaled.max() <= 1


def test_nan_counts_as_zero(planes):
    holes = planes.clone()
    holes[:, 1, 3:9, 4:11] = float("nan")
    torch.testing.assert_close(scale_planes(holes), scale_planes(holes.nan_to_num(0)), rtol=0, atol=0)


def test_modalities_are_found_by_name():
    assert modality_index(MODALITIES, MODALITIES) == [0, 1, 2, 3]
    assert modality_index(("flair", "t1", "t1c", "t2"), MODALITIES) == [2, 1, 3, 0]
    for given_ in (("t1c", "t1", "t2"), ("t1c", "t1", "t2", "t2"), ("t1ce", "t1", "t2", "flair")):
        with pytest.raises(ValueError, match="modalities must name each of"):
            modality_index(given_, MODALITIES)


def test_an_unknown_normalization_is_named():
    with pytest.raises(ValueError, match=r"normalization must be one of.*'zscore'"):
        scale_planes(torch.rand(4, 8, 8), "zscore")

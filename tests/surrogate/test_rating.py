import copy

import pytest
import torch
from helpers import SHAPE, SIDE, make_case, make_exam, shrink, small_surrogate, tiny_surrogate

from dqe_loss import (
    VIEWS,
    dqe_loss,
    extract_planes,
    hard_center_of_mass,
    rate_segmentation,
    regions_from_labels,
    soft_center_of_mass,
)
from dqe_loss.core.pipeline import Sampling


@pytest.fixture(scope="module")
def batch():
    """Images, label maps and regions of three exams."""
    images, labels = make_exam(seeds=(0, 1, 2))
    return images, labels, regions_from_labels(labels)


def rate(image, segmentation, **options):
    return rate_segmentation(small_surrogate(), image, segmentation, **options)


def test_the_rating_is_that_of_three_planes_fed_by_hand():
    """Hard slicing spelled out where nothing needs padding: 0.5 and 99.5 percentile, then [scans, regions]."""
    image, labels = make_exam((SIDE, SIDE, SIDE))
    regions = regions_from_labels(labels)
    surrogate = small_surrogate()
    expected = []
    x, y, z = hard_center_of_mass(regions)[0].tolist()
    for take in (lambda v: v[..., z], lambda v: v[..., y, :], lambda v: v[..., x, :, :]):
        scans = take(image).double()
        low, high = (torch.quantile(scans.flatten(), q) for q in (0.005, 0.995))
        planes = torch.cat((((scans - low) / (high - low)).clamp(0, 1), take(regions).double()), 1)
        expected.append(surrogate(planes))
    ratings = rate_segmentation(surrogate, image, regions)
    torch.testing.assert_close(ratings, torch.stack(expected, 1), rtol=0, atol=1e-4)


@pytest.mark.parametrize("slicing", ["hard", "soft"])
def test_a_batch_is_rated_like_its_exams(batch, slicing):
    image, labels, _ = batch
    together = rate(image, labels, slicing=slicing)
    alone = torch.cat([rate(image[i : i + 1], labels[i : i + 1], slicing=slicing) for i in range(3)])
    assert together.shape == (3, 3)
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-4)
    assert together.std(0).min() > 1e-3  # or the test says nothing


@pytest.mark.parametrize("slicing", ["hard", "soft"])
@pytest.mark.parametrize(
    ("scheme", "necrosis", "edema", "enhancing"),
    [
        ("brats23", 1, 2, 3),
        ("brats21", 1, 2, 4),
        ("brats", 1, 2, 4),
        ("msd", 2, 1, 3),
        ("nnunet", 2, 1, 3),
        ("brats24", 1, 2, 3),
        ("brats-peds", 3, 4, 1),
    ],
)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_every_label_scheme_rates_alike(batch, slicing, scheme, necrosis, edema, enhancing, dtype):
    image, labels, regions = batch
    renamed = torch.tensor([0, necrosis, edema, enhancing])[labels.long()].to(dtype)
    torch.testing.assert_close(
        rate(image, renamed, slicing=slicing, label_scheme=scheme),
        rate(image, regions, slicing=slicing), rtol=0, atol=0,
    )  # fmt: skip


@pytest.mark.parametrize("slicing", ["hard", "soft"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_binary_regions_of_any_dtype_rate_alike(batch, slicing, dtype):
    image, _, regions = batch
    torch.testing.assert_close(
        rate(image, regions.to(dtype), slicing=slicing), rate(image, regions, slicing=slicing), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("dtype", [torch.int16, torch.int32, torch.uint8, torch.float16, torch.float64])
def test_images_of_any_dtype_rate_alike(batch, dtype):
    image, labels, _ = batch
    image = (image / 4).round()
    torch.testing.assert_close(rate(image.to(dtype), labels), rate(image, labels), rtol=0, atol=1e-4)


def test_images_of_another_memory_order_rate_alike(batch):
    """read_exam gives arrays in the order of the file."""
    image, labels, _ = batch
    turned = [x.permute(4, 3, 2, 0, 1).contiguous().permute(3, 4, 2, 1, 0) for x in (image, labels)]
    torch.testing.assert_close(rate(*turned), rate(image, labels), rtol=0, atol=1e-6)


@pytest.mark.parametrize("views", [("axial",), ("sagittal", "axial"), VIEWS])
def test_views_are_rated_in_the_order_asked_for(batch, views):
    image, labels, _ = batch
    columns = [VIEWS.index(view) for view in views]
    torch.testing.assert_close(rate(image, labels, views=views), rate(image, labels)[:, columns], rtol=0, atol=1e-4)


def test_modalities_are_found_by_name(batch):
    image, labels, _ = batch
    task01 = image[:, [3, 1, 0, 2]]
    torch.testing.assert_close(
        rate(task01, labels, modalities=("flair", "t1", "t1c", "t2")), rate(image, labels), rtol=0, atol=1e-6
    )
    assert (rate(task01, labels) - rate(image, labels)).abs().max() > 0.01


@pytest.mark.parametrize("slicing", ["hard", "soft"])
def test_a_given_center_is_used(batch, slicing):
    image, _, regions = batch
    find = hard_center_of_mass if slicing == "hard" else soft_center_of_mass
    own = find(regions)
    torch.testing.assert_close(
        rate(image, regions, slicing=slicing, center=own), rate(image, regions, slicing=slicing), rtol=0, atol=0
    )
    moved = rate(image, regions, slicing=slicing, center=own + 5)
    assert (moved - rate(image, regions, slicing=slicing)).abs().min() > 1e-4


def test_an_empty_segmentation_is_rated_in_the_middle(batch):
    image, labels, regions = batch
    middle = torch.tensor([[(n - 1) // 2 for n in SHAPE]]).expand(3, -1)
    torch.testing.assert_close(
        rate(image, torch.zeros_like(labels)), rate(image, torch.zeros_like(regions), center=middle), rtol=0, atol=0
    )


@pytest.mark.parametrize("slicing", ["hard", "soft"])
def test_nan_in_the_image_counts_as_zero(batch, slicing):
    image, labels, _ = batch
    holes = image.clone()
    holes[:, 1, 10:14, 8:12, 6:12] = float("nan")
    torch.testing.assert_close(
        rate(holes, labels, slicing=slicing), rate(holes.nan_to_num(0), labels, slicing=slicing), rtol=0, atol=1e-4
    )


@pytest.mark.parametrize("slicing", ["hard", "soft"])
def test_jitter_is_drawn_from_the_generator(batch, slicing):
    image, labels, _ = batch

    def jittered(seed, **options):
        generator = torch.Generator().manual_seed(seed)
        return rate(image, labels, slicing=slicing, jitter=3.0, generator=generator, **options)

    assert torch.equal(jittered(1), jittered(1))
    assert not torch.equal(jittered(1), jittered(2))
    assert not torch.equal(jittered(1), rate(image, labels, slicing=slicing))
    state = torch.get_rng_state()
    jittered(1)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("slicing", ["hard", "soft"])
def test_several_planes_are_averaged_and_the_first_is_at_the_center(batch, slicing):
    image, _, regions = batch
    center = (hard_center_of_mass if slicing == "hard" else soft_center_of_mass)(regions)
    moves = Sampling(planes=4, jitter=2.0, generator=torch.Generator().manual_seed(5)).moves(center)
    assert moves.shape == (3, 3, 4)
    assert moves[..., 0].eq(0).all()
    assert moves[..., 1:].float().std() > 1
    each = []
    for p in range(4):
        # view by view: axial moves along Z, coronal along Y, sagittal along X
        moved = center + moves[:, :, p].flip(1)
        each.append(rate(image, regions, slicing=slicing, center=moved))
    ratings = rate(image, regions, slicing=slicing, planes=4, jitter=2.0, generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(ratings, torch.stack(each).mean(0), rtol=0, atol=1e-4)


def test_gradient_of_the_whole_path():
    """Voxel values, weights of the center, interpolation and scaling together, in float64."""
    torch.manual_seed(0)
    surrogate = copy.deepcopy(tiny_surrogate()).double()
    image = torch.rand(1, 4, 3, 4, 4, dtype=torch.float64)
    regions = (torch.rand(1, 3, 3, 4, 4, dtype=torch.float64) * 0.4 + 0.55).requires_grad_()
    center = soft_center_of_mass(regions)
    assert ((center - center.round()).abs() > 0.01).all()  # interpolation has kinks at whole voxels
    assert torch.autograd.gradcheck(
        lambda r: rate_segmentation(surrogate, image, r, slicing="soft", views=("axial", "sagittal")), regions
    )


def test_the_function_is_relu_of_what_lacks_to_six(batch):
    image, _, regions = batch
    ratings = rate(image, regions, slicing="soft")
    assert torch.equal(dqe_loss(small_surrogate(), image, regions), (6 - ratings.mean(1)).relu())
    hard = dqe_loss(small_surrogate(), image, regions, slicing="hard", views=("axial",))
    assert torch.equal(hard, (6 - rate(image, regions)[:, 0]).relu())
    assert dqe_loss(small_surrogate(), image, torch.zeros_like(regions)).gt(0).all()


def test_soft_planes_are_between_hard_ones(batch):
    image, _, _ = batch
    plane = extract_planes(image, torch.tensor([[3.5]] * 3), "axial")
    torch.testing.assert_close(plane[:, 0], (image[..., 3] + image[..., 4]) / 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"slicing": "fuzzy"}, "slicing must be 'hard' or 'soft', got 'fuzzy'"),
        ({"views": ()}, "views must be one or more of"),
        ({"views": ("axial", "axial")}, "each once"),
        ({"planes": 2}, "jitter > 0 with planes > 1"),
        ({"planes": 0}, "planes must be a whole number >= 1, got 0"),
        ({"jitter": -1.0}, "jitter must be a finite number >= 0"),
        ({"label_scheme": "brats2020"}, "unknown label scheme 'brats2020'"),
        ({"modalities": ("t1", "t2", "t1c", "pd")}, "modalities must name each of"),
    ],
)
def test_wrong_options_are_named(batch, options, message):
    image, labels, _ = batch
    with pytest.raises(ValueError, match=message):
        rate(image, labels, **options)


def test_wrong_shapes_are_named(batch):
    image, labels, regions = batch
    with pytest.raises(ValueError, match=r"expected an image of 4 channels, got shape \(3, 3, 32, 28, 24\)"):
        rate(image[:, :3], labels)
    with pytest.raises(ValueError, match=r"same batch and voxels, got \(3, 4, 32, 28, 24\) and \(3, 3, 32, 28, 23\)"):
        rate(image, regions[..., :-1])
    with pytest.raises(ValueError, match="same batch and voxels"):
        rate(image[:1], regions)
    with pytest.raises(ValueError, match=r"got a segmentation of shape \(3, 4, 32, 28, 24\)"):
        rate(image, image)
    with pytest.raises(ValueError, match="exceeds the surrogate's field of view of 16x16"):
        rate_segmentation(shrink(small_surrogate(), 16), image, labels)


@pytest.mark.parametrize("slicing", ["hard", "soft"])
def test_logits_and_nan_are_refused_with_the_cure(slicing):
    """A function that takes [0, 1] would cut logits at 0.5, or take them for very sure."""
    image, _, _, logits = make_case()
    with pytest.raises(ValueError, match=r"the segmentation is taken as probabilities.*pass torch.sigmoid\(logits\)"):
        rate_segmentation(tiny_surrogate(), image, logits, slicing=slicing)
    with pytest.raises(ValueError, match="the segmentation holds NaN"):
        rate_segmentation(tiny_surrogate(), image, torch.full_like(logits, float("nan")), slicing=slicing)
    rate_segmentation(tiny_surrogate(), image, logits.half().sigmoid(), slicing=slicing)

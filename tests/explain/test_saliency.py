"""Saliency: exact for a linear surrogate, without the padding, honest where there is none; its share; its command."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import make_exam, shrink, small_surrogate, tiny_surrogate
from test_rate import FIRST, SECOND, folder, run  # noqa: F401  # the tiny exam of the command
from torch import nn

from dqe_loss import VIEWS, Surrogate, rate_segmentation, regions_from_labels
from dqe_loss.core.slicing import VIEW_AXIS, take_planes
from dqe_loss.explain.files import plan_explanations
from dqe_loss.explain.saliency import Saliency, explain_labels
from dqe_loss.explain.true_error import reference_error, share_on_error
from dqe_loss.surrogate.refiner import SMALLEST_PLANE, RefinerConfig
from dqe_loss.task import BLOBS

SIDE = SMALLEST_PLANE


class Linear(nn.Module):
    """Stars that are 3 + the sum of weight * input: the gradient is the weight."""

    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(weight, requires_grad=False)

    def forward(self, planes):
        return 3 + (planes * self.weight).sum((1, 2, 3))[:, None]


def linear_surrogate(weight):
    surrogate = shrink(small_surrogate(), SIDE)
    surrogate.network = Linear(weight)
    return surrogate


@pytest.fixture(scope="module")
def weight():
    return torch.randn(7, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


class Disagreeing(nn.Module):
    """A refiner that is sure that every voxel of the upper half is wrong, and agrees with the rest."""

    def forward(self, scans, regions):
        refined = regions.clone()
        refined[..., : SIDE // 2, :] = 1 - refined[..., : SIDE // 2, :]
        return 6 * (2 * refined - 1)


def test_a_refiner_is_explained_by_where_it_disagrees(weight):
    base = linear_surrogate(weight)
    surrogate = Surrogate(replace(base.config, refiner=RefinerConfig()), Disagreeing())
    surrogate.network = Linear(weight / 100)
    image, labels = make_exam(seeds=(0,))
    for one in explain_labels(surrogate, image, labels, smoothing=0).values():
        height = one.mask.shape[-2]
        edge = SIDE // 2 - (SIDE - height) // 2
        assert one.mask[..., :edge, :].sum() > 0
        assert (one.mask[..., edge:, :] == 0).all()


def test_map_of_a_linear_surrogate_is_its_weights(weight):
    image, labels = make_exam(seeds=(0, 1))
    saliency = explain_labels(linear_surrogate(weight), image, labels, smoothing=0)
    assert list(saliency) == list(VIEWS)
    for view, one in saliency.items():
        height, width = (n for axis, n in enumerate(labels.shape[2:]) if axis != VIEW_AXIS[view])
        assert one.mask.shape == (2, 3, height, width)
        assert one.image.shape == (2, 4, height, width)
        # The padding of the field of view is cropped away where `pad_planes` put it.
        top, left = (SIDE - height) // 2, (SIDE - width) // 2
        inner = weight[:, top : top + height, left : left + width]
        regions = take_planes(regions_from_labels(labels), one.index[:, None], view)[:, 0]
        assert torch.equal(one.regions, regions)
        gain = torch.where(regions, (-inner[4:]).clamp(min=0), inner[4:].clamp(min=0))
        brain = (one.scans > 0).any(1) | regions.any(1)
        assert torch.allclose(one.mask, gain * brain[:, None])
        # Padding repeats the outermost minimum of the scans, which are 0 outside of the brain and clamped.
        core = (slice(None), slice(None), slice(4, -4), slice(4, -4))
        assert torch.allclose(one.image[core], inner[:4].abs().expand_as(one.image)[core])


def test_following_the_map_raises_the_stars_by_what_it_says(weight):
    image, labels = make_exam()
    surrogate = linear_surrogate(weight * 0.01)
    one = explain_labels(surrogate, image, labels, views=("axial",), smoothing=0)["axial"]
    where = one.regions[0].clone()
    change = one.mask[0] > 0
    where[change] = ~where[change]
    volume = regions_from_labels(labels).float()
    volume[0, :, :, :, int(one.index)] = where.float()
    center = torch.tensor([[0, 0, int(one.index)]])
    before, after = (
        rate_segmentation(surrogate, image, mask, center=center, views=("axial",)).item()
        for mask in (regions_from_labels(labels), volume)
    )
    assert after - before == pytest.approx(one.mask.sum().item(), rel=1e-3)


def test_stars_are_those_of_the_one_path():
    image, labels = make_exam()
    saliency = explain_labels(small_surrogate(), image, labels)
    stars = rate_segmentation(small_surrogate(), image, labels)[0]
    assert [one.stars.item() for one in saliency.values()] == pytest.approx(stars.tolist(), abs=1e-5)
    for one in saliency.values():
        assert (one.mask >= 0).all()
        assert one.mask.sum() > 0
        assert not one.mask.requires_grad


def test_modalities_in_another_order_give_the_same():
    image, labels = make_exam()
    order = ("flair", "t1", "t1c", "t2")
    shuffled = image[:, [3, 1, 0, 2]]
    expected = explain_labels(tiny_surrogate(), image, labels, views=("axial",))["axial"]
    got = explain_labels(tiny_surrogate(), shuffled, labels, views=("axial",), modalities=order)["axial"]
    assert torch.allclose(expected.mask, got.mask)
    assert torch.allclose(expected.image, got.image)


@pytest.mark.parametrize("blind", [False, True], ids=["zero gradient", "no gradient at all"])
def test_a_constant_rating_has_no_saliency(blind):
    image, labels = make_exam()
    surrogate = linear_surrogate(torch.zeros(7, SIDE, SIDE))
    if blind:
        surrogate.network.forward = lambda planes: torch.full((planes.shape[0], 1), 3.0)
    for view, one in explain_labels(surrogate, image, labels).items():
        assert one.mask.sum() == one.image.sum() == 0
        error = reference_error(one, labels.roll(3, 2), view)
        share, chance = share_on_error(one.mask, error)
        assert share.isnan().all()
        assert (chance > 0).all()


def test_error_of_a_reference_is_the_symmetric_difference():
    image, labels = make_exam()
    one = explain_labels(tiny_surrogate(), image, labels, views=("coronal",))["coronal"]
    assert not reference_error(one, labels, "coronal").any()
    moved = labels.clone()
    x, z = one.regions[0, 1].nonzero()[0].tolist()
    moved[0, 0, x, int(one.index), z] = 0
    assert reference_error(one, moved, "coronal").nonzero().tolist() == [
        [0, r, x, z] for r in range(3) if one.regions[0, r, x, z]
    ]


def test_share_by_hand():
    saliency = torch.zeros(5, 5)
    saliency[0, 0], saliency[1, 1], saliency[4, 4] = 1, 2, 5
    error = torch.zeros(5, 5, dtype=torch.bool)
    error[0, 0] = True
    inside = torch.ones_like(error)
    inside[4] = False
    assert [s.item() for s in share_on_error(saliency, error, margin=0)] == [1 / 8, 1 / 25]
    # One voxel around it: (1, 1) counts too, on an area of 2 x 2; the last row is outside.
    assert [s.item() for s in share_on_error(saliency, error, inside, margin=1)] == [1.0, 4 / 20]


def test_smoothing_lets_neighbors_that_disagree_cancel_out():
    image, labels = make_exam()
    checkered = torch.ones(7, SIDE, SIDE)
    checkered[:, ::2, 1::2] = checkered[:, 1::2, ::2] = -1
    sharp, smooth = (
        explain_labels(linear_surrogate(checkered), image, labels, views=("axial",), smoothing=s)["axial"]
        for s in (0, 2)
    )
    middle = (..., slice(10, -10), slice(10, -10))
    assert sharp.image[middle].min() == 1
    assert smooth.image[middle].max() < 1e-3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"smoothing": -1}, "smoothing must be a standard deviation in voxels, 0 or above, got -1"),
        ({"views": ("oblique",)}, "views must be one or more of"),
        ({"labels": torch.zeros(1, 3, 4, 4, 4)}, r"got \(1, 4, 32, 28, 24\) and \(1, 3, 4, 4, 4\)"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    image, labels = make_exam()
    with pytest.raises(ValueError, match=message):
        explain_labels(tiny_surrogate(), image, **{"labels": labels, **arguments})


def test_a_negative_map_and_other_shapes_are_refused():
    error = torch.zeros(2, 2, dtype=torch.bool)
    with pytest.raises(ValueError, match="expected a map of 0 and above, got negative values"):
        share_on_error(-torch.ones(2, 2), error)
    with pytest.raises(ValueError, match=r"of one shape, got \(3, 2\), \(2, 2\) and \(2, 2\)"):
        share_on_error(torch.ones(3, 2), error)


def test_command_writes_a_picture_of_each_mask_and_tells_the_shares(run, tmp_path):  # noqa: F811
    code, output, errors = run("--explain", tmp_path / "why.png")
    assert (code, errors) == (0, "")
    assert "saliency" not in output
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"why_{FIRST}.png", f"why_{SECOND}.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in tmp_path.iterdir())


def test_command_writes_numbers(run, tmp_path):  # noqa: F811
    code, output, errors = run("--explain", tmp_path / "why.json", "--reference", FIRST)
    assert (code, errors) == (0, "")
    content = json.loads((tmp_path / "why.json").read_text())
    assert (content["unit"], content["reference"]) == ("stars", FIRST)
    assert list(content["saliency"]) == [SECOND]
    for view, found in content["saliency"][SECOND].items():
        assert found["peak"][VIEW_AXIS[view]] == found["plane"]
        assert 0 < found["share_all"] <= 1
        assert f"{found['share_all']:.2f} ({found['chance_all']:.2f})" in output.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--explain", "why.txt"), "why.txt: expected an explanation that ends in .png, .pdf, .svg or .json"),
        (("--reference", FIRST), "--reference is for --explain, which shows the true error beside the suspected one"),
        (
            ("--explain", "why.json", "--reference", "seg-*"),
            f"EXAM: --reference seg-* fits {FIRST}, {SECOND}, expected one of them; give more of the name",
        ),
    ],
)
def test_command_says_what_is_wrong(run, folder, arguments, message):  # noqa: F811
    code, output, errors = run(*arguments)
    assert (code, output) == (2, "")
    assert errors == f"dqe rate: error: {message.replace('EXAM', str(folder))}\n"


def test_plan_of_a_lone_mask_and_of_a_lone_reference(tmp_path):
    assert plan_explanations(tmp_path / "a.json", ["one", "b/two"], None).keys() == {"one", "b/two"}
    assert plan_explanations(tmp_path / "a.png", ["b/two", "one"], None)["b/two"] == tmp_path / "a_b_two.png"
    assert plan_explanations(tmp_path / "a.png", ["one", "two"], "two") == {"one": tmp_path / "a.png"}
    with pytest.raises(ValueError, match="there is no other segmentation to explain"):
        plan_explanations(tmp_path / "a.json", ["one"], "one")


def test_the_picture_hangs_upright_whichever_way_files_run():
    pytest.importorskip("matplotlib")
    from dqe_loss.explain.figure import plot_saliency

    plane = torch.arange(30.0).view(1, 1, 6, 5) / 30
    mask = torch.zeros(1, 1, 6, 5, dtype=torch.bool)
    mask[..., 1:3, 1:3] = True

    def drawn(turn, **given):
        maps = [one.flip(-1, -2) if turn else one for one in (plane, mask, plane, plane)]
        figure = plot_saliency(
            {"axial": Saliency(torch.tensor([2]), torch.tensor([4.0]), *maps)}, titles={"axial": ""}, **given
        )
        return np.asarray(figure.axes[0].images[0].get_array()), len(figure.axes[0].texts)

    lps, letters = drawn(False, task=BLOBS)
    ras, told = drawn(True, task=BLOBS, affine=np.diag([1.0, 1.0, 1.0, 1.0]))
    assert np.array_equal(lps, ras)
    assert (letters, told) == (2, 2)
    assert drawn(False, task=replace(BLOBS, name="photograph", views=("axial",)))[1] == 0

"""Patches in their place (``origin=``): what is rated is the full-size target with the patch predicted."""

from types import SimpleNamespace

import pytest
import torch
from helpers import SHAPE, gradient_of, make_case, make_loss, small_surrogate, tiny_surrogate
from monai.losses import DeepSupervisionLoss, DiceLoss
from torch.utils.data import default_collate

from dqe_loss import DQELoss, rate_segmentation
from dqe_loss.core.patch import crop, origins_beside, read_origins

SIZE = (14, 12, 10)
ORIGINS = torch.tensor([[10, 6, 8], [3, 9, 5]])


@pytest.fixture(scope="module")
def exam():
    return make_case()


def cut(volume, origins=ORIGINS, size=SIZE):
    return crop(volume, read_origins(origins, volume.shape[0]), size)


def forms(labels, regions):
    """A target as label map, regions and one-hot tissues."""
    one_hot = torch.cat([labels == value for value in range(4)], 1)
    return {"labels": labels, "regions": regions, "float": regions.float(), "one-hot": one_hot.float()}


def assembled(target, patch):
    """The target with patches put in, differentiable; what the library must not need to build."""
    whole = torch.zeros_like(target)
    cover = torch.zeros(target.shape[0], 1, *target.shape[2:], dtype=torch.bool)
    for i, (x, y, z) in enumerate(ORIGINS.tolist()):
        box = (slice(x, x + SIZE[0]), slice(y, y + SIZE[1]), slice(z, z + SIZE[2]))
        cover[(i, slice(None), *box)] = True
        sides = [(o, full - o - d) for o, d, full in zip((x, y, z), SIZE, SHAPE, strict=True)]
        padding = [n for pair in reversed(sides) for n in pair]
        whole[i] = torch.nn.functional.pad(patch[i], padding)
    return torch.where(cover, whole, target)


@pytest.mark.parametrize("form", ["labels", "regions", "float", "one-hot"])
@pytest.mark.parametrize("slicing", ["soft", "hard"])
@pytest.mark.parametrize("center", ["prediction", "target"])
def test_the_reference_as_prediction_rates_like_the_whole_volume(exam, form, slicing, center):
    image, labels, regions, _ = exam
    loss = DQELoss(small_surrogate(), sigmoid=False, softmax=False, slicing=slicing, center=center)
    ratings = loss.rate(cut(regions).float(), image=image, target=forms(labels, regions)[form], origin=ORIGINS)
    # a soft mask is padded with zeros and a hard one with its minimum: the same here
    expected = rate_segmentation(small_surrogate(), image, regions, slicing=slicing)
    torch.testing.assert_close(ratings, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("options", [{}, {"center": "target"}, {"slicing": "hard"}, {"planes": 3, "jitter": 3.0}],
                         ids=["default", "target", "hard", "planes"])  # fmt: skip
def test_rating_and_gradient_are_those_of_the_assembled_volume(exam, options):
    image, _, regions, logits = exam
    patch = cut(logits)
    common = {"sigmoid": False, "softmax": False, "guard": None, "reduction": "none", **options}
    full = regions.float()

    def by_hand(prediction):
        return make_loss(**common)(assembled(full, prediction.sigmoid()), regions, image=image)

    def in_place(prediction):
        return make_loss(**common)(prediction.sigmoid(), regions, image=image, origin=ORIGINS)

    torch.testing.assert_close(in_place(patch), by_hand(patch), rtol=0, atol=1e-4)
    gradient = gradient_of(in_place, patch)
    assert gradient.shape == patch.shape
    assert gradient.flatten(1).abs().sum(1).gt(0).all()
    torch.testing.assert_close(gradient, gradient_of(by_hand, patch), rtol=1e-3, atol=1e-6)


def test_without_a_target_nothing_is_around_the_patch(exam):
    image, _, _, logits = exam
    patch = cut(logits).sigmoid()
    loss = make_loss(guard=None, sigmoid=False, softmax=False)
    inside, outside = patch.clone().requires_grad_(), patch.clone().requires_grad_()
    placed = loss(inside, image=image, origin=ORIGINS)
    padded = loss(assembled(torch.zeros_like(logits), outside), image=image)
    assert placed > 0
    torch.testing.assert_close(placed, padded, rtol=0, atol=1e-5)
    gradients = torch.autograd.grad(placed, inside)[0], torch.autograd.grad(padded, outside)[0]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-7)


def test_the_guard_works_in_a_patch(exam):
    image, labels, regions, logits = exam
    patch, reference = cut(logits), cut(regions)
    loss = DQELoss(small_surrogate())
    step = -gradient_of(loss, patch, labels, image=image, origin=ORIGINS)
    assert step.ne(0).any()
    assert (step[reference] >= 0).all()
    assert (step[~reference] <= 0).all()
    assert 0 < loss.gradient_log.read()["guard_kept"] < 1


def test_one_origin_for_all_exams(exam):
    image, labels, _, logits = exam
    loss = DQELoss(small_surrogate())
    origin = (8, 7, 6)
    patch = cut(logits, torch.tensor(origin))
    values = [
        loss(patch, labels, image=image, origin=given)
        for given in (origin, list(origin), torch.tensor(origin), [origin, origin], torch.tensor([origin] * 2))
    ]
    assert values[0] > 0
    assert all(torch.equal(value, values[0]) for value in values)


def test_a_patch_that_no_plane_meets_changes_nothing(exam):
    image, labels, regions, _ = exam
    patch = torch.full((2, 3, 4, 4, 4), -8.0)
    loss = DQELoss(small_surrogate(), center="target", guard=None)
    ratings = loss.rate(patch, image=image, target=labels, origin=(0, 0, 0))
    torch.testing.assert_close(
        ratings, rate_segmentation(small_surrogate(), image, regions, slicing="soft"), rtol=0, atol=1e-4
    )
    assert gradient_of(loss, patch, labels, image=image, origin=(0, 0, 0)).eq(0).all()


def test_a_patch_of_full_size_is_the_volume(exam):
    image, labels, _, logits = exam
    torch.testing.assert_close(
        DQELoss(small_surrogate()).rate(logits, image=image, target=labels, origin=(0, 0, 0)),
        DQELoss(small_surrogate()).rate(logits, image=image), rtol=0, atol=1e-4,
    )  # fmt: skip


def test_a_patch_in_its_place_is_never_too_small(exam):
    image, labels, _, logits = exam
    loss = DQELoss(small_surrogate(), on_small="error")
    assert loss(cut(logits), labels, image=image, origin=ORIGINS) > 0
    with pytest.raises(ValueError, match="holds no tumor"):
        loss(cut(logits), torch.zeros_like(labels), image=image, origin=ORIGINS)


def test_the_other_terms_of_a_sum_see_the_patch(exam):
    image, _, regions, logits = exam
    patch, dice = cut(logits), DiceLoss(sigmoid=True)
    criterion = dice + DQELoss(small_surrogate())
    gradient = gradient_of(criterion, patch, regions.float(), image=image, origin=ORIGINS)
    assert gradient.isfinite().all()
    assert criterion.log["DiceLoss"] == pytest.approx(float(dice(patch, cut(regions).float())))
    alone = DQELoss(small_surrogate())(patch, regions, image=image, origin=ORIGINS)
    assert criterion.log["DQELoss"] == pytest.approx(float(alone), abs=1e-5)
    deep = DeepSupervisionLoss(dice) + DQELoss(small_surrogate())
    outputs = [patch, torch.nn.functional.avg_pool3d(patch, 2)]
    deep(outputs, regions.float(), image=image, origin=ORIGINS)
    assert deep.log["DQELoss"] == pytest.approx(float(alone), abs=1e-5)


@pytest.mark.parametrize(
    ("origin", "message"),
    [
        ((20, 0, 0), r"a patch of \(14, 12, 10\) voxels at origin \(20, 0, 0\) does not lie inside.*\(32, 28, 24\)"),
        ((0, -1, 0), r"origin \(0, -1, 0\) does not lie inside"),
        ((0, 0), r"origin must be three integers, or three for each of the 2 exams.*got \[0, 0\]"),
        ([(0, 0, 0)] * 3, "origin must be three integers"),
        ((0.5, 0.0, 0.0), "origin must be three integers"),
        ([torch.zeros(3, dtype=torch.long)] * 3, "origin must be three integers"),
    ],
)
def test_wrong_origins_are_named(exam, origin, message):
    image, labels, _, logits = exam
    with pytest.raises(ValueError, match=message):
        DQELoss(small_surrogate())(cut(logits), labels, image=image, origin=origin)


@pytest.mark.parametrize("batch", [1, 2, 4])
def test_origins_are_taken_as_a_dataloader_collates_them(batch):
    origins = [(8 + i, 7, 6 - i) for i in range(batch)]
    for one in (origins, [torch.tensor(origin) for origin in origins], default_collate(origins)):
        assert read_origins(one, batch).tolist() == [list(origin) for origin in origins]


def test_three_tensors_of_three_exams_may_be_meant_either_way():
    with pytest.raises(ValueError, match=r"say torch\.stack\(origin, 1\) if there is one for each axis"):
        read_origins([torch.tensor([1, 2, 3])] * 3, 3)


def test_as_many_volumes_as_patches_are_wanted(exam):
    image, labels, _, logits = exam
    with pytest.raises(
        ValueError, match=r"a full-size volume for each of the 2 patches, got 1 .* say target\.expand\(2,"
    ):
        DQELoss(small_surrogate())(cut(logits), labels[:1], image=image, origin=(8, 7, 6))


def test_what_is_not_full_size_is_named(exam):
    image, labels, _, logits = exam
    loss = DQELoss(small_surrogate(), guard=None)
    with pytest.raises(ValueError, match="does not lie inside the full-size volume"):
        loss(cut(logits), cut(labels), image=image, origin=(8, 7, 6))
    with pytest.raises(ValueError, match="image and segmentation must have the same batch and voxels"):
        loss(cut(logits), labels, image=cut(image), origin=(8, 7, 6))
    with pytest.raises(ValueError, match="say so by origin="):
        loss(cut(logits), labels, image=image)


def compiled_like_eager(criterion, prediction, labels, image, origins):
    """Compare a compiled call for each origin with the eager one; how many graphs were compiled."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    compiled = torch.compile(criterion, fullgraph=True, backend="aot_eager")
    for origin in origins:
        results = []
        for loss in (compiled, criterion):
            patch = prediction.clone().requires_grad_()
            value = loss(patch, labels, image=image, origin=origin)
            value.backward()
            results.append((value.detach(), patch.grad))
        torch.testing.assert_close(results[0], results[1], rtol=1e-3, atol=1e-6)
        assert results[1][1].abs().max() > 0
    return torch._dynamo.utils.counters["stats"]["unique_graphs"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "origins", "graphs"),
    [("labels", [ORIGINS, torch.tensor([[9, 7, 6], [4, 8, 3]])], 1),
     ("regions", [(8, 7, 6), (9, 6, 7), (7, 8, 5), (6, 7, 4)], 2)],
    ids=["tensor", "tuple"],
)  # fmt: skip
def test_it_compiles_whole_for_any_origin(exam, form, origins, graphs):
    """A tensor is data; integers are constants first, and symbols from their second value on."""
    image, labels, regions, logits = exam
    target = {"labels": labels, "regions": regions}[form]
    criterion = DQELoss(tiny_surrogate(), views=("coronal",))
    assert compiled_like_eager(criterion, cut(logits), target, image, origins) <= graphs


@pytest.mark.parametrize("origin", [(20, 7, 6), (-1, 7, 6)])
def test_a_compiled_origin_outside_of_the_volume_is_an_error(exam, origin):
    torch._dynamo.reset()
    with pytest.raises(RuntimeError, match="out of bounds"):
        torch.compile(cut, fullgraph=True, backend="aot_eager")(exam[1], torch.tensor(origin))


def test_origins_are_copied_to_the_masks_device_once_and_without_waiting(exam, monkeypatch):
    """A CPU stands in for a GPU, where each blocking copy would wait for all that is queued."""
    calls = []
    beside = SimpleNamespace(is_cuda=True, device=torch.device("cpu"))
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: calls.append("pinned") or self)
    monkeypatch.setattr("dqe_loss.core.patch.cannot_wait", lambda x: False)
    assert torch.equal(origins_beside(torch.tensor(ORIGINS), beside), torch.tensor(ORIGINS))
    assert calls == ["pinned"]
    monkeypatch.setattr("dqe_loss.core.patch.cannot_wait", lambda x: True)
    origins_beside(torch.tensor(ORIGINS), beside)
    assert calls == ["pinned"]
    moved = []
    monkeypatch.setattr(
        "dqe_loss.losses.rated_batch.origins_beside", lambda *given: moved.append(1) or origins_beside(*given)
    )
    image, labels, _, logits = exam
    make_loss()(cut(logits), labels, image=image, origin=ORIGINS)
    assert len(moved) == 1

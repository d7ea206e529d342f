"""The survey: what a refiner says of the whole volume, and what that does to the stars of the rated planes."""

import json
from dataclasses import replace

import pytest
import torch
from helpers import make_exam, z_scored
from test_open_exam import make_folder
from test_refiner import Constant, guarded_surrogate
from torch import nn

from dqe_loss import DQEMetric, rate_segmentation, save_surrogate
from dqe_loss.core.mask import LabelMask
from dqe_loss.core.planes import join_planes, presented_planes
from dqe_loss.core.slicing import VIEW_AXIS, VIEWS
from dqe_loss.data.exams import open_exam, read_exam
from dqe_loss.data.tables.rated import read_rated
from dqe_loss.rate import command as rate
from dqe_loss.rate.rate_exam import prepare_planes, rate_exam
from dqe_loss.surrogate.agreement import Overlap, agreement_of, gate_of, overlap
from dqe_loss.surrogate.survey import ceiling_of, refiner_of, survey, survey_positions

SHAPE = (48, 40, 36)
EDEMA, ENHANCING = 2, 3


class Bright(nn.Module):
    """A refiner that takes for tumor what is bright in FLAIR, whatever the mask."""

    def forward(self, scans, regions):
        return 20 * (scans[:, 3:4] - 0.5).expand_as(regions)


def make_surrogate():
    surrogate = guarded_surrogate(full_marks=1.0, survey_full_marks=1.0)
    surrogate.network, surrogate.refiner = Constant(5.0), Bright()
    surrogate.config = replace(surrogate.config, normalization="head_mean")  # a healthy plane has nothing bright
    return surrogate


def make_volume(batch=1):
    """A head with a bright tumor, and the mask of it."""
    image = torch.zeros(batch, 4, *SHAPE)
    image[:, :, 4:44, 4:36, 4:32] = 100.0
    labels = torch.zeros(batch, 1, *SHAPE, dtype=torch.uint8)
    for exam in range(batch):
        at = (exam, slice(None), slice(10 + exam, 20), slice(10, 20), slice(10, 20))
        image[at] = 300.0
        labels[at] = ENHANCING
    return image, labels


def with_false_edema(labels):
    """Tumor where there is none, in none of the planes through the core."""
    wrong = labels.clone()
    wrong[..., 28:40, 24:34, 22:30] = EDEMA
    return wrong


def test_an_agreement_is_pooled_over_the_planes_of_all_views():
    surrogate, (image, labels) = guarded_surrogate(), make_exam(SHAPE, seeds=(0, 1))
    mask = LabelMask(labels, "brats")
    found = survey(surrogate, image, mask, planes=5)
    both, total = torch.zeros(2, 3), torch.zeros(2, 3)
    for view in VIEWS:
        positions = survey_positions(image, 5)[:, VIEW_AXIS[view]]
        planes = join_planes(
            surrogate.config, *presented_planes(surrogate.config, image, mask, positions, view, [0, 1, 2, 3])
        )
        for exam in range(2):
            regions, refined = planes[exam, :, 4:], surrogate.refine(planes[exam]).regions
            both[exam] += (regions * refined).sum((0, 2, 3))
            total[exam] += (regions + refined).sum((0, 2, 3))  # of ones and zeros, the squares are themselves
    torch.testing.assert_close(found.agreement, agreement_of(Overlap(both, total)))
    torch.testing.assert_close(found.regions, 2 * both / total)
    assert found.planes == 15
    assert (found.regions < 1).any()


def test_the_sums_of_a_plane_are_its_parts_sums():
    generator = torch.Generator().manual_seed(0)
    regions, refined = torch.rand(2, 2, 3, 8, 8, generator=generator)
    refined = refined.round()
    whole, parts = (
        overlap(regions, refined),
        [overlap(regions[..., s], refined[..., s]) for s in (slice(3), slice(3, 8))],
    )
    torch.testing.assert_close(whole.both, parts[0].both + parts[1].both)
    torch.testing.assert_close(whole.total, parts[0].total + parts[1].total)


def test_a_false_tumor_far_from_the_core_costs_stars_only_where_it_is_looked_for():
    surrogate, (image, labels) = make_surrogate(), make_volume()
    wrong = with_false_edema(labels)
    for thorough in (False, True):
        stars = rate_segmentation(surrogate, image, labels, thorough=thorough)
        torch.testing.assert_close(stars, torch.full((1, 3), 5.0))
    torch.testing.assert_close(rate_segmentation(surrogate, image, wrong), torch.full((1, 3), 5.0))
    found = survey(surrogate, image, LabelMask(wrong, "brats"))
    tc, wt, et = found.regions[0].tolist()
    assert tc == et == 1
    assert wt < 0.8
    config = refiner_of(surrogate)
    expected = 1 + 4 * gate_of(found.agreement, config.survey_full_marks, config.exponent)
    assert expected < 4.5
    torch.testing.assert_close(rate_segmentation(surrogate, image, wrong, thorough=True), expected.expand(1, 3))


def test_a_missed_tumor_far_from_the_core_costs_stars():
    surrogate, (image, labels) = make_surrogate(), make_volume()
    image[:, :, 28:40, 24:34, 22:30] = 300
    torch.testing.assert_close(rate_segmentation(surrogate, image, labels), torch.full((1, 3), 5.0))
    assert (rate_segmentation(surrogate, image, labels, thorough=True) < 3).all()


def test_a_survey_never_raises_the_stars_of_a_plane():
    surrogate, (image, labels) = make_surrogate(), make_volume()
    wrong = with_false_edema(labels)
    wrong[..., 14] = 0  # the axial plane through the core holds nothing, as if it were the worst of all
    alone, surveyed = (rate_segmentation(surrogate, image, wrong, thorough=thorough) for thorough in (False, True))
    share = ceiling_of(surrogate, survey(surrogate, image, LabelMask(wrong, "brats")))
    torch.testing.assert_close(surveyed, torch.minimum(alone, 1 + 4 * share[:, None]))
    assert surveyed[0, 0] == alone[0, 0] == 1
    assert (surveyed[0, 1:] < alone[0, 1:]).all()


def test_each_exam_keeps_its_own_ceiling_whatever_the_order_and_the_planes():
    surrogate, (image, labels) = make_surrogate(), make_volume(3)
    labels[1] = with_false_edema(labels[1])
    labels[2, ..., 15:] = 0
    agreements = survey(surrogate, image, LabelMask(labels, "brats")).agreement
    order = [2, 0, 1]
    turned = survey(surrogate, image[order], LabelMask(labels[order], "brats")).agreement
    torch.testing.assert_close(turned, agreements[order])
    fixed = {"thorough": True, "views": ("coronal", "axial")}
    batch = rate_segmentation(surrogate, image, labels, **fixed)
    torch.testing.assert_close(rate_segmentation(surrogate, image[order], labels[order], **fixed), batch[order])
    for exam in range(3):
        single = rate_segmentation(surrogate, image[exam : exam + 1], labels[exam : exam + 1], **fixed)
        torch.testing.assert_close(single, batch[exam : exam + 1])
    assert len({round(row.mean().item(), 3) for row in batch}) == 3
    several = rate_segmentation(surrogate, image, labels, planes=5, jitter=1.0, **fixed)
    torch.testing.assert_close(several[0], torch.full((2,), 5.0))  # the others' ceilings are not its own
    assert (several[1:] <= batch[1:].amax(1, keepdim=True) + 1e-5).all()


def test_where_neither_has_a_region_nothing_is_said_of_it():
    surrogate, (image, labels) = make_surrogate(), make_volume()
    none = survey(surrogate, 0 * image, LabelMask(0 * labels, "brats"))
    assert none.agreement.item() == 1
    assert none.regions.isnan().all()
    edema = survey(surrogate, 0 * image, LabelMask(torch.where(labels > 0, EDEMA, 0), "brats"))
    assert edema.regions.isnan().tolist() == [[True, False, True]]
    assert edema.regions[0, 1].item() == edema.agreement.item() == 0


@pytest.mark.parametrize("whole", [False, True])
def test_planes_lie_at_the_same_places_in_z_scores(whole):
    image, _ = make_exam(SHAPE, seeds=(0, 1))
    scores = z_scored(image, whole)
    assert (scores[:, :, 0, 0, 0] < 0).all() == whole  # the air is negative, or 0
    expected = survey_positions(image)
    assert torch.equal(survey_positions(scores), expected)
    mixed = image.clone()
    mixed[:, 2:] = scores[:, 2:]
    assert torch.equal(survey_positions(mixed), expected)
    assert torch.equal(survey_positions(image.half()), expected)


def test_planes_are_spread_evenly_over_the_head():
    image, _ = make_volume()
    x, y, z = survey_positions(image, 4)[0].tolist()  # of X from 4 to 43, Y from 4 to 35 and Z from 4 to 31
    assert (x, y, z) == ([9, 19, 29, 39], [8, 16, 24, 32], [7, 14, 21, 28])
    stray = image.clone()
    stray[..., 0, 0, 0] = 100.0  # a crumb of the skull
    assert torch.equal(survey_positions(stray, 4), survey_positions(image, 4))
    nothing = survey_positions(0 * image, 4)[0]
    assert nothing.tolist() == [[6, 18, 30, 42], [5, 15, 25, 35], [4, 13, 22, 31]]
    few = torch.zeros(1, 4, 3, 2, 1)
    assert survey_positions(few, 12).amax(2).tolist() == [[2, 1, 0]]


def test_modalities_may_come_in_any_order():
    surrogate, (image, labels) = guarded_surrogate(), make_exam(SHAPE)
    expected = rate_segmentation(surrogate, image, labels, thorough=True, survey_planes=3)
    order = ("flair", "t1", "t1c", "t2")
    turned = rate_segmentation(
        surrogate, image[:, [3, 1, 0, 2]], labels, thorough=True, survey_planes=3, modalities=order
    )
    torch.testing.assert_close(turned, expected)


def test_a_survey_takes_no_gradient_and_leaves_that_of_the_planes():
    surrogate, (image, labels) = make_surrogate(), make_volume()
    regions = (labels > 0).float().expand(-1, 3, -1, -1, -1).clone() * 0.9
    regions[..., 14] *= 0.7  # the axial plane is the worst, so that its own worth counts
    soft = regions.requires_grad_()
    stars = rate_segmentation(surrogate, image, soft, slicing="soft", thorough=True)
    (gradient,) = torch.autograd.grad(stars.sum(), soft)
    assert gradient.ne(0).any()
    corner = torch.zeros(SHAPE, dtype=torch.bool)
    corner[28:, 24:, 22:] = True  # in none of the rated planes
    assert gradient[..., corner].eq(0).all()


def test_without_a_refiner_there_is_no_survey(surrogate):
    image, labels = make_volume()
    message = "this surrogate has none; load a checkpoint with one, such as 'hardened', or rate with thorough=False"
    with pytest.raises(ValueError, match=message):
        rate_segmentation(surrogate, image, labels, thorough=True)
    with pytest.raises(ValueError, match=message):
        survey(surrogate, image, LabelMask(labels, "brats"))
    with pytest.raises(ValueError, match="a ceiling is for stars that a refiner lowers; this surrogate has none"):
        surrogate(torch.zeros(1, 7, 64, 64), ceiling=torch.ones(1))


def test_wrong_calls_are_named():
    surrogate, (image, labels) = make_surrogate(), make_volume()
    with pytest.raises(ValueError, match="1 plane a view or more, got planes=0"):
        rate_segmentation(surrogate, image, labels, thorough=True, survey_planes=0)
    with pytest.raises(ValueError, match="image and segmentation must have the same batch and voxels"):
        rate_segmentation(surrogate, image, labels[..., 1:], thorough=True)


@pytest.mark.parametrize("thorough", [True, False])
def test_metrics_are_thorough_where_they_can_be(thorough):
    surrogate, (image, labels) = make_surrogate(), make_volume()
    wrong = with_false_edema(labels)
    metrics = [DQEMetric(surrogate), DQEMetric(surrogate, thorough=thorough)]
    expected = rate_segmentation(surrogate, image, wrong, thorough=thorough)
    torch.testing.assert_close(metrics[1](wrong, image), expected)
    assert torch.equal(metrics[0](wrong, image), expected) == thorough


def test_the_scans_of_an_exam_are_cut_once_for_all_its_masks(tmp_path):
    folder = make_folder(tmp_path / "exam")
    planes = list(prepare_planes(open_exam(folder), guarded_surrogate()).values())
    assert len(planes) == 2
    assert planes[0].survey.scans is planes[1].survey.scans
    assert planes[0].survey.regions.dtype == torch.bool
    alone = prepare_planes(open_exam(folder), guarded_surrogate(), thorough=False).values()
    assert [one.survey for one in alone] == [None, None]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "thorough", "centers"), [((), True, "mask survey"), (("--no-thorough",), False, "mask")]
)
def test_the_command_surveys_unless_it_is_told_not_to(tmp_path, flags, thorough, centers):
    (tmp_path / "data").mkdir()
    folder, surrogate = make_folder(tmp_path / "data" / "exam"), guarded_surrogate()
    checkpoint = tmp_path / "small.safetensors"
    save_surrogate(surrogate, checkpoint)
    expected = rate_exam(read_exam(folder), surrogate, thorough=thorough)
    assert expected != rate_exam(read_exam(folder), surrogate, thorough=not thorough)
    base = ["--checkpoint", str(checkpoint), *flags]
    assert rate.main(["--exam", str(folder), "--json", str(tmp_path / "one.json"), *base]) == 0
    told = json.loads((tmp_path / "one.json").read_text())
    assert told["center"] == centers.split()
    assert rate.main(["--data", str(tmp_path / "data"), "--out", str(tmp_path / "all.csv"), *base]) == 0
    table = read_rated(tmp_path / "all.csv")
    assert set(table["center"]) == {centers}
    for (name, stars), row in zip(expected.items(), table.to_dict("records"), strict=True):
        assert told["ratings"][name] == pytest.approx(stars, abs=1e-4)
        assert [row[view] for view in (*VIEWS, "mean")] == pytest.approx(list(stars.values()), abs=1e-4)

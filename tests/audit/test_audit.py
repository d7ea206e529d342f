"""The command `python -m dqe_loss.audit`: its figures by hand, its verdicts, its resumption, its page, its errors."""

import json
import re
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import torch
from helpers import (
    SHAPE,
    gradient_of,
    make_image,
    make_labels,
    make_logits,
    make_loss,
    shrink,
    small_surrogate,
    tiny_surrogate,
)
from page import Page
from torch import nn

from dqe_loss import MODALITIES, VIEWS, Surrogate, rate_segmentation, regions_from_labels, soft_center_of_mass
from dqe_loss.audit import command as audit
from dqe_loss.audit import exploitation
from dqe_loss.audit import whole_audit as audit_run
from dqe_loss.audit.absurd import SHIFTS, absurd_masks, measure_absurd, shifted
from dqe_loss.audit.attack import attack, negative_stars
from dqe_loss.audit.audited_exam import (
    AuditedExam,
    ExamSource,
    as_canonical,
    find_sources,
    find_stranger,
    read_audited_exam,
)
from dqe_loss.audit.direction import cosine, kept_share
from dqe_loss.audit.exploitation import JITTERS, STARTS, observe, start_logits
from dqe_loss.audit.free_mask import as_logits, free_box, free_mask, whole_mask
from dqe_loss.audit.invariance import changed_exams, z_scores
from dqe_loss.audit.ladders import SEVERITIES, largest_rise, measure_ladders, spearman
from dqe_loss.audit.parts import PARTS
from dqe_loss.audit.softness import soft_mask
from dqe_loss.audit.stars_and_dice import AuditSettings, mean_stars, plane_dice, soft_dice
from dqe_loss.audit.thresholds import Thresholds
from dqe_loss.audit.verdict import JUDGES, judge
from dqe_loss.core.boxes import box_around
from dqe_loss.core.mask import center_of_mask
from dqe_loss.data.corruption import CORRUPTIONS
from dqe_loss.surrogate.rating import rate_mask
from dqe_loss.surrogate.refiner import SMALLEST_PLANE, RefinerConfig
from dqe_loss.task import GLIOMA

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
STEPS = 2
# The exams of `folders` are of two years on purpose.
pytestmark = pytest.mark.filterwarnings("ignore:label scheme 'brats' takes 3 and 4")

SMALL = (
    "dqe audit: warning: segmentations of (32, 28, 24) voxels are smaller than 96 along an axis, too small for stars "
    "to mean much: rate whole ones. A loss takes patches with origin=; planes are (B, C, H, W), without an axis of 1\n"
)
"""What is told of the exam of these tests, where it is rated: not of parts that are done."""


def silent(steps):
    pass


def make_case(seed=0, other=True):
    image, labels = make_image(seed=seed), make_labels()
    there = make_labels(center=(-0.3, 0.2, 0.0)) if other else None
    return AuditedExam("exam", torch.from_numpy(image)[None], labels, (image != 0).any(0), there, "stranger")


class AreaRater(nn.Module):
    """Stars that are known: 6 at a whole-tumor area of `full` voxels in a plane, 5 per `full` voxels away from it."""

    def __init__(self, full):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(float(full)), requires_grad=False)

    def forward(self, planes):
        area = planes[:, 5].sum((1, 2), keepdim=True)[:, 0]
        return 6 - 5 * (area / self.weight - 1).abs()


def known_surrogate(network):
    surrogate = shrink(small_surrogate())
    surrogate.network = network.eval()
    return surrogate


def areas(regions, center):
    """Whole-tumor voxels in the three planes through a center."""
    x, y, z = (int(c) for c in center[0])
    whole = regions[0, 1]
    return [int(whole[:, :, z].sum()), int(whole[:, y].sum()), int(whole[x].sum())]


# Figures by hand


@pytest.mark.parametrize(
    ("stars", "rho", "rise"),
    [
        ([6, 5, 4, 3], -1, 0),
        ([3, 4, 5, 6], 1, 3),
        ([4, 4, 4, 4], 0, 0),
        # Ranks 4 2 3 1: 1 - 6 (3² + 0 + 0 + 3²) / (4 · 15) = -0.8, and the rise is from 2 to 3.
        ([5, 2, 3, 1], -0.8, 1),
        ([5, 1, 4, 2], -0.4, 3),
    ],
)
def test_order_and_rise_of_a_ladder(stars, rho, rise):
    assert spearman([0, 1, 2, 3], stars) == pytest.approx(rho)
    assert largest_rise(stars) == pytest.approx(rise)


def test_cosine_of_known_gradients():
    first = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    assert cosine(first, 7 * first) == 1
    assert cosine(first, -first) == -1
    assert cosine(first, torch.tensor([[0.0, 2.0], [0.0, 0.0]])) == 0
    assert cosine(first, torch.tensor([[1.0, 1.0], [1.0, 1.0]])) == pytest.approx(0.5)
    assert cosine(first, 0 * first) == 0


def test_kept_share_is_the_guards():
    """The same figure as the loss notes, for a gradient that reaches nothing but planes."""
    case = make_case()
    logits = make_logits(torch.from_numpy(case.labels)[None, None]).detach()
    loss = make_loss(surrogate=tiny_surrogate(), center="target", center_grad=False)
    gradient_of(loss, logits, case.regions, image=case.image)
    kept = float(loss.gradient_log.read()["guard_kept"])
    free = make_loss(surrogate=tiny_surrogate(), center="target", center_grad=False, guard=None)
    gradient = gradient_of(free, logits, case.regions, image=case.image)
    # The center lies between planes: the guard sees both neighbors, and so do all voxels that have a gradient.
    assert kept_share(gradient, case.regions.float() - logits.sigmoid()) == pytest.approx(kept, abs=0.02)


def test_dice_of_planes_and_of_probabilities():
    regions = torch.zeros(1, 3, 4, 4, 4, dtype=torch.bool)
    regions[:, :, 1:3, 1:3, 1:3] = True
    half = regions.clone()
    half[:, 0, 2:] = False
    center = torch.tensor([[1, 1, 1]])
    # Planes of the cube hold 4 voxels each; of its half 2, 2 and 4 (the sagittal one lies in what is left).
    assert plane_dice(half, regions, center, GLIOMA) == pytest.approx([2 * 8 / (8 + 12), 1, 1])
    # Planes that hold neither of the two say nothing; the volumes have 4 of 8 voxels in common.
    assert plane_dice(half, regions, torch.tensor([[3, 3, 3]]), GLIOMA) == pytest.approx([2 * 4 / (4 + 8), 1, 1])
    assert plane_dice(0 * half, regions, torch.tensor([[3, 3, 3]]), GLIOMA) == [0, 0, 0]
    assert soft_dice(0.5 * regions.float(), regions) == pytest.approx([2 * 4 / (4 + 8)] * 3)
    assert soft_dice(torch.zeros(1, 3, 2), torch.zeros(1, 3, 2)) == [1, 1, 1]


def test_stars_that_are_not_finite_are_refused():
    case = make_case()
    with pytest.raises(ValueError, match="rates a mask with nan stars; its weights are broken"):
        mean_stars(known_surrogate(AreaRater(float("nan"))), case.image, case.regions)


# Exams


def test_any_label_scheme_becomes_brats23():
    labels = make_labels()
    assert set(np.unique(labels)) == {0, 1, 2, 3}
    assert np.array_equal(as_canonical(labels, "brats23"), labels)
    assert np.array_equal(as_canonical(np.where(labels == 3, 4, labels).astype(np.uint8), "brats"), labels)
    msd = np.choose(labels, [0, 2, 1, 3]).astype(np.uint8)
    assert np.array_equal(as_canonical(msd, "msd"), labels)


def test_the_next_exam_lends_its_mask():
    sources = [ExamSource("a"), ExamSource("b"), ExamSource("c")]
    assert [find_stranger(source, sources) for source in sources] == ["b", "c", "a"]
    assert find_stranger(sources[0], sources[:1]) == "phantom-999"


# Parts


def test_absurd_masks():
    case = make_case()
    masks = absurd_masks(case, np.random.default_rng(0))
    brain = case.brain
    assert not masks["empty"].any()
    for tissue, name in enumerate(("necrosis", "edema", "enhancing tumor"), 1):
        assert np.array_equal(masks[f"brain as {name}"], tissue * brain)
    random = masks["random labels"]
    assert not random[~brain].any()
    assert [(random[brain] == label).mean() for label in range(4)] == pytest.approx([0.25] * 4, abs=0.03)
    sides = np.flatnonzero(brain.any((1, 2)))
    assert sides[0] + sides[-1] == SHAPE[0] - 1  # then a mirrored mask is a flipped array
    assert np.array_equal(masks["mirrored"], case.labels[::-1])
    assert masks["another exam's mask"] is case.other
    assert [name for name in masks if name.startswith("shifted")] == [f"shifted by {v} voxels" for v in SHIFTS]
    assert "another exam's mask" not in absurd_masks(make_case(other=False), np.random.default_rng(0))


def test_a_mask_is_shifted_away_from_the_nearer_side():
    labels = np.zeros((8, 2, 2), np.uint8)
    labels[1:3] = 2
    assert np.flatnonzero(shifted(labels, 3).any((1, 2))).tolist() == [4, 5]
    assert np.flatnonzero(shifted(labels[::-1], 3).any((1, 2))).tolist() == [2, 3]
    assert not shifted(labels, 40).any()


def test_absurd_masks_are_rated_through_both_centers():
    case = make_case()
    surrogate = tiny_surrogate()
    measured = measure_absurd(case, surrogate, AuditSettings(), silent)
    center = torch.tensor([[int(c) for c in np.argwhere(np.isin(case.labels, (1, 3))).mean(0)]])
    moved = case.as_regions(shifted(case.labels, 5))
    numbers = measured.numbers["masks"]["shifted by 5 voxels"]
    assert numbers["own"] == pytest.approx(rate_segmentation(surrogate, case.image, moved).mean().item(), abs=1e-5)
    there = rate_segmentation(surrogate, case.image, moved, center=center).mean().item()
    assert numbers["reference"] == pytest.approx(there, abs=1e-5)
    assert abs(numbers["own"] - there) > 1e-4
    assert numbers["dice"] == pytest.approx(np.mean(plane_dice(moved, case.regions, center, GLIOMA)))
    assert measured.numbers["masks"]["empty"]["volume_dice"] == 0
    assert sum(map(len, measured.panels)) == 1 + len(measured.numbers["masks"])


@pytest.mark.slow
def test_a_ladder_of_a_rater_that_measures_area():
    """Stars fall with the share of the area that is missing, and with nothing else."""
    case = make_case()
    center = torch.tensor([[int(c) for c in np.argwhere(np.isin(case.labels, (1, 3))).mean(0)]])
    full = areas(case.regions, center)
    surrogate = known_surrogate(AreaRater(full[0]))
    numbers = measure_ladders(case, surrogate, AuditSettings(), silent).numbers
    assert numbers["severities"] == [0.0, *SEVERITIES]
    assert list(numbers["ladders"]) == list(CORRUPTIONS)
    first = np.mean([6 - 5 * abs(area / full[0] - 1) for area in full])
    for which in ("own", "reference"):
        shrunk = numbers["ladders"]["empty"][which]
        assert shrunk["stars"][0] == pytest.approx(first, abs=1e-4)
        assert shrunk["stars"][-1] == pytest.approx(1, abs=1e-4)  # nothing is left
        assert (shrunk["dice"][0], shrunk["dice"][-1]) == (1, 0)
        assert shrunk["visible"] <= -0.95
    # Tissues swapped: the planes through the reference's center hold the same area.
    swapped = numbers["ladders"]["swap"]["reference"]
    assert (swapped["rise"], swapped["spearman"]) == (0, 0)
    assert "other" not in measure_ladders(make_case(other=False), surrogate, AuditSettings(), silent).numbers["ladders"]


def test_the_free_mask_is_rated_as_the_whole_one():
    case = make_case()
    box = free_box(case.image, case.regions, GLIOMA)
    inside = np.argwhere(case.brain)
    assert [(s.start, s.stop - 1) for s in box[2:]] == list(zip(inside.min(0), inside.max(0), strict=True))
    logits = start_logits(case, "noise", 3)[box]
    mask = free_mask(logits, box, case.regions.shape, GLIOMA)
    whole = whole_mask(logits, box, case.regions.shape)
    center = center_of_mask(mask, hard=False)
    assert center == pytest.approx(soft_center_of_mass(whole).numpy(), abs=1e-3)
    expected = rate_segmentation(tiny_surrogate(), case.image, whole, slicing="soft")
    assert rate_mask(tiny_surrogate(), case.image, mask, center) == pytest.approx(expected.numpy(), abs=1e-4)


def test_starts_of_attacks():
    case = make_case()
    starts = {start: start_logits(case, start) for start in STARTS}
    assert torch.equal(starts["reference"], as_logits(case.regions))
    assert torch.equal(starts["shifted"] > 0, case.as_regions(shifted(case.labels, 15)))
    assert (starts["empty"] == -3).all()
    assert starts["noise"].std() == pytest.approx(3, rel=0.02)
    assert 0.1 < (starts["corrupted"] > 0)[0, 1][case.regions[0, 1]].float().mean() < 0.9
    assert all(torch.equal(logits, start_logits(case, start)) for start, logits in starts.items())


def test_the_first_step_of_an_attack_goes_up_the_ratings_gradient_in_each_voxel():
    case, surrogate = make_case(), tiny_surrogate()
    box = free_box(case.image, case.regions, GLIOMA)
    first = start_logits(case, "reference")[box].contiguous()
    after, _ = attack(negative_stars(surrogate, case.image, box, case.regions.shape), first, 1)
    loss = make_loss(surrogate=surrogate, guard=None)
    origin = [side.start for side in box[2:]]
    gradient = gradient_of(loss.rate, first, image=case.image, target=case.regions, origin=origin)
    large = gradient.abs() > 1e-4 * gradient.abs().max()
    assert large.float().mean() > 0.1
    assert torch.equal((after - first).sign()[large], gradient.sign()[large])


def test_an_attack_raises_the_stars_and_depends_on_the_seed_alone():
    case, surrogate = make_case(), tiny_surrogate()
    box = free_box(case.image, case.regions, GLIOMA)
    first = start_logits(case, "reference")[box]
    before = first.clone()
    told = []

    def goal(**jitter):
        return negative_stars(surrogate, case.image, box, case.regions.shape, **jitter)

    after, missing = attack(goal(), first, 8, watch=lambda step, logits: told.append((step, logits.clone())))
    assert torch.equal(first, before)
    assert [step for step, _ in told] == list(range(9))
    assert torch.equal(told[0][1], first)
    assert torch.equal(told[8][1], after)
    assert len(missing) == 8
    assert missing[-1] < missing[0] - 1e-3
    assert (after - first).abs().max() < 8 * 0.3 * 1.05  # Adam's steps
    again, same, other = (attack(goal(jitter=3.0, seed=seed), first, 2)[0] for seed in (0, 0, 1))
    assert torch.equal(again, same)
    assert not torch.equal(again, other)


def test_what_is_noted_of_an_attacked_mask():
    case = make_case()
    found = observe(case, tiny_surrogate(), 0.9 * case.regions.float())
    assert found["planes"] == found["volume"] == [1, 1, 1]
    assert found["soft_volume"] == pytest.approx([2 * 0.9 / 1.9] * 3)
    assert found["binarized_stars"] == pytest.approx(mean_stars(tiny_surrogate(), case.image, case.regions))


def test_soft_masks():
    case = make_case()
    binary = case.regions.float()
    assert torch.equal(soft_mask(case, "temperature", 2.0) > 0.5, case.regions)
    assert soft_mask(case, "temperature", 3.0).max().item() == pytest.approx(1 / (1 + np.exp(-2)))
    leak = soft_mask(case, "leak", 0.1)
    assert leak[binary == 0].unique().tolist() == pytest.approx([0.1])
    assert (leak[binary == 1] == 1).all()
    soft = soft_mask(case, "softening", 1.0)
    assert torch.equal(soft.sum((2, 3, 4)) > 0, binary.sum((2, 3, 4)) > 0)
    assert ((soft > 0) & (soft < 1)).any()
    assert soft[0, 1].sum() == pytest.approx(float(binary[0, 1].sum()), rel=0.01)


def test_changed_exams():
    case = make_case()
    changes = {name: (image, regions) for name, image, regions in changed_exams(case.image, case.regions, GLIOMA)}
    assert len(changes) == PARTS["invariance"].count(AuditSettings()) - 1
    image, regions = changes["moved along Y by -1 voxel"]
    assert torch.equal(image[:, :, :, :-1], case.image[:, :, :, 1:])
    assert torch.equal(regions[:, :, :, :-1], case.regions[:, :, :, 1:])
    assert torch.equal(changes["mirrored left to right"][1], case.regions.flip(2))
    assert torch.equal(changes["cropped to 128 voxels"][0], case.image)  # the exam is smaller
    assert torch.equal(changes["scaled by 2"][0], 2 * case.image)
    scored = z_scores(case.image)
    brain = case.image != 0
    assert (scored[~brain] == 0).all()
    assert scored[0, 0][brain[0, 0]].mean().item() == pytest.approx(0, abs=1e-4)
    assert scored[0, 0][brain[0, 0]].std().item() == pytest.approx(1, abs=1e-4)


def test_a_crop_stays_inside_the_volume():
    assert box_around((1, 10, 19), 8, (20, 20, 20)) == (slice(0, 8), slice(6, 14), slice(12, 20))
    assert box_around((1, 10), 30, (20, 40)) == (slice(0, 20), slice(0, 30))


# Verdicts


def absurd_results(margin, dice=0.0):
    return {"e": {"reference": 5.0, "masks": {"m": {"own": 9, "reference": 5 - margin, "dice": dice}}}}


def ladder_results(rho, rise=0.0, visible=-1.0):
    rungs = {"spearman": rho, "rise": rise, "visible": visible}
    return {"e": {"ladders": {"shift": {"own": rungs, "reference": {**rungs, "spearman": -1.0}}}}}


def attack_results(left=(1.0, 1.0, 1.0), shifted_change=0.1, corrupted_change=0.1, guard="none"):
    def run(before, after):
        return {planes: {guard: {"before": {"planes": before}, "after": {"planes": after}}} for planes in JITTERS}

    attacks = {"reference": run([1.0] * 3, list(left))}
    for start, change in (("shifted", shifted_change), ("corrupted", corrupted_change)):
        attacks[start] = run([0.4] * 3, [0.4 + change] * 3)
    return {"e": {"attacks": attacks}}


def direction_results(angle, kept):
    return {"e": {"masks": {"a": {"cosine": angle, "kept": kept}, "b": {"cosine": angle, "kept": kept}}}}


def soft_results(mild, strong):
    levels = [{"level": 1, "stars": 5 + mild, "mild": True}, {"level": 3, "stars": 5 + strong, "mild": False}]
    return {"e": {"binary": 5.0, "kinds": {"leak": levels}}}


def invariance_results(strict, loose):
    return {
        "e": {
            "unchanged": 5.0,
            "changes": {"x": {"stars": 5 + strict, "strict": True}, "y": {"stars": 5 + loose, "strict": False}},
        }
    }


@pytest.mark.parametrize(
    ("part", "results", "passed"),
    [
        ("absurd", absurd_results(1.5), [True]),
        ("absurd", absurd_results(1.25), [False]),
        ("absurd", absurd_results(-1.0, dice=0.31), [True]),  # not absurd enough to be judged
        ("ladders", ladder_results(-0.8), [True, True]),
        ("ladders", ladder_results(-0.75, 0.75), [False, False]),
        ("ladders", ladder_results(1.0, 3.0, visible=-0.8), [True, True]),  # the planes do not show it
        ("exploitation", attack_results((0.85, 0.9, 0.85)), [True] * 5),
        ("exploitation", attack_results((0.84, 0.9, 0.85)), [True, False, True, True, True]),
        ("exploitation", attack_results((1, 0.89, 1), 0.0, -0.1), [False, True, True, False, False]),
        ("direction", direction_results(0.11, 0.61), [True, True]),
        ("direction", direction_results(0.1, 0.6), [False, False]),
        ("soft", soft_results(-0.5, -3.0), [True, True]),
        ("soft", soft_results(-0.75, 0.75), [False, False]),
        ("invariance", invariance_results(-0.25, 0.5), [True, True]),
        ("invariance", invariance_results(0.3, -0.6), [False, False]),
    ],
)
def test_verdicts_at_the_thresholds(part, results, passed):
    assert [check.passed for check in judge(part, results)] == passed


def test_the_worst_is_named_and_thresholds_can_be_chosen():
    results = absurd_results(2.0) | {"f": absurd_results(1.0)["e"]}
    (check,) = judge("absurd", results)
    assert (check.measured, check.where, check.passed) == (1.0, "m, f", False)
    assert judge("absurd", results, Thresholds(absurd_margin=1.0))[0].passed
    spearman_check, _ = judge("ladders", ladder_results(-0.5))
    assert spearman_check.where == "shift, through the mask's own center"
    with pytest.raises(ValueError, match="unknown part 'ladder'; expected one of absurd, ladders"):
        judge("ladder", {})


def both_guards(on, off):
    """One exam's attacks with the refiner's guard on and off."""
    merged = {}
    for start, planes in on["e"]["attacks"].items():
        merged[start] = {name: run | off["e"]["attacks"][start][name] for name, run in planes.items()}
    return {"e": {"attacks": merged}}


def test_the_guard_that_the_loss_has_is_judged_and_the_other_is_told():
    good, bad = ((1.0, 1.0, 1.0), 0.1, 0.1), ((0.5, 0.4, 0.3), -0.2, -0.1)
    checks = judge("exploitation", both_guards(attack_results(*good, "on"), attack_results(*bad, "off")))
    assert [check.passed for check in checks] == [True] * 5
    assert [check.unguarded for check in checks] == pytest.approx([0.4, 0.5, 0.3, -0.2, -0.1])
    assert all(check.what.endswith(", refiner's guard on") for check in checks)
    checks = judge("exploitation", both_guards(attack_results(*bad, "on"), attack_results(*good, "off")))
    assert [check.passed for check in checks] == [False] * 5
    checks = judge("exploitation", attack_results())
    assert all(check.what.endswith(", no guard") and check.unguarded is None for check in checks)


def test_all_lists_of_parts_agree():
    assert list(PARTS) == list(audit.ALL_PARTS) == list(JUDGES)


# The command


def write(path, array):
    nib.Nifti1Image(array, LPS).to_filename(path)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two tiny exams, the second with the enhancing tumor labeled 4, and a segmentation that is no reference."""
    root = tmp_path_factory.mktemp("exams")
    for i in range(2):
        folder = root / f"exam-{i}"
        folder.mkdir()
        for modality, channel in zip(MODALITIES, make_image(seed=i), strict=True):
            write(folder / f"{modality}.nii.gz", channel.astype(np.int16))
        labels = make_labels(center=(0.1, -0.1 + 0.3 * i, 0.05))
        write(folder / "seg-truth.nii.gz", np.where(labels == 3, 3 + i, labels).astype(np.uint8))
        write(folder / "seg-other.nii.gz", np.roll(labels, 2, 0))
    return [root / f"exam-{i}" for i in range(2)]


@pytest.fixture
def run(folders, capsys, monkeypatch, tmp_path):
    """Run the command in this process; returns exit code, output, errors."""

    def run(*arguments, out=tmp_path / "out", exams=folders, reference="seg-truth", surrogate=None):
        monkeypatch.setattr(audit, "load_surrogate", lambda checkpoint: surrogate or tiny_surrogate())
        given = ["--exams", *exams, "--reference", reference] if exams else []
        code = audit.main(["tiny", "--out", str(out), "--attack-steps", str(STEPS), *map(str, [*given, *arguments])])
        return code, *capsys.readouterr()

    return run


@pytest.fixture(scope="module")
def whole(folders, tmp_path_factory):
    """The folder of a whole audit of two exams."""
    out = tmp_path_factory.mktemp("whole") / "new" / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audit, "load_surrogate", lambda checkpoint: tiny_surrogate())
        arguments = ["tiny", "--out", out, "--exams", *folders, "--reference", "seg-truth", "--attack-steps", STEPS]
        assert audit.main(list(map(str, arguments))) == 0
    return out


def read(folder):
    return json.loads((folder / "audit.json").read_text())


def test_everything_from_one_command(whole):
    content = read(whole)
    assert {path.name for path in whole.iterdir()} == {"audit.json", "index.html", "state.json", "pictures"}
    pictures = {f"{part}_exam-{i}.png" for part in ("absurd", "exploitation") for i in range(2)}
    assert {path.name for path in (whole / "pictures").iterdir()} == pictures
    assert (content["checkpoint"], content["unit"], content["kind_of_ratings"]) == ("tiny", "stars", "human")
    settings = {"seed": 0, "attack_steps": STEPS, "thorough": True, "label_scheme": "brats", "device": "cpu"}
    assert content["settings"] == settings
    assert content["exams"][0] == {"name": "exam-0", "kind": "exam", "reference": "seg-truth.nii.gz"}
    assert content["thresholds"]["attack_dice"] == [0.85, 0.9, 0.85]
    assert list(content["parts"]) == list(PARTS)
    for name, part in content["parts"].items():
        assert list(part["exams"]) == ["exam-0", "exam-1"]
        again = judge(name, part["exams"])
        assert [check["passed"] for check in part["checks"]] == [check.passed for check in again]
        assert part["passed"] == all(check.passed for check in again)
    assert content["passed"] == all(part["passed"] for part in content["parts"].values())
    # A rater with stars near 3 for everything cannot tell absurd masks apart.
    assert not content["parts"]["absurd"]["passed"]
    runs = content["parts"]["exploitation"]["exams"]["exam-1"]["attacks"]["empty"]["jittered"]
    assert list(runs) == ["none"]  # there is no refiner
    run = runs["none"]
    assert (len(run["stars"]), run["before"]["volume"]) == (STEPS, [0, 0, 0])


def test_a_label_scheme_changes_nothing(whole, folders):
    """The second exam's enhancing tumor is labeled 4."""
    sources = find_sources(folders, ["seg-truth.nii.gz"])
    first, second = (read_audited_exam(source, sources) for source in sources)
    assert np.array_equal(second.labels, make_labels(center=(0.1, 0.2, 0.05)))
    assert np.array_equal(first.other, second.labels)
    assert (first.other_name, second.other_name) == ("exam-1", "exam-0")
    alone = read_audited_exam(sources[0], sources[:1])
    assert (alone.other, alone.other_name) == (None, None)  # no phantom has this shape
    stars = read(whole)["parts"]["absurd"]["exams"]["exam-1"]["reference"]
    regions = regions_from_labels(torch.from_numpy(second.labels)[None, None])
    assert stars == pytest.approx(mean_stars(tiny_surrogate(), second.image, regions), abs=1e-5)


def test_page_needs_no_other_file_and_says_what_it_is(whole):
    text = (whole / "index.html").read_text()
    page = Page(text)
    assert page.open == []
    assert all(link.startswith(("data:image/", "#")) for link in page.links)
    assert sum(link.startswith("data:image/svg") for link in page.links) == len(PARTS)
    assert sum(link.startswith("data:image/png") for link in page.links) == 4
    words = " ".join(" ".join(page.words).split())
    assert "Predicted stars, 1 (worst) to 6 (best), by tiny, learned from human ratings" in words
    assert "The thresholds are ours" in words
    assert "Not audited" not in words
    for part in PARTS.values():
        assert part.title in words
    for checks in (part["checks"] for part in read(whole)["parts"].values()):
        assert all(check["where"] in words for check in checks)
    assert "nan" not in re.sub('data:[^"]*', "", text).lower()


def test_other_than_human_ratings_are_called_so(run, tmp_path):
    surrogate = shrink(small_surrogate())
    surrogate.network, surrogate.config = tiny_surrogate().network, replace(surrogate.config, kind_of_ratings="metric")
    code, output, _ = run("--parts", "soft", "direction", surrogate=surrogate)
    assert code == 0
    assert output.startswith("predicted metric stars")
    assert "not from human ratings" in output
    assert list(read(tmp_path / "out")["parts"]) == ["direction", "soft"]  # in the order of the audit
    words = " ".join(Page((tmp_path / "out" / "index.html").read_text()).words)
    assert "metric stars estimate that overlap" in words
    assert "Not audited: Absurd masks" in words


class Unsure(nn.Module):
    """A refiner that would draw the mask as it is, and has no doubt about it."""

    def forward(self, scans, regions):
        return 8 * (2 * regions - 1)


class Still:
    """A guard that lets nothing through."""

    def __init__(self, surrogate):
        self.surrogate, self.config, self.device = surrogate, surrogate.config, surrogate.device

    def __call__(self, planes):
        return self.surrogate(planes).detach() + 0 * planes.sum((1, 2, 3))


@pytest.mark.slow
def test_attacks_with_the_refiners_guard_on_and_off_side_by_side(run, folders, tmp_path, monkeypatch):
    sides = (SMALLEST_PLANE, SMALLEST_PLANE)
    config = replace(small_surrogate().config, field_of_view=sides, refiner=RefinerConfig(), kind_of_ratings="hybrid")
    refined = Surrogate(config, Unsure())
    refined.network = tiny_surrogate().network
    monkeypatch.setattr(exploitation, "GuardedSurrogate", Still)
    code, output, _ = run("--parts", "exploitation", exams=folders[:1], surrogate=refined)
    assert code == 0
    content = read(tmp_path / "out")
    assert content["format"] == 2
    part = content["parts"]["exploitation"]
    for start in STARTS:
        for planes in JITTERS:
            runs = part["exams"]["exam-0"]["attacks"][start][planes]
            assert list(runs) == ["on", "off"]
            assert runs["on"]["before"] == runs["off"]["before"]  # the same start
            assert runs["on"]["after"] == runs["on"]["before"]  # the guard was in place
            if start in ("reference", "shifted"):  # from nothing stars have no gradient: all is lost by the refiner
                assert runs["off"]["after"] != runs["off"]["before"]
    for check in part["checks"]:
        assert f"{check['what']} (off: {check['unguarded']:.2f})" in output
        assert check["what"].endswith("refiner's guard on")
    words = " ".join(" ".join(Page((tmp_path / "out" / "index.html").read_text()).words).split())
    for guard in ("on", "off"):
        assert f"Dice, rated planes, refiner's guard {guard}" in words
    assert "guard off: " in words
    assert "no guard" not in words.replace("A checkpoint without one has no guard", "")


def test_an_audit_of_the_format_before_is_told_apart(run, tmp_path):
    assert run("--parts", "soft")[0] == 0
    path = tmp_path / "out" / "state.json"
    state = json.loads(path.read_text())
    del state["settings"]["format"]
    path.write_text(json.dumps(state))
    code, _, error = run("--parts", "soft")
    assert (code, "holds an audit with another format (format was None, is 2); give another --out" in error) == (
        2,
        True,
    )


@pytest.mark.slow
def test_an_interrupted_audit_goes_on(run, monkeypatch, tmp_path):
    done = []

    def counted(name, stop=False):
        def measure(case, *arguments):
            if stop:
                raise KeyboardInterrupt
            done.append((case.name, name))
            return PARTS[name].measure(case, *arguments)

        return replace(PARTS[name], measure=measure)

    chosen = ("absurd", "direction", "soft")

    def use(**options):
        monkeypatch.setattr(audit_run, "PARTS", {name: counted(name, options.get(name, False)) for name in chosen})

    use(direction=True)
    assert run("--parts", *chosen)[0] == 130
    assert done == [("exam-0", "absurd")]
    assert not (tmp_path / "out" / "audit.json").exists()

    done.clear()
    use()
    assert run("--parts", *chosen)[0] == 0
    assert done == [("exam-0", name) for name in chosen[1:]] + [("exam-1", name) for name in chosen]
    before = (tmp_path / "out" / "audit.json").read_bytes()

    done.clear()
    assert run("--parts", *chosen)[0] == 0
    assert done == []
    assert (tmp_path / "out" / "audit.json").read_bytes() == before

    (tmp_path / "out" / "pictures" / "absurd_exam-1.png").unlink()
    assert run("--parts", *chosen)[0] == 0
    assert done == [("exam-1", "absurd")]
    assert (tmp_path / "out" / "audit.json").read_bytes() == before


def test_results_are_measured_again_where_their_inputs_changed(folders):
    sources = find_sources(folders, ["seg-truth"])
    plan = audit_run.AuditPlan("tiny", sources, ["soft", "exploitation"], AuditSettings(0, 5))
    longer = replace(plan, settings=AuditSettings(0, 6))
    assert plan.inputs("soft", sources[0]) == longer.inputs("soft", sources[0])
    assert plan.inputs("exploitation", sources[0]) != longer.inputs("exploitation", sources[0])
    alone = replace(plan, sources=sources[:1])
    assert plan.inputs("soft", sources[0]) != alone.inputs("soft", sources[0])  # another exam lends its mask
    assert plan.ordered_parts == ["exploitation", "soft"]


def test_another_checkpoint_or_seed_is_not_mixed_in(run, tmp_path):
    quick = ("--parts", "soft")
    assert run(*quick)[0] == 0
    code, _, error = run(*quick, "--seed", 1)
    assert code == 2
    assert "holds an audit with another seed (seed was 0, is 1); give another --out" in error
    code, _, error = run(*quick, surrogate=known_surrogate(AreaRater(9)))
    assert (code, "holds an audit with another checkpoint" in error) == (2, True)
    (tmp_path / "out" / "state.json").write_text("{")
    code, _, error = run(*quick)
    assert code == 2
    assert "state.json: cannot be read" in error


@pytest.mark.slow
def test_exit_codes_for_ci(run, monkeypatch):
    def verdict(failing):
        return lambda part, results, thresholds: [
            replace(check, measured=-9.0 if part in failing else 9.0, rule=">=") for check in judge(part, results)
        ]

    chosen = ("--parts", "direction", "soft")
    monkeypatch.setattr(audit_run, "judge", verdict(["soft"]))
    code, output, error = run(*chosen)
    assert (code, error) == (0, SMALL)
    assert "FAILED  Soft masks" in output
    assert "passed  Direction of the gradient" in output
    assert run(*chosen, "--fail-on", "direction")[0] == 0
    code, _, error = run(*chosen, "--fail-on", "direction", "soft")
    assert (code, error) == (1, "dqe audit: failed: soft\n")
    assert run(*chosen, "--fail-on", "any")[0] == 1
    monkeypatch.setattr(audit_run, "judge", verdict([]))
    assert run(*chosen, "--fail-on", "any")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((), {"exams": ()}, None),
        (("--reference", "seg"), {"exams": ()}, "--reference needs --exams"),
        (("--phantoms", "0"), {"exams": ()}, "--phantoms must be 1 or above"),
        (("--attack-steps", "0"), {}, "--attack-steps must be 1 or above and --seed 0 or above, got 0 and 0"),
        (("--seed", "-1"), {}, "--seed 0 or above"),
        (("--parts", "soft", "--fail-on", "absurd"), {}, "--fail-on absurd: not among --parts"),
        ((), {"reference": "seg-gone"}, "--reference seg-gone fits none of seg-other, seg-truth; give a name"),
        (("--device", "nowhere"), {}, "--device nowhere cannot be used here"),
    ],
)
def test_what_cannot_work_is_told_in_one_line(run, monkeypatch, tmp_path, arguments, options, message):
    plans = []

    def note(plan, surrogate, folder):
        plans.append(plan)
        raise ValueError("noted")

    monkeypatch.setattr(audit_run, "run_audit", note)
    code, _, error = run(*arguments, **options)
    assert code == 2
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()
    if message is None:  # nothing said: two phantoms
        assert [source.name for source in plans[0].sources] == ["phantom-1000", "phantom-1001"]
    else:
        assert message in error
        assert plans == []


def test_other_faults_of_exams_and_folders(run, folders, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, error = run(out=tmp_path / "file" / "out")
    assert (code, "cannot be a folder" in error) == (2, True)
    code, _, error = run(exams=[folders[0], folders[0]])
    assert (code, "--exams names more than one exam exam-0" in error) == (2, True)
    bare = tmp_path / "bare"
    bare.mkdir()
    for modality, channel in zip(MODALITIES, make_image(), strict=True):
        write(bare / f"{modality}.nii.gz", channel.astype(np.int16))
    write(bare / "seg-truth.nii.gz", np.zeros(SHAPE, np.uint8))
    code, _, error = run("--parts", "soft", exams=[bare])
    assert (code, "expected a reference with tumor, found none" in error) == (2, True)


def test_views_are_the_three_that_the_loss_rates():
    case = make_case()
    stars = rate_segmentation(tiny_surrogate(), case.image, case.regions)
    assert stars.shape == (1, len(VIEWS))
    assert mean_stars(tiny_surrogate(), case.image, case.regions) == pytest.approx(stars.mean().item())

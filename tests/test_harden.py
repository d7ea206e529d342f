"""Hardening: what a second reader is taught on, that a run goes on where it was, and what comes out."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import shrink, small_surrogate

from dqe_loss import Surrogate, SurrogateConfig, load_surrogate, save_surrogate, train
from dqe_loss.evaluation.audit.case import Case
from dqe_loss.intensity import scale_planes
from dqe_loss.processes import StopRequest
from dqe_loss.second_reader import SMALLEST_PLANE, ReaderConfig, SecondReader
from dqe_loss.slicing import VIEW_AXIS, VIEWS, take_planes
from dqe_loss.training.hardening.config import HardenConfig
from dqe_loss.training.hardening.exams import prepare_exam, scaled_plane
from dqe_loss.training.hardening.masks import KINDS, as_regions, draw_mask
from dqe_loss.training.hardening.run import hardened_surrogate
from dqe_loss.training.hardening.scenes import SIZE, _dilute, draw_scene
from dqe_loss.training.hardening.teacher import Teacher, attack, draw_batch, learning_rate, teaching_loss

SHAPE = (56, 64, 48)
FEATURES = (4, 4, 4, 4, 4, 4)


@pytest.fixture(scope="module")
def case():
    rng = np.random.default_rng(0)
    grid = np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij")
    brain = sum(axis**2 for axis in grid) < 0.7
    tumor = sum((axis - 0.2) ** 2 for axis in grid)
    labels = np.zeros(SHAPE, np.uint8)
    labels[tumor < 0.15], labels[tumor < 0.07], labels[tumor < 0.03] = 2, 3, 1
    image = brain * (rng.uniform(80, 120, (4, *SHAPE)) + 100 * (labels > 0)).astype(np.float32)
    return Case("small", torch.from_numpy(image)[None], labels * brain, brain)


@pytest.fixture(scope="module")
def exam(case):
    return prepare_exam(case, SurrogateConfig(), errors=4, natural=[np.zeros(SHAPE, np.uint8)], synthetic=False)


def make_reader():
    torch.manual_seed(0)
    return SecondReader(ReaderConfig(FEATURES))


@pytest.mark.parametrize("view", VIEWS)
def test_planes_are_scaled_as_the_rating_scales_them(case, exam, view):
    axis = VIEW_AXIS[view]
    whole = scale_planes(take_planes(case.image, torch.tensor([[SHAPE[axis] // 2]]), view)[:, 0])[0]
    start = [s.start for s in crop_of(case)]
    kept = scaled_plane(exam, view, SHAPE[axis] // 2 - start[axis])
    others = [a for a in range(3) if a != axis]
    corner = [start[a] for a in others]
    same = whole[:, corner[0] : corner[0] + kept.shape[1], corner[1] : corner[1] + kept.shape[2]]
    torch.testing.assert_close(kept, same, atol=1e-5, rtol=0)


def crop_of(case):
    from dqe_loss.data.corruption_shapes import tumor_box
    from dqe_loss.training.hardening.exams import MARGIN

    return tumor_box(case.brain | (case.labels > 0), MARGIN)


def test_the_stock_holds_natural_and_wrong_masks(exam):
    assert len(exam.stock) == 5
    assert not exam.stock[0].any()
    assert all(not torch.equal(mask, exam.reference) for mask in exam.stock)
    assert all(mask.shape == exam.reference.shape for mask in exam.stock)


def test_scenes_keep_air_at_zero_and_the_truth_in_the_brain(exam):
    tumors = 0
    for seed in range(20):
        scene = draw_scene([exam], np.random.default_rng(seed))
        assert scene.scans.shape == (4, SIZE, SIZE)
        assert 0 <= scene.scans.min() <= scene.scans.max() <= 1
        assert set(scene.truth.unique().tolist()) <= {0, 1, 2, 3}
        if scene.truth.any():
            tumors += 1
            air = (scene.scans == 0).all(0)
            # A border voxel may be air for the linear scans and brain for the nearest labels.
            assert (air & (scene.truth > 0)).sum() < 0.1 * (scene.truth > 0).sum()
    assert tumors > 10


def test_less_contrast_agent_lets_t1c_become_like_t1():
    scans = torch.zeros(4, 8, 8)
    scans[1, 1:7, 1:7] = 0.2
    scans[0, 1:7, 1:7] = 0.4
    scans[0, 3, 3] = 1.0  # what enhances
    diluted = scans.clone()
    _dilute(diluted, 0.5)
    assert diluted[0, 3, 3].item() == pytest.approx(0.7)
    scans[0, 3, 3] = 0.7
    torch.testing.assert_close(diluted, scans)
    nothing = torch.zeros(4, 8, 8)
    _dilute(nothing, 0.5)
    assert not nothing.any()


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_mask(exam, kind):
    for seed in range(8):
        rng = np.random.default_rng(seed)
        scene = draw_scene([exam], rng)
        labels = KINDS[kind][1](scene, [exam], rng)
        assert labels.shape == (SIZE, SIZE)
        assert set(labels.unique().tolist()) <= {0, 1, 2, 3}
        assert kind != "right" or torch.equal(labels, scene.truth)


def test_errors_of_a_plane_are_new_in_each_draw(exam):
    scene = next(s for s in (draw_scene([exam], np.random.default_rng(seed)) for seed in range(9)) if s.truth.any())
    drawn = [KINDS["corrupted"][1](scene, [exam], np.random.default_rng(seed)) for seed in range(12)]
    assert len({tuple(labels.flatten().tolist()) for labels in drawn}) > 9


def test_masks_are_probabilities_of_nested_regions(exam):
    for seed in range(8):
        rng = np.random.default_rng(seed)
        regions = draw_mask(draw_scene([exam], rng), [exam], rng)
        assert regions.shape == (3, SIZE, SIZE)
        assert 0 <= regions.min() <= regions.max() <= 1
    core, whole, enhancing = as_regions(torch.tensor([[0, 1, 2, 3]], dtype=torch.uint8))[:, 0].tolist()
    assert (core, whole, enhancing) == ([0, 1, 0, 1], [0, 1, 1, 1], [0, 0, 0, 1])


def test_a_step_depends_on_seed_and_step_alone(exam):
    config = HardenConfig(batch=2)
    for first, again in zip(draw_batch([exam], config, 5), draw_batch([exam], config, 5), strict=True):
        assert torch.equal(first, again)
    assert not torch.equal(draw_batch([exam], config, 5)[0], draw_batch([exam], config, 6)[0])


def test_an_attack_gives_in_to_the_reader():
    class Sure(torch.nn.Module):
        def forward(self, scans, regions):
            return torch.tensor([3.0, 0.1, -3.0]).view(1, 3, 1, 1).expand_as(regions)

    attacked = attack(Sure(), torch.zeros(1, 4, 2, 2), torch.full((1, 3, 2, 2), 0.4), 2)
    assert attacked[0, :, 0, 0].tolist() == pytest.approx([0.95, 0.4, 0.05])


def test_the_loss_by_hand():
    truth = torch.zeros(1, 3, 4, 4)
    truth[:, :, :2] = 1
    assert teaching_loss(60 * (2 * truth - 1), truth).item() == pytest.approx(0, abs=1e-6)
    # Nothing predicted for 8 voxels: Dice (0 + 20) / (8 + 20); half of the voxels are wrong by 60.
    assert teaching_loss(torch.full_like(truth, -60.0), truth).item() == pytest.approx(1 - 20 / 28 + 2 * 30, rel=1e-5)


def test_the_learning_rate_rises_and_falls_to_nothing():
    rates = [learning_rate(HardenConfig(steps=100), step) for step in range(100)]
    assert max(rates) == rates[9] == pytest.approx(2e-3)
    assert rates[0] == pytest.approx(2e-4)
    assert rates[-1] == pytest.approx(0, abs=1e-12)


def test_a_stopped_run_ends_in_the_same_bits(exam, tmp_path):
    config = HardenConfig(steps=4, batch=2, save_every=2, attack_from=0.0, out=tmp_path)

    class StopAfter(StopRequest):
        def __init__(self, steps):
            super().__init__()
            self.left = steps

        def __bool__(self):
            self.left -= 1
            return self.left < 0

    def teach(state, *, stop, resume=False):
        reader = make_reader()
        teacher = Teacher(replace(config, resume=resume), reader, [exam], torch.device("cpu"), state, lambda _: None)
        return teacher.run({"same": 1}, stop), reader

    done, unbroken = teach(tmp_path / "a.pt", stop=StopRequest())
    assert done
    done, _ = teach(tmp_path / "b.pt", stop=StopAfter(3))
    assert not done
    done, resumed = teach(tmp_path / "b.pt", stop=StopRequest(), resume=True)
    assert done
    for (name, first), second in zip(unbroken.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(first, second), name


def test_a_hardened_surrogate_keeps_its_network_and_says_what_it_is():
    start = shrink(small_surrogate(), SMALLEST_PLANE)
    hardened = hardened_surrogate(start, HardenConfig(exponent=2), "two exams")
    assert hardened.config.kind_of_ratings == "hybrid"
    assert hardened.config.data.startswith("human ratings: ")
    assert hardened.config.data.endswith("a second reader, taught on two exams")
    assert not hardened.config.center_gradient
    assert hardened.config.reader.exponent == 2
    assert all(torch.equal(w, hardened.network.state_dict()[n]) for n, w in start.network.state_dict().items())
    with pytest.raises(ValueError, match="has a second reader already; harden the surrogate that it came from"):
        hardened_surrogate(hardened, HardenConfig(), "")


@pytest.mark.slow
def test_from_the_command_to_a_checkpoint(tmp_path, capsys):
    start = tmp_path / "start.safetensors"
    save_surrogate(shrink(small_surrogate(), SMALLEST_PLANE), start)
    out = tmp_path / "run"
    command = ["harden", "--phantoms", "1", "--errors", "1", "--steps", "2", "--batch", "2", "--out", str(out)]
    assert train.main([*command, "--checkpoint", str(start)]) == 0
    assert "0 real and 1 synthetic exams" in capsys.readouterr().out
    hardened = load_surrogate(out / "surrogate.safetensors")
    assert hardened.config.kind_of_ratings == "hybrid"
    assert "Kind of ratings: hybrid" in (out / "surrogate.md").read_text()
    assert (out / "log.csv").read_text().startswith("step,")
    assert train.main([*command, "--checkpoint", str(start)]) == 2
    assert "holds a run already; go on with --resume, or give another --out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--reference", "seg"], "--reference needs --exams: a second reader learns from the reference of that name"),
        (["--phantoms", "0"], "expected exams to teach on; give --exams and --reference, or --phantoms"),
        (["--checkpoint", "none.pth"], "no checkpoint at none.pth; expected 'hardened', 'brainlesion' or the path"),
    ],
)
def test_errors_of_the_command(options, message, tmp_path, capsys):
    assert train.main(["harden", "--out", str(tmp_path / "run"), *options]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"attack_from": 2.0}, r"expected learning_rate > 0, weight_decay >= 0 and attack_from in \[0, 1\]"),
    ],
)
def test_errors_of_options(options, message):
    with pytest.raises(ValueError, match=message):
        HardenConfig(**options)


def test_minmax_surrogates_are_refused():
    start = shrink(small_surrogate(), SMALLEST_PLANE)
    start = Surrogate(replace(start.config, normalization="minmax"))
    with pytest.raises(ValueError, match="hardening takes planes scaled by percentiles, got 'minmax'"):
        hardened_surrogate(start, HardenConfig(), "")

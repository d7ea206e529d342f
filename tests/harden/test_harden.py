"""Hardening: what a refiner is taught on, that a run goes on where it was, and what comes out."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from cohort import write_exam
from helpers import shrink, small_surrogate
from taught import SHAPE, make_case, make_taught

from dqe_loss import Surrogate, load_surrogate, save_surrogate
from dqe_loss.core.boxes import array_box
from dqe_loss.core.intensity import scale_planes
from dqe_loss.core.slicing import VIEW_AXIS, VIEWS, take_planes
from dqe_loss.harden import command as harden_command
from dqe_loss.harden import taught_exams as preparing
from dqe_loss.harden.card import NOT_TOLD
from dqe_loss.harden.config import HardenConfig
from dqe_loss.harden.masks import KINDS, as_regions, draw_mask
from dqe_loss.harden.scanner import dilute
from dqe_loss.harden.scenes import SIZE, draw_scene
from dqe_loss.harden.smoothing import blur, grow
from dqe_loss.harden.start import hardened_surrogate
from dqe_loss.harden.taught_exams import MARGIN, prepare_exam, scaled_plane
from dqe_loss.surrogate.refiner import SMALLEST_PLANE
from dqe_loss.task import GLIOMA


@pytest.fixture(scope="module")
def case():
    return make_case()


@pytest.fixture(scope="module")
def exam(tmp_path_factory):
    return make_taught(tmp_path_factory.mktemp("exams"))


@pytest.mark.parametrize("view", VIEWS)
def test_planes_are_scaled_as_the_rating_scales_them(case, exam, view):
    axis = VIEW_AXIS[view]
    whole = scale_planes(take_planes(case.image, torch.tensor([[SHAPE[axis] // 2]]), view)[:, 0], "head_mean")[0]
    start = [inside.start for inside in array_box(case.brain | (case.labels > 0), MARGIN)]
    kept = scaled_plane(exam, view, SHAPE[axis] // 2 - start[axis])
    others = [a for a in range(3) if a != axis]
    corner = [start[a] for a in others]
    same = whole[:, corner[0] : corner[0] + kept.shape[1], corner[1] : corner[1] + kept.shape[2]]
    torch.testing.assert_close(kept, same, atol=5e-4, rtol=0)  # kept in half precision


def test_the_stock_holds_natural_and_wrong_masks(exam):
    assert len(exam.stock) == 5
    assert not exam.stock[0].any()
    assert all(not np.array_equal(mask, exam.reference) for mask in exam.stock)
    assert all(mask.shape == exam.reference.shape for mask in exam.stock)


def test_an_exam_is_prepared_once(case, tmp_path, monkeypatch):
    options = {"errors": 2, "synthetic": False}
    first = prepare_exam(case, tmp_path, **options)
    made = []
    monkeypatch.setattr(preparing, "_prepared", lambda *given: made.append(given) or {"image": np.zeros(1)})
    assert prepare_exam(case, tmp_path, **options) == first
    assert not made
    assert prepare_exam(replace(case, labels=np.roll(case.labels, 1)), tmp_path, **options).folder != first.folder
    assert prepare_exam(case, tmp_path, errors=3, synthetic=False).folder != first.folder
    assert len(made) == 2
    (first.folder / "stock.npy").unlink()
    with pytest.raises(OSError, match="a prepared exam lacks a file; delete the folder and start again"):
        prepare_exam(case, tmp_path, **options)


def test_of_two_processes_that_prepare_an_exam_one_entry_is_left(case, tmp_path, monkeypatch):
    prepare = preparing._prepared

    def overtaken(*given):
        monkeypatch.setattr(preparing, "_prepared", prepare)
        prepare_exam(case, tmp_path, errors=2, synthetic=False)  # the other process, which is faster
        return prepare(*given)

    monkeypatch.setattr(preparing, "_prepared", overtaken)
    exam = prepare_exam(case, tmp_path, errors=2, synthetic=False)
    assert [path.name for path in tmp_path.iterdir()] == [exam.folder.name]
    assert len(exam.stock) == 2


def test_nothing_is_left_of_an_entry_that_could_not_be_written(case, tmp_path, monkeypatch):
    save = np.save

    def full(path, array):
        if path.name == "stock.npy":
            raise OSError("No space left on device")
        save(path, array)

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(OSError, match=r"small-\w+: the prepared exam cannot be written \(No space left on device\)"):
        prepare_exam(case, tmp_path, errors=2, synthetic=False)
    assert not list(tmp_path.iterdir())


def test_a_left_out_exam_is_not_in_the_stock_of_another(tmp_path):
    """What is prepared of an exam is the same bytes whoever else is taught on."""
    alone, among = tmp_path / "alone", tmp_path / "among"
    first = make_taught(alone)
    make_taught(among, "other", place=-0.3)
    second = make_taught(among)
    assert first.folder.name == second.folder.name
    for name in preparing.ARRAYS:
        assert (first.folder / f"{name}.npy").read_bytes() == (second.folder / f"{name}.npy").read_bytes()


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
    dilute(diluted, 0.5, GLIOMA)
    assert diluted[0, 3, 3].item() == pytest.approx(0.7)
    scans[0, 3, 3] = 0.7
    torch.testing.assert_close(diluted, scans)
    nothing = torch.zeros(4, 8, 8)
    dilute(nothing, 0.5, GLIOMA)
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
    core, whole, enhancing = as_regions(torch.tensor([[0, 1, 2, 3]], dtype=torch.uint8), GLIOMA)[:, 0].tolist()
    assert (core, whole, enhancing) == ([0, 1, 0, 1], [0, 1, 1, 1], [0, 0, 0, 1])


def test_a_mask_of_nothing_is_empty(exam):
    scene = draw_scene([exam], np.random.default_rng(0))
    assert not KINDS["nothing"][1](scene, [exam], np.random.default_rng(0)).any()
    assert sum(weight for weight, _ in KINDS.values()) == pytest.approx(1)


def test_squares_are_averaged_and_grown():
    planes = torch.zeros(1, 5, 6)
    planes[0, 2, 3] = 9
    inside = torch.zeros(1, 5, 6)
    inside[0, 1:4, 2:5] = 1
    torch.testing.assert_close(blur(planes, 3), inside)
    torch.testing.assert_close(grow(planes, 3), 9 * inside)
    torch.testing.assert_close(blur(torch.ones(2, 4, 4), 7), torch.ones(2, 4, 4))  # to the border, too


def test_a_hardened_surrogate_keeps_its_network_and_says_what_it_is():
    start = shrink(small_surrogate(), SMALLEST_PLANE)
    hardened = hardened_surrogate(start, HardenConfig(exponent=2), "two exams")
    assert hardened.config.kind_of_ratings == "hybrid"
    assert hardened.config.data.startswith("human ratings: ")
    assert hardened.config.data.endswith("a refiner, taught on two exams")
    assert not hardened.config.center_gradient
    assert hardened.config.refiner.exponent == 2
    assert (hardened.config.refiner.norm, hardened.config.refiner.features) == ("batch", (16, 32, 64, 96, 128, 16))
    assert hardened.config.normalization == "head_mean"
    assert all(torch.equal(w, hardened.network.state_dict()[n]) for n, w in start.network.state_dict().items())
    with pytest.raises(ValueError, match="has a refiner already; harden the surrogate that it came from"):
        hardened_surrogate(hardened, HardenConfig(), "")


def harden(tmp_path, *options, name="run"):
    start = tmp_path / "start.safetensors"
    if not start.is_file():
        save_surrogate(shrink(small_surrogate(), SMALLEST_PLANE), start)
    small = ["--features", *"444444", "--errors", "1", "--steps", "2", "--batch", "2", "--workers", "0"]
    command = ["--checkpoint", str(start), "--out", str(tmp_path / name), *small, *map(str, options)]
    return harden_command.main(command)


@pytest.mark.slow
def test_from_the_command_to_a_checkpoint(tmp_path, capsys):
    assert harden(tmp_path, "--phantoms", 1) == 0
    assert "0 real and 1 synthetic exams" in capsys.readouterr().out
    out = tmp_path / "run"
    assert load_surrogate(out / "surrogate.safetensors").config.kind_of_ratings == "hybrid"
    card = (out / "surrogate.md").read_text()
    assert "Kind of ratings: hybrid" in card
    assert "None: it has seen synthetic exams only.\n\n**Limits.**" in card
    assert "those after step 2, the last" in card
    assert (out / "log.csv").read_text().startswith("step,")
    assert harden(tmp_path, "--phantoms", 1) == 2
    assert "holds a run already; go on with --resume, or give another --out" in capsys.readouterr().err


def test_the_card_names_the_exams(tmp_path, capsys):
    first, second = (write_exam(tmp_path / name, seed) for seed, name in enumerate(("one", "two")))
    options = ("--reference", "seg-a", "--phantoms", 0, "--cache", tmp_path / "cache", "--save-every", 1)
    assert harden(tmp_path, *options, "--exams", first, "--held-out", second) == 0
    assert "1 real and 0 synthetic exams with 2 masks besides their references; 1 held out" in capsys.readouterr().out
    card = (tmp_path / "run" / "surrogate.md").read_text()
    assert f"**Real exams.** one.\n\n{NOT_TOLD}\n\n**Limits.**" in card
    assert "so that the units of a modality do not\nmatter" in card
    assert "where it did best on exams that were held out: two." in card
    log = (tmp_path / "run" / "log.csv").read_text().splitlines()
    columns = set(log[0].split(","))
    figures = ("right", "lowest", "r", "error", "blind", "attacked", "distance")
    assert {"step", "loss", *(f"held_out_{name}" for name in figures)} <= columns
    assert len(log) == 3
    assert not (tmp_path / "run" / "exams").exists()
    entries = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()}
    assert len(entries) == 2
    assert harden(tmp_path, *options, "--exams", second, first, name="both") == 0
    assert entries == {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()}


def test_an_exam_is_taught_on_or_held_out(tmp_path, capsys):
    exam = write_exam(tmp_path / "one")
    assert harden(tmp_path, "--exams", exam, "--held-out", exam, "--reference", "seg-a") == 2
    message = "one: taught on and held out; name an exam in --exams or in --held-out"
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--reference", "seg"], "--reference needs --exams: a refiner learns from the reference of that name"),
        (["--held-out", "A"], "--held-out needs --reference: say which segmentation of an exam is its reference"),
        (["--cache", __file__], "cannot be a folder"),
        (["--phantoms", "0"], "expected exams to teach on; give --exams and --reference, or --phantoms"),
        (["--checkpoint", "none.pth"], "no checkpoint at none.pth; expected 'hardened', 'brainlesion' or the path"),
    ],
)
def test_errors_of_the_command(options, message, tmp_path, capsys):
    assert harden_command.main(["--out", str(tmp_path / "run"), *options]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"workers": -1}, "workers must be at least 0, got -1"),
        ({"norm": "layer"}, r"norm must be one of \('instance', 'batch'\), got 'layer'"),
        ({"features": (4, 4)}, r"features must be six numbers of channels, got \(4, 4\)"),
        ({"features": (4, 4, 0, 4, 4, 4)}, "features must be six numbers of channels"),
        ({"predictions_share": 0.0}, r"predictions_share must be in \(0, 1\], got 0"),
        ({"attack_from": 2.0}, r"expected learning_rate > 0, weight_decay >= 0 and attack_from in \[0, 1\]"),
    ],
)
def test_errors_of_options(options, message):
    with pytest.raises(ValueError, match=message):
        HardenConfig(**options)


def test_only_surrogates_of_joint_planes_are_hardened():
    start = shrink(small_surrogate(), SMALLEST_PLANE)
    scaled = Surrogate(replace(start.config, normalization="head_mean"))
    assert hardened_surrogate(scaled, HardenConfig(), "").config.normalization == "head_mean"
    start = Surrogate(replace(start.config, normalization="minmax"))
    with pytest.raises(ValueError, match="brainlesion scales planes by 'minmax', and what a refiner sees is"):
        hardened_surrogate(start, HardenConfig(), "")


def test_the_cache_is_in_the_folder_of_the_run():
    assert HardenConfig(out=Path("a")).prepared == Path("a/exams")
    assert HardenConfig(out=Path("a"), cache=Path("b")).prepared == Path("b")

"""`dqe harden --add-predictions`: a network's own masks are learned from, and a refiner goes on from its weights."""

import nibabel as nib
import numpy as np
import pytest
import torch
from cohort import LPS, write, write_exam
from helpers import make_labels, shrink, small_surrogate
from taught import SHAPE, make_case, make_taught

from dqe_loss import load_surrogate, save_surrogate
from dqe_loss.harden import command
from dqe_loss.harden.batches import draw_batch
from dqe_loss.harden.config import HardenConfig
from dqe_loss.harden.held_out import judged_planes
from dqe_loss.harden.masks import as_regions, draw_mask
from dqe_loss.harden.scenes import draw_scene, warp_labels
from dqe_loss.harden.taught_exams import label_plane, prepare_exam
from dqe_loss.surrogate.refiner import SMALLEST_PLANE
from dqe_loss.task import GLIOMA

FEATURES = ["--features", *"444444"]
SMALL = ["--errors", "1", "--steps", "2", "--batch", "2", "--workers", "0", "--phantoms", "0", "--reference", "seg-a"]


@pytest.fixture(scope="module")
def predicted(tmp_path_factory):
    """An exam with two masks of a network, which are like no other."""
    masks = [np.full(SHAPE, label, np.uint8) for label in (2, 3)]
    folder = tmp_path_factory.mktemp("exams")
    return prepare_exam(make_case(), folder, errors=2, synthetic=False, predictions=masks)


def test_predictions_are_kept_beside_the_stock(predicted, tmp_path):
    assert (predicted.predicted, len(predicted.stock)) == (2, 2)
    assert predicted.predictions.shape == (2, *predicted.reference.shape)
    assert [int(mask.min()) for mask in predicted.predictions] == [2, 3]
    options = {"errors": 2, "synthetic": False}
    plain = prepare_exam(make_case(), tmp_path, **options)
    assert plain.predicted == 0
    assert plain.folder.name != predicted.folder.name
    assert (plain.folder / "stock.npy").read_bytes() == (predicted.folder / "stock.npy").read_bytes()
    (predicted.folder / "predictions.npy").rename(predicted.folder / "moved.npy")
    masks = [np.full(SHAPE, label, np.uint8) for label in (2, 3)]
    with pytest.raises(OSError, match="a prepared exam lacks a file"):
        prepare_exam(make_case(), predicted.folder.parent, predictions=masks, **options)
    (predicted.folder / "moved.npy").rename(predicted.folder / "predictions.npy")


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_how_often_a_mask_is_a_prediction(predicted, share):
    own = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        scene = draw_scene([predicted], rng)
        mask = draw_mask(scene, [predicted], rng, share)
        shown = [warp_labels(label_plane(one, scene.view, scene.index), scene.grid) for one in predicted.predictions]
        # Softened ones are drawn, too: their order is what tells.
        own += any(torch.equal(mask, as_regions(one, GLIOMA)) for one in shown)
    low, high = {0.0: (0, 6), 0.3: (4, 20), 1.0: (20, 60)}[share]  # half of all are softened
    assert low <= own <= high


def test_without_predictions_nothing_is_drawn_otherwise(tmp_path):
    """What a hardening of before has drawn it draws now: the share takes no randomness."""
    exam = make_taught(tmp_path)
    first, second = (draw_batch([exam], HardenConfig(batch=4, predictions_share=share), 3) for share in (0.1, 0.9))
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def test_predictions_of_held_out_exams_are_judged(predicted, tmp_path):
    plain = prepare_exam(make_case(), tmp_path, errors=2, synthetic=False)
    more, fewer = (judged_planes([exam])[0].masks for exam in (predicted, plain))
    assert len(more) == len(fewer) + 2
    assert torch.equal(more[0], fewer[0])
    assert not more[-1].any()


@pytest.fixture
def exams(tmp_path):
    """Three exams, a network's masks of two of them, and a surrogate to harden."""
    for number, name in enumerate(("one", "two", "three")):
        write_exam(tmp_path / name, number, masks=("seg-a",))
    (tmp_path / "unet").mkdir()
    for name in ("one", "three"):
        write(tmp_path / "unet" / f"{name}.nii.gz", np.roll(make_labels(), 4, 0))
    save_surrogate(shrink(small_surrogate(), SMALLEST_PLANE), tmp_path / "start.safetensors")
    return tmp_path


def harden(folder, start, out, *more):
    given = ["--exams", folder / "one", folder / "two", "--checkpoint", folder / start, "--out", folder / out, *more]
    return command.main([*map(str, given), *SMALL])


def test_a_refiner_goes_on_from_its_weights(exams, capsys):
    """First hardened as ever, then taught on with a network's masks, at another rate, from the same checkpoint."""
    assert harden(exams, "start.safetensors", "first", *FEATURES, "--exponent", 2) == 0
    first = load_surrogate(exams / "first" / "surrogate.safetensors")
    then = ["--add-predictions", exams / "unet", "--held-out", exams / "three"]
    capsys.readouterr()
    assert harden(exams, "first/surrogate.safetensors", "then", *then, "--learning-rate", "1e-12") == 0
    out = capsys.readouterr().out
    assert "2 predictions of 2 of 3 exams are added" in out
    assert "one: 1 masks and 1 predictions besides the reference" in out
    same = load_surrogate(exams / "then" / "surrogate.safetensors")
    assert same.config.refiner == first.config.refiner
    weights, before = dict(same.refiner.named_parameters()), dict(first.refiner.named_parameters())
    for name, weight in weights.items():  # no more than half precision has moved
        torch.testing.assert_close(weight, before[name], rtol=2e-3, atol=1e-5)
    assert same.config.kind_of_ratings == "hybrid"
    assert same.config.data.startswith("human ratings: ")
    taught = "2 real and 0 synthetic exams with 2 masks and 1 predictions of networks besides their references"
    assert same.config.data.endswith(f"; then taught on {taught}")
    card = (exams / "then" / "surrogate.md").read_text()
    assert "has learned from human ratings and is as it\nwas:" in card
    assert "1 predictions of networks" in card
    assert harden(exams, "first/surrogate.safetensors", "moved", *then, "--learning-rate", "1e-2") == 0
    moved = load_surrogate(exams / "moved" / "surrogate.safetensors")
    name = next(name for name in weights if name.endswith("weight"))
    assert not torch.equal(dict(moved.refiner.named_parameters())[name], weights[name])
    capsys.readouterr()
    assert harden(exams, "first/surrogate.safetensors", "then", *then, "--learning-rate", "1e-12", "--resume") == 0
    assert harden(exams, "first/surrogate.safetensors", "third") == 2
    assert (
        "has a refiner already; harden the surrogate that it came from, or teach this one on" in capsys.readouterr().err
    )
    assert harden(exams, "first/surrogate.safetensors", "third", *then, "--norm", "instance") == 2
    assert "norm is 'instance', and the refiner of " in capsys.readouterr().err


def test_what_cannot_be_added(exams, capsys):
    def refused(*more):
        assert harden(exams, "start.safetensors", "out", *FEATURES, *more) == 2
        return capsys.readouterr().err

    assert "expected a folder of predictions, found nothing there" in refused("--add-predictions", exams / "none")
    (exams / "empty").mkdir()
    assert "expected predictions named like the exams, such as one.nii.gz" in refused(
        "--add-predictions", exams / "empty"
    )
    write(exams / "unet" / "one.nii.gz", np.zeros((8, 8, 8), np.uint8))
    assert "one.nii.gz" in refused("--add-predictions", exams / "unet")
    nib.save(nib.Nifti1Image(make_labels() + np.uint8(9), LPS), exams / "unet" / "one.nii.gz")
    assert "one.nii.gz" in refused("--add-predictions", exams / "unet")
    alone = ["--phantoms", "1", "--add-predictions", str(exams / "unet"), "--out", str(exams / "out")]
    assert command.main(alone) == 2
    assert "--add-predictions needs --exams" in capsys.readouterr().err

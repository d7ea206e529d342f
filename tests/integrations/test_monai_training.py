"""The loss in MONAI's trainer by a handler: crops in their places, resume, and a bundle from the command line."""

import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from helpers import SHAPE, make_case, make_image, make_labels, make_loss, shrink, small_surrogate, tiny_surrogate
from monai.data import DataLoader, Dataset, MetaTensor, list_data_collate
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.engines.utils import IterationEvents
from monai.inferers import SlidingWindowInferer
from monai.losses import DiceLoss
from monai.transforms import (
    AsDiscreted,
    Compose,
    CopyItemsd,
    CropForegroundd,
    RandCropByPosNegLabeld,
    ScaleIntensityd,
)
from torch import nn

from dqe_loss import DQEMetric, rate_segmentation, save_surrogate

pytest.importorskip("ignite")
handlers = pytest.importorskip("dqe_loss.integrations.monai")

from ignite.engine import Events  # noqa: E402 (only where it is installed)
from monai.handlers import CheckpointLoader, CheckpointSaver  # noqa: E402

AFFINE = torch.diag(torch.tensor([-1.0, -1, 1, 1]))
KEEP = CopyItemsd(["image", "label"], names=["full_image", "full_label"])
CROPS = RandCropByPosNegLabeld(["image", "label"], "label", (16, 16, 16), num_samples=2)


@pytest.fixture(scope="module")
def rows():
    image, _, regions, _ = make_case()
    return [
        {"image": MetaTensor(image[i], affine=AFFINE), "label": MetaTensor(regions[i].float(), affine=AFFINE)}
        for i in range(2)
    ]


def make_bound(**options):
    return (DiceLoss(sigmoid=True) + 0.1 * make_loss(surrogate=tiny_surrogate(), **options)).bound()


def make_trainer(rows, bound, handler, transforms=(), epochs=1, more=()):
    network = nn.Conv3d(4, 3, 1)
    data = Dataset(rows, Compose([CopyItemsd("image", names="raw"), *transforms]))
    return SupervisedTrainer(
        device=torch.device("cpu"), max_epochs=epochs, network=network, loss_function=bound,
        train_data_loader=DataLoader(data, batch_size=1, collate_fn=list_data_collate),
        optimizer=torch.optim.SGD(network.parameters(), 0.01), train_handlers=[handler, *more],
    )  # fmt: skip


def test_the_handler_hands_over_the_raw_image_and_tells_the_epochs_means(rows):
    bound = make_bound()
    trainer = make_trainer(rows, bound, handlers.BindImageHandler(bound), [ScaleIntensityd("image")], epochs=2)
    seen, logs = [], []
    loss, bound.loss.forward = bound.loss.forward, lambda *a, **k: seen.append(k["image"]) or loss(*a, **k)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda _: logs.append(bound.loss.log))
    trainer.run()
    for image, row in zip(seen, rows * 2, strict=True):
        assert torch.equal(torch.as_tensor(image[0]), torch.as_tensor(row["image"]))
    for name in ("DiceLoss", "DQELoss", "stars", "gradient_ratio", "guard_kept", "skipped"):
        assert trainer.state.metrics[name] == pytest.approx((logs[2][name] + logs[3][name]) / 2, rel=1e-4), name


def test_means_are_of_what_was_rated_and_of_this_epoch(rows, monkeypatch):
    """One of two exams holds no tumor; after the warm-up nothing tells the stars of targets any more."""
    monkeypatch.setattr("dqe_loss.losses.dqe.DQELoss.smallest_crop", 16)
    bound = make_bound(on_small="skip", warmup=2)
    empty = {**rows[1], "label": MetaTensor(torch.zeros_like(rows[1]["label"]), affine=AFFINE)}
    logs, told = [], []
    trainer = make_trainer([rows[0], empty], bound, handlers.BindImageHandler(bound), epochs=2)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda _: logs.append(bound.loss.log))
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda engine: told.append(dict(engine.state.metrics)))
    trainer.run()
    warming, rated = told
    assert warming["stars_of_target"] == pytest.approx(logs[0]["stars_of_target"])
    assert "stars_of_target" not in rated
    for name in ("DQELoss", "stars", "gradient_ratio", "guard_kept"):
        assert rated[name] == pytest.approx(logs[2][name], rel=1e-4), name
    assert rated["DiceLoss"] == pytest.approx((logs[2]["DiceLoss"] + logs[3]["DiceLoss"]) / 2, rel=1e-4)
    assert rated["skipped"] == 0.5


def test_a_figure_that_is_no_number_is_left_out_of_the_mean(rows):
    """A GPU, which is not waited for, notes one where no target could be rated."""
    bound = make_bound()
    trainer = make_trainer(rows, bound, handlers.BindImageHandler(bound))
    notes = iter([torch.tensor(float("nan")), torch.tensor(4.0)])
    trainer.add_event_handler(
        IterationEvents.LOSS_COMPLETED, lambda _: bound.loss.terms[1].notes.update(stars_of_target=next(notes))
    )
    trainer.run()
    assert trainer.state.metrics["stars_of_target"] == 4


def test_crops_are_rated_in_their_places(rows):
    """CropForegroundd, then RandCropByPosNegLabeld: nobody works out an origin."""
    bound = make_bound(on_small="error")
    handler = handlers.BindImageHandler(bound, image_key="full_image", target_key="full_label")
    foreground = CropForegroundd(["image", "label"], source_key="image")
    trainer = make_trainer(rows, bound, handler, [KEEP, foreground, ScaleIntensityd("image"), CROPS])
    calls, loss = [], bound.loss.forward
    bound.loss.forward = lambda *a, **k: calls.append((a, k, trainer.state.batch["label"])) or loss(*a, **k)
    trainer.run()
    assert len(calls) == 2
    for (prediction, target), options, crops in calls:
        assert target.shape[2:] == options["image"].shape[2:] == SHAPE
        assert prediction.shape == (2, 3, 16, 16, 16)
        for crop, whole, (x, y, z) in zip(crops, target, options["origin"].tolist(), strict=True):
            assert torch.equal(crop, whole[:, x : x + 16, y : y + 16, z : z + 16])
    assert trainer.state.metrics["DQELoss"] > 0
    assert trainer.state.metrics["skipped"] == 0


def test_a_resumed_training_resumes_its_warm_up(rows, tmp_path, monkeypatch):
    monkeypatch.setattr("dqe_loss.losses.dqe.DQELoss.smallest_crop", 16)

    def make():
        bound = make_bound(warmup=3)
        trainer = make_trainer(rows, bound, handlers.BindImageHandler(bound))
        return bound, trainer, {"network": trainer.network, "criterion": bound}

    bound, trainer, parts = make()
    CheckpointSaver(str(tmp_path), parts, save_final=True, final_filename="last.pt").attach(trainer)
    trainer.run()
    assert bound.loss.steps_done == 2
    assert "DQELoss" not in trainer.state.metrics
    assert trainer.state.metrics["stars_of_target"] > 0
    saved = torch.load(tmp_path / "last.pt", weights_only=True)
    assert list(saved["criterion"]) == ["loss.steps_done"]
    again, trainer, parts = make()
    CheckpointLoader(str(tmp_path / "last.pt"), parts).attach(trainer)
    trainer.run()
    assert again.loss.steps_done == 4
    assert again.loss.log["DQELoss"] > 0


def test_mistakes_are_named(rows):
    with pytest.raises(TypeError, match=r"what criterion.bound\(\) gives, got DQELoss"):
        handlers.BindImageHandler(make_loss())
    bound = make_bound()
    for options, missing in (({"image_key": "x"}, "x"), ({"image_key": "image", "target_key": "y"}, "y")):
        trainer = make_trainer(rows, bound, handlers.BindImageHandler(bound, **options))
        with pytest.raises(ValueError, match=rf"no '{missing}', only image, label, raw.*BindImageHandler\(image_key"):
            trainer.run()


def test_sliding_windows_over_the_foreground_are_rated_in_the_whole_image(rows):
    load = Compose([KEEP, CropForegroundd(["image", "label"], source_key="label", margin=1)])
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"), val_data_loader=DataLoader(Dataset(rows, load), batch_size=1),
        network=lambda x: x[:, :3] - 550, inferer=SlidingWindowInferer((16, 16, 16), overlap=0.25),
        postprocessing=AsDiscreted("pred", threshold=0.0),
        key_val_metric={"stars": handlers.DQEHandler(DQEMetric(small_surrogate()), image_key="full_image")},
    )  # fmt: skip
    evaluator.run()
    stars = []
    for row in rows:
        image = torch.as_tensor(row["image"])[None]
        inside = torch.zeros(SHAPE)
        tumor = torch.nonzero(torch.as_tensor(row["label"]).any(0), as_tuple=True)
        box = [(axis.min() - 1, axis.max() + 2) for axis in tumor]
        inside[tuple(slice(*side) for side in box)] = 1
        assert not inside.all()
        stars.append(rate_segmentation(small_surrogate(), image, ((image[:, :3] > 550) * inside).float()))
    torch.testing.assert_close(evaluator.state.metric_details["stars"], torch.cat(stars), rtol=0, atol=1e-4)


def test_a_prediction_whose_place_is_not_known_is_named():
    with pytest.raises(ValueError, match="the crop must be a MetaTensor of MONAI's"):
        handlers._in_place(torch.zeros(3, 4, 4, 4), MetaTensor(torch.zeros(4, 8, 8, 8)))


@pytest.mark.slow
def test_a_bundle_trains_from_the_command_line(tmp_path):
    """The example's configuration as it is, with smaller crops and one epoch, on files."""
    pytest.importorskip("fire")
    for i in range(3):
        folder = tmp_path / "exams" / f"tiny-{i}"
        folder.mkdir(parents=True)
        for name, scan in zip(("t1c", "t1n", "t2w", "t2f"), make_image(seed=i), strict=True):
            nib.save(nib.Nifti1Image(scan.astype(np.int16), AFFINE.numpy()), folder / f"{folder.name}-{name}.nii.gz")
        nib.save(nib.Nifti1Image(make_labels(), AFFINE.numpy()), folder / f"{folder.name}-seg.nii.gz")
    save_surrogate(shrink(small_surrogate()), tmp_path / "small.safetensors")
    example = Path(__file__).parents[2] / "examples/monai_bundle/train.yaml"
    options = {
        "config_file": example, "data_dir": tmp_path / "exams", "out": tmp_path / "out", "epochs": 1,
        "crop": "[16, 16, 16]", "checkpoint": tmp_path / "small.safetensors", "dqe#warmup": 1,
    }  # fmt: skip

    def train(**more):
        words = [word for name, value in (options | more).items() for word in (f"--{name}", str(value))]
        command = [sys.executable, "-m", "monai.bundle", "run", *words]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout + done.stderr

    told = train()
    for name in ("DiceLoss", "gradient_ratio", "dice", "stars"):
        assert name in told, told[-2000:]
    final = torch.load(tmp_path / "out" / "checkpoint_final_iteration=2.pt", weights_only=True)
    assert final["criterion"]["loss.steps_done"] == 2
    assert set(final) == {"network", "optimizer", "criterion"}
    train(resume=tmp_path / "out" / "checkpoint_final_iteration=2.pt", out=tmp_path / "again")
    resumed = torch.load(tmp_path / "again" / "checkpoint_final_iteration=2.pt", weights_only=True)
    assert resumed["criterion"]["loss.steps_done"] == 4

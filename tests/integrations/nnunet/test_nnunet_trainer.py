"""nnU-Net's trainer with the term, step by step, without its files."""

import inspect
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import make_exam, small_surrogate
from nnunet_plans import make_plans
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.training.nnUNetTrainer.variants.data_augmentation.nnUNetTrainerNoDA import nnUNetTrainerNoDA
from nnunetv2.training.nnUNetTrainer.variants.loss.nnUNetTrainerCELoss import nnUNetTrainerCELoss
from nnunetv2.training.nnUNetTrainer.variants.network_architecture.nnUNetTrainerBN import nnUNetTrainerBN
from nnunetv2.training.nnUNetTrainer.variants.network_architecture.nnUNetTrainerNoDeepSupervision import (
    nnUNetTrainerNoDeepSupervision,
)
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

from dqe_loss import DQELoss, regions_from_labels
from dqe_loss.integrations.nnunet import trainer as module
from dqe_loss.integrations.nnunet.figures import FIGURES, mean_figures
from dqe_loss.integrations.nnunet.prediction import trainer_to_predict_with
from dqe_loss.integrations.nnunet.progress import SERIES, ProgressLogger
from dqe_loss.integrations.nnunet.trainer import nnUNetTrainerDQE, nnUNetTrainerDQE_noGuard
from dqe_loss.integrations.nnunet.transforms import keep_image, split_kept
from dqe_loss.losses.bound import BoundLoss
from dqe_loss.task import GLIOMA

SIDE = 32
REGIONS = {"background": 0, "whole tumor": [1, 2, 3], "tumor core": [2, 3], "enhancing tumor": [3]}
TISSUES = {"background": 0, "edema": 1, "necrosis": 2, "enhancing": 3}
PEDS = {"background": 0, "ET": 1, "NonEnh": 2, "Cystic": 3, "Edema": 4}
CHANNELS = {"0": "T1c", "1": "T1", "2": "T2", "3": "Flair"}


def data_set(labels=REGIONS):
    more = {"regions_class_order": [1, 2, 3]} if labels is REGIONS else {}
    return {"channel_names": CHANNELS, "labels": labels, "numTraining": 2, "file_ending": ".nii.gz", **more}


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Makes a trainer whose network is a handful of channels, on small patches that a small surrogate rates."""
    monkeypatch.setitem(vars(GLIOMA), "smallest_crop", SIDE)
    for name in ("preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{name}", str(tmp_path / name))
    data = tmp_path / "preprocessed" / "Dataset137_Small" / "nnUNetPlans_any"
    data.mkdir(parents=True)
    (data / "a.b2nd").touch()  # by which nnU-Net knows how its data lie

    def build(kind=nnUNetTrainerDQE, labels=REGIONS, plans=None, warmup=0, device="cpu"):
        class Small(kind):
            dqe_checkpoint = small_surrogate()
            dqe_warmup_epochs = warmup

        plans = plans or make_plans(SIDE)
        (configuration,) = plans["configurations"]
        trainer = Small(plans, configuration, 0, data_set(labels), torch.device(device))
        trainer.num_iterations_per_epoch = 2
        trainer.initialize()
        return trainer

    return build


@pytest.fixture(scope="module")
def batch():
    """Two patches in nnU-Net's axes (Z, Y, X): scans, and labels as its BraTS conversion writes them."""
    image, labels = make_exam((SIDE,) * 3, seeds=(0, 1))
    inside = image > 0
    scored = torch.where(inside, (image - 480) / 150, 0)
    own = torch.tensor([0, 2, 1, 3])[labels.long()].to(torch.int16)
    return scored.permute(0, 1, 4, 3, 2).contiguous(), own.permute(0, 1, 4, 3, 2).contiguous()


def as_step(batch, trainer, labels=REGIONS, dimensions=3):
    """What nnU-Net's loader hands to a step, with the kept image behind the input."""
    image, target = batch
    if dimensions == 2:
        image, target = image[:, :, SIDE // 2], target[:, :, SIDE // 2]
    if labels is REGIONS:
        target = torch.cat([torch.isin(target, torch.tensor(numbers)) for numbers in list(labels.values())[1:]], 1)
    if (scales := trainer._get_deep_supervision_scales()) is None:
        return {"data": torch.cat((image + 1, image), 1), "target": target, "keys": ["a", "b"]}
    sizes = [[round(s * n) for s, n in zip(scale, target.shape[2:], strict=True)] for scale in scales]
    targets = [torch.nn.functional.interpolate(target.float(), size).to(target.dtype) for size in sizes]
    return {"data": torch.cat((image + 1, image), 1), "target": targets, "keys": ["a", "b"]}


def test_its_arguments_have_nnunets_names():
    assert inspect.signature(nnUNetTrainerDQE).parameters.keys() == inspect.signature(nnUNetTrainer).parameters.keys()
    for kind in (module.nnUNetTrainerDQE_250epochs, nnUNetTrainerDQE_noGuard):
        assert inspect.signature(kind).parameters.keys() == inspect.signature(nnUNetTrainer).parameters.keys()


@pytest.mark.parametrize("labels", [REGIONS, TISSUES])
@pytest.mark.parametrize("forward", [(0, 1, 2), (2, 0, 1)])
def test_the_term_is_the_loss_of_the_same_exam_in_the_axes_of_its_file(make, batch, labels, forward):
    """Values and gradients, whichever way the plans order the axes."""
    trainer = make(labels=labels, plans=make_plans(SIDE, forward=forward))
    image, target = (x.permute(0, 1, *(2 + axis for axis in forward)) for x in batch)
    whole = as_step((image, target), trainer, labels)["target"][0]
    channels = 3 if labels is REGIONS else 4
    logits = torch.randn(2, channels, SIDE, SIDE, SIDE).requires_grad_()
    missing = trainer.term.evaluate(logits, whole, image)
    missing.backward()
    back = [2 + forward.index(axis) for axis in (2, 1, 0)]  # of X, Y, Z
    ordered = logits.detach().permute(0, 1, *back).clone().requires_grad_()
    scans, labels_on_disk = (x.permute(0, 1, 4, 3, 2) for x in batch)
    told = (
        {"region_order": ("WT", "TC", "ET"), "sigmoid": True}
        if labels is REGIONS
        else {"label_scheme": "nnunet", "softmax": True}
    )
    own = regions_from_labels(labels_on_disk, "nnunet")[:, [1, 0, 2]] if labels is REGIONS else labels_on_disk
    expected = DQELoss(small_surrogate(), max_gradient_ratio=None, **told)(ordered, own, image=scans)
    expected.backward()
    torch.testing.assert_close(missing, expected)
    torch.testing.assert_close(logits.grad.permute(0, 1, *back), ordered.grad)
    assert ordered.grad.abs().sum() > 0


@pytest.mark.parametrize("labels", [REGIONS, PEDS])
def test_a_step_trains_and_tells_what_the_term_did(make, batch, labels):
    trainer = make(labels=labels)
    before = [parameter.clone() for parameter in trainer.network.parameters()]
    given = as_step((batch[0], batch[1] + (batch[1] == 3) if labels is PEDS else batch[1]), trainer, labels)
    result = trainer.train_step(given)
    assert np.isfinite(result["loss"])
    assert any(not torch.equal(a, b) for a, b in zip(before, trainer.network.parameters(), strict=True))
    assert result["rated"] == 1
    assert 0 < result["stars"] <= 6
    assert result["gradient_ratio"] > 0
    assert 0 < result["guard_kept"] < 1
    assert math.isnan(result["target_stars"])
    with torch.no_grad():
        checked = trainer.validation_step(given)
    assert 0 < checked["stars"] <= 6
    assert math.isnan(checked["gradient_ratio"])


def test_the_network_sees_the_augmented_image_and_the_term_the_kept_one(make, batch, monkeypatch):
    trainer = make()
    given = as_step(batch, trainer)
    seen = {}
    monkeypatch.setattr(
        trainer.network, "forward", lambda x, f=trainer.network.forward: seen.setdefault("x", x) is x and f(x)
    )
    evaluate = trainer.term.evaluate
    monkeypatch.setattr(
        trainer.term,
        "evaluate",
        lambda i, t, image, *a, **k: seen.update(image=image) or evaluate(i, t, image, *a, **k),
    )
    trainer.train_step(given)
    assert torch.equal(seen["x"], batch[0] + 1)
    assert torch.equal(seen["image"], batch[0])


def test_what_nnunet_compiles_tells_what_it_takes_still(make, monkeypatch):
    monkeypatch.setattr(nnUNetTrainer, "_do_i_compile", lambda self: True)
    trainer = make()
    assert type(trainer.network).__name__ == "OptimizedModule"
    assert trainer.criterion._activation == "sigmoid"


@pytest.mark.gpu
@pytest.mark.parametrize(("dimensions", "compiled"), [(3, "0"), (2, "0"), (2, "1")])
def test_mixed_precision_as_nnunet_has_it(make, batch, dimensions, compiled, monkeypatch):
    monkeypatch.setenv("nnUNet_compile", compiled)
    trainer = make(plans=make_plans(SIDE, dimensions=dimensions), device="cuda")
    for _ in range(3):
        result = trainer.train_step(as_step(batch, trainer, dimensions=dimensions))
    assert np.isfinite(result["loss"])
    assert 0 < result["stars"] < 8
    assert trainer.grad_scaler.get_scale() > 1


def test_figures_are_means_over_the_patches_that_were_measured():
    nothing = dict.fromkeys(FIGURES, math.nan)
    three = {**nothing, "stars": 2.0, "rated": 2 / 3, "patches": 3}
    one = {**nothing, "stars": 5.0, "rated": 1.0, "patches": 1}
    mean = mean_figures([three, one, {**nothing, "rated": 0.0, "patches": 1}, {**nothing, "patches": 2}], False)
    assert mean["stars"] == pytest.approx(3)
    assert mean["rated"] == pytest.approx(3 / 5)
    assert math.isnan(mean["gradient_ratio"])


def test_an_image_is_rated_once(make, batch):
    trainer = make()
    assert isinstance(trainer.loss, BoundLoss)
    trainer.train_step(as_step(batch, trainer))
    output = trainer.network(batch[0])
    with pytest.raises(ValueError, match="no image was bound for this call"):
        trainer.loss(output, as_step(batch, trainer)["target"])


def test_planes_of_a_2d_configuration_are_rated(make, batch):
    trainer = make(plans=make_plans(SIDE, dimensions=2))
    result = trainer.train_step(as_step(batch, trainer, dimensions=2))
    assert result["rated"] == 1
    assert 0 < result["stars"] <= 6
    assert result["gradient_ratio"] > 0


def test_a_patch_without_tumor_is_told_and_not_rated(make, batch):
    trainer = make()
    empty = (batch[0], torch.cat((batch[1][:1], torch.zeros_like(batch[1][1:]))))
    assert trainer.train_step(as_step(empty, trainer))["rated"] == 0.5
    nothing = trainer.train_step(as_step((batch[0], torch.zeros_like(batch[1])), trainer))
    assert nothing["rated"] == 0
    assert math.isnan(nothing["stars"])


def test_of_small_patches_those_with_a_tumor_are_rated_in_the_warm_up_too(make, batch):
    small = tuple(x[..., :16, 8:24, 8:24].contiguous() for x in batch)
    half = (small[0], torch.cat((small[1][:1], torch.zeros_like(small[1][1:]))))
    assert half[1].any()
    trainer = make(module.nnUNetTrainerDQE_smallPatches, plans=make_plans(16), warmup=1)
    warming = trainer.train_step(as_step(half, trainer))
    assert warming["rated"] == 0.5
    assert 0 < warming["target_stars"] < 8
    trainer.criterion.steps_done = 2
    assert trainer.train_step(as_step(half, trainer))["rated"] == 0.5
    nothing = trainer.train_step(as_step((small[0], torch.zeros_like(small[1])), trainer))
    assert nothing["rated"] == 0
    assert math.isnan(nothing["stars"])


def told_at_start(trainer, monkeypatch):
    """The last line of the log when a training starts."""
    monkeypatch.setattr(nnUNetTrainer, "on_train_start", lambda self: None)
    trainer.on_train_start()
    return Path(trainer.log_file).read_text().splitlines()[-1]


def test_a_warm_up_in_steps_is_what_the_log_tells(make, monkeypatch):
    long = make(type("Long", (nnUNetTrainerDQE,), {"dqe_options": {"warmup": 100_000}}))
    assert "its gradient is capped at 0.3 of the loss beside it" in Path(long.log_file).read_text()
    assert "WARNING, the term warms up as long as this training lasts" in told_at_start(long, monkeypatch)


def test_a_training_that_goes_on_is_told_what_is_past(make, monkeypatch):
    trainer = make(warmup=10)
    assert "the term joins in epoch 10, when train_loss rises" in told_at_start(trainer, monkeypatch)
    trainer.current_epoch = 9  # as a checkpoint says
    assert "the term joins in epoch 10" in told_at_start(trainer, monkeypatch)
    trainer.current_epoch = 10
    told = told_at_start(trainer, monkeypatch)
    assert "takes part already: its warm-up was over in epoch 10" in told
    assert "joins" not in told


def test_the_warm_up_rates_targets_and_goes_on_where_a_checkpoint_stood(make, batch, tmp_path):
    trainer = make(warmup=2)
    given = as_step(batch, trainer)
    first = trainer.train_step(given)
    assert 0 < first["target_stars"] < 8
    assert math.isnan(first["gradient_ratio"])
    trainer.current_epoch = 0
    for key in trainer.logger.local_logger.my_fantastic_logging:
        trainer.logger.local_logger.my_fantastic_logging[key] = [0.0]
    path = str(tmp_path / "checkpoint_latest.pth")
    trainer.save_checkpoint(path)
    assert [file.name for file in tmp_path.glob("checkpoint*")] == ["checkpoint_latest.pth"]
    other = make(warmup=2)
    other.load_checkpoint(path)
    assert (other.current_epoch, other.criterion.steps_done) == (1, 2)
    other.train_step(given), other.train_step(given)
    assert math.isfinite(other.train_step(given)["gradient_ratio"])


def test_prediction_needs_nothing_of_ours_unless_the_network_is_another(make, tmp_path):
    trainer = make()
    path = str(tmp_path / "checkpoint_final.pth")
    trainer.save_checkpoint(path)
    name = torch.load(path, weights_only=False)["trainer_name"]
    assert name == "nnUNetTrainer"
    assert recursive_find_trainer_class_by_name(name) is nnUNetTrainer

    class Other(nnUNetTrainerDQE):
        @staticmethod
        def build_network_architecture(
            plans_manager, configuration_manager, num_input_channels, num_output_channels, enable_deep_supervision=True
        ):
            return nnUNetTrainer.build_network_architecture(
                plans_manager, configuration_manager, num_input_channels, num_output_channels, enable_deep_supervision
            )

    own = make(Other)
    own.save_checkpoint(path)
    assert torch.load(path, weights_only=False)["trainer_name"] == "Small"


def test_prediction_finds_the_trainer_of_nnunets_that_made_the_network(make, tmp_path):
    """A second trainer of nnU-Net's may build another network; it is found without our folder as well."""
    path = str(tmp_path / "checkpoint_final.pth")
    make(type("Batch", (nnUNetTrainerDQE, nnUNetTrainerBN), {})).save_checkpoint(path)
    assert torch.load(path, weights_only=False)["trainer_name"] == "nnUNetTrainerBN"
    assert trainer_to_predict_with(type("Plain", (nnUNetTrainerDQE, nnUNetTrainerNoDA), {})) == "nnUNetTrainer"


@pytest.mark.parametrize("second", [nnUNetTrainerNoDeepSupervision, nnUNetTrainerBN, nnUNetTrainerCELoss])
def test_a_second_trainer_of_nnunets_trains_with_the_term(make, batch, second):
    labels = TISSUES if second is nnUNetTrainerCELoss else REGIONS
    trainer = make(type("Both", (nnUNetTrainerDQE, second), {}), labels=labels)
    result = trainer.train_step(as_step(batch, trainer, labels))
    assert result["gradient_ratio"] > 0
    assert 0 < result["stars"] <= 6


def test_an_epoch_is_logged_and_drawn(make, batch, tmp_path):
    trainer = make()
    step = as_step(batch, trainer)
    trainer.on_epoch_start()
    trainer.on_train_epoch_start()
    trainer.on_train_epoch_end([trainer.train_step(step) for _ in range(2)])
    with torch.no_grad():
        trainer.on_validation_epoch_end([trainer.validation_step(step)])
    trainer.on_epoch_end()
    log = trainer.logger.local_logger
    assert isinstance(log, ProgressLogger)
    assert {len(values) for values in log.my_fantastic_logging.values()} == {1}
    assert log.my_fantastic_logging["dqe_rated"] == [1]
    assert all(
        math.isfinite(log.my_fantastic_logging[f"dqe_{name}"][0]) for name in ("stars_train", "stars_val", "guard_kept")
    )
    text = Path(trainer.log_file).read_text()
    assert "DQE: stars of the predictions, training" in text
    assert "share of patches rated 1" in text
    plain = tmp_path / "plain"
    plain.mkdir()
    super(ProgressLogger, log).plot_progress_png(str(plain))
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None
    ours, theirs = (Image.open(f"{folder}/progress.png") for folder in (trainer.output_folder, plain))
    assert ours.width == theirs.width
    assert ours.height == theirs.height + 2400


def test_a_log_of_nnunets_own_is_continued():
    logger = ProgressLogger()
    plain = {name: [1.0, 2.0] for name in logger.my_fantastic_logging if name not in SERIES}
    logger.load_checkpoint(json.loads(json.dumps(plain)))
    assert all(len(logger.my_fantastic_logging[name]) == 2 for name in SERIES)


def test_what_does_not_fit_is_refused_with_the_data_sets_name(make):
    with pytest.raises(
        ValueError, match=r"Dataset137_Small, 3d_fullres cannot be trained with Small: its patches of 16"
    ):
        make(plans=make_plans(16))
    with pytest.raises(ValueError, match="has a label to ignore"):
        make(labels={**TISSUES, "ignore": 4})
    assert make(module.nnUNetTrainerDQE_smallPatches, plans=make_plans(16)).term.on_small == "pad"
    assert make(nnUNetTrainerDQE_noGuard).term.guard is None


@pytest.mark.parametrize("kind", [nnUNetTrainer, nnUNetTrainerNoDA])
@pytest.mark.parametrize("anisotropic", [False, True])
def test_the_kept_image_is_turned_and_mirrored_with_the_target_and_not_changed_otherwise(kind, anisotropic):
    """Intensities are chosen so that each can be told from the label of its voxel."""
    torch.manual_seed(0)
    np.random.seed(0)
    size = (8, 24, 24) if anisotropic else (24, 24, 24)
    transforms = keep_image(
        kind.get_training_transforms(
            size, (-0.5, 0.5), None, (0, 1, 2), anisotropic, use_mask_for_norm=[True] * 4, foreground_labels=[1, 2, 3]
        ),
        [True] * 4,
    )
    changed = 0
    for _ in range(12):
        labels = torch.zeros(1, *size, dtype=torch.int16)
        labels[0, 2:5, 4:12, 6:16] = 1
        image = torch.where(labels > 0, 5.0, 1.0).expand(4, *size).clone()
        out = transforms(image=image, segmentation=labels)
        data, kept = split_kept(out["image"][None], 4)
        assert data.shape == kept.shape == (1, 4, *size)
        tumor = out["segmentation"][0] == 1
        assert kept[0, :, tumor].mean() > 4  # interpolated at the surface
        assert kept.max() < 5.001
        changed += not torch.equal(data, kept)
    assert (changed > 3) == (kind is nnUNetTrainer)


def test_outside_is_one_value_as_the_channel_has_it():
    image = torch.full((2, 4, 4), 2.0)
    image[1] = torch.linspace(-0.5, 3, 16).view(4, 4)
    segmentation = torch.zeros(1, 4, 4, dtype=torch.int16)
    segmentation[0, 3] = -1
    image[:, 3] = 0
    from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms

    out = keep_image(ComposeTransforms([]), [True, False])(image=image.clone(), segmentation=segmentation)["image"]
    assert torch.equal(out[:2], image)
    assert out[2, 3].eq(0).all()
    assert out[3, 3].eq(-0.5).all()
    assert torch.equal(out[2:, :3], image[:, :3])

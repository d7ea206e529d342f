"""nnU-Net with a surrogate of another task: channels, labels, voxels, units, and a step of a training."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from nnunet_plans import make_plans
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetNumpy
from small_tasks import CT, FLAT, PARTS, as_tensors, make_surrogate

from dqe_loss import DQELoss, save_surrogate
from dqe_loss.cli import main as dqe
from dqe_loss.data.phantom import make_blob
from dqe_loss.integrations.nnunet import check
from dqe_loss.integrations.nnunet import trainer as module
from dqe_loss.integrations.nnunet.fit import fit
from dqe_loss.integrations.nnunet.labels import read_labels
from dqe_loss.integrations.nnunet.trainer import nnUNetTrainerDQE
from dqe_loss.integrations.nnunet.units import Units
from dqe_loss.task import BLOBS, SchemeLabels

SIDE = 32
BLOB = {"channel_names": {"0": "scan"}, "labels": {"background": 0, "Blob": 1}, "file_ending": ".nii.gz"}
TWO = {"background": 0, "Front": 1, "back": 2}
WHOLE = {"background": 0, "Whole": [1, 2], "front": [1], "back": [2]}
BOUNDS = {"0": {"mean": 50.0, "std": 80.0, "percentile_00_5": -200.0, "percentile_99_5": 300.0}}


def plans(reader="SimpleITKIO", forward=(0, 1, 2), bounds=BOUNDS):
    return SimpleNamespace(
        plans={"image_reader_writer": reader},
        transpose_forward=list(forward),
        foreground_intensity_properties_per_channel=bounds,
    )


def configuration(patch=(40, 40, 40), spacing=(1.0, 1.0, 1.0), scheme="ZScoreNormalization"):
    return SimpleNamespace(
        patch_size=list(patch),
        spacing=list(spacing),
        previous_stage_name=None,
        next_stage_names=None,
        use_mask_for_norm=[False],
        normalization_schemes=[scheme],
    )


def test_labels_by_the_tasks_names():
    found = read_labels({"labels": TWO}, PARTS)
    assert (found.scheme, found.tissues, found.regions) == ("labels", ((0,), (1,), (2,)), ())
    assert str(found) == "labels as in labels (1 front, 2 back)"
    assert read_labels({"labels": WHOLE}, PARTS).regions == ("whole", "front", "back")
    titled = replace(PARTS, titles={"front": "Pars anterior"})
    assert read_labels({"labels": {"background": 0, "pars_anterior": 1, "back": 2}}, titled).tissues[1] == (1,)
    numbered = replace(PARTS, schemes={"a": SchemeLabels({"front": (1,), "back": (2,)}), "b": turned()})
    assert read_labels({"labels": {"background": 0, "front": 2, "back": 1}}, numbered).scheme == "b"


def turned():
    return SchemeLabels({"front": (2,), "back": (1,)})


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        ({"background": 0, "a": 1, "b": 2}, r"a \(1\), b \(2\) do not tell which is front or back of the task 'parts'"),
        ({"background": 0, "front": 2, "back": 1}, r"front \(2\), back \(1\) do not tell .*labels: 1 front, 2 back"),
        ({**TWO, "other": 3}, r"has the labels \[0, 1, 2, 3\], but labels has 1 front, 2 back"),
        ({"background": 0, "front": [1, 2], "back": [2]}, "regions front, back are not understood as whole, front, "),
        ({**WHOLE, "back": [1, 2]}, "within each other as in the task, found whole of the labels"),
        ({"background": 0, "whole tumor": [1, 2, 3], "tumor core": [2, 3], "enhancing": [3]}, "of the task 'parts'"),
    ],
)
def test_labels_of_another_task_are_refused_by_name(labels, told):
    with pytest.raises(ValueError, match=told):
        read_labels({"labels": labels}, PARTS)


def test_what_names_do_not_tell_can_be_said():
    assert read_labels({"labels": {"background": 0, "a": 1, "b": 2}}, PARTS, scheme="labels").tissues[2] == (2,)
    unnamed = {"background": 0, "a": [1], "b": [1, 2], "c": [2]}
    assert read_labels({"labels": unnamed}, PARTS, ("front", "whole", "back")).regions == ("front", "whole", "back")


def test_voxels_are_compared_axis_by_axis():
    given = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "organ": 7}}
    raw = "NoNormalization"
    assert fit(given, plans(), configuration(spacing=(3, 1, 1), scheme=raw), CT).orientation.axes == ("Z", "Y", "X")
    turned = configuration(spacing=(1, 1, 3), scheme=raw)
    assert fit(given, plans(forward=(2, 1, 0)), turned, CT).orientation.axes == ("X", "Y", "Z")
    with pytest.raises(ValueError, match=r"1 x 1 x 3 mm \(Z, Y, X\), .* -overwrite_target_spacing 3 1 1"):
        fit(given, plans(), turned, CT)


@pytest.mark.parametrize(
    ("task", "given", "told"),
    [
        (BLOBS, {"patch": (40, 80, 40)}, "larger than the 64 x 64"),
        (BLOBS, {"reader": "NibabelIOWithReorient"}, "which turns them, but surrogates of the task 'blobs' know them"),
        (FLAT, {}, "are volumes, but surrogates of the task 'photograph' know single planes; take 2d"),
        (replace(BLOBS, views=("axial", "coronal")), {"patch": (40, 40), "forward": (2, 1, 0)}, "are sagittal planes"),
    ],
)
def test_what_a_surrogate_does_not_know_is_refused(task, given, told):
    reader, forward = given.pop("reader", "SimpleITKIO"), given.pop("forward", (0, 1, 2))
    patch = given.pop("patch", (40, 40, 40))
    with pytest.raises(ValueError, match=told):
        fit(BLOB, plans(reader, forward), configuration(patch, [1.0] * len(patch)), task)


def test_ct_becomes_hounsfield_units_again():
    given = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "organ": 7}}
    ct = configuration(spacing=(3, 1, 1), scheme="CTNormalization")
    found = fit(given, plans(), ct, CT)
    assert found.units == (Units(80.0, 50.0),)
    raw = torch.linspace(-150, 230, 27).view(1, 1, 3, 3, 3)
    torch.testing.assert_close(found.as_scanned((raw - 50) / 80), raw)
    narrow = {"0": {**BOUNDS["0"], "percentile_99_5": 201.4}}
    with pytest.raises(ValueError, match=r"clipped to -200 to 201\.4 by nnU-Net, .* -160 to 240; .*\[-200, 201\]"):
        fit(given, plans(bounds=narrow), ct, CT)
    with pytest.raises(ValueError, match="normalized by ZScoreNormalization, which loses the unit"):
        fit(given, plans(), configuration(spacing=(3, 1, 1)), CT)
    assert fit(BLOB, plans(), configuration(), BLOBS).units == ()


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Makes a trainer with a surrogate of a task."""
    for name in ("preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{name}", str(tmp_path / name))
    data = tmp_path / "preprocessed" / "Dataset137_Small" / "nnUNetPlans_any"
    data.mkdir(parents=True)
    (data / "a.b2nd").touch()

    def build(task, content, made):
        class Small(nnUNetTrainerDQE):
            dqe_checkpoint = make_surrogate(task)
            dqe_warmup_epochs = 0

        (name,) = made["configurations"]
        trainer = Small(made, name, 0, {**content, "numTraining": 2}, torch.device("cpu"))
        trainer.num_iterations_per_epoch = 2
        trainer.initialize()
        return trainer

    return build


@pytest.mark.parametrize("labels", [TWO, WHOLE], ids=["tissues", "regions"])
def test_a_step_of_another_task_trains_and_is_the_loss_of_the_exam(make, labels):
    """Parts: one scan, two labels and their whole; stars are those of the exam as it lies in its file."""
    content = {"channel_names": {"0": "MRI"}, "labels": labels, "file_ending": ".nii.gz"}
    content |= {"regions_class_order": [1, 1, 2]} if labels is WHOLE else {}
    trainer = make(PARTS, content, make_plans(SIDE, normalization=("ZScoreNormalization",)))
    image, target = (part[:, :, :28, :32, :28] for part in as_tensors(PARTS))
    padded = [torch.nn.functional.pad(part, (0, 4, 0, 0, 0, 4)) for part in (image, target)]
    scored, own = (part.permute(0, 1, 4, 3, 2).contiguous() for part in padded)
    logits = torch.randn(2, 3, SIDE, SIDE, SIDE, generator=torch.Generator().manual_seed(0)).requires_grad_()
    whole = own
    told = {"softmax": True}
    if labels is WHOLE:
        whole = torch.cat([torch.isin(own, torch.tensor(numbers)) for numbers in ([1, 2], [1], [2])], 1).float()
        told = {"sigmoid": True}
    missing = trainer.term.evaluate(logits, whole, scored)
    missing.backward()
    ordered = logits.detach().permute(0, 1, 4, 3, 2).clone().requires_grad_()
    expected = DQELoss(trainer.dqe_surrogate, max_gradient_ratio=None, **told)(
        ordered, whole.permute(0, 1, 4, 3, 2), image=padded[0]
    )
    expected.backward()
    torch.testing.assert_close(missing, expected)
    torch.testing.assert_close(logits.grad.permute(0, 1, 4, 3, 2), ordered.grad)
    scales = trainer._get_deep_supervision_scales()
    sizes = [[round(s * SIDE) for s in scale] for scale in scales]
    targets = [torch.nn.functional.interpolate(whole.float(), size).to(whole.dtype) for size in sizes]
    result = trainer.train_step({"data": torch.cat((scored, scored), 1), "target": targets, "keys": ["a", "b"]})
    assert result["rated"] == 1
    assert 1 <= result["stars"] <= 6
    assert "of the task parts; channels t1" in Path(trainer.log_file).read_text()
    assert trainer.logger.local_logger.scale == (1.0, 6.0)


def test_a_data_set_of_another_task_is_refused_before_hours_are_lost(make):
    made = make_plans(SIDE, normalization=("ZScoreNormalization",))
    content = {"channel_names": {"0": "scan"}, "labels": {"background": 0, "liver": 1}, "file_ending": ".nii.gz"}
    with pytest.raises(ValueError, match=r"cannot be trained with Small: dataset\.json: the labels .* is blob of the"):
        make(BLOBS, content, made)


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    """A planned data set of blobs, without its exams."""
    for name in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{name}", str(tmp_path / name))
        (tmp_path / name / "Dataset137_Small").mkdir(parents=True)
    # Whether nnU-Net finds trainers depends on all that its own modules import.
    monkeypatch.setattr(
        check, "find_trainer", lambda name: (check.Checked("trainer", "not looked for"), getattr(module, name))
    )
    folder = tmp_path / "preprocessed" / "Dataset137_Small"
    (folder / "dataset.json").write_text(json.dumps(BLOB))
    made = make_plans(40, normalization=("ZScoreNormalization",))
    (folder / "nnUNetPlans.json").write_text(json.dumps(made))
    save_surrogate(make_surrogate(BLOBS), tmp_path / "blobs.safetensors")
    return tmp_path


def test_check_holds_a_data_set_against_the_checkpoint(prepared, capsys):
    line = ["nnunet", "check", "137", "--patches", "0", "--checkpoint"]
    assert dqe([*line, str(prepared / "blobs.safetensors")]) == 0
    told = capsys.readouterr().out
    assert "channels: scan\n" in told
    assert "labels: labels as in labels (1 blob)\n" in told
    assert "3d_fullres: fits: patches of 40 x 40 x 40 voxels (Z, Y, X)\n" in told
    assert dqe([*line, "hardened"]) == 1
    assert "PROBLEM, dataset.json: expected channels that are each of t1c" in capsys.readouterr().out
    assert dqe([*line, str(prepared / "nothing.safetensors")]) == 2


def test_check_takes_what_the_trainer_says(prepared, capsys, monkeypatch):
    """Small patches, names that dataset.json does not tell, and the surrogate."""
    save_surrogate(make_surrogate(replace(BLOBS, smallest_crop=40)), prepared / "blobs.safetensors")

    class Own(module.nnUNetTrainerDQE_smallPatches):
        dqe_checkpoint = prepared / "blobs.safetensors"
        dqe_modalities = ("scan",)
        dqe_label_scheme = "labels"

    monkeypatch.setattr(module, "nnUNetTrainerDQE_own", Own, raising=False)
    folder = prepared / "preprocessed" / "Dataset137_Small"
    unnamed = {"channel_names": {"0": "MRI"}, "labels": {"background": 0, "object": 1}, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(unnamed))
    made = make_plans(8, normalization=("ZScoreNormalization",))
    (folder / "nnUNetPlans.json").write_text(json.dumps(made))
    line = ["nnunet", "check", "137", "--patches", "0", "--checkpoint", str(Own.dqe_checkpoint)]
    assert dqe(line) == 1
    told = capsys.readouterr().out
    assert "labels: PROBLEM" in told
    assert "3d_fullres: PROBLEM, does not fit: its patches of 8 x 8 x 8 voxels are smaller" in told
    code = dqe([*line[:-2], "--trainer", "nnUNetTrainerDQE_own"])
    told = capsys.readouterr().out
    assert code == 0, told
    assert "channels: scan\n" in told
    assert "3d_fullres: fits: patches of 8 x 8 x 8 voxels (Z, Y, X)\n" in told


def test_a_configuration_that_nobody_named_need_not_be_preprocessed(prepared, capsys):
    """Who trains ``3d_fullres`` preprocesses that alone."""
    folder = prepared / "preprocessed" / "Dataset137_Small"
    made = make_plans(40, normalization=("ZScoreNormalization",))
    only = made["configurations"]["3d_fullres"]
    made["configurations"]["3d_other"] = {**only, "data_identifier": "nnUNetPlans_other"}
    (folder / "nnUNetPlans.json").write_text(json.dumps(made))
    line = ["nnunet", "check", "137", "--patches", "1", "--checkpoint", str(prepared / "blobs.safetensors")]
    assert dqe(line) == 1
    told = capsys.readouterr().out
    assert "3d_fullres, targets: PROBLEM, not preprocessed" in told
    assert "3d_other, targets: PROBLEM, not preprocessed" in told

    (folder / only["data_identifier"]).mkdir()
    exam = make_blob(0)
    labels = exam.segmentations["reference"][None]
    places = {1: [(0, *place) for place in zip(*labels[0].nonzero(), strict=True)]}
    case = str(folder / only["data_identifier"] / "a")
    nnUNetDatasetNumpy.save_case(exam.image, labels, {"class_locations": places}, case)
    dqe(line)
    told = capsys.readouterr().out
    assert "split: PROBLEM, nnU-Net makes 5 folds, for which 1 cases are too few, and stops: train the fold all" in told
    assert "% of 1 patches hold blob and can be rated; the targets" in told
    assert "3d_other, targets: not preprocessed" in told
    assert dqe([*line, "--configuration", "3d_other"]) == 1
    assert "3d_other, targets: PROBLEM, not preprocessed" in capsys.readouterr().out
    dqe([*line, "--fold", "all"])
    assert "split: fold all: 1 cases are trained with" in capsys.readouterr().out
    assert dqe([*line, "--fold", "first"]) == 2
    assert "--fold must be a number or all, got first" in capsys.readouterr().err


def test_plans_are_looked_for_where_nnunet_writes_them(prepared, capsys, monkeypatch):
    """Before anything is planned the data set is in the raw folder alone."""
    folder = prepared / "preprocessed" / "Dataset137_Small"
    (folder / "dataset.json").rename(prepared / "raw" / "Dataset137_Small" / "dataset.json")
    (folder / "nnUNetPlans.json").unlink()
    line = ["nnunet", "check", "137", "--checkpoint", str(prepared / "blobs.safetensors")]
    assert dqe(line) == 1
    assert f"plans: PROBLEM, {folder / 'nnUNetPlans.json'} is not there yet" in capsys.readouterr().out
    (folder / "nnUNetResEncUNetLPlans.json").write_text(json.dumps(make_plans(40)))
    (folder / "dataset_fingerprint.json").write_text("{}")
    assert dqe(line) == 1
    told = capsys.readouterr().out
    assert "nnUNetPlans.json is not there, but nnUNetResEncUNetLPlans: say --plans nnUNetResEncUNetLPlans\n" in told
    monkeypatch.delenv("nnUNet_preprocessed")
    assert dqe(line) == 1
    assert "plans: PROBLEM, expected their folder in nnUNet_preprocessed" in capsys.readouterr().out


def test_a_trainer_without_the_term_is_told(monkeypatch):
    monkeypatch.setenv(check.VARIABLE, str(check.TRAINERS))
    monkeypatch.setattr(check, "recursive_find_trainer_class_by_name", lambda name: module.nnUNetTrainer)
    finding, kind = check.find_trainer("nnUNetTrainer")
    assert (finding.fits, kind) == (False, module.nnUNetTrainerDQE)
    assert "is no nnUNetTrainerDQE: it would train without stars" in finding.text

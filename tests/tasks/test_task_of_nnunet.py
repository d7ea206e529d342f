"""`dqe task from-nnunet`: what it makes finds the exams of its data set, and says what only a human knows."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from dqe_loss.data.discovery.data_set import find_data_set
from dqe_loss.data.discovery.named_exams import find_named_exams
from dqe_loss.data.discovery.nnunet import channels_of
from dqe_loss.data.discovery.nnunet_labels import settle_scheme
from dqe_loss.integrations.nnunet.labels import read_labels
from dqe_loss.task import BLOBS, read_task
from dqe_loss.tasks.command import main as task_command
from dqe_loss.tasks.from_nnunet import convert_nnunet, task_from_nnunet

TWO = {"channel_names": {"0": "T2", "1": "ADC"}, "labels": {"background": 0, "zone": 1}}


def write_image(file: Path, shape=(70, 90, 20), spacing=(0.5, 0.5, 3.0)):
    file.parent.mkdir(exist_ok=True)
    nib.Nifti1Image(np.zeros(shape, np.uint8), np.diag([*spacing, 1.0, 1.0][:4])).to_filename(file)


def described(folder: Path, content) -> Path:
    file = folder / "dataset.json"
    file.write_text(json.dumps(content))
    return file


def test_a_task_of_nnunet_fits_the_data_set_that_it_is_of(tmp_path):
    channels = {"0": "T2 weighted", "1": "ADC (b > 50)", "2": "MRI", "3": "MRI"}
    content = {"channel_names": channels, "labels": {"background": 0, "Whole Gland": 1, "病变": 2}}
    file = tmp_path / "dataset.json"
    file.write_text(json.dumps(content))
    task = task_from_nnunet(file)
    assert task.tissues == ("whole_gland", "病变")
    assert channels_of(content, "dataset.json", "", task) == task.modalities
    assert settle_scheme(tmp_path, None, task) == "labels"
    file.write_text(json.dumps(content | {"labels": {"background": 0, "Whole Gland": 2, "病变": 1}}))
    with pytest.raises(ValueError, match=r"Whole Gland has the label 2, but label scheme 'labels' of the task"):
        settle_scheme(tmp_path, None, task)


def test_two_labels_of_one_name_are_refused(tmp_path):
    labels = {"background": 0, "zone (a)": 1, "zone-a": 2}
    (tmp_path / "dataset.json").write_text(json.dumps({"channel_names": {"0": "MRI"}, "labels": labels}))
    with pytest.raises(ValueError, match=r"dataset\.json: 'zone \(a\)' and 'zone-a' are both zone_a .*; rename one"):
        task_from_nnunet(tmp_path / "dataset.json")
    with pytest.raises(ValueError, match=r"dataset\.json: 'zone \(a\)' and 'zone-a' are both zone_a"):
        read_labels({"labels": labels}, BLOBS)


def test_its_files_are_found_and_its_size_is_that_of_the_images(tmp_path, capsys):
    for part, names in (("Tr", ("a", "b")), ("Ts", ("c",))):
        for name in names:
            for channel in (0, 1):
                write_image(tmp_path / f"images{part}" / f"{name}_{channel:04}.nii.gz")
            write_image(tmp_path / f"labels{part}" / f"{name}.nii.gz")
    write_image(tmp_path / "imagesTr" / "b_0000.nii.gz", (71, 60, 101))
    file, out = described(tmp_path, TWO), tmp_path / "task.yaml"
    assert task_command(["from-nnunet", str(file), "--out", str(out)]) == 0
    assert "field_of_view and spacing are those of the 2 images in imagesTr" in capsys.readouterr().err
    task = read_task(out)
    assert (task.field_of_view, task.spacing) == ((90, 102), (0.5, 0.5, 3.0))
    exams = find_named_exams([tmp_path], task)  # as simulate, harden and audit do
    assert [exam.name for exam in exams] == ["a", "b"]
    assert [exam.segmentations for exam in exams] == [(tmp_path / "labelsTr" / f"{name}.nii.gz",) for name in "ab"]
    rated = find_data_set(tmp_path, None, task=task)  # as rate does
    assert [exam.name for exam in rated] == ["a", "b", "c"]
    assert rated[0].images == exams[0].images


def test_voxels_that_differ_are_told(tmp_path):
    for name, mm in (("a", 1.0), ("b", 1.0), ("c", 2.0)):
        write_image(tmp_path / "imagesTr" / f"{name}_0000.nii.gz", spacing=(1.0, 1.0, mm))
    task, notes = convert_nnunet(described(tmp_path, {"channel_names": {"0": "CT"}, "labels": {"liver": 1}}))
    assert task.spacing == (1.0, 1.0, 1.0)
    assert "from 1 x 1 x 1 to 1 x 1 x 2 mm: resample" in " ".join(notes)


def test_images_as_the_decathlon_has_them(tmp_path):
    one = described(tmp_path, {"modality": {"0": "MRI"}, "labels": {"0": "background", "1": "zone"}})
    write_image(tmp_path / "imagesTr" / "a.nii.gz")
    assert task_from_nnunet(one).files.images == {"mri": "imagesTr/{exam}.nii.gz"}
    _, notes = convert_nnunet(described(tmp_path, TWO))
    assert "a.nii.gz: all modalities in one file are not read: split each" in notes[0]


def test_planes_make_a_task_of_planes(tmp_path):
    write_image(tmp_path / "imagesTr" / "a_0000.nii.gz", (200, 300), (1.0, 1.0))
    task = task_from_nnunet(described(tmp_path, {"channel_names": {"0": "photo"}, "labels": {"spot": 1}}))
    assert (task.views, task.field_of_view) == (("axial",), (200, 300))


def test_what_is_not_in_the_file_is_said(tmp_path, capsys):
    assert task_command(["from-nnunet", str(described(tmp_path, TWO))]) == 0
    assert "field_of_view and spacing are not known" in capsys.readouterr().err
    assert task_command(["from-nnunet", str(described(tmp_path, TWO | {"file_ending": ".png"}))]) == 0
    out, err = capsys.readouterr()
    assert "convert them to NIfTI" in err
    assert "files:" not in out


def test_words_with_a_meaning_of_their_own_are_renamed(tmp_path, capsys):
    content = {"channel_names": {"0": "Mask", "1": "T2"}, "labels": {"background": 0, "brain": 1, "Stars": [1, 2]}}
    file, out = described(tmp_path, content), tmp_path / "task.yaml"
    assert task_command(["from-nnunet", str(file), "--out", str(out)]) == 0
    told = capsys.readouterr().err
    for word, name in (("Mask", "mask_scan"), ("brain", "brain_label"), ("Stars", "stars_label")):
        assert told.count(f"{word} has a meaning of its own here, and is called {name}") == 1
    task = read_task(out)
    assert task.modalities == ("mask_scan", "t2")
    assert task.parts == {"brain_label": ("brain_label",), "stars_label": ("brain_label", "label_2")}
    assert task.title("stars_label") == "Stars"
    # It still fits its data set, in every use.
    assert channels_of(content, "dataset.json", "", task) == task.modalities
    assert settle_scheme(tmp_path, None, task) == "labels"
    assert read_labels(content, task).regions == ("brain_label", "stars_label")


def test_a_word_that_is_no_name_is_refused_once(tmp_path, capsys):
    (tmp_path / "task.yaml").write_text("name: x\nmodalities: [t1]\nlabels: {brain: 1}\nregions: {brain: [brain]}\n")
    assert task_command([str(tmp_path / "task.yaml")]) == 2
    assert capsys.readouterr().err.count("has a meaning of its own") == 1

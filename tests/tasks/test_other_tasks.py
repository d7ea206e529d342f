"""One scan, one region, thick voxels, fixed intensities, single planes, other scales: loss, metric and stars work."""

import json
import warnings
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.losses import DiceCELoss, DiceLoss
from small_tasks import CT, FLAT, PARTS, SHAPES, SLICES, as_tensors, make_surrogate, write_data_set

from dqe_loss import (
    DQELoss,
    DQEMetric,
    StarWeighted,
    load_surrogate,
    rate_segmentation,
    regions_from_labels,
    save_surrogate,
)
from dqe_loss.cli import main as dqe
from dqe_loss.core.intensity import scale_planes
from dqe_loss.core.labels import are_tissues
from dqe_loss.data.corruption import CORRUPTIONS, corrupt
from dqe_loss.data.discovery.named_exams import find_named_exams
from dqe_loss.data.exams import read_exam
from dqe_loss.data.nifti import ExamError
from dqe_loss.metrics.metric_stars import metric_stars_of_views
from dqe_loss.task import BLOBS, FileNames, TaskError
from dqe_loss.tasks.reading import check_task, task_to_dict

TASKS = (PARTS, CT, FLAT, SLICES)
by_name = pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)


@by_name
def test_labels_regions_and_both_cuts_get_the_same_stars(task):
    surrogate = make_surrogate(task)
    image, labels = as_tensors(task)
    regions = regions_from_labels(labels, task.scheme())
    stars = rate_segmentation(surrogate, image, labels)
    assert stars.shape == (2, len(task.views))
    assert stars.isfinite().all()
    torch.testing.assert_close(rate_segmentation(surrogate, image, regions), stars)
    torch.testing.assert_close(rate_segmentation(surrogate, image, regions.float()), stars)
    assert rate_segmentation(surrogate, image, labels, thorough=True).isfinite().all()
    assert rate_segmentation(surrogate, image, labels, center=("mask", "brain")).isfinite().all()


@by_name
def test_the_loss_needs_the_checkpoint_and_nothing_more(tmp_path, task):
    save_surrogate(make_surrogate(task), tmp_path / "mine.safetensors")
    assert load_surrogate(tmp_path / "mine.safetensors").config.task == task
    image, labels = as_tensors(task)
    criterion = DiceLoss(sigmoid=True) + 0.1 * DQELoss(tmp_path / "mine.safetensors")
    regions = regions_from_labels(labels, task.scheme()).float()
    logits = torch.randn(regions.shape, generator=torch.Generator().manual_seed(0)).requires_grad_()
    value = criterion(logits, regions, image=image)
    value.backward()
    assert value.isfinite()
    assert criterion.log["skipped"] == 0
    # A lone term against the label map, whose gradient has nobody's cap.
    alone = DQELoss(tmp_path / "mine.safetensors", sigmoid=True, max_gradient_ratio=None)
    logits.grad = None
    alone(logits, labels, image=image).backward()
    assert logits.grad.isfinite().all()


def test_channels_that_can_be_tissues_or_regions_are_told_apart_by_their_values():
    image, labels = as_tensors(PARTS)
    surrogate = make_surrogate(PARTS)
    onehot = torch.cat([labels == label for label in (0, 1, 2)], 1).float()
    stars = DQEMetric(surrogate)(labels, image)
    torch.testing.assert_close(DQEMetric(surrogate)(onehot, image), stars)
    torch.testing.assert_close(DQEMetric(surrogate)((8 * onehot).softmax(1), image), stars)
    regions = regions_from_labels(labels, PARTS.scheme()).float()
    torch.testing.assert_close(DQEMetric(surrogate)(regions, image), stars)
    padded = onehot.clone()
    padded[..., -4:] = 0  # outside of a crop, transforms fill in zeros
    assert are_tissues(padded, PARTS.regions, PARTS.scheme())
    assert not are_tissues(regions[:1] * 0, PARTS.regions, PARTS.scheme())
    with pytest.raises(
        ValueError, match=r"regions whole, front, back, but the channels add up to 1.*regions_from_tissues"
    ):
        rate_segmentation(surrogate, image, onehot)


def test_one_hot_targets_of_a_softmax_are_tissues():
    image, labels = as_tensors(PARTS)
    onehot = torch.cat([labels == label for label in (0, 1, 2)], 1).float()
    surrogate = make_surrogate(PARTS)
    logits = torch.randn(2, 3, *labels.shape[2:], generator=torch.manual_seed(0), requires_grad=True)
    gradients = []
    for target in (labels, onehot):
        loss = DQELoss(surrogate, softmax=True, max_gradient_ratio=None, on_small="pad")(logits, target, image=image)
        gradients.append(torch.autograd.grad(loss, logits)[0])
    torch.testing.assert_close(gradients[1], gradients[0])
    weighted = StarWeighted(DiceLoss(softmax=True), surrogate)
    weighted(logits, onehot, image=image)
    rated = weighted.stars
    weighted(logits, labels, image=image)
    torch.testing.assert_close(rated, weighted.stars)
    warming = DQELoss(surrogate, warmup=3)
    for target in (labels, onehot):
        warming.check_target(target, image)
        gradients.append(warming.notes["stars_of_target"])
    torch.testing.assert_close(gradients[-1], gradients[-2])


def test_a_warm_up_reads_targets_as_the_prediction_is_and_looks_at_no_values(monkeypatch):
    """A GPU would be waited for in each step, and a graph that is captured cannot look."""
    image, labels = as_tensors(PARTS)
    onehot = torch.cat([labels == label for label in (0, 1, 2)], 1).float()
    surrogate = make_surrogate(PARTS)
    criterion = DiceLoss(softmax=True) + 0.1 * DQELoss(surrogate, warmup=3)
    logits = torch.randn(2, 3, *labels.shape[2:], generator=torch.manual_seed(0), requires_grad=True)
    criterion(logits, onehot, image=image)  # values are looked at here
    monkeypatch.setattr("dqe_loss.losses.target.are_tissues", pytest.fail)
    criterion(logits, onehot, image=image)
    expected = float(rate_segmentation(surrogate, image, labels).mean())
    assert criterion.log["stars_of_target"] == pytest.approx(expected, abs=1e-3)


def test_tissues_of_a_softmax_where_regions_are_as_many():
    image, labels = as_tensors(PARTS)
    surrogate = make_surrogate(PARTS)
    logits = torch.randn(2, 3, *labels.shape[2:], generator=torch.Generator().manual_seed(0)).requires_grad_()
    criterion = DiceCELoss(softmax=True, to_onehot_y=True) + 0.1 * DQELoss(surrogate)
    criterion(logits, labels, image=image).backward()
    assert logits.grad.abs().sum() > 0
    with pytest.raises(ValueError, match=r"can be the regions whole, front, back, or background and tissues"):
        DQELoss(surrogate, max_gradient_ratio=None)(logits, labels, image=image)
    # A prediction that is sure of the labels is rated as they are, whichever head it comes from.
    sure = 40 * torch.nn.functional.one_hot(labels[:, 0].long(), 3).movedim(-1, 1).float() - 20
    stars = DQELoss(surrogate, softmax=True, slicing="hard").rate(sure, image=image)
    torch.testing.assert_close(stars, rate_segmentation(surrogate, image, labels), rtol=0, atol=1e-3)


@by_name
def test_the_metric_takes_labels_and_regions(task):
    image, labels = as_tensors(task)
    regions = regions_from_labels(labels, task.scheme()).float()
    values = []
    for prediction in (labels, regions):
        metric = DQEMetric(make_surrogate(task))
        metric(prediction, image)
        values.append(metric.aggregate(per_view=True))
    assert values[0].shape == (len(task.views),)
    torch.testing.assert_close(*values)


def test_a_checkpoint_of_another_task_refuses_an_image_by_its_channels():
    image, labels = as_tensors(PARTS)
    with pytest.raises(ValueError, match="modalities must name each of"):
        DQELoss(make_surrogate(CT), modalities=("ct", "pet"))
    with pytest.raises(ValueError, match="expected an image"):
        rate_segmentation(make_surrogate(CT), image.expand(-1, 2, -1, -1, -1), labels)


def test_a_window_is_the_same_for_every_image():
    planes = torch.tensor([[[-1000.0, -160.0, 40.0, 240.0, 3000.0, float("nan")]]])
    scaled = scale_planes(planes, "window", window=(-160.0, 240.0))
    assert scaled.flatten().tolist() == [0.0, 0.0, 0.5, 1.0, 1.0, 0.0]
    with pytest.raises(ValueError, match="needs a window"):
        scale_planes(planes, "window")
    with pytest.raises(ValueError, match="needs a task with a window"):
        replace(make_surrogate(PARTS, refiner=False).config, normalization="window")


@by_name
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_errors_are_of_the_task(task, name):
    from small_tasks import make_exam

    image, labels = make_exam(task)
    other = make_exam(task, 1)[1]
    brain = (image > (task.window or (0,))[0]).any(0)
    one, again = (
        corrupt(labels, [(name, 0.6)], rng=np.random.default_rng(3), brain=brain, other=other, task=task)
        for _ in range(2)
    )
    assert one.shape == labels.shape
    assert one.max() <= len(task.tissues)
    assert np.array_equal(one, again)
    if not (name == "swap" and len(task.tissues) == 1):
        assert not np.array_equal(one, labels)


def test_errors_have_a_size_in_mm():
    """Of thick voxels, a mask grows by fewer planes than columns."""
    labels = np.zeros((40, 40, 40), np.uint8)
    labels[18:22, 18:22, 18:22] = 1
    thick = replace(CT, error_size=1.0)
    grown = corrupt(
        labels, [("dilate", 1.0)], rng=np.random.default_rng(0), brain=np.ones_like(labels, bool), task=thick
    )
    extents = [int(np.ptp(np.flatnonzero(grown.any(tuple(a for a in range(3) if a != axis))))) for axis in range(3)]
    assert extents == [19, 19, 7]


def test_metric_stars_on_the_scale_of_the_task():
    regions = regions_from_labels(as_tensors(FLAT)[1], FLAT.scheme())
    best = metric_stars_of_views(regions, regions, task=FLAT)
    assert best.tolist() == [[1.0], [1.0]]
    worst = metric_stars_of_views(torch.zeros_like(regions), regions, task=FLAT)
    assert worst.tolist() == [[0.0], [0.0]]


def test_exams_of_2d_files_and_of_volumes_are_told_apart(tmp_path):
    table = write_data_set(tmp_path, FLAT, 2)
    exams = find_named_exams([table], FLAT)
    exam = read_exam(exams[0], task=FLAT)
    assert exam.image.shape == (1, 48, 40, 1)
    with pytest.raises(ExamError, match="expected a 3D volume, found shape"):
        read_exam(replace(exams[0], planar=False), label_scheme=FLAT.scheme())


def test_2d_images_and_volumes_are_told_how_to_say_it(tmp_path):
    exam = find_named_exams([write_data_set(tmp_path / "flat", FLAT, 1)], FLAT)[0]
    with pytest.raises(ExamError, match=r"say views: \[axial\] in the task's file, without"):
        read_exam(
            replace(exam, planar=False), label_scheme=FLAT.scheme(), task=replace(FLAT, views=("axial", "coronal"))
        )
    exam = find_named_exams([write_data_set(tmp_path / "parts", PARTS, 1)], PARTS)[0]
    with pytest.raises(ExamError, match=r"of axial planes alone is one of 2D images.*of volumes write volumes: true"):
        read_exam(replace(exam, planar=True), label_scheme=PARTS.scheme(), task=PARTS)


def test_volumes_may_be_rated_in_axial_planes_alone(tmp_path):
    """As where slices are so thick that the other views say little."""
    found = find_named_exams([write_data_set(tmp_path, SLICES, 1)], SLICES)[0]
    exam = read_exam(found, label_scheme=SLICES.scheme(), task=SLICES)
    assert exam.image.shape[1:] == SHAPES[SLICES.name]
    image, labels = as_tensors(SLICES)
    three = rate_segmentation(make_surrogate(CT), image, labels)
    torch.testing.assert_close(rate_segmentation(make_surrogate(SLICES), image, labels), three[:, :1])


def test_a_crop_is_as_small_as_the_planes_that_are_rated():
    """Thick slices are few, and their planes are no smaller for that."""
    image, labels = as_tensors(SLICES)
    regions = regions_from_labels(labels, SLICES.scheme()).float()
    logits = (8 * regions - 4).requires_grad_()
    for task, rated in ((SLICES, True), (CT, False)):
        term = DQELoss(make_surrogate(replace(task, smallest_crop=32)), max_gradient_ratio=None)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore" if not rated else "error")
            term(logits, regions, image=image)
        assert bool(term.stars.isfinite().all()) == rated


def test_a_checkpoint_of_volumes_is_not_for_2d_images():
    flat = replace(SLICES, volumes=False)
    with pytest.raises(ValueError, match="knows another task 'slices': volumes there is True, here False"):
        check_task(flat, SLICES, "checkpoint x", "take another")
    with pytest.raises(TaskError, match=r"volumes: true says something beside views: \[axial\] alone"):
        replace(CT, volumes=True)


def odd_words(table, task):
    """What is told of the exams of a table."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("default")
        for exam in find_named_exams([table], task):
            read_exam(exam, task=task)
    return [str(one.message) for one in told]


def test_voxels_of_another_size_are_told_once(tmp_path):
    """Commands that make masks and stars of an exam are told as rate is."""
    table = write_data_set(tmp_path, CT, 2)
    assert odd_words(table, CT) == []
    (told,) = odd_words(table, replace(CT, spacing=(1.0, 1.0, 1.0)))
    assert told.startswith("voxels of 1 x 1 x 3 mm, expected 1 mm: stars and errors are of that size; resample")
    assert odd_words(write_data_set(tmp_path / "flat", FLAT, 1), replace(FLAT, spacing=(1.0, 1.0, 5.0))) == []


def test_intensities_with_a_unit_ask_for_a_window(tmp_path):
    (told,) = odd_words(write_data_set(tmp_path, CT, 2), replace(CT, window=None))
    assert told.startswith("ct: values below -500, as in CT, but the task has no window; write window: [-160, 240]")


def test_exams_beyond_the_field_of_view_are_refused_before_anything_is_made(tmp_path, capsys):
    large = replace(PARTS, name="large", field_of_view=(64, 64))
    table = write_data_set(tmp_path, PARTS, 2)
    for file in [*(tmp_path / "images").iterdir(), *(tmp_path / "labels").iterdir()]:
        stored = nib.load(file)
        voxels = np.pad(np.asarray(stored.dataobj), ((0, 35), (0, 0), (0, 0)))  # 65 along X
        nib.Nifti1Image(voxels, stored.affine).to_filename(file)
    (tmp_path / "task.json").write_text(json.dumps(task_to_dict(large)))
    for command in ("simulate --segmentations 2 --raters 0", "harden --steps 2 --features 4 4 4 4 4 4 --workers 0"):
        words = [*command.split(), "--task", str(tmp_path / "task.json"), "--exams", str(table)]
        assert dqe([*words, "--out", str(tmp_path / "out")]) == 2
        told = capsys.readouterr().err
        assert "65 x 40 x 28 voxels do not fit the field of view of 64 x 64; crop" in told
        assert "write field_of_view: [66, 64] or more in the task's file" in told


def test_exams_by_the_paths_of_their_task(tmp_path):
    write_data_set(tmp_path, PARTS, 3)
    task = replace(PARTS, files=FileNames(images={"t1": "images/{exam}.nii.gz"}, reference="labels/{exam}.nii.gz"))
    found = find_named_exams([tmp_path], task)
    assert [exam.name for exam in found] == ["case_0", "case_1", "case_2"]
    assert all(exam.segmentations[0].parent.name == "labels" for exam in found)
    with pytest.raises(ExamError, match=r"expected exams with the paths images/\{exam\}\.nii\.gz"):
        find_named_exams([tmp_path / "images"], task)


def test_modalities_may_not_be_named_as_columns():
    with pytest.raises(TaskError, match="segmentation has a meaning of its own"):
        replace(BLOBS, modalities=("segmentation",))

"""The torchmetrics metric: its values, torchmetrics' conventions, and two processes."""

import inspect
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers import make_case, make_exam, shrink, small_surrogate
from monai.data import MetaTensor
from process_group import RANKS, process_group
from torch import nn

from dqe_loss import DQEMetric, rate_segmentation, regions_from_labels
from dqe_loss.surrogate.checkpoint import DEFAULT_CHECKPOINT

torchmetrics = pytest.importorskip("torchmetrics")
torchmetric = pytest.importorskip("dqe_loss.metrics.torchmetrics")


@pytest.fixture(scope="module")
def exam():
    return make_case()


@pytest.fixture
def metric():
    return torchmetric.DeepQualityEstimation(small_surrogate())


def test_it_is_the_mean_over_exams_of_what_the_published_path_rates(exam, metric):
    image, labels, regions, logits = exam
    soft = logits.sigmoid()
    metric.update(labels, image)
    metric.update(soft[:1], image[:1])
    stars = torch.cat(
        [rate_segmentation(small_surrogate(), *pair) for pair in ((image, regions), (image[:1], soft[:1] > 0.5))]
    )
    torch.testing.assert_close(metric.compute(), stars.mean())
    assert metric.compute().shape == ()


def test_each_view_by_name(exam):
    image, _, regions, _ = exam
    views = ("sagittal", "axial")
    metric = torchmetric.DeepQualityEstimation(small_surrogate(), views=views, per_view=True)
    metric.update(regions, image)
    stars = rate_segmentation(small_surrogate(), image, regions, views=views).mean(0)
    assert {name: value.item() for name, value in metric.compute().items()} == pytest.approx(
        {"sagittal": stars[0].item(), "axial": stars[1].item(), "mean": stars.mean().item()}
    )


def test_options_reach_the_rating_as_in_the_metric_for_monai(exam):
    image, labels, _, _ = exam
    options = {"label_scheme": "msd", "modalities": ("flair", "t1", "t1c", "t2"), "views": ("coronal",)}
    other = DQEMetric(small_surrogate(), **options)
    metric = torchmetric.DeepQualityEstimation(small_surrogate(), **options)
    msd = torch.tensor([0, 2, 1, 3])[labels.long()]
    for prediction in (msd, torch.cat([msd == value for value in range(4)], 1).float()):
        other(prediction, image[:, [3, 1, 0, 2]])
        metric.update(prediction, image[:, [3, 1, 0, 2]])
    torch.testing.assert_close(metric.compute(), other.aggregate())


def test_it_has_the_default_checkpoint():
    assert inspect.signature(torchmetric.DeepQualityEstimation).parameters["checkpoint"].default == DEFAULT_CHECKPOINT


def test_forward_gives_the_batch_and_collects(exam, metric):
    image, _, regions, _ = exam
    first, second = (metric(regions[i : i + 1], image[i : i + 1]) for i in range(2))
    assert first != second
    torch.testing.assert_close(metric.compute(), (first + second) / 2)
    assert metric.update_count == 2


def test_values_of_monais_tensors_are_torchs(exam, metric):
    image, _, regions, _ = exam
    expected = metric(regions, image)
    told = metric(MetaTensor(regions.float()), MetaTensor(image))
    assert type(told) is type(metric.compute()) is torch.Tensor
    assert told == expected


def test_reset_forgets(exam, metric):
    image, _, regions, _ = exam
    metric.update(regions, image)
    metric.reset()
    with (
        pytest.warns(UserWarning, match="before the ``update`` method"),
        pytest.warns(UserWarning, match=r"no exam has been rated since the last reset\(\).*NaN"),
    ):
        assert metric.compute().isnan()
    stars = metric(regions[1:], image[1:])
    torch.testing.assert_close(metric.compute(), stars)


def test_clones_and_pickles_go_on_from_where_it_was(exam, metric):
    image, _, regions, _ = exam
    metric.update(regions[:1], image[:1])
    expected = torch.cat([rate_segmentation(small_surrogate(), image[i : i + 1], regions[i : i + 1]) for i in range(2)])
    for copy in (metric.clone(), pickle.loads(pickle.dumps(metric))):
        copy.update(regions[1:], image[1:])
        torch.testing.assert_close(copy.compute(), expected.mean())
        assert copy.surrogate is not metric.surrogate
    torch.testing.assert_close(metric.compute(), expected[0].mean())


def test_it_goes_into_a_collection(exam, metric):
    image, _, regions, _ = exam
    collection = torchmetrics.MetricCollection(
        {"stars": metric, "views": torchmetric.DeepQualityEstimation(small_surrogate(), per_view=True)}, prefix="val_"
    )
    told = collection(regions, image)
    assert set(told) == {"val_stars", "val_axial", "val_coronal", "val_sagittal", "val_mean"}
    torch.testing.assert_close(told["val_stars"], told["val_mean"])


def test_it_stands_beside_dice_in_a_collection(exam, metric):
    """torchmetrics hands every metric the positional arguments, and by name what its update takes."""
    from torchmetrics.segmentation import DiceScore

    image, _, regions, _ = exam
    target = regions.roll(2, 2)
    dice = DiceScore(num_classes=3, input_format="one-hot")
    expected = {"dice": dice.clone()(regions, target), "stars": metric.clone()(regions, image)}
    collection = torchmetrics.MetricCollection({"dice": dice, "stars": metric})
    torch.testing.assert_close(collection(regions, target, image=image), expected)
    collection.update(preds=regions, target=target, image=image)
    torch.testing.assert_close(collection.compute(), expected)
    assert metric.update_count == 2


def test_a_collection_never_takes_one_metric_for_another(exam):
    """torchmetrics lets metrics share a state that is the same after the first batch, as of hopeless predictions."""
    image, labels, _, _ = exam
    nothing, msd = torch.zeros_like(labels), torch.tensor([0, 2, 1, 3])[labels.long()]
    make = torchmetric.DeepQualityEstimation
    collection = torchmetrics.MetricCollection(
        {"brats": make(small_surrogate()), "msd": make(small_surrogate(), label_scheme="msd"),
         "views": make(small_surrogate(), label_scheme="msd", per_view=True)}
    )  # fmt: skip
    for prediction in (nothing, msd):
        collection.update(prediction, image=image)
    alone = [make(small_surrogate(), label_scheme=scheme) for scheme in ("brats", "msd")]
    for metric in alone:
        metric.update(nothing, image=image)
        metric.update(msd, image=image)
    told = collection.compute()
    assert alone[0].compute() != alone[1].compute()
    assert (told["brats"], told["msd"]) == (alone[0].compute(), alone[1].compute())
    assert sorted(map(sorted, collection.compute_groups.values())) == [["brats"], ["msd", "views"]]


def test_a_collection_without_an_image_says_what_to_call(exam, metric):
    _, _, regions, _ = exam
    collection = torchmetrics.MetricCollection({"stars": metric})
    with pytest.raises(ValueError, match="not against a reference; pass the scans"):
        collection(regions, regions)
    with pytest.raises(ValueError, match=r"update\(preds, target, image=image\)"):
        metric.update(regions)


def test_the_surrogate_is_neither_saved_nor_trained_nor_put_into_training_mode(metric):
    model = nn.Module()
    model.net, model.metric = nn.Linear(2, 2), metric
    model.train()
    assert list(model.state_dict()) == [name for name, _ in model.named_parameters()] == ["net.weight", "net.bias"]
    assert not any(module.training for module in metric.surrogate.modules())


def test_it_takes_no_gradient(exam, metric):
    image, _, _, logits = exam
    assert not metric(logits.sigmoid().requires_grad_(), image).requires_grad


def test_the_surrogate_moves_along_and_stays_in_float32():
    metric = torchmetric.DeepQualityEstimation(shrink(small_surrogate()))
    nn.ModuleList([metric]).half()
    assert metric.surrogate.dtype == torch.float32
    nn.ModuleList([metric]).to("meta")
    assert metric.device.type == metric.surrogate.device.type == metric.total.device.type == "meta"


@pytest.mark.gpu
def test_on_a_gpu(exam):
    image, _, regions, _ = exam
    metric = torchmetric.DeepQualityEstimation(shrink(small_surrogate())).cuda()
    stars = metric(regions.cuda(), image.cuda())
    assert stars.is_cuda
    expected = rate_segmentation(small_surrogate(), image, regions).mean()
    torch.testing.assert_close(stars.cpu(), expected, rtol=0, atol=1e-3)


def test_wrong_calls_and_options_are_named(exam, metric):
    image, labels, regions, _ = exam
    with pytest.raises(ValueError, match=r"also holds \[9\]"):
        metric.update(labels + 9 * (labels == 0), image)
    with pytest.raises(ValueError, match="image"):
        metric.update(regions, image[:, :3])
    with pytest.raises(ValueError, match="unknown label scheme"):
        torchmetric.DeepQualityEstimation(small_surrogate(), label_scheme="x")


def data(rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ranks with different numbers of exams: the mean over exams is not the mean over ranks."""
    image, labels = make_exam((24, 22, 20), seeds=(0,) if rank == 0 else (1, 2))
    return regions_from_labels(labels), image


def work(rank: int, folder: str) -> None:
    with process_group(rank, folder):
        metric = torchmetric.DeepQualityEstimation(small_surrogate(), per_view=True)
        metric.update(*data(rank))
        together = metric.compute()
        alone = metric.total / metric.count
        torch.save({"together": together, "alone": alone, "count": metric.count}, Path(folder) / f"{rank}.pt")


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch is built without distributed")
def test_two_processes_compute_the_mean_over_all_exams(tmp_path):
    torch.multiprocessing.spawn(work, (str(tmp_path),), nprocs=RANKS)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(RANKS))
    stars = torch.cat([rate_segmentation(small_surrogate(), image, regions) for regions, image in map(data, range(2))])
    for told in (first, second):
        torch.testing.assert_close(torch.stack(list(told["together"].values())[:3]), stars.mean(0))
    # After compute each process holds its own exams again.
    assert (first["count"], second["count"]) == (1, 2)
    torch.testing.assert_close(first["alone"], stars[0])


@pytest.mark.slow
def test_without_the_libraries_the_extra_is_named():
    program = """
import sys
sys.modules["torchmetrics"] = sys.modules["ignite"] = sys.modules["ignite.engine"] = None
for name in ("metrics.torchmetrics", "integrations.monai"):
    try:
        __import__(f"dqe_loss.{name}")
    except ImportError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=240, check=True)
    assert done.stdout.splitlines() == [
        f'this needs {library}, which is missing; run: pip install "dqe_loss[monitor]"'
        for library in ("torchmetrics", "ignite")
    ]
